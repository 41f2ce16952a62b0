"""COCO's files: outlines and run lengths drawn as masks, beside the reference implementation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pictures import photo
from pycocotools import mask as reference

from olhar.config import DataConfig
from olhar.data.coco import fill_polygon
from olhar.data.coco_file import decode_rle, looks_like_coco, split_of_file
from olhar.data.recognise import recognise
from olhar.data.sample import IGNORE, Collection
from olhar.errors import UserError

CATEGORIES = [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}]


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)))
def test_run_lengths_are_those_of_the_reference(pixels: np.ndarray) -> None:
    packed = reference.encode(np.asfortranarray(pixels))
    height, width = pixels.shape
    assert (decode_rle(packed["counts"], height, width) == pixels).all()
    assert (decode_rle(packed["counts"].decode(), height, width) == pixels).all()
    flat = np.concatenate(([0], pixels.T.reshape(-1)))
    lengths = np.diff(np.concatenate(([0], np.flatnonzero(np.diff(flat)), [pixels.size])))
    assert (decode_rle(lengths.tolist(), height, width) == pixels).all()


def test_run_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="add up to 7 pixels, and the image has 6"):
        decode_rle([3, 4], 2, 3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' own code
def test_polygons_agree_with_the_reference() -> None:
    rng = np.random.default_rng(0)
    overlaps = []
    for _ in range(60):
        angles, radii = np.sort(rng.random(9)) * 2 * np.pi, rng.uniform(12, 40, 9)
        points = 35 + np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1).astype(np.float32)
        drawn = np.zeros((60, 80), np.uint8)
        fill_polygon(drawn, points, 1)
        expected = reference.decode(reference.merge(reference.frPyObjects([points.reshape(-1).tolist()], 60, 80)))
        overlaps.append((drawn & expected).sum() / (drawn | expected).sum())
    assert np.mean(overlaps) > 0.98
    assert np.min(overlaps) > 0.95


def test_a_polygon_covers_the_pixels_whose_middle_lies_inside() -> None:
    canvas = np.zeros((6, 8), np.uint8)
    fill_polygon(canvas, np.array([(1, 2), (4, 2), (4, 5), (1, 5)], np.float32), 7)
    assert np.argwhere(canvas).tolist() == [[y, x] for y in (2, 3, 4) for x in (1, 2, 3)]
    canvas[:] = 0
    fill_polygon(canvas, np.array([(-3, -3), (20, -3), (20, 20), (-3, 20)], np.float32), 1)
    assert canvas.all()
    fill_polygon(canvas, np.array([(30, 30), (40, 30), (40, 40)], np.float32), 2)
    assert (canvas == 1).all()


def square(image: int, category: int, x: float, side: float, **more: Any) -> dict[str, Any]:
    outline = [[x, 2.0, x + side, 2.0, x + side, 2 + side, x, 2 + side]]
    return {"id": 1, "image_id": image, "category_id": category, "area": side**2, "segmentation": outline} | more


def write(path: Path, annotations: list[dict[str, Any]], images: int = 1, **more: Any) -> Path:
    """A file beside images of 16 x 20 pixels in its folder."""
    for i in range(images):
        photo(path.parent / f"{i}.jpg")
    listed = [{"id": i, "file_name": f"{i}.jpg", "height": 16, "width": 20} for i in range(images)]
    tree = {"images": listed, "annotations": annotations, "categories": CATEGORIES} | more
    path.write_text(json.dumps(tree))
    return path


def read(data: Path, **settings: object) -> Collection:
    return recognise(data, config=DataConfig(**{"val_fraction": 0.0, "task": "segment", **settings}))  # type: ignore[arg-type]


def test_smaller_objects_lie_above_larger_ones_and_crowds_below_both(tmp_path: Path) -> None:
    crowd = square(0, 3, 0, 14, iscrowd=1, segmentation={"counts": [0, 16 * 20], "size": [16, 20]})
    write(tmp_path / "a.json", [square(0, 18, 4, 3), square(0, 3, 2, 8), crowd])
    found = read(tmp_path)
    assert found.class_names == ("background", "car", "dog")
    assert found.explanation == ("1 image (JPEG) with the outlines of 3 objects in a.json: segmentation, 3 classes.")
    drawn = found.records[0].mask.render().numpy()  # type: ignore[union-attr]
    assert (drawn == 2).sum() == 9
    assert (drawn == 1).sum() == 64 - 9
    assert (drawn == IGNORE).sum() == 16 * 20 - 64
    assert read(tmp_path / "a.json").class_names == found.class_names
    assert read(tmp_path, ignore="car").records[0].mask.render().numpy().max() == IGNORE  # type: ignore[union-attr]
    ignored = read(tmp_path, ignore="background")
    assert (ignored.class_names, "'background' is ignored" in ignored.explanation) == (("car", "dog"), True)


def test_files_of_splits_are_one_and_captions_are_none(tmp_path: Path) -> None:
    for split, n in (("train2017", 3), ("val2017", 2)):
        write(tmp_path / split / "x.json", [square(i, 18, 1, 4) for i in range(n)], n)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / split / "x.json").rename(tmp_path / f"annotations/instances_{split}.json")
        captions = {"images": [{"id": 0}], "annotations": [{"image_id": 0, "caption": "a dog"}]}
        (tmp_path / f"annotations/captions_{split}.json").write_text(json.dumps(captions))
    found = read(tmp_path)
    assert {(r.id, r.split) for r in found.records} == {
        *((f"train2017/{i}.jpg", "train") for i in range(3)),
        *((f"val2017/{i}.jpg", "val") for i in range(2)),
    }
    assert "splits by the names of the files" in found.explanation
    assert len(read(tmp_path / "annotations/instances_val2017.json").records) == 2
    assert split_of_file("valid/_annotations.coco.json") == "val"
    assert not looks_like_coco(tmp_path / "annotations/captions_train2017.json")


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [square(0, 99, 1, 4)])
    with pytest.raises(UserError, match=r"a\.json has an annotation \(id 1\) of category 99, which it does not list"):
        read(tmp_path)
    write(file, [square(7, 3, 1, 4)])
    with pytest.raises(UserError, match=r"a\.json has annotations of an image 7 that it does not list"):
        read(tmp_path)
    tree = json.loads(write(file, [square(0, 3, 1, 4)]).read_text())
    file.write_text(json.dumps(tree | {"images": [tree["images"][0], tree["images"][0] | {"id": 1}]}))
    with pytest.raises(UserError, match=r"a\.json lists 0\.jpg, which was listed before"):
        read(tmp_path)
    write(file, [square(0, 3, 1, 4, segmentation=[])])
    with pytest.raises(UserError, match=r"a\.json has boxes and no outlines of objects"):
        read(tmp_path)
    file.write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not proper JSON"):
        read(file)
    file.write_text('{"images": []}')
    with pytest.raises(UserError, match=r"a\.json has no list of 'categories'"):
        read(file)
    write(file, [square(0, 3, 1, 4, segmentation={"counts": [5], "size": [16, 20]})])
    with pytest.raises(UserError, match=r"a\.json, image 0: run lengths add up to 5 pixels"):
        read(tmp_path).records[0].mask.render()  # type: ignore[union-attr]


def test_missing_images_and_objects_without_an_outline(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [square(0, 3, 1, 4), square(1, 3, 1, 4, segmentation=[])], 3)
    (tmp_path / "2.jpg").unlink()
    with pytest.raises(UserError, match=r"names 1 image not found .*first: 2\.jpg.*--allow missing-files"):
        read(file)
    found = read(tmp_path, allow=("missing-files",))
    assert len(found.records) == 2
    assert [f.message for f in found.findings] == [
        "1 image with objects that have a box and no outline, left as background: 1.jpg."
    ]
