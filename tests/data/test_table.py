"""Tables of every dialect: which column is what, what the labels are, and what is said where that is not clear."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from olhar.config import DataConfig
from olhar.data.labels import decide
from olhar.data.recognise import recognise
from olhar.data.sample import Collection
from olhar.data.table_file import Table
from olhar.errors import UserError

NAMES = [f"{i}.jpg" for i in range(12)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of twelve images, 0.jpg to 11.jpg."""
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def write(folder: Path, header: str, rows: Sequence[str], name: str = "labels.csv") -> Path:
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder / name


def read(path: Path, **settings: object) -> Collection:
    return recognise(path, config=DataConfig(**{"val_fraction": 0.0, **settings}))  # type: ignore[arg-type]


def words(collection: Collection) -> dict[str, str]:
    return {r.id: collection.class_names[r.label or 0] for r in collection.records}


CATS = [f"{name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(NAMES)]


# --- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_the_separator_is_found(images: Path, separator: str) -> None:
    rows = [row.replace(",", separator) for row in CATS]
    found = read(write(images, f"file{separator}label", rows))
    assert words(found)["1.jpg"] == "cat"
    assert found.explanation == (
        "labels.csv names 12 JPEG in column 'file'; column 'label' holds 2 different words: classification, 2 classes."
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encodings_of_spreadsheets(images: Path, encoding: str) -> None:
    lines = ["file,label", *(row.replace("cat", "ônibus") for row in CATS)]
    (images / "labels.csv").write_text("\r\n".join(lines), encoding=encoding)
    assert words(read(images))["1.jpg"] == "ônibus"


def test_json_lines(images: Path) -> None:
    rows = [json.dumps({"file_name": name, "label": "cat" if i % 2 else "dog"}) for i, name in enumerate(NAMES)]
    found = read(write(images, rows[0], rows[1:], "metadata.jsonl"))
    assert words(found)["1.jpg"] == "cat"


def test_a_line_that_is_not_json_is_named(images: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.jsonl, line 2 is not JSON"):
        read(write(images, '{"file": "0.jpg", "label": 1}', ["{oops"], "labels.jsonl"))


def test_a_line_with_too_many_or_too_few_cells_is_named(images: Path) -> None:
    with pytest.raises(UserError, match=r"line 3 has 3 cells where the first line has 2"):
        read(write(images, "file,label", ["0.jpg,cat", "1.jpg,cat,dog"]))
    with pytest.raises(UserError, match=r"line 2 has 1 cell where the first line has 2"):
        read(write(images, "file,label", ["0.jpg", "1.jpg,cat"]))
    assert len(read(write(images, "file,label", [f"{row},," for row in CATS])).records) == 12


def test_a_quoted_cell_may_hold_the_separator_and_a_line_break(images: Path) -> None:
    rows = [f'{name},"a, {"b" if i % 2 else "c"}","two\nlines"' for i, name in enumerate(NAMES)]
    assert read(write(images, "file,label,note", rows)).class_names == ("a, b", "a, c")


def test_a_table_without_a_header(images: Path) -> None:
    found = read(write(images, CATS[0], CATS[1:]))
    assert len(found.records) == 12
    assert found.class_names == ("cat", "dog")


# --- which column is what -------------------------------------------------------------------------------------


def test_files_are_found_without_extension_in_folders_and_in_another_case(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / f"IMG_{i}.JPG")
    rows = [f"img_{i},{'ab'[i % 2]}" for i in range(12)]
    found = read(write(tmp_path, "id,kind", rows))
    assert found.records[3].id == "pictures/IMG_3.JPG"
    assert found.records[3].image == tmp_path / "pictures" / "IMG_3.JPG"


def test_paths_with_backslashes_and_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{i}.png")
    found = read(write(tmp_path / "labels", "file,label", [f"..\\images\\{i}.png,{'ab'[i % 2]}" for i in range(4)]))
    assert {r.id for r in found.records} == {f"../images/{i}.png" for i in range(4)}


def test_class_numbers_beside_images_called_1_and_2_are_no_files(images: Path) -> None:
    found = read(write(images, "id,digit", [f"{i},{i % 2}" for i in range(12)]))
    assert found.records[3].id == "3.jpg"
    assert found.class_names == ("0", "1")


def test_two_columns_of_files_are_both_shown(images: Path) -> None:
    path = write(images, "before,after,label", [f"{i}.jpg,{11 - i}.jpg,{'ab'[i % 2]}" for i in range(12)])
    with pytest.raises(UserError) as error:
        read(path)
    assert "--data.file-column before   (such as '0.jpg')" in str(error.value)
    assert "--data.file-column after   (such as '11.jpg')" in str(error.value)
    assert read(path, file_column="after").records[0].id == "11.jpg"


def test_an_unknown_column_offers_the_nearest(images: Path) -> None:
    path = write(images, "file,label", CATS)
    with pytest.raises(UserError, match=r"no column 'lable': did you mean 'label'"):
        read(path, label_column="lable")
    with pytest.raises(UserError, match=r"no column 'fle': did you mean 'file'"):
        read(path, file_column="fle")


def test_labels_that_could_be_several_columns_are_shown(images: Path) -> None:
    rows = [f"{name},{'ab'[i % 2]},{'xy'[i // 6]}" for i, name in enumerate(NAMES)]
    path = write(images, "file,colour,shape", rows)
    with pytest.raises(UserError, match=r"(?s)is to be learnt.*colour   \(such as 'a'\).*shape"):
        read(path)
    assert read(path, label_column="shape").class_names == ("x", "y")


def test_a_column_called_label_is_the_label(images: Path) -> None:
    rows = [f"{i},{name},{'ab'[i % 2]},{'xy'[i // 6]}" for i, name in enumerate(NAMES)]
    assert read(write(images, ",file,hospital,label", rows)).class_names == ("x", "y")


def test_of_a_class_and_its_number_the_word_is_read(images: Path) -> None:
    rows = [f"{name},{i % 2},{'ab'[i % 2]}" for i, name in enumerate(NAMES)]
    assert read(write(images, "file,label,class", rows)).class_names == ("a", "b")


def test_a_table_given_by_name_in_which_nothing_is_a_file(images: Path) -> None:
    with pytest.raises(UserError, match=r"No column of .*labels.csv names images"):
        read(write(images, "name,label", ["ana,x", "rui,y"]))


def test_a_table_without_rows(images: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.csv has no rows"):
        read(write(images, "file,label", []))


def test_a_large_table_is_read_in_time_proportional_to_its_rows() -> None:
    took = []
    for rows in (4_000, 40_000):
        cells = [f"class {i % 50}" for i in range(rows)]
        start = time.process_time()
        assert len(decide("kind", cells, None, place).class_names) == 50
        took.append(time.process_time() - start)
    assert took[1] < 40 * took[0]  # ten times the rows: ten times the time, where a quadratic step takes a hundred


def test_images_but_no_labels(images: Path) -> None:
    with pytest.raises(UserError, match="names images but no labels"):
        read(write(images, "file,split", [f"{name},train" for name in NAMES]))


# --- splits ---------------------------------------------------------------------------------------------------


def test_a_split_column(images: Path) -> None:
    rows = [f"{row},{['train', 'Valid', 'TEST'][i % 3]}" for i, row in enumerate(CATS)]
    found = read(write(images, "file,label,split", rows))
    assert [len(found.split(s)) for s in ("train", "val", "test")] == [4, 4, 4]
    assert found.split_origin == dict.fromkeys(("train", "val", "test"), "column 'split'")
    assert found.explanation.endswith("splits by column 'split'.")


def test_a_split_column_that_says_something_else(images: Path) -> None:
    rows = [f"{row},{'train' if i else 'holdout'}" for i, row in enumerate(CATS)]
    with pytest.raises(UserError, match=r"Column 'split' says 'holdout' in labels\.csv, line 2"):
        read(write(images, "file,label,split", rows))


@pytest.mark.parametrize("pattern", ["{}.csv", "{}_labels.csv"])
def test_a_table_for_each_split(images: Path, pattern: str) -> None:
    write(images, "file,label", CATS[:8], pattern.format("train"))
    write(images, "file,label", CATS[8:], pattern.format("val"))
    found = read(images)
    assert [len(found.split(s)) for s in ("train", "val")] == [8, 4]


def test_a_test_table_without_labels_is_left_out_and_said(images: Path) -> None:
    write(images, "file,label", CATS[:8], "train.csv")
    write(images, "file", NAMES[8:], "test.csv")
    found = read(images)
    assert len(found.records) == 8
    assert found.notes == ("test.csv has no label in 4 rows of column 'label': left out.",)


def test_splits_from_the_folders_of_the_images(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / split / f"{i}.jpg")
    rows = [f"{split}/{i}.jpg,{'ab'[i % 2]}" for split in ("train", "test") for i in range(4)]
    found = read(write(tmp_path, "file,label", rows))
    assert [len(found.split(s)) for s in ("train", "test")] == [4, 4]


def test_the_same_name_in_two_splits_is_told_apart_by_the_tables_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / split / f"{i}.jpg")
        write(tmp_path, "id,label", [f"{i},{'ab'[i % 2]}" for i in range(4)], f"{split}.csv")
    assert {(r.id, r.split) for r in read(tmp_path).records} >= {("train/0.jpg", "train"), ("test/0.jpg", "test")}


# --- rows -----------------------------------------------------------------------------------------------------


def test_files_that_are_not_there_are_counted_named_and_left_out_if_allowed(images: Path) -> None:
    path = write(images, "file,label", [*CATS, "x.jpg,cat", "y.jpg,cat", "z.jpg,dog", "w.jpg,dog"])
    with pytest.raises(UserError, match=r"names 4 files not found below .* \(first: x.jpg, y.jpg and z.jpg\)"):
        read(path)
    found = read(path, allow=("missing-files",))
    assert len(found.records) == 12
    assert found.notes[0].endswith("left out.")


def test_none_of_the_files_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names 12 files not found"):
        read(write(tmp_path, "file,label", CATS))


def test_labels_that_are_missing(images: Path) -> None:
    path = write(images, "file,label", [*CATS[:10], "10.jpg,", "11.jpg,nan"])
    with pytest.raises(UserError, match=r"no label in 2 rows of column 'label' \(first: line 12\)"):
        read(path)
    assert len(read(path, allow=("missing-labels",)).records) == 10


def test_an_image_with_two_labels_is_refused_and_a_repeated_row_read_once(images: Path) -> None:
    assert len(read(write(images, "file,label", [*CATS, CATS[0]])).records) == 12
    with pytest.raises(UserError, match=r"names 0\.jpg more than once"):
        read(write(images, "file,label", [*CATS, "0.jpg,cat"]))


# --- what the labels are --------------------------------------------------------------------------------------


def place(row: int) -> str:
    return f"t.csv, line {row + 2}"


def test_several_labels_a_cell() -> None:
    found = decide("what", ["cat|dog", "cat", "", "dog | bird"], None, place)
    assert found.class_names == ("bird", "cat", "dog")
    assert found.answers == [(1, 2), (1,), (), (0, 2)]
    assert found.multilabel
    assert decide("tags", ["a b", "a", "b", "a c", "b c"], None, place).multilabel
    assert decide("x", ["a, b", "a", "b", "a, c", "b, c", "c"], None, place).class_names == ("a", "b", "c")
    assert decide("x", [("a", "b"), ("b",)], None, place).answers == [(0, 1), (1,)]


def test_names_with_spaces_and_commas_are_one_label() -> None:
    cells = ["golden retriever", "poodle", "Washington, DC"] * 3
    found = decide("label", cells, None, place)
    assert not found.multilabel
    assert found.class_names == ("Washington, DC", "golden retriever", "poodle")


def test_columns_of_0_and_1(images: Path) -> None:
    rows = [f"{name},{int(i % 2 == 0)},{int(i % 3 == 0)}" for i, name in enumerate(NAMES)]
    found = read(write(images, "file,sun,rain", rows))
    assert found.multilabel
    assert [r.labels for r in found.records[:4]] == [(0, 1), (), (0,), (1,)]
    rows = [f"{name},{int(i % 2 == 0)},{int(i % 2 == 1)}" for i, name in enumerate(NAMES)]
    found = read(write(images, "file,sun,rain", rows))
    assert not found.multilabel
    assert [r.label for r in found.records[:2]] == [0, 1]
    assert read(images / "labels.csv", label_column="sun, rain").class_names == ("sun", "rain")


def test_numbers_that_nearly_all_differ_are_a_quantity() -> None:
    found = decide("age", [str(i) for i in range(30)], None, place)
    assert found.task == "regress"
    assert found.reason == "column 'age' holds 30 different numbers, 0 to 29: regression"
    assert decide("price", ["1.5", "2", "1.5", "2"] * 20, None, place).task == "regress"
    assert decide("peso", ["1,5", "2,25", "3"], None, place).answers == [1.5, 2.25, 3.0]


def test_few_whole_numbers_are_classes_in_the_order_of_their_value() -> None:
    found = decide("n", ["10", "9", "2"] * 5, None, place)
    assert (found.task, found.class_names) == ("classify", ("2", "9", "10"))
    assert decide("x", ["0", "1", "1"], None, place).task == "classify"
    assert decide("class_id", [str(i % 100) for i in range(500)], None, place).task == "classify"


def test_whole_numbers_in_between_are_left_to_the_user() -> None:
    cells = [str(i % 60) for i in range(300)]
    with pytest.raises(UserError, match=r"60 different whole numbers, 0 to 59, .*--task classify or --task regress"):
        decide("x", cells, None, place)
    assert len(decide("x", cells, "classify", place).class_names) == 60
    assert decide("x", cells, "regress", place).answers[61] == 1.0


def test_labels_that_are_half_numbers_half_words() -> None:
    cells = ["1.5", "2", "old", "3", "young"]
    with pytest.raises(UserError, match=r"3 numbers and 2 words \(the first word is 'old' in t\.csv, line 4\)"):
        decide("age", cells, None, place)
    with pytest.raises(UserError, match=r"the first word is 'old'"):
        decide("age", cells, "regress", place)
    assert len(decide("age", cells, "classify", place).class_names) == 5


def test_texts_that_never_repeat_are_no_classes() -> None:
    cells = [f"a dog number {i}" for i in range(50)]
    with pytest.raises(UserError, match="50 different texts for 50 images"):
        decide("caption", cells, None, place)


def test_regression_end_to_end(images: Path) -> None:
    found = read(write(images, "file,age", [f"{name},{i / 4}" for i, name in enumerate(NAMES)]))
    assert (found.task, found.target_name) == ("regress", "age")
    assert found.records[3].target == 0.75
    assert found.explanation == (
        "labels.csv names 12 JPEG in column 'file'; column 'age' holds 12 different numbers, 0 to 2.75: regression."
    )


def test_a_table_knows_the_line_of_every_row() -> None:
    table = Table("t.csv", {"a": ["1", "2"], "b": ["3", "4"]}, [("t.csv", 2), ("t.csv", 5)], [None, None])
    assert table.without([0]).place(0) == "t.csv, line 5"
    assert table.without_header().columns == {"column 1": ["a", "1", "2"], "column 2": ["b", "3", "4"]}
