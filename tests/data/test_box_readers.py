"""Boxes in every form people keep them in, and every fault they may have."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from olhar.config import DataConfig
from olhar.data.doctor import Report, examine
from olhar.data.recognise import recognise
from olhar.data.sample import Collection, Finding, Record
from olhar.errors import UserError

WIDTH, HEIGHT = 80, 60
Boxes = list[tuple[str, tuple[float, float, float, float]]]
CAT, DOG = (10.0, 20.0, 40.0, 50.0), (30.0, 5.0, 70.0, 25.0)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLHAR_CACHE", str(tmp_path_factory.mktemp("cache")))


def picture(path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def xml(boxes: Boxes, extra: str = "", difficult: int = 0) -> str:
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in boxes
    )
    return f"<annotation>{extra}{objects}</annotation>"


def voc(root: Path, images: dict[str, Boxes], **options: Any) -> Path:
    for name, boxes in images.items():
        picture(root / f"JPEGImages/{name}.jpg")
        write(root / f"Annotations/{name}.xml", xml(boxes, **options))
    return root


def read(root: Path, **changes: Any) -> Collection:
    return recognise(root, config=DataConfig(val_fraction=0.0, **changes))


def check(root: Path) -> Report:
    return examine(read(root))


def the(code: str, report: Report) -> Finding:
    (found,) = [found for found in report.findings if found.code == code]
    return found


def named(collection: Collection, record: Record) -> Boxes:
    labels = [collection.class_names[k] for k in record.box_labels or ()]
    return list(zip(labels, record.boxes or (), strict=True))


def only(collection: Collection) -> Boxes:
    (record,) = collection.records
    return named(collection, record)


TWO: Boxes = [("dog", DOG), ("cat", CAT)]


def test_pascal_voc_with_its_lists(tmp_path: Path) -> None:
    voc(tmp_path, {f"im{i}": [("dog", (0.0, 1.0, 20.0, 30.0)), ("cat", CAT)] for i in range(5)})
    for split, names in (("train", "im0\nim1"), ("trainval", "im0\nim1\nim2"), ("val", "im2"), ("test", "im3")):
        write(tmp_path / f"ImageSets/Main/{split}.txt", names)
    write(tmp_path / "ImageSets/Segmentation/train.txt", "im4\nim3\nim2\nim1\nim0")
    found = read(tmp_path)
    assert (found.task, found.class_names) == ("detect", ("cat", "dog"))
    assert {r.id: r.split for r in found.records} == {
        "JPEGImages/im0.jpg": "train",
        "JPEGImages/im1.jpg": "train",
        "JPEGImages/im2.jpg": "val",
        "JPEGImages/im3.jpg": "test",
    }
    assert named(found, found.records[0]) == [("dog", (0.0, 1.0, 20.0, 30.0)), ("cat", CAT)]
    assert found.explanation == (
        "4 images (JPEG) with 8 boxes in Pascal VOC's XML in Annotations/: detection, 2 classes; "
        "splits by train.txt, val.txt and test.txt in ImageSets/Main/."
    )
    assert found.notes == ("1 image in no list of a split left out (first: JPEGImages/im4.jpg).",)


def test_lists_tell_photos_of_one_name_by_their_folders(tmp_path: Path) -> None:
    for camera in ("left", "right"):
        for n in range(2):
            voc(tmp_path / camera, {f"im{n}": [("dog", DOG)]})
    write(tmp_path / "train.txt", "left/JPEGImages/im0.jpg\nright/JPEGImages/im1.jpg")
    write(tmp_path / "val.txt", "left/JPEGImages/im1.jpg\nright/JPEGImages/im0.jpg")
    splits = {r.id.replace("/JPEGImages", ""): r.split for r in read(tmp_path, format="voc").records}
    assert splits == {"left/im0.jpg": "train", "left/im1.jpg": "val", "right/im0.jpg": "val", "right/im1.jpg": "train"}


def test_xml_beside_the_images_in_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        picture(tmp_path / f"{split}/1.png")
        write(tmp_path / f"{split}/1.xml", xml(TWO))
    found = read(tmp_path)
    assert [(r.id, r.split) for r in found.records] == [("train/1.png", "train"), ("valid/1.png", "val")]
    assert "splits by their folders" in found.explanation


def test_difficult_objects_need_not_be_found(tmp_path: Path) -> None:
    voc(tmp_path, {"a": TWO}, difficult=1)
    voc(tmp_path, {"b": TWO})
    assert [r.box_ignored for r in read(tmp_path).records] == [(True, True), None]


def test_pixels_that_are_counted_from_1(tmp_path: Path) -> None:
    voc(tmp_path, {"a": [("cat", (1.0, 1.0, 80.0, 60.0)), ("cat", (5.0, 5.0, 5.0, 9.0))]})
    assert only(read(tmp_path)) == [("cat", (0.0, 0.0, 80.0, 60.0))]
    report = check(tmp_path)
    assert the("counted-from-one", report).level == "repaired"
    assert "1 box without an area inside the image is left out" in the("box-area", report).message


def test_hostile_xml_is_refused(tmp_path: Path) -> None:
    voc(tmp_path, {"a": TWO, "b": TWO})
    bomb = '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    write(tmp_path / "Annotations/a.xml", bomb + xml([("&b;", CAT)]))
    with pytest.raises(UserError, match=r"a\.xml declares a document type or entities"):
        read(tmp_path)
    other = '<!DOCTYPE annotation SYSTEM "file:///etc/passwd">'
    write(tmp_path / "Annotations/a.xml", other + xml(TWO))
    with pytest.raises(UserError, match=r"a\.xml declares a document type"):
        read(tmp_path)
    write(tmp_path / "Annotations/a.xml", xml(TWO, extra=f"<folder>{'x' * (1 << 22)}</folder>"))
    with pytest.raises(UserError, match=r"a\.xml has 4,194,\d+ bytes, and an annotation at most 4,194,304"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (xml(TWO)[:-40], "a.xml is not whole XML"),
        (xml([("", CAT)]), "a.xml has an object without <name>"),
        (xml([("cat", CAT)]).replace("bndbox", "box"), "a.xml has an object without <bndbox>"),
        (xml([("cat", CAT)]).replace("40.0", "wide"), "a.xml has 'wide' where <xmax> must be a number"),
    ],
)
def test_one_broken_file_of_many_is_left_out_and_said(tmp_path: Path, text: str, why: str) -> None:
    voc(tmp_path, dict.fromkeys("abcdefghijkl", TWO))
    write(tmp_path / "Annotations/a.xml", text)
    report = check(tmp_path)
    found = the("broken-annotation", report)
    assert found.level == "repaired"
    assert found.files == ("Annotations/a.xml",)
    assert why in found.cure
    assert len(read(tmp_path).records) == 11


def test_many_broken_files_are_refused(tmp_path: Path) -> None:
    voc(tmp_path, {"a": TWO, "b": TWO})
    write(tmp_path / "Annotations/a.xml", "<annotation>")
    assert the("broken-annotation", check(tmp_path)).level == "refused"


def test_not_one_whole_file_is_said_with_the_cure(tmp_path: Path) -> None:
    voc(tmp_path, {"a": TWO, "b": TWO})
    for name in "ab":
        write(tmp_path / f"Annotations/{name}.xml", xml(TWO)[:-40])
    with pytest.raises(UserError, match=r"not one image to learn from .* 2 files of 2 with boxes cannot be read"):
        check(tmp_path)


def test_a_broken_first_file_does_not_hide_the_others(tmp_path: Path) -> None:
    voc(tmp_path, dict.fromkeys("abcdefghijkl", TWO))
    write(tmp_path / "Annotations/a.xml", "")
    assert the("broken-annotation", check(tmp_path)).files == ("Annotations/a.xml",)


def test_files_without_their_partner(tmp_path: Path) -> None:
    voc(tmp_path, dict.fromkeys("abc", TWO))
    (tmp_path / "JPEGImages/a.jpg").unlink()
    picture(tmp_path / "JPEGImages/alone.jpg")
    report = check(tmp_path)
    assert the("missing-image", report).message == ("1 annotation has no image and is left out: Annotations/a.xml.")
    assert the("image-without-boxes", report).files == ("JPEGImages/alone.jpg",)


def test_boxes_with_faults_are_mended_and_said(tmp_path: Path) -> None:
    boxes: Boxes = [
        ("cat", (-10.0, 20.0, 40.0, 50.0)),  # outside on one side
        ("cat", (81.0, 5.0, 99.0, 25.0)),  # outside altogether
        ("cat", (40.0, 50.0, 10.0, 20.0)),  # turned
        ("dog", DOG),
        ("dog", DOG),  # twice
        ("cat", DOG),  # the same box, another class
    ]
    voc(tmp_path, {"a": boxes, "empty": [], **{f"good{i}": TWO * 1 for i in range(60)}})
    found = read(tmp_path)
    assert named(found, found.records[0]) == [
        ("cat", (0.0, 20.0, 40.0, 50.0)),
        ("cat", CAT),
        ("dog", DOG),
        ("cat", DOG),
    ]
    assert found.records[1].boxes == ()
    report = check(tmp_path)
    assert the("box-outside", report).message == ("1 box reaches outside the image and is clipped: JPEGImages/a.jpg.")
    assert the("box-area", report).message.startswith("1 box without an area inside the image is left out")
    assert the("box-corners", report).message.startswith("1 box whose second corner lies before the first")
    assert the("box-duplicate", report).message.startswith("1 box equal to another of the same class is left out")
    empty = the("no-object", report)
    assert empty.message == "1 image without a box is kept as background: JPEGImages/empty.jpg."
    assert {f.level for f in report.findings} == {"repaired", "warning"}  # the copies of one black image


def test_healthy_boxes_have_no_findings(tmp_path: Path) -> None:
    voc(tmp_path, {f"im{i}": TWO for i in range(25)})
    for i, path in enumerate(sorted((tmp_path / "JPEGImages").iterdir())):
        Image.new("RGB", (WIDTH, HEIGHT), (10 * i, 0, 0)).save(path)
    assert check(tmp_path).findings == ()


def test_width_and_height_where_corners_were_expected(tmp_path: Path) -> None:
    # x, y, width, height: as corners, the second would end before it begins
    voc(tmp_path, {"a": [("cat", (10, 20, 30, 30)), ("dog", (50, 40, 20, 15))], "b": [("cat", (60, 0, 15, 20))]})
    found = read(tmp_path)
    assert named(found, found.records[0]) == [("cat", (10, 20, 40, 50)), ("dog", (50, 40, 70, 55))]
    message = the("box-form", check(tmp_path)).message
    assert message.startswith("The boxes of the annotations are x, y, width, height, not x0, y0, x1, y1")


def test_names_that_differ_by_case_are_one_class(tmp_path: Path) -> None:
    voc(tmp_path, {"a": TWO, "b": TWO, "c": [("Cat", CAT)]})
    found = read(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert the("class-case", check(tmp_path)).message == (
        "Names of classes that differ only by case are one class, the commonest spelling: 'cat' (2) and 'Cat' (1): "
        "Annotations/c.xml."
    )


def test_numbered_classes_of_one_name_are_one_class(tmp_path: Path) -> None:
    """In the order of their numbers; the commonest spelling counts."""
    for name, lines in (("a", f"0 {shares(DOG)}\n1 {shares(CAT)}"), ("b", f"2 {shares(CAT)}\n2 {shares(DOG)}")):
        picture(tmp_path / f"images/{name}.jpg")
        write(tmp_path / f"labels/{name}.txt", lines)
    write(tmp_path / "data.yaml", "names: [dog, Cat, cat, bird]")
    found = read(tmp_path)
    assert found.class_names == ("dog", "cat", "bird")
    assert "detection, 3 classes" in found.explanation
    assert [record.box_labels for record in found.records] == [(0, 1), (1, 1)]
    assert the("class-case", check(tmp_path)).message == (
        "Names of classes that differ only by case are one class, the commonest spelling: 'cat' (2) and 'Cat' (1): "
        "labels/a.txt."
    )


def test_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    annotations = [{"id": k, "image_id": 1, "category_id": k, "bbox": [10 * k, 5, 20, 20]} for k in (1, 2, 3)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cat"}]
    image = {"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}
    tree = {"images": [image], "annotations": annotations, "categories": categories}
    write(tmp_path / "boxes.json", json.dumps(tree))
    found = read(tmp_path)
    assert (found.class_names, found.records[0].box_labels) == (("cat", "dog"), (0, 1, 0))
    message = the("class-case", check(tmp_path)).message
    assert message == "Names of classes that occur twice are one class: 'cat' (1) and 'cat' (1): boxes.json."


def test_no_object_at_all_is_refused(tmp_path: Path) -> None:
    voc(tmp_path, {"a": [], "b": []})
    assert the("no-boxes", check(tmp_path)).level == "refused"


def test_boxes_that_were_drawn_on_another_size(tmp_path: Path) -> None:
    size = "<size><width>80</width><height>60</height></size>"
    voc(tmp_path, {"a": TWO, "b": TWO}, extra=size)
    picture(tmp_path / "JPEGImages/a.jpg", 60, 80)
    found = the("box-size", check(tmp_path))
    assert (found.level, found.files) == ("refused", ("JPEGImages/a.jpg",))


def shares(box: tuple[float, float, float, float]) -> str:
    x0, y0, x1, y1 = box
    numbers = ((x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT)
    return " ".join(f"{n:.6f}" for n in numbers)


def close(found: Boxes, expected: Boxes) -> bool:
    assert [name for name, _ in found] == [name for name, _ in expected]
    return all(box == pytest.approx(other, abs=0.01) for (_, box), (_, other) in zip(found, expected, strict=True))


@pytest.mark.parametrize("layout", ["images/{s}/{f}.jpg labels/{s}/{f}.txt", "{s}/images/{f}.jpg {s}/labels/{f}.txt"])
def test_yolo_with_its_yaml(tmp_path: Path, layout: str) -> None:
    image, label = layout.split()
    for split in ("train", "val"):
        for name in ("a", "b"):
            picture(tmp_path / image.format(s=split, f=name))
        write(tmp_path / label.format(s=split, f="a"), f"1 {shares(DOG)}\n0 {shares(CAT)}\n")
    folder = image.format(s="train", f="").rpartition("/")[0]
    write(tmp_path / "data.yaml", f"path: /far/away\ntrain: ../{folder}\nval: {folder.replace('train', 'val')}\n")
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("nc: 2\nnames: {0: cat, 1: dog}\n")
    found = read(tmp_path)
    assert {r.split for r in found.records} == {"train", "val"}
    assert close(named(found, found.records[0]), TWO)
    assert sum(r.boxes == () for r in found.records) == 2  # no file: no object
    assert "2 classes named in data.yaml; splits by data.yaml" in found.explanation
    assert the("no-object", check(tmp_path)).level == "repaired"


def test_yolo_without_a_yaml(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"obj/{name}.jpg")
        write(tmp_path / f"obj/{name}.txt", f"1 {shares(DOG)}\n0 {shares(CAT)}\n")
    found = read(tmp_path)
    assert found.class_names == ("0", "1")
    assert "called by their numbers" in found.explanation
    write(tmp_path / "obj.names", "cat\ndog\n")
    found = read(tmp_path)
    assert close(named(found, found.records[1]), TWO)
    assert found.class_names == ("cat", "dog")


def test_yolos_outlines_become_the_boxes_around_them(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 0.25 0.5 0.5 0.25 0.75 0.5 0.5 1.0\n")
    assert close(only(read(tmp_path)), [("0", (20, 15, 60, 60))])


def test_numbers_of_classes_beyond_their_names_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", f"2 {shares(DOG)}\n0 {shares(CAT)}\n")
    write(tmp_path / "classes.txt", "cat\ndog\n")
    found = the("class-range", check(tmp_path))
    assert found.level == "refused"
    assert found.message == "1 box of class 2, and there are 2 names (0 to 1): labels/a.txt."
    assert close(only(read(tmp_path)), [("cat", CAT)])


def test_a_line_that_is_no_box(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.jpg")
        write(tmp_path / f"labels/{name}.txt", f"0 {shares(CAT)}\n")
    write(tmp_path / "labels/a.txt", f"0 {shares(CAT)}\n0 0.1 0.2\n")
    assert "labels/a.txt has '0 0.1 0.2' in line 2" in the("broken-annotation", check(tmp_path)).cure


@pytest.mark.parametrize("line", ["99999999999999999999 0.5 0.5 0.2 0.2", "0.5 0.5 0.5 0.2 0.2", "0 0.5 0.5 inf 0.2"])
def test_a_line_without_a_class_or_a_size_is_said(tmp_path: Path, line: str) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.jpg")
        write(tmp_path / f"labels/{name}.txt", f"0 {shares(CAT)}\n")
    write(tmp_path / "labels/a.txt", f"0 {shares(CAT)}\n{line}\n")
    assert f"labels/a.txt has '{line}' in line 2" in the("broken-annotation", check(tmp_path)).cure


@pytest.mark.parametrize("names", ["{a: cat}", "{0: cat, 900000000: dog}"])
def test_names_of_classes_without_their_numbers(tmp_path: Path, names: str) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", f"0 {shares(CAT)}\n")
    write(tmp_path / "data.yaml", f"names: {names}\n")
    with pytest.raises(UserError, match=r"data\.yaml numbers a class '(a|900000000)': number the names"):
        read(tmp_path)


def coco(root: Path, boxes: list[tuple[float, ...]], **more: Any) -> None:
    picture(root / "images/a.jpg")
    annotations = [
        {"id": i, "image_id": 7, "category_id": 3 if i else 9, "bbox": list(box), "iscrowd": 0, **more}
        for i, box in enumerate(boxes)
    ]
    tree = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "annotations": annotations,
        "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    write(root / "instances_train.json", json.dumps(tree))


def test_coco_boxes(tmp_path: Path) -> None:
    coco(tmp_path, [(30, 5, 40, 20), (10, 20, 30, 30)])
    found = read(tmp_path)
    assert found.class_names == ("cat", "dog")  # in the order of their ids
    assert only(found) == TWO
    assert "1 image (JPEG) with 2 boxes in instances_train.json: detection, 2 classes" in found.explanation
    assert only(read(tmp_path / "instances_train.json")) == TWO


def test_coco_with_outlines_can_be_read_in_two_ways(tmp_path: Path) -> None:
    coco(tmp_path, [(30, 5, 40, 20)], segmentation=[[30, 5, 70, 5, 70, 25, 30, 25]])
    with pytest.raises(UserError, match=r"(?s)in 2 ways.*--task segment.*--task detect"):
        read(tmp_path)
    assert only(read(tmp_path, task="detect")) == [("dog", DOG)]
    assert read(tmp_path, task="segment").task == "segment"


def test_coco_with_corners_where_sizes_were_expected(tmp_path: Path) -> None:
    coco(tmp_path, [DOG, CAT])
    assert only(read(tmp_path)) == TWO
    assert "are x0, y0, x1, y1, not x, y, width, height" in the("box-form", check(tmp_path)).message


def test_coco_crowds_and_missing_boxes(tmp_path: Path) -> None:
    coco(tmp_path, [(30, 5, 40, 20)], iscrowd=1)
    assert read(tmp_path).records[0].box_ignored == (True,)
    coco(tmp_path, [(30, 5, 40)])
    with pytest.raises(UserError, match=r"instances_train.json has an annotation \(id 0\) without a 'bbox'"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["", '{"im', '{"images": [{"id": 1, "fi'])
@pytest.mark.parametrize("task", [None, "detect"])
def test_coco_that_ends_within_its_first_words(tmp_path: Path, text: str, task: str | None) -> None:
    picture(tmp_path / "images/a.jpg")
    write(tmp_path / "annotations.json", text)
    with pytest.raises(UserError, match=r"annotations\.json is (empty|not proper JSON)"):
        read(tmp_path, task=task)


def test_coco_of_missing_images_and_cut_off(tmp_path: Path) -> None:
    coco(tmp_path, [(30, 5, 40, 20)])
    (tmp_path / "images/a.jpg").rename(tmp_path / "images/b.jpg")
    with pytest.raises(UserError, match=r"names 1 image not found below .* \(first: a.jpg\): put them there"):
        read(tmp_path)
    path = tmp_path / "instances_train.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(UserError, match=r"instances_train.json is not proper JSON"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"annotations": "none"}, "is not as COCO's files are"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": "wide", "height": 9}]}, "is not as COCO's files are"),
        ({"annotations": [{"id": 4, "image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "of an image 0 that"),
        (
            {"annotations": [{"id": 4, "image_id": 7, "category_id": 5, "bbox": [1, 2, 3, 4]}]},
            r"json has an annotation \(id 4\) of category 5, which it does not list: add",
        ),
    ],
)
def test_coco_that_is_not_as_it_should_be(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    coco(tmp_path, [(30, 5, 40, 20)])
    path = tmp_path / "instances_train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=rf"instances_train\.json.*{why}|instances_train\.{why}"):
        read(tmp_path)


def table(root: Path, text: str) -> Path:
    for name in ("a", "b"):
        picture(root / f"images/{name}.jpg")
    write(root / "boxes.csv", text)
    return root


ROWS = ("{f}a.jpg,{dog},dog", "{f}a.jpg,{cat},cat")


@pytest.mark.parametrize(
    ("header", "dog", "cat"),
    [
        ("filename,xmin,ymin,xmax,ymax,class", "30,5,70,25", "10,20,40,50"),
        ("image_id,x1,y1,x2,y2,label", "30,5,70,25", "10,20,40,50"),
        ("image,x,y,w,h,name", "30,5,40,20", "10,20,30,30"),
        ("image,bbox_x,bbox_y,bbox_width,bbox_height,name", "30,5,40,20", "10,20,30,30"),
        ("file,x_center,y_center,width,height,class", "50,15,40,20", "25,35,30,30"),
        ("file,xmin,ymin,xmax,ymax,class", "0.375,0.083333,0.875,0.416667", "0.125,0.333333,0.5,0.833333"),
        ("file,bbox,class", '"[30, 5, 40, 20]"', '"[10, 20, 30, 30]"'),
        ("", "30,5,70,25", "10,20,40,50"),
    ],
)
def test_a_table_of_boxes(tmp_path: Path, header: str, dog: str, cat: str) -> None:
    rows = "\n".join(row.format(f="images/" if not header else "", dog=dog, cat=cat) for row in ROWS)
    table(tmp_path, f"{header}\n{rows}\n" if header else f"{rows}\nimages/b.jpg,,,,,\n")
    found = read(tmp_path)
    assert found.task == "detect"
    assert close(named(found, found.records[0]), TWO)
    if not header:
        assert found.records[1].boxes == ()


def test_a_table_with_sizes_splits_and_no_classes(tmp_path: Path) -> None:
    text = "file,width,height,xmin,ymin,xmax,ymax,split\na.jpg,80,60,30,5,70,25,train\nb.jpg,80,60,10,20,40,50,val\n"
    found = read(table(tmp_path, text))
    assert [(r.split, named(found, r)) for r in found.records] == [
        ("train", [("object", DOG)]),
        ("val", [("object", CAT)]),
    ]
    assert "1 class ('object', as no column names any); splits by column 'split'" in found.explanation


def test_tables_with_faults(tmp_path: Path) -> None:
    head = "file,xmin,ymin,xmax,ymax,class\n"
    with pytest.raises(UserError, match=r"boxes of 1 image not found below .* \(first: z.jpg\): correct column 'file'"):
        read(table(tmp_path, head + "a.jpg,1,2,3,4,cat\nz.jpg,1,2,3,4,cat\nb.jpg,1,2,3,4,cat"))
    with pytest.raises(UserError, match=r"boxes.csv, line 3 has '1', '', '3' and '4' where the numbers of a box"):
        read(table(tmp_path, head + "a.jpg,1,2,3,4,cat\nb.jpg,1,,3,4,cat"))
    # x, y, width, height in columns that promise corners
    text = head + "a.jpg,30,15,40,10,dog\nb.jpg,60,20,15,30,cat\nb.jpg,50,40,10,10,cat"
    assert "columns" not in the("box-form", check(table(tmp_path, text))).message
    found = read(tmp_path)
    assert named(found, found.records[0]) == [("dog", (30, 15, 70, 25))]


def test_a_table_without_boxes_is_still_one_of_classes(tmp_path: Path) -> None:
    for name in ("c", "d"):
        picture(tmp_path / f"images/{name}.jpg")
    found = read(table(tmp_path, "file,label\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\nd.jpg,dog\n"))
    assert found.task == "classify"


def test_no_annotation_at_all(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    with pytest.raises(UserError, match=r"No boxes were found in .*, for none of its 1 image: give .*XML"):
        read(tmp_path, task="detect")


def test_boxes_change_the_fingerprint(tmp_path: Path) -> None:
    voc(tmp_path, {"a": TWO})
    before = read(tmp_path).fingerprint()
    assert read(tmp_path).fingerprint() == before
    write(tmp_path / "Annotations/a.xml", xml([("dog", DOG), ("cat", (10, 20, 40, 51))]))
    assert read(tmp_path).fingerprint() != before
