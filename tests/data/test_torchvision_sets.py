"""torchvision's sets, from small files in the layout that torchvision gives them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from olhar.config import DataConfig
from olhar.data.names import TORCHVISION
from olhar.data.recognise import recognise
from olhar.data.sample import Source
from olhar.data.torchvision_sets import SETS, Known, Row, collection, in_memory
from olhar.errors import UserError


def idx(array: np.ndarray) -> bytes:
    """The format of the MNIST files: a magic number, the shape, the bytes."""
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A set of 40 and 10 images in the layout of MNIST. The first pixel of each is its place."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, n in (("train", 40), ("t10k", 10)):
        images = np.zeros((n, 28, 28), np.uint8)
        images[:, 0, 0] = np.arange(n)
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(n, dtype=np.uint8) % 10)):
            (raw / f"{prefix}-{name}-ubyte").write_bytes(idx(array))
            (raw / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A set of 8 and 4 files in the layout of Oxford-IIIT Pet."""
    base = tmp_path / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    for split, n in (("trainval", 8), ("test", 4)):
        lines = []
        for i in range(n):
            breed = ("great_dane", "siamese")[i % 2]
            name = f"{breed}_{split}{i}".replace("trainval", "1").replace("test", "2")
            Image.new("RGB", (20 + i, 10)).save(base / "images" / f"{name}.jpg")
            lines.append(f"{name} {i % 2 + 1} 1 1")
        (base / "annotations" / f"{split}.txt").write_text("\n".join(lines))
    return tmp_path


def test_a_set_in_memory(mnist: Path) -> None:
    found = recognise(f"mnist:{mnist}")
    assert [len(found.split(s)) for s in ("train", "val", "test")] == [30, 10, 10]
    assert found.class_names[3] == "3 - three"
    assert found.explanation.startswith(f"The torchvision set mnist, in {mnist}: classification, 10 classes; no valid")
    record = next(r for r in found.records if r.id == "train/00017")
    assert isinstance(record.image, Source)
    image = record.image.render()
    assert (image.shape, image.dtype, int(image[0, 0, 0]), record.label) == ((1, 28, 28), torch.uint8, 17, 7)


def test_a_set_of_files_keeps_their_paths(pets: Path) -> None:
    found = collection("oxford-pets", str(pets), DataConfig())
    assert found.class_names == ("Great Dane", "Siamese")
    assert [len(found.split(s)) for s in ("train", "test")] == [8, 4]
    assert found.records[0].image == pets / "oxford-iiit-pet" / "images" / "great_dane_10.jpg"
    assert found.records[0].id == "oxford-iiit-pet/images/great_dane_10.jpg"


def test_the_default_folder_is_the_users(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLHAR_DATA", str(mnist))
    assert len(recognise("MNIST").records) == 50


def test_a_set_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"cifar10 is not in {tmp_path}, .* with --download, or .* cifar10:FOLDER"):
        recognise(f"cifar10:{tmp_path}")


def test_download_is_asked_of_torchvision_only_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Absent:
        def __init__(self, root: Path, train: bool, download: bool = False):
            asked.append(download)
            raise RuntimeError("no network")

    monkeypatch.setitem(SETS, "mnist", Known(Absent, in_memory, SETS["mnist"].splits))
    with pytest.raises(UserError, match="--download"):
        recognise(f"mnist:{tmp_path}")
    with pytest.raises(UserError, match=r"could not be downloaded .* \(no network\)"):
        recognise(f"mnist:{tmp_path}", config=DataConfig(download=True))
    assert asked == [False, False, True]


def test_colour_arrays_of_both_orders_become_channels_first() -> None:
    class Fake:
        def __init__(self, data: np.ndarray):
            self.data, self.labels = data, [0] * len(data)

    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    for data in (pixels, pixels.transpose(0, 3, 1, 2)):
        images, _ = in_memory(Fake(data))
        assert isinstance(images[1], Row)
        assert torch.equal(images[1].render(), torch.from_numpy(pixels[1]).permute(2, 0, 1))


def test_the_fingerprint_of_a_row_leaves_the_pixels_out() -> None:
    assert repr(Row("MNIST 60000", torch.zeros(1, 1, 2, 2, dtype=torch.uint8), 7)) == "Row(name='MNIST 60000', index=7)"


def test_sets_have_classes_and_no_numbers(mnist: Path) -> None:
    with pytest.raises(UserError, match="nothing to regress"):
        recognise(f"mnist:{mnist}", task="regress")


def test_the_names_are_those_of_the_command_line_and_torchvision_takes_every_argument() -> None:
    assert tuple(SETS) == TORCHVISION
    for known in SETS.values():
        assert issubclass(known.dataset, datasets.VisionDataset)
        assert set(known.splits) >= {"train"}
