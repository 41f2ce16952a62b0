import hashlib
from collections import Counter
from importlib import resources

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from olhar.config import DataConfig
from olhar.data import digits
from olhar.data.sample import SPLITS, Source
from olhar.errors import UserError


def test_pixels_and_labels_are_those_of_scikit_learn():
    reference = load_digits()
    records = digits.collection().records
    assert len(records) == len(reference.images) == 1797
    ours = torch.stack([record.image.render() for record in records])
    assert ours.shape == (1797, 1, 8, 8)
    assert ours.dtype == torch.uint8
    np.testing.assert_allclose(ours[:, 0].numpy() * (16 / 255), reference.images, atol=0.5 * 16 / 255 + 1e-9)
    assert [record.label for record in records] == reference.target.tolist()


def test_splits_are_stratified_and_never_change():
    data = digits.collection()
    for label in range(10):
        count = Counter(record.split for record in data.records if record.label == label)
        total = sum(count.values())
        assert count["test"] == round(0.2 * total)
        assert count["val"] == round(0.1 * total)
    assert [len(data.split(name)) for name in SPLITS] == [1259, 179, 359]
    test_rows = repr([record.image.row for record in data.split("test")])
    assert hashlib.sha256(test_rows.encode()).hexdigest()[:16] == "03591a3b7e07e147"


def test_fractions_do_not_move_the_splits():
    other = digits.collection(DataConfig(val_fraction=0.3, test_fraction=0.5))
    assert other.fingerprint() == digits.collection().fingerprint()


def test_records():
    data = digits.collection(DataConfig(task="classify"))
    assert data.class_names == tuple("0123456789")
    assert len({record.id for record in data.records}) == 1797
    assert all(isinstance(record.image, Source) for record in data.records)
    assert "1,797" in data.explanation


def test_another_task_is_refused():
    with pytest.raises(UserError, match="nothing to regress"):
        digits.collection(DataConfig(task="regress"))


def test_attribution_is_shipped():
    folder = resources.files("olhar.data")
    assert "CC BY 4.0" in (folder / "digits.LICENSE").read_text(encoding="utf-8")
    assert len((folder / "digits.npz").read_bytes()) <= 60_000
