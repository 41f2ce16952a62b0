"""The batches of an epoch depend on the seed and the epoch alone, and the loader never hangs or loses a sample."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from olhar.data.cache import FileCache, MemoryCache, NoCache
from olhar.data.loader import AHEAD, Loader, Room, collate
from olhar.data.reading import Preprocess
from olhar.data.sample import Batch, Record, Sample, to_device
from olhar.data.transforms import FLIP, make_augment, make_mix, uniform
from olhar.errors import UserError

COUNT = 23


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[Record]:
    """Pictures of different sizes, all told apart by their colours."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    made = []
    for index in range(COUNT):
        size = (20 + index % 5, 24 + index % 3, 3)
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{index}.png")
        made.append(Record(id=str(index), image=folder / f"{index}.png", split="train", label=index % 4))
    return made


def loader(records: list[Record], augment: str = "none", mix: str = "none", **changes) -> Loader:
    preprocess = Preprocess(16, augment=augment, num_classes=4)
    settings = {
        "read": preprocess.train_read,
        "batch_size": 4,
        "seed": 0,
        "shuffle": True,
        "augment": make_augment(augment, 16, True, 0),
        "mix": make_mix(mix, 4, 0),
        "workers": 2,
    }
    return Loader(records, **(settings | changes))


def ids(batches: list[Batch]) -> list[str]:
    return [name for batch in batches for name in batch["id"]]


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one["id"] == other["id"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("olhar")]


# --- what an epoch holds ----------------------------------------------------------------------------------------


def test_evaluation_shows_every_sample_once_in_order(records):
    evaluation = loader(records, shuffle=False)
    batches = list(evaluation.epoch(0))
    assert ids(batches) == [record.id for record in records]
    assert len(batches) == len(evaluation) == 6
    assert [len(batch["id"]) for batch in batches] == [4] * 5 + [3]
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [record.label for record in records]


def test_training_shows_another_order_each_epoch_and_leaves_out_the_rest(records):
    train = loader(records)
    epochs = [ids(list(train.epoch(epoch))) for epoch in (0, 1, 0)]
    assert len(train) == 5
    assert len(set(epochs[0])) == 20
    assert epochs[0] == epochs[2] != epochs[1]
    assert ids(list(loader(records, seed=1).epoch(0))) != epochs[0]
    left_out = {name for epoch in range(8) for name in set(map(str, range(COUNT))) - set(ids(list(train.epoch(epoch))))}
    assert len(left_out) > 10, "never the same ones"


def test_fewer_images_than_a_batch_make_one_batch(records):
    train = loader(records[:3], batch_size=8)
    assert len(train) == 1
    assert sorted(ids(list(train.epoch(0)))) == ["0", "1", "2"]


def test_a_batch_is_what_convolutions_want(records):
    for cache in (NoCache(), MemoryCache(COUNT, Preprocess(16).read)):
        for batch in loader(records, shuffle=False, cache=cache).epoch(0):
            assert batch["image"].shape[1:] == (3, 16, 16)
            assert batch["image"].dtype == torch.uint8
            assert batch["image"].is_contiguous(memory_format=torch.channels_last)
            assert batch["label"].dtype == torch.int64


# --- determinism ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", ["none", "tiny", "small", "natural"])
@pytest.mark.parametrize("mix", ["none", "cutmix"])
def test_threads_caches_and_resuming_change_nothing(records, tmp_path, augment, mix):
    reference = list(loader(records, augment, mix, workers=1).epoch(3))
    assert_same(list(loader(records, augment, mix, workers=5).epoch(3)), reference)
    assert_same(list(loader(records, augment, mix).epoch(3, skip=2)), reference[2:])
    read = Preprocess(16, augment=augment).train_read
    for cache in (MemoryCache(COUNT, read), FileCache(COUNT, read, tmp_path / "a.pixels")):
        cached = loader(records, augment, mix, cache=cache)
        for _ in range(2):  # decoding and filling the cache, then from the cache
            assert_same(list(cached.epoch(3)), reference)


