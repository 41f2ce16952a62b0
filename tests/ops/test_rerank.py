"""The nearest in the order of a closer look, and all else behind them."""

import torch

from olhar.ops.rerank import reordered, rerank


def test_only_the_shortlist_is_put_in_order():
    similarity = torch.tensor([[0.9, 0.1, 0.8, 0.7, -0.5], [0.0, 0.2, 0.1, 0.3, 0.4]])
    closer = torch.tensor([[0.1, 1.0, 0.3, 0.2, 1.0], [1.0, -0.2, 1.0, -0.9, -0.4]])
    places, alike = rerank(similarity, lambda row, some: closer[row, some], most=3)
    assert places.tolist() == [[2, 3, 0], [1, 4, 3]]
    assert torch.allclose(alike, torch.tensor([[0.3, 0.2, 0.1], [-0.2, -0.4, -0.9]]))
    _, mixed = rerank(similarity, lambda row, some: closer[row, some], share=0.25, most=1)
    assert torch.allclose(mixed, torch.tensor([[0.75 * 0.9 + 0.25 * 0.1], [0.75 * 0.4 - 0.25 * 0.4]]))
    whole = reordered(similarity, places, alike)
    assert whole.argsort(dim=1, descending=True).tolist() == [[2, 3, 0, 1, 4], [1, 4, 3, 2, 0]]


def test_there_may_be_fewer_than_the_shortlist_holds():
    places, _ = rerank(torch.tensor([[0.1, 0.2]]), lambda row, some: -some.float(), most=32)
    assert places.tolist() == [[0, 1]]
