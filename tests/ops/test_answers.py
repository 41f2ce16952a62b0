"""From scores and boxes to answers, against torchvision's suppression; and boxes as they are drawn."""

import torch
from torchvision.ops import batched_nms

from olhar.ops.answers import CANDIDATES, select
from olhar.ops.outline import outlined


def test_the_answers_are_those_of_torchvision():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(200, 2, generator=generator) * 50
    boxes = torch.cat([low, low + 5 + torch.rand(200, 2, generator=generator) * 20], 1)
    scores = torch.rand(200, 3, generator=generator)
    kept = select(boxes, scores, 0.4, 0.5, 50)
    flat = scores.flatten()
    every = (flat > 0.4).nonzero().flatten()
    expected = every[batched_nms(boxes[every // 3], flat[every], every % 3, 0.5)][:50]
    assert torch.equal(kept.boxes, boxes[expected // 3])
    assert torch.equal(kept.scores, flat[expected])
    assert torch.equal(kept.labels, expected % 3)
    assert kept.scores.min() > 0.4


def test_of_very_many_candidates_the_surest_are_looked_at():
    count = CANDIDATES + 500
    boxes = torch.arange(count).view(-1, 1) * torch.tensor([20.0, 0, 20, 0]) + torch.tensor([0.0, 0, 10, 10])
    scores = torch.linspace(0.5, 1, count).view(-1, 1)
    kept = select(boxes, scores, 0.1, 0.5, 2 * count)
    assert len(kept.scores) == CANDIDATES
    assert torch.equal(kept.scores, scores.flatten().flip(0)[:CANDIDATES])


def test_nothing_is_no_answer():
    kept = select(torch.rand(9, 4), torch.zeros(9, 2), 0.0, 0.5, 5)
    assert [len(part) for part in kept] == [0, 0, 0]


def test_edges_are_drawn_inwards():
    image = torch.full((1, 10, 12), 7, dtype=torch.uint8)
    drawn = outlined(image, torch.tensor([[2.0, 1, 9, 8], [-5, 4, 3, 99]]), [(255, 0, 0), (0, 0, 255)], thickness=1)
    expected = torch.full((3, 10, 12), 7, dtype=torch.uint8)
    for x0, y0, x1, y1, colour in ((2, 1, 9, 8, (255, 0, 0)), (0, 4, 3, 10, (0, 0, 255))):
        inside = expected[:, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].clone()
        expected[:, y0:y1, x0:x1] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
        expected[:, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = inside
    assert torch.equal(drawn, expected)
    assert (image == 7).all(), "the image itself stays as it is"