@pytest.mark.parametrize("augment", ["none", "small", "natural"])
def test_the_size_of_batches_changes_no_sample(records, augment):
    """Nor in how many pieces threads read them: random numbers are drawn for a piece at once."""
    whole = torch.cat([batch["image"] for batch in loader(records, augment, batch_size=20).epoch(2)])
    for size, workers in ((1, 1), (4, 3), (10, 1), (10, 4)):
        parts = [batch["image"] for batch in loader(records, augment, batch_size=size, workers=workers).epoch(2)]
        assert torch.equal(torch.cat(parts)[:20], whole)


@pytest.mark.parametrize("mix", ["none", "mixup"])
def test_processes_share_the_batches_one_would_see(records, mix):
    whole = list(loader(records, "small", mix).epoch(1))
    ranks = [list(loader(records, "small", mix, rank=rank, world=2).epoch(1)) for rank in range(2)]
    for number, batch in enumerate(whole):
        for key in ("image", "label"):
            assert torch.equal(torch.cat([rank[number][key] for rank in ranks]), batch[key])


@pytest.mark.parametrize("world", [2, 4])
def test_processes_evaluate_every_sample_once(records, world):
    shares = [ids(list(loader(records, shuffle=False, rank=rank, world=world).epoch(0))) for rank in range(world)]
    assert sorted(name for share in shares for name in share) == sorted(record.id for record in records)


def test_training_shares_are_equal_and_too_many_processes_are_refused(records):
    few = [list(loader(records[:5], batch_size=8, rank=rank, world=2).epoch(0)) for rank in range(2)]
    assert [len(batches[0]["id"]) for batches in few] == [2, 2]
    with pytest.raises(UserError, match="1 training images are fewer than 2 processes"):
        loader(records[:1], world=2)


def test_readers_use_one_core_each_and_others_as_many_as_before(records):
    class Counting(Slow):
        def planes(self, record: Record) -> Tensor:
            torch.ones(200_000).exp()  # large enough to be shared among cores
            inside.add(torch.get_num_threads())
            return super().planes(record)

    inside: set[int] = set()
    found = []
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        list(loader(records, read=Counting()).epoch(0))
        assert inside == {1}
        other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert [torch.get_num_threads(), *found] == [3, 3]
    finally:
        torch.set_num_threads(before)


def test_the_order_says_nothing_about_the_augmentation(records):
    """Otherwise every epoch would begin with images all moved one way."""
    train = loader(records[:1] * 4000)
    place = train.order(2).argsort()
    for epoch in (0, 2):
        draws = uniform(0, epoch, np.arange(4000), FLIP + 1)
        assert abs(np.corrcoef(place, draws.T)[0, 1:]).max() < 0.07  # 4.4 deviations of 1 / sqrt(4000)


# --- bad files --------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(records, tmp_path) -> list[Record]:
    """Three of them cannot be read, two of these in a row."""
    (tmp_path / "text.png").write_text("no image")
    bad = {3, 4, 22}
    return [
        Record(id=r.id, image=tmp_path / "text.png" if i in bad else r.image, split="train", label=r.label)
        for i, r in enumerate(records)
    ]


def test_unreadable_images_are_named_and_left_out_of_the_evaluation(damaged):
    evaluation = loader(damaged, shuffle=False, batch_size=2)
    for _ in range(2):
        shown = ids(list(evaluation.epoch(0)))
        assert shown == [record.id for i, record in enumerate(damaged) if i not in {3, 4, 22}]
    assert set(evaluation.unreadable) == {"3", "4", "22"}
    assert "text.png is not an image" in evaluation.unreadable["3"]


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_left_out_leaves_no_gap_among_changed_images(records, damaged, workers):
    sound = torch.cat([batch["image"] for batch in loader(records, "natural", shuffle=False).epoch(0)])
    shown = list(loader(damaged, "natural", shuffle=False, workers=workers).epoch(0))
    assert [len(batch["id"]) for batch in shown] == [len(batch["image"]) for batch in shown]
    assert torch.equal(torch.cat([batch["image"] for batch in shown]), sound[list(map(int, ids(shown)))])


