"""Four images on one canvas: objects stay in their boxes, and a sample depends on seed, epoch and index alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from changes import changed_together
from PIL import Image

from olhar.data.box_view import VISIBLE
from olhar.data.cache import MemoryCache
from olhar.data.loader import Loader
from olhar.data.mosaic import MIDDLE, SHARE, Mosaic, make_mosaic
from olhar.data.paired import PairedSmall, make_paired
from olhar.data.reading import Frame, Letterbox, Reader
from olhar.data.sample import Batch, Record
from olhar.data.transforms import Augment
from olhar.errors import UserError
from olhar.ops.boxes import area
from olhar.plan import check_mix

CANVAS = (60, 80)
COUNT = 12
BOX = (20.0, 10.0, 50.0, 40.0)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Each image white, with a square of a grey of its own."""
    folder, made = tmp_path_factory.mktemp("squares"), []
    for i in range(COUNT):
        pixels = np.full((*CANVAS, 3), 255, np.uint8)
        pixels[10:40, 20:50] = 10 * i
        Image.fromarray(pixels).save(folder / f"{i}.png")
        made.append(Record(str(i), folder / f"{i}.png", "train", boxes=(BOX,), box_labels=(i,)))
    return made


def mosaic(name: str = "none", flip: bool = True) -> Mosaic:
    return make_mosaic(make_paired(name, Frame(CANVAS, CANVAS, truth="boxes"), flip, 3, restoring=False), CANVAS, 1.0)


def loader(records: list[Record], **changes: object) -> Loader:
    reader = Reader(Letterbox(*CANVAS), truth="boxes")
    settings = {"read": reader, "batch_size": 4, "seed": 3, "shuffle": True, "augment": mosaic("paired"), "workers": 2}
    return Loader(records, **(settings | changes))  # type: ignore[arg-type]


def same(first: list[Batch], second: list[Batch]) -> None:
    assert [batch["id"] for batch in first] == [batch["id"] for batch in second]
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert all(map(torch.equal, one["boxes"], other["boxes"]))
        assert all(map(torch.equal, one["box_labels"], other["box_labels"]))


def test_objects_are_in_their_boxes_and_dropped_where_too_little_is_left(records: list[Record]):
    """Every grey is where its box is, and a grey without a box shows less than VISIBLE of its square."""
    augment, reader = mosaic(), Reader(Letterbox(*CANVAS), truth="boxes")
    samples = [reader(record) for record in records]
    whole, several, dropped = (BOX[2] - BOX[0]) * (BOX[3] - BOX[1]), 0, 0
    for epoch in range(60):
        chosen = [0, *augment.others([0], epoch, COUNT)[0]]
        if len(set(chosen)) < 4:
            continue
        several += 1
        (shown,) = changed_together(augment, [[(i, samples[i]) for i in chosen]], epoch)
        assert shown["image"].shape == (3, *CANVAS)
        boxes = dict(zip(shown["box_labels"].tolist(), shown["boxes"], strict=True))
        for i in chosen:
            rows, columns = (shown["image"][0] == 10 * i).nonzero().T
            if i in boxes:
                extent = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                assert (boxes[i] - extent).abs().max() <= 1
                assert area(boxes[i]) >= VISIBLE * whole
            else:
                dropped += 1
                assert len(rows) < VISIBLE * whole + 30, "a box is dropped though its object shows"
    assert several > 5
    assert dropped > 0


def test_each_part_has_room_for_an_object_and_half_of_the_samples_are_whole(records: list[Record]):
    augment, reader = mosaic(), Reader(Letterbox(*CANVAS), truth="boxes")
    alone = [not others for epoch in range(40) for others in augment.others(range(40), epoch, COUNT)]
    assert abs(np.mean(alone) - (1 - SHARE)) < 0.04
    blank = [reader(Record("x", records[0].image, "train", boxes=(), box_labels=())) for _ in range(4)]
    for k, sample in enumerate(blank):
        sample["image"] = torch.full((3, *CANVAS), k, dtype=torch.uint8)
    groups = [list(zip([index, 1, 2, 3], blank, strict=True)) for index in range(30)]
    for shown in changed_together(augment, groups, 0):
        image = shown["image"][0]
        shares = torch.bincount(image.flatten().int(), minlength=4) / image.numel()
        assert float(shares.sum()) == pytest.approx(1)
        assert shares.min() > 0.9 * MIDDLE**2


@pytest.mark.parametrize("augment", [mosaic("paired"), mosaic("paired").part], ids=["mosaic", "paired"])
def test_samples_do_not_depend_on_threads_cache_or_where_an_epoch_is_entered(records: list[Record], augment: Augment):
    plain = [list(loader(records, augment=augment).epoch(epoch)) for epoch in range(2)]
    cache = MemoryCache(COUNT, Reader(Letterbox(*CANVAS), truth="boxes"))
    cached = loader(records, augment=augment, workers=1, cache=cache)
    for epoch in range(2):
        same(plain[epoch], list(cached.epoch(epoch)))
    same(plain[1][1:], list(cached.epoch(1, skip=1)))
    (whole,) = loader(records, augment=augment, batch_size=COUNT).epoch(1)
    assert torch.equal(whole["image"], torch.cat([batch["image"] for batch in plain[1]]))
    assert all(map(torch.equal, whole["boxes"], [boxes for batch in plain[1] for boxes in batch["boxes"]]))
    assert not torch.equal(plain[0][0]["image"], plain[1][0]["image"])
    several = max(len(boxes) for batch in plain[0] for boxes in batch["boxes"]) > 1
    assert several == isinstance(augment, Mosaic)


def test_an_image_that_cannot_be_read_is_replaced_in_a_mosaic_too(records: list[Record], tmp_path: Path):
    broken = [*records[:-1], Record("broken", tmp_path / "none.png", "train", boxes=(BOX,), box_labels=(99,))]
    own = loader(broken)
    for epoch in range(6):
        for batch in own.epoch(epoch):
            assert not any((labels == 99).any() for labels in batch["box_labels"])
    assert list(own.unreadable) == ["broken"]


def test_small_images_are_put_together_at_their_scale_and_colours():
    small = make_mosaic(PairedSmall(24, True, 0), (24, 24), 1.0)
    assert (small.part.zoom, small.part.recolour, small.part.flip) == ((1.0, 1.0), False, True)
    assert mosaic("paired").part.recolour
    assert "parts of four images" in mosaic("paired").describe()


def test_what_is_mixed_must_be_there():
    check_mix("mosaic", "detect")
    check_mix("mixup", "classify")
    with pytest.raises(UserError, match="mosaic puts boxes together"):
        check_mix("mosaic", "classify")
    with pytest.raises(UserError, match="labels of whole images, and this is to detect: give mosaic"):
        check_mix("cutmix", "detect")
