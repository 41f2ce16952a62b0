"""What is kept is what was put; what is damaged, half-written or from other files is not there."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from olhar.data import cache as module
from olhar.data.cache import FileCache, MemoryCache, NoCache, cache_key, make_cache
from olhar.data.reading import Reader, Resize
from olhar.data.sample import Record

SQUARE, OBLONG = Reader(Resize(8)), Reader(Resize(8, square=False))


def image(index: int, height: int = 8, width: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(index)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator).permute(2, 0, 1)


def make(kind: str, count: int, read: Reader, folder: Path) -> MemoryCache:
    return MemoryCache(count, read) if kind == "memory" else FileCache(count, read, folder / "a.pixels")


@pytest.fixture(params=["memory", "file"])
def kind(request) -> str:
    return request.param


@pytest.fixture
def records(tmp_path) -> list[Record]:
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for path in paths:
        path.write_bytes(b"1234")
    return [Record(id=path.name, image=path, split="train") for path in paths]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("OLHAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_images_of_any_shape_come_back(kind, tmp_path):
    kept = make(kind, 3, OBLONG, tmp_path)
    images = [image(0, 8, 11), image(1, 15, 8), image(2, 8, 8).contiguous()]
    assert kept.get(0) is None
    for index, one in enumerate(images):
        kept.put(index, one)
    for index, one in enumerate(images):
        found = kept.get(index)
        assert found is not None
        assert torch.equal(found, one)
    assert not kept.holds(np.arange(3)).any(), "images of several sizes cannot be gathered"


def test_the_largest_image_fits():
    for height, width in [(1000, 99999), (99999, 1000), (778, 1383)]:
        for side in range(1, 60):
            read = Reader(Resize(side, square=False))
            made = read.resize(torch.zeros(1, dtype=torch.uint8).expand(3, height, width))
            assert made.numel() <= module.slot_bytes(read)
            if side > 3:
                break


def test_squares_are_gathered_in_any_order(kind, tmp_path):
    kept = make(kind, 5, SQUARE, tmp_path)
    for index in (0, 2, 3):
        kept.put(index, image(index))
    assert kept.holds(np.arange(5)).tolist() == [True, False, True, True, False]
    batch = kept.gather(np.array([3, 0, 3]))
    assert torch.equal(batch, torch.stack([image(3), image(0), image(3)]))
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_another_process_finds_what_was_written(tmp_path):
    first, second = FileCache(2, SQUARE, tmp_path / "a.pixels"), FileCache(2, SQUARE, tmp_path / "a.pixels")
    first.put(1, image(1))
    assert second.get(0) is None
    assert torch.equal(second.get(1), image(1))
    later = FileCache(2, SQUARE, tmp_path / "a.pixels")
    assert torch.equal(later.get(1), image(1)), "opening it again keeps what is there"


def test_many_writers_do_not_disturb_each_other(tmp_path):
    caches = [FileCache(40, SQUARE, tmp_path / "a.pixels") for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda job: caches[job % 3].put(job % 40, image(job % 40)), range(240)))
    for kept in (*caches, FileCache(40, SQUARE, tmp_path / "a.pixels")):
        assert all(torch.equal(kept.get(index), image(index)) for index in range(40))


@pytest.mark.parametrize("place", [0, 4, 8, 4096, 4096 + 191])
def test_a_damaged_slot_is_empty(tmp_path, place):
    """The first byte of height, width and checksum, the first and the last pixel."""
    FileCache(1, SQUARE, tmp_path / "a.pixels").put(0, image(0))
    content = bytearray((tmp_path / "a.pixels").read_bytes())
    content[place] ^= 0xFF
    (tmp_path / "a.pixels").write_bytes(content)
    kept = FileCache(1, SQUARE, tmp_path / "a.pixels")
    assert kept.get(0) is None
    kept.put(0, image(0))
    assert torch.equal(kept.get(0), image(0))


def test_a_file_takes_space_only_for_what_it_holds(tmp_path):
    read = Reader(Resize(224))
    kept = FileCache(1000, read, tmp_path / "a.pixels")
    kept.put(500, torch.zeros(3, 224, 224, dtype=torch.uint8))
    stat = (tmp_path / "a.pixels").stat()
    assert stat.st_size >= 1000 * 224 * 224 * 3
    assert stat.st_blocks * 512 < 2_000_000


def test_a_full_disk_stops_the_keeping_and_nothing_else(tmp_path, monkeypatch):
    kept = FileCache(3, SQUARE, tmp_path / "a.pixels")
    kept.put(0, image(0))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    kept.put(1, image(1))
    monkeypatch.undo()
    kept.put(2, image(2))
    assert torch.equal(kept.get(0), image(0))
    assert kept.get(1) is None
    assert kept.get(2) is None
    assert "full (No space left on device)" in kept.describe()


def test_memory_if_it_fits_a_file_if_not_nothing_if_the_disk_is_short(records, folder, monkeypatch):
    need = 4 * 8 * 8 * 3
    monkeypatch.setattr(module, "free_memory", lambda: 2 * need)
    in_memory = make_cache(records, SQUARE, share=0.5)
    assert type(in_memory) is MemoryCache
    assert in_memory.describe() == "Decoded images (1 MB) are kept in memory."
    assert "at most" in make_cache(records, OBLONG, share=1.0).describe()
    in_file = make_cache(records, SQUARE, share=0.5, processes=2)
    assert isinstance(in_file, FileCache)
    assert str(folder) in in_file.describe()

    usage = type("Usage", (), {"free": need})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    assert isinstance(make_cache(records, SQUARE, share=0.1), FileCache), "it is there already"
    nowhere = make_cache(records, Reader(Resize(9)), share=0.1)
    assert type(nowhere) is NoCache
    assert "set OLHAR_CACHE to a folder on a larger disk" in nowhere.describe()
    assert nowhere.get(0) is None


def test_a_folder_that_cannot_be_written_is_said(records, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OLHAR_CACHE", str(tmp_path / "file"))
    assert "set OLHAR_CACHE to another folder" in make_cache(records, SQUARE, share=1.0).describe()


def test_drawn_images_are_not_written_to_the_disk(monkeypatch):
    class Drawn:
        def render(self) -> Tensor:
            return image(0)

    monkeypatch.setattr(module, "free_memory", lambda: 0)
    assert type(make_cache([Record(id="0", image=Drawn(), split="train")], SQUARE, share=1.0)) is NoCache


def test_the_key_changes_with_the_files_their_order_and_the_resizing(records):
    keys = {cache_key(records, SQUARE), cache_key(records, OBLONG), cache_key(records[::-1], SQUARE)}
    os.utime(records[0].image, (1, 1))
    keys.add(cache_key(records, SQUARE))
    assert len(keys) == 4
    assert cache_key(records, SQUARE) in keys


def test_files_unused_for_two_weeks_are_removed(records, folder, monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 0)
    folder.mkdir()
    for days in (13, 15):
        (folder / f"{days}.pixels").touch()
        os.utime(folder / f"{days}.pixels", (time.time() - days * 86400,) * 2)
    (folder / "mine.txt").touch()
    os.utime(folder / "mine.txt", (0, 0))
    made = make_cache(records, SQUARE, share=1.0)
    assert {path.name for path in folder.iterdir()} == {"13.pixels", "mine.txt", made.file.name}


def test_where_the_cache_lies(monkeypatch):
    assert module.cache_folder() == Path(os.environ["OLHAR_CACHE"])
    monkeypatch.delenv("OLHAR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert module.cache_folder() == Path("/somewhere/olhar")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert module.cache_folder() == Path.home() / ".cache" / "olhar"


def test_free_memory_is_a_number_of_bytes():
    assert 0 < module.free_memory() <= module.psutil.virtual_memory().total