@pytest.mark.parametrize("augment", ["small", "natural"])
@pytest.mark.parametrize("mix", ["none", "mixup"])
def test_in_training_another_image_takes_their_place(damaged, augment, mix):
    read = Preprocess(16, augment=augment).train_read
    cached = loader(damaged, augment, mix, cache=MemoryCache(COUNT, read))
    epochs = [list(cached.epoch(epoch)) for epoch in (0, 1, 0)]
    assert_same(epochs[0], epochs[2])
    assert_same(epochs[1], list(loader(damaged, augment, mix, workers=1).epoch(1)))
    for batches in epochs:
        assert [len(batch["id"]) for batch in batches] == [4] * 5
        assert not {"3", "4", "22"} & set(ids(batches))


def test_mostly_unreadable_data_are_refused(damaged):
    bad = [Record(id=r.id, image=damaged[3].image, split="train", label=0) for r in damaged[:12]] + damaged[12:]
    for shuffle in (True, False):
        with pytest.raises(UserError, match="More than half of the 23 images cannot be read"):
            list(loader(bad, shuffle=shuffle).epoch(0))
    assert not running()


def test_a_disk_that_fills_up_changes_no_batch(records, tmp_path):
    reference = list(loader(records, "small").epoch(0))

    class Filling(FileCache):
        def put(self, index: int, image: Tensor) -> None:
            if self.ready.sum() >= 7:
                self.full = "No space left on device"
            super().put(index, image)

    cache = Filling(COUNT, Preprocess(16).read, tmp_path / "a.pixels")
    filling = loader(records, "small", cache=cache)
    for _ in range(3):
        assert_same(list(filling.epoch(0)), reference)
    assert 7 <= cache.ready.sum() <= 9  # two threads may both pass before it is full


# --- threads ----------------------------------------------------------------------------------------------------


