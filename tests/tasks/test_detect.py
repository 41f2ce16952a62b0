"""Targets that are computed once are those of every step; weights of a body are taken over by a detector."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor

from olhar import build
from olhar.config import Config
from olhar.data.sample import Batch, Collection, Record, Sample
from olhar.models import detector, encoder
from olhar.ops import matching
from olhar.plan import Facts
from olhar.plan_boxes import resolve_boxes
from olhar.tasks import detect
from olhar.tasks.detect import Detect

CANVAS = (48, 64)
NAMES = ("a", "b", "c")


def make(seed: int = 0) -> Detect:
    torch.manual_seed(seed)
    body = encoder("resnet9-slim", 3, CANVAS, widths="4,8,8,8")
    model = detector(body, len(NAMES), anchors=6, strides=(8, 16), width=8)
    return Detect(model, (0.5,) * 3, (0.2,) * 3, NAMES, ((9, 13, 18), (25, 32, 40)), (0.7, 1.4))


def samples(count: int) -> Iterator[Sample]:
    """Up to five objects an image, in some two in one place, and one that need not be found."""
    draw = torch.Generator().manual_seed(1)
    for i in range(count):
        n = int(torch.randint(6, (), generator=draw))
        low = torch.rand(n, 2, generator=draw) * torch.tensor([40.0, 24.0])
        boxes = torch.cat([low, low + 6 + torch.rand(n, 2, generator=draw) * 18], 1)
        if n > 1 and i % 3 == 0:
            boxes[1] = boxes[0]
        labels = torch.randint(len(NAMES), (n,), generator=draw)
        yield {"id": f"{i}.png", "boxes": boxes, "box_labels": labels, "box_ignored": torch.arange(n) == 3}


def batch_of(some: list[Sample]) -> Batch:
    image = torch.randint(256, (len(some), 3, *CANVAS), generator=torch.Generator().manual_seed(2))
    keys = ("id", "boxes", "box_labels", "box_ignored")
    return {"image": image.to(torch.uint8), **{key: [one[key] for one in some] for key in keys}}  # type: ignore[return-value]


def steps(task: Detect, batches: list[Batch]) -> dict[str, Tensor]:
    """The weights after a step on each batch."""
    optimizer = torch.optim.SGD(task.parameters(), 0.05, momentum=0.9)
    for batch in batches:
        optimizer.zero_grad()
        task(batch)["loss"].backward()
        optimizer.step()
    return {name: value.clone() for name, value in task.state_dict().items()}


def test_targets_that_are_computed_once_train_to_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    every = list(samples(12))
    batches = [batch_of([every[i] for i in chosen]) for chosen in ((0, 3, 6, 9), (11, 2, 5, 1), (3, 4, 8, 10))]
    expected = steps(make(), batches)
    task = make()
    task.remember(every, CANVAS)
    monkeypatch.setattr(detect, "assign", lambda *_: pytest.fail("an assignment was made again"))
    found = steps(task, batches)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_every_value_of_the_targets_is_the_same():
    every = list(samples(9))
    batch, task = batch_of(every), make()
    expected = task.targets(batch).dense()
    task.remember(every, CANVAS)
    assert task.assigned is not None
    assert torch.equal(task.targets(batch).dense().nan_to_num(-9), expected.nan_to_num(-9))
    assert (expected[..., 0] == 1).any()
    assert expected[..., 0].isnan().any()


def test_what_is_not_known_or_lies_on_another_canvas_is_assigned_anew():
    every, task = list(samples(4)), make()
    task.remember(every[:2], CANVAS)
    assert task.assigned is not None
    assert task.assigned.owner(["0.png", "3.png"], task.assigned.anchors, torch.device("cpu")) is None
    assert task.assigned.owner(["0.png"], task.assigned.anchors + 1, torch.device("cpu")) is None
    owner = task.assigned.owner(["1.png", "0.png"], task.assigned.anchors, torch.device("cpu"))
    assert owner is not None
    grid = task.grid(batch_of(every))
    objects = matching.Objects.of(
        *([one[key] for one in every[1::-1]] for key in ("boxes", "box_labels", "box_ignored"))
    )
    assert torch.equal(owner, matching.assign(grid, objects, detect.POSITIVE, detect.NEGATIVE))


@pytest.mark.parametrize(("augment", "known"), [("none", {"0.png", "1.png", "2.png"}), ("paired", {"2.png"})])
def test_targets_are_settled_where_images_are_always_seen_alike(augment: str, known: set[str], tmp_path: Path):
    records = []
    for i, split in enumerate(("train", "train", "val")):
        Image.new("RGB", (CANVAS[1], CANVAS[0])).save(tmp_path / f"{i}.png")
        records.append(
            Record(f"{i}.png", tmp_path / f"{i}.png", split, boxes=((4.0, 4.0, 20.0, 20.0),), box_labels=(1,))
        )
    frame = {"canvas": CANVAS, "whole": CANVAS, "truth": "boxes", "detail": 1.5 if augment == "paired" else 1.0}
    facts = {
        "model": {"frame": frame, "image_size": CANVAS},
        "task": {"name": "detect", "settings": {"mean": [0.5] * 3}},
        "data": {"class_names": NAMES},
    }
    config = Config().with_changes({"data.augment": augment, "data.flip": False})
    task = make()
    build.settle_targets(task, build.Feeder.from_facts(facts, config), Collection("", "voc", "detect", records, ""))
    assert task.assigned is not None
    assert set(task.assigned.kept) == known


def test_a_detector_starts_from_the_weights_of_its_body(tmp_path: Path):
    """torchvision's file, its last layer left out: the levels of the body are then torchvision's."""
    body = torchvision.models.resnet18(weights=None)
    torch.save(body.state_dict(), tmp_path / "resnet18.pth")
    model = detector(encoder("resnet18", 3, (64, 64)), len(NAMES), anchors=4, strides=(8, 16), width=8)
    task = Detect(model, (0.5,) * 3, (0.2,) * 3, NAMES, ((9, 13),) * 2, (0.7, 1.4)).eval()
    said = build.start_from(task, Config().with_changes({"model.weights": str(tmp_path / "resnet18.pth")}))
    assert said.startswith("Loaded 100 of 1")
    assert "In it, but with no place here: fc.weight, fc.bias." in said
    assert "untrained: neck" in said
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = body.eval().maxpool(body.relu(body.bn1(body.conv1(image))))
        torch.testing.assert_close(model.encoder(image)[-1], body.layer4(body.layer3(body.layer2(body.layer1(x)))))
    facts = Facts(n_train=200, task="detect", num_classes=3, height=480, width=640, accelerator=False, pretrained=True)
    config = Config().with_changes({"model.weights": "w", "model.name": "resnet18"})
    assert resolve_boxes(config, facts).config.optim.lr == pytest.approx(3e-4 * (8 / 128) ** 0.5, rel=0.02)
