"""Held-out images: stratified, and chosen by nothing but their names."""

import random
from collections import Counter
from pathlib import Path

from olhar.config import DataConfig
from olhar.data.sample import Collection, Record
from olhar.data.splits import complete, hold_out


def labelled(*sizes: int) -> list[Record]:
    return [
        Record(f"{label}/{i}.jpg", Path(f"{label}/{i}.jpg"), "train", label=label)
        for label, size in enumerate(sizes)
        for i in range(size)
    ]


def held(records: list[Record]) -> set[str]:
    return {record.id for record in records if record.split == "val"}


def test_every_class_gives_its_share_and_the_shares_add_up() -> None:
    records = hold_out(labelled(100, 55, 45), 0.1, "val")
    counts = Counter(r.label for r in records if r.split == "val")
    assert sum(counts.values()) == 20
    assert counts[0] == 10
    assert {counts[1], counts[2]} <= {4, 5, 6}


def test_tiny_classes_keep_an_image_to_train_on_and_give_one_from_four() -> None:
    records = hold_out(labelled(1, 2, 3, 4, 200), 0.1, "val")
    train = Counter(r.label for r in records if r.split == "train")
    val = Counter(r.label for r in records if r.split == "val")
    assert train[0] == 1
    assert all(train[label] >= 1 for label in range(5))
    assert val[3] == 1
    assert Counter(r.split for r in hold_out(labelled(2, 1), 0.9, "val"))["train"] == 2


def test_what_is_held_out_does_not_depend_on_the_order_of_the_files() -> None:
    records = labelled(37, 41, 43, 5, 5, 5, 20, 20, 20)  # equal classes: which gives one more is decided too
    for seed in range(6):
        shuffled = random.Random(seed).sample(records, len(records))
        assert held(hold_out(records, 0.13, "val")) == held(hold_out(shuffled, 0.13, "val"))
    assert held(hold_out(records, 0.13, "val", seed=1)) != held(hold_out(records, 0.13, "val"))


def test_what_is_held_out_never_changes() -> None:
    """The split is part of every result measured on it: another platform or version must make the same one."""
    assert held(hold_out(labelled(10, 10), 0.2, "val")) == {"0/0.jpg", "0/7.jpg", "1/7.jpg", "1/9.jpg"}


def test_numbers_are_spread_evenly() -> None:
    records = [Record(str(i), Path(str(i)), "train", target=i / 10) for i in range(1000)]
    targets = sorted(r.target or 0.0 for r in hold_out(records, 0.1, "val") if r.split == "val")
    assert len(targets) == 100
    assert [sum(10 * k <= t < 10 * (k + 1) for t in targets) for k in range(10)] == [10] * 10


def test_of_several_labels_the_rarest_is_spread_evenly() -> None:
    records = [Record(str(i), Path(str(i)), "train", labels=(0, 1) if i % 10 == 0 else (0,)) for i in range(200)]
    held_out = [r for r in hold_out(records, 0.1, "val") if r.split == "val"]
    assert len(held_out) == 20
    assert sum(1 in (r.labels or ()) for r in held_out) == 2


def test_only_the_splits_that_are_lacking_are_made_and_said() -> None:
    def collection(records: list[Record]) -> Collection:
        return Collection("x", "class folders", "classify", records, "2 folders", ("a", "b"))

    both = complete(collection(labelled(50, 50)), DataConfig(test_fraction=0.2))
    assert [len(both.split(s)) for s in ("train", "val", "test")] == [72, 8, 20]
    assert "no test split: 20% of train held out" in both.explanation
    assert both.split_origin["val"] == "10% of train, stratified, seed 0"

    tested = [Record("t", Path("t"), "test", label=0), *labelled(50, 50)]
    given = complete(collection(tested), DataConfig(test_fraction=0.2))
    assert [len(given.split(s)) for s in ("train", "val", "test")] == [90, 10, 1]

    none = complete(collection(labelled(50, 50)), DataConfig(val_fraction=0.0))
    assert none.explanation == "2 folders"
    assert not none.split("val")