def test_leaving_early_stops_the_threads(records):
    train = loader(records, "natural")
    for _ in train.epoch(0):
        break
    assert not running()

    def interrupted() -> None:
        for _ in train.epoch(0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not running()
    iterator = train.epoch(0)
    next(iterator)
    assert running()
    iterator.close()
    assert not running()


class Slow:
    """A reader that takes its time, or fails as a bug would."""

    def __init__(self, seconds: float = 0.0, fails: bool = False):
        self.seconds, self.fails = seconds, fails

    def planes(self, record: Record) -> Tensor:
        time.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("a bug")
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    def split(self, planes: Tensor) -> dict[str, Tensor]:
        return {"image": planes}

    def annotate(self, record: Record) -> Sample:
        return {"id": record.id}


def test_a_bug_in_a_reader_is_raised_and_ends_the_threads(records):
    with pytest.raises(RuntimeError, match="a bug"):
        list(loader(records, read=Slow(fails=True)).epoch(0))
    assert not running()


def test_waiting_is_counted_and_reading_goes_on_meanwhile(records):
    hungry = loader(records, read=Slow(0.02))
    list(hungry.epoch(0))
    assert hungry.wait_seconds > 0.1  # 20 images, 20 ms each, 2 threads
    patient = loader(records, read=Slow(0.1), workers=4)
    waited = []
    for _ in patient.epoch(0):
        waited.append(patient.wait_seconds)
        time.sleep(0.15)
    assert waited[-1] - waited[0] < 0.2  # of 0.4 without reading ahead


# --- memory -----------------------------------------------------------------------------------------------------


def test_memory_is_lent_again_once_nobody_holds_what_was_in_it():
    room = Room(spare=1)
    first = room.lend(100)
    first[:] = 1
    part, place = first.view(2, 5, 10).permute(0, 2, 1)[1:], first.data_ptr()
    del first
    second = room.lend(100)
    assert second.data_ptr() != place, "a part of it is held"
    second[:] = 2
    assert (part == 1).all()
    del part
    assert room.lend(80).data_ptr() == place
    del second
    assert len(room.lend(1000)) == 1000
    assert len(room.free) <= 1


def test_batches_take_no_more_memory_than_are_ahead_and_none_that_is_held(records):
    train = loader(records, "natural")
    places = {batch["image"].data_ptr() for epoch in range(8) for batch in train.epoch(epoch)}
    assert len(places) <= AHEAD + 2
    reference = list(loader(records, "natural").epoch(0))
    held = [batch["image"][1:3] for batch in train.epoch(0)]
    list(train.epoch(1))
    for part, batch in zip(held, reference, strict=True):
        assert torch.equal(part, batch["image"][1:3])


@pytest.mark.parametrize(("device", "ahead"), [("cpu", True), ("cuda:1", True), ("mps", False)])
def test_mps_has_read_a_batch_before_its_memory_is_lent_again(device, ahead):
    class Asked:
        def to(self, device: torch.device, non_blocking: bool) -> tuple[str, bool]:
            return str(device), non_blocking

    moved = to_device({"id": ["a"], "image": Asked(), "boxes": [Asked()]}, torch.device(device))  # type: ignore[typeddict-item]
    assert moved == {"id": ["a"], "image": (device, ahead), "boxes": [(device, ahead)]}


# --- collating --------------------------------------------------------------------------------------------------


def test_every_key_of_a_batch_is_collated():
    samples: list[Sample] = [
        {
            "id": str(n),
            "image": torch.full((3, 4, 5), n, dtype=torch.uint8),
            "clean": torch.full((3, 4, 5), n, dtype=torch.uint8),
            "label": n,
            "labels": torch.tensor([0.0, 1.0]),
            "target": n / 2,
            "mask": torch.full((4, 5), n),
            "boxes": torch.zeros(n, 4),
            "box_labels": torch.zeros(n, dtype=torch.int64),
            "text": "a" * n,
        }
        for n in range(3)
    ]
    batch = collate(samples)
    assert batch["id"] == ["0", "1", "2"]
    assert batch["image"].shape == batch["clean"].shape == (3, 3, 4, 5)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["label"].tolist() == [0, 1, 2]
    assert batch["labels"].shape == (3, 2)
    assert batch["target"].tolist() == [0, 0.5, 1]
    assert batch["mask"].shape == (3, 4, 5)
    assert [len(boxes) for boxes in batch["boxes"]] == [0, 1, 2] == [len(labels) for labels in batch["box_labels"]]
    assert batch["text"] == ["", "a", "aa"]


def test_a_reader_may_give_more_than_the_record_says(records):
    """Masks and boxes of later tasks come with the sample, with and without a cached image."""

    class WithMask(type(Preprocess(16).read)):
        def annotate(self, record: Record) -> Sample:
            sample = super().annotate(record)
            sample["mask"] = torch.full((16, 16), int(record.id))
            return sample

    read = WithMask(Preprocess(16).read.resize)
    masked = loader(records, read=read, shuffle=False, cache=MemoryCache(COUNT, read))
    for _ in range(2):
        masks = torch.cat([batch["mask"] for batch in masked.epoch(0)])
        assert masks[:, 3, 3].tolist() == list(range(COUNT))


def test_paths_need_not_be_ascii(tmp_path):
    path = Path(tmp_path / "maçã é 青.jpg")
    Image.new("RGB", (20, 20), (10, 200, 30)).save(path)
    (batch,) = loader([Record(id="a", image=path, split="train", label=0)], shuffle=False).epoch(0)
    assert batch["image"].float().mean((0, 2, 3)).round().tolist() == pytest.approx([10, 200, 30], abs=3)
