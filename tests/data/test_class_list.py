"""Lists of classes in the forms that people and programs write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from olhar.data.class_list import ClassList, class_lists, colour_of
from olhar.data.listing import scan


def lists(root: Path, **files: Any) -> list[ClassList]:
    for name, content in files.items():
        file, _, ending = name.rpartition("_")
        (root / f"{file}.{ending}").write_text(content if isinstance(content, str) else json.dumps(content))
    return class_lists(scan(root), ["masks/train"])


def rows(found: ClassList) -> list[tuple[str, int | None, Any]]:
    return [(entry.name, entry.value, entry.colour) for entry in found.entries]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sky\nroad 2\n", [("sky", None, None), ("road 2", None, None)]),
        ("0 sky\n3: road\n", [("sky", 0, None), ("road", 3, None)]),
        ("sky,0\nroad,3\n", [("sky", 0, None), ("road", 3, None)]),
        ("64 128 64\tAnimal\n0 0 0\tVoid\n", [("Animal", None, (64, 128, 64)), ("Void", None, (0, 0, 0))]),
        ("Animal 64 128 64\nlow wall 0,0,0\n", [("Animal", None, (64, 128, 64)), ("low wall", None, (0, 0, 0))]),
        (
            "# label:color_rgb:parts:actions\nsky:1,2,3::\nsea:4,5,6::\n",
            [("sky", None, (1, 2, 3)), ("sea", None, (4, 5, 6))],
        ),
    ],
)
def test_lines(tmp_path: Path, content: str, expected: list[Any]) -> None:
    (found,) = lists(tmp_path, classes_txt=content)
    assert (found.file, rows(found)) == ("classes.txt", expected)


@pytest.mark.parametrize(
    "content",
    [
        "name,r,g,b\nsky,1,2,3\nsea,4,5,6\n",
        "sky,1,2,3\nsea,4,5,6\n",
        "r,g,b,name\n1,2,3,sky\n4,5,6,sea\n",
        "class;colour;area\nsky;1 2 3;big\nsea;4 5 6;big\n",
        "Class,Hex\nsky,#010203\nsea,040506\n",
    ],
)
def test_tables_of_colours(tmp_path: Path, content: str) -> None:
    (found,) = lists(tmp_path, class_dict_csv=content)
    assert rows(found) == [("sky", None, (1, 2, 3)), ("sea", None, (4, 5, 6))]
    assert found.has_colours


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (["sky", "sea"], [("sky", None, None), ("sea", None, None)]),
        ({"1": "sea", "0": "sky"}, [("sky", 0, None), ("sea", 1, None)]),
        ({"sky": 0, "sea": 1}, [("sky", 0, None), ("sea", 1, None)]),
        ({"sky": [1, 2, 3], "sea": [4, 5, 6]}, [("sky", None, (1, 2, 3)), ("sea", None, (4, 5, 6))]),
        ({"classes": [{"title": "sky", "color": "#010203"}]}, [("sky", None, (1, 2, 3))]),
        ({"labels": [{"name": "sky", "id": 4, "color": [1, 2, 3]}]}, [("sky", 4, (1, 2, 3))]),
    ],
)
def test_json(tmp_path: Path, content: Any, expected: list[Any]) -> None:
    (found,) = lists(tmp_path, labels_json=content)
    assert rows(found) == expected


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "classes.txt").write_text("a\nb\n")  # no folder of masks lies below it
    assert lists(tmp_path, readme_txt="a\nb\n", labels_csv="file,label\n1.jpg,cat\n2.jpg,cat\n") == []
    assert lists(tmp_path, config_json={"width": 3, "height": 4}, broken_json="{", labels_txt="a\na\n") == []
    assert [found.file for found in lists(tmp_path, meta_json={"classes": ["a", "b"]})] == ["meta.json"]


def test_colours() -> None:
    assert colour_of([1, 2, 3]) == colour_of("[1, 2, 3]") == colour_of("#010203") == (1, 2, 3)
    assert colour_of([1, 2]) is colour_of([1, 2, 256]) is colour_of(None) is colour_of("red") is None
