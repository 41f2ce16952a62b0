"""Images with captions: what is recognised, which rows belong together, how they are split, what the doctor says."""

import json
from pathlib import Path

import pytest
from changes import changed
from pictures import photo

from olhar.config import DataConfig
from olhar.data import caption_checks, doctor
from olhar.data.caption_view import choose, mirrors
from olhar.data.recognise import recognise
from olhar.data.sample import Collection
from olhar.data.splits import hold_out_captions
from olhar.errors import UserError

SAID = [
    "a dog on a sofa",
    "two cats asleep",
    "a red bus, and a man",
    "snow on a hill",
    "an old boat at sea",
    "a loaf of bread",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLHAR_CACHE", str(tmp_path_factory.mktemp("cache")))


def photos(folder: Path, n: int = 6, where: str = "images") -> list[str]:
    """n images; their names below the folder."""
    names = [f"{where}/{i}.png" if where else f"{i}.png" for i in range(n)]
    for name in names:
        photo(folder / name)
    return names


def said(collection: Collection) -> dict[str, tuple[str, ...]]:
    return {record.id: record.captions for record in collection.records}


def codes(collection: Collection) -> dict[str, str]:
    """Code and level of all that the doctor says."""
    return {found.code: found.level for found in doctor.examine(collection).findings}


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# --- formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["file_name", "image", "filepath", "image_path"])
@pytest.mark.parametrize("text", ["text", "caption", "title", "Description", "legenda"])
def test_columns_are_found_by_what_they_hold(tmp_path: Path, file: str, text: str):
    names = photos(tmp_path)
    rows = [{"n": i, file: name, text: caption} for i, (name, caption) in enumerate(zip(names, SAID, strict=True))]
    write(tmp_path / "metadata.jsonl", [json.dumps(row) for row in rows])
    found = recognise(tmp_path)
    assert found.task == "align"
    assert said(found) == {name: (caption,) for name, caption in zip(names, SAID, strict=True)}
    assert f"column '{file}' and says what they show in column '{text}' (one each" in found.explanation
    assert recognise(tmp_path, "diffuse").task == "diffuse"
    assert said(recognise(tmp_path, "diffuse")) == said(found)


def test_rows_and_lists_and_numbered_columns_are_several_captions(tmp_path: Path):
    names = photos(tmp_path)
    both = {name: (caption, f"{caption} again") for name, caption in zip(names, SAID, strict=True)}
    lines = [f'{name},"{caption}"' for name, texts in both.items() for caption in texts]
    table = write(tmp_path / "a.csv", ["image,caption", *lines])
    assert said(recognise(table)) == both
    lists = write(tmp_path / "b.jsonl", [json.dumps({"image": n, "captions": list(t)}) for n, t in both.items()])
    assert said(recognise(lists)) == both
    numbered = [f"{name}\t{texts[0]}\t{texts[1]}" for name, texts in both.items()]
    columns = write(tmp_path / "c.tsv", ["image\tcaption_1\tcaption_2", *numbered])
    assert said(recognise(columns)) == both
    assert said(recognise(columns, config=DataConfig(text_column="caption_2")))[names[0]] == (both[names[0]][1],)


def test_flickrs_lists_and_their_splits(tmp_path: Path):
    """With a comma in a caption, quoted or not; the older form; three lists that leave an image out."""
    photos(tmp_path, where="Images")
    lines = [f'{i}.png,"{caption}"' if i == 0 else f"{i}.png,{caption}" for i, caption in enumerate(SAID)]
    new = write(tmp_path / "captions.txt", ["image,caption", *lines, "0.png,a second one here"])
    found = recognise(tmp_path)
    assert said(found)["Images/2.png"] == ("a red bus, and a man",)
    assert said(found)["Images/0.png"] == (SAID[0], "a second one here")
    assert found.explanation.startswith("captions.txt says what 6 images (PNG) show (1 to 2 each")
    new.unlink()
    write(tmp_path / "Flickr8k.token.txt", [f"{i}.png#{k}\t{c} {k}" for i, c in enumerate(SAID) for k in (0, 1)])
    for word, images in {"train": "0123", "dev": "4"}.items():
        write(tmp_path / f"Flickr_8k.{word}Images.txt", [f"{i}.png" for i in images])
    found = recognise(tmp_path)
    assert [(r.id, r.split) for r in found.records][3:] == [("Images/3.png", "train"), ("Images/4.png", "val")]
    assert found.records[1].captions == (f"{SAID[1]} 0", f"{SAID[1]} 1")
    assert "1 image in no list of a split left out" in found.notes[0]
    assert said(recognise(tmp_path / "Flickr8k.token.txt")) == said(found)


@pytest.mark.parametrize("written", ["{}.png", "{}", "./{}.png", "{}.jpg", "old/place/{}.png", "old\\{}.png 1"])
def test_lists_of_splits_tell_images_of_one_name_by_their_folders(tmp_path: Path, written: str):
    """Of those without a caption too: cow/5.png is no dog."""
    names = [*photos(tmp_path, 5, "cat"), *photos(tmp_path, 6, "dog")]
    photos(tmp_path, 6, "cow")
    captions = write(tmp_path / "captions.txt", [f"{n},a {n[:3]} that is number {i}" for i, n in enumerate(names)])
    test = {"cat/0.png", "dog/1.png", "dog/5.png"}
    learnt = [*(n for n in names if n not in test), "cow/5.png"]
    for word, images in {"train": learnt, "test": sorted(test)}.items():
        write(tmp_path / f"{word}.txt", [written.format(n.removesuffix(".png")) for n in images])
    found = recognise(captions)
    assert {r.id: r.split == "test" for r in found.records} == {n: n in test for n in names}
    assert not found.notes


def test_a_line_of_a_list_goes_to_the_image_whose_path_it_is(tmp_path: Path):
    """Not to that of another folder, though cat/5.png is gone; a name alone is the image beside the list."""
    names = [*photos(tmp_path, 5, "cat"), *photos(tmp_path, 6, "dog"), *photos(tmp_path, 2, "")]
    captions = write(tmp_path / "captions.txt", [f"{n},a thing that is number {i}" for i, n in enumerate(names)])
    write(tmp_path / "train.txt", ["cat/5.png", *names[:8], "0"])
    write(tmp_path / "test.txt", [*names[8:11], "1.png"])
    tested = {r.id: r.split == "test" for r in recognise(captions).records}
    assert tested == {n: n in [*names[8:11], "1.png"] for n in names}


def test_a_name_in_a_list_that_may_be_two_images_is_asked_about(tmp_path: Path):
    names = [*photos(tmp_path, 3, "cat"), *photos(tmp_path, 4, "dog")]
    captions = write(tmp_path / "captions.txt", [f"{n},a thing that is number {i}" for i, n in enumerate(names)])
    write(tmp_path / "test.txt", ["cat/0.png", "dog/0.png"])
    write(tmp_path / "train.txt", ["0", "1.png", "3"])
    with pytest.raises(UserError, match=r"train\.txt names '1\.png', which may be cat/1\.png or dog/1\.png: write its"):
        recognise(captions)


def test_cocos_captions(tmp_path: Path):
    for split in ("train2017", "val2017"):
        photos(tmp_path, 3, split)
        tree = {
            "images": [{"id": i, "file_name": f"{i}.png", "height": 16, "width": 20} for i in range(3)],
            "annotations": [
                {"id": 2 * i + k, "image_id": i, "caption": f"{split} {i} {k}"} for i in range(3) for k in (0, 1)
            ],
        }
        write(tmp_path / f"annotations/captions_{split}.json", [json.dumps(tree)])
    found = recognise(tmp_path)
    assert said(found)["val2017/2.png"] == ("val2017 2 0", "val2017 2 1")
    assert [len(found.split(split)) for split in ("train", "val", "test")] == [3, 3, 0]
    assert "splits by the names of the files" in found.explanation
    one = recognise(tmp_path / "annotations/captions_train2017.json")
    assert len(one.records) == 3
    with pytest.raises(UserError, match="lacks 'annotations'"):
        recognise(write(tmp_path / "annotations/broken.json", ['{"images": []}']), "align")


def test_a_text_beside_each_image(tmp_path: Path):
    for i, name in enumerate(photos(tmp_path, where="")):
        write(tmp_path / f"{name[:-4]}.txt", [SAID[i], "", f"again {SAID[i]}"] if i else [SAID[i]])
    photo(tmp_path / "lonely.png")
    found = recognise(tmp_path)
    assert said(found)["1.png"] == (SAID[1], f"again {SAID[1]}")
    assert found.explanation.startswith("A text file beside each of 6 images (PNG) says what it shows")
    assert codes(found)["image-without-caption"] == "refused"


# --- labels or captions -------------------------------------------------------------------------------------------


def test_few_short_texts_are_classes_and_many_long_ones_captions(tmp_path: Path):
    names = photos(tmp_path, 12)
    lines = [f"{name},{'cat' if i % 2 else 'big dog'}" for i, name in enumerate(names)]
    table = write(tmp_path / "labels.csv", ["file,text", *lines])
    assert recognise(table).task == "classify"
    forced = recognise(table, config=DataConfig(text_column="text"))
    assert (forced.task, forced.records[0].captions) == ("align", ("big dog",))
    assert recognise(table, "align").task == "align"
    odd = write(tmp_path / "odd.csv", ["file,what", *(f"{n},thing number {i} of many" for i, n in enumerate(names))])
    assert recognise(odd).task == "align"  # whatever the column is called
    assert recognise(odd, "classify").task == "classify"


def test_classes_and_captions_in_one_table_are_for_the_user_to_choose(tmp_path: Path):
    names = photos(tmp_path)
    rows = [{"file": n, "label": "ab"[i % 2], "caption": SAID[i]} for i, n in enumerate(names)]
    write(tmp_path / "data.jsonl", [json.dumps(row) for row in rows])
    with pytest.raises(UserError, match=r"(?s)2 ways.*--data.label-column label.*a dog on a sofa.*--task align"):
        recognise(tmp_path)
    assert recognise(tmp_path, "align").records[0].captions == (SAID[0],)
    assert recognise(tmp_path, config=DataConfig(label_column="label")).task == "classify"


def test_without_a_column_of_captions_those_found_are_listed(tmp_path: Path):
    names = photos(tmp_path)
    write(tmp_path / "t.csv", ["file,size", *(f"{name},{i}" for i, name in enumerate(names))])
    with pytest.raises(UserError, match=r"No captions.*columns 'file' and 'size'.*--data.text-column"):
        recognise(tmp_path, "align")
    with pytest.raises(UserError, match="no column 'txt'"):
        recognise(tmp_path, config=DataConfig(text_column="txt"))


# --- splits -------------------------------------------------------------------------------------------------------


def table_of(tmp_path: Path, captions: list[str], splits: list[str] | None = None) -> Path:
    """A table of one caption an image, perhaps with its split."""
    names = photos(tmp_path, len(captions))
    rows = [{"image": name, "caption": caption} for name, caption in zip(names, captions, strict=True)]
    for row, split in zip(rows, splits or [], strict=False):
        row["split"] = split
    return write(tmp_path / "data.jsonl", [json.dumps(row) for row in rows])


def test_held_out_captions_are_not_in_train(tmp_path: Path):
    found = recognise(table_of(tmp_path, [f"the caption of group {i // 2}" for i in range(60)]))
    train, val = ({c for r in found.split(s) for c in r.captions} for s in ("train", "val"))
    assert len(found.split("val")) == 6
    assert not train & val
    assert "images of one caption together" in found.explanation
    assert "caption-leakage" not in codes(found)


def test_a_shared_caption_joins_images_through_others(tmp_path: Path):
    """a-b, b-c, c-d are one group of four though a and d share nothing; its size keeps it in train."""
    found = recognise(table_of(tmp_path, ["x"] + [f"a text of its own {i}" for i in range(79)]))
    chain = [("a b", "b c"), ("B C", "c d"), ("c d", "d e"), ("d e", "e f")]
    records = [
        type(r)(r.id, r.image, "train", captions=chain[i] if i < 4 else r.captions) for i, r in enumerate(found.records)
    ]
    for fraction in (0.1, 0.3, 0.6):
        moved, _ = hold_out_captions(records, fraction, "val")
        assert len({r.split for r in moved[:4]}) == 1
        assert sum(r.split == "val" for r in moved) == pytest.approx(80 * fraction, abs=3)


def test_where_all_captions_repeat_images_are_held_out_one_by_one_and_it_is_said(tmp_path: Path):
    found = recognise(table_of(tmp_path, ["the one", "the other"] * 10), "align")
    assert len(found.split("val")) == 2
    assert "though captions of train are among them" in found.explanation


def test_a_split_column_and_an_image_in_two_splits(tmp_path: Path):
    table = table_of(tmp_path, SAID, ["train"] * 4 + ["val", "test"])
    with table.open("a") as file:
        file.write(json.dumps({"image": "images/0.png", "caption": "once more", "split": "test"}) + "\n")
    found = recognise(table)
    assert [r.split for r in found.records] == ["test", "train", "train", "train", "val", "test"]
    assert codes(found)["leakage"] == "warning"


# --- the doctor -----------------------------------------------------------------------------------------------------


def test_the_doctor_on_captions(tmp_path: Path):
    many = [f"a thing that is number {i}" for i in range(30)]
    many[0], many[1], many[2] = "x" * 3 + " y" * 5000, "bad\x00bytes here", "lost \ufffd letters"
    many[3], many[4], many[5] = "  ", "IMG_0042.jpg", "A thing that is number 6"
    found = recognise(table_of(tmp_path, many, ["train"] * 6 + ["val"] * 24))
    report = codes(found)
    expected = {"long-caption": "repaired", "control-characters": "repaired", "garbled-caption": "warning"}
    expected |= {"empty-caption": "repaired", "name-caption": "warning", "equal-captions": "repaired"}
    assert expected.items() <= report.items()
    assert report["caption-leakage"] == "warning"
    captions = said(found)
    assert len(captions["images/0.png"][0]) <= 2000
    assert captions["images/1.png"] == ("bad bytes here",)
    assert "images/3.png" not in captions


def test_one_caption_for_all_stops_a_training(tmp_path: Path):
    found = recognise(table_of(tmp_path, ["a photo"] * 24), "align")
    assert codes(found)["one-caption"] == "refused"
    with pytest.raises(UserError, match="All 24 images have the same caption, 'a photo'"):
        doctor.refuse(doctor.examine(found).findings)


def test_many_empty_captions_stop_a_training_and_all_of_them_at_once(tmp_path: Path):
    found = recognise(table_of(tmp_path, [*SAID, "", "nan", "a hat on a hook"]))
    assert codes(found)["empty-caption"] == "refused"
    with pytest.raises(UserError, match="every caption is empty"):
        recognise(table_of(tmp_path / "none", [" "] * 6), config=DataConfig(text_column="caption"))


def test_files_that_are_not_what_they_seem(tmp_path: Path):
    """Tabs in a .csv, another encoding, images that are not there."""
    names = photos(tmp_path)
    lines = [f"{name}\t{caption} é" for name, caption in zip(names, SAID, strict=True)]
    table = tmp_path / "tabs.csv"
    table.write_bytes("\n".join(["filepath\ttitle", *lines]).encode("cp1252"))
    found = recognise(table)
    assert said(found)[names[0]] == (f"{SAID[0]} é",)
    assert {"separator": "repaired", "encoding": "warning"}.items() <= codes(found).items()
    write(table, ["file,text", *(f"{n},{c}" for n, c in zip([*names[:5], "gone.png"], SAID, strict=True))])
    with pytest.raises(UserError, match=r"1 image not found .*gone\.png.*--allow missing-files"):
        recognise(table)
    allowed = recognise(table, config=DataConfig(allow=("missing-files",)))
    assert len(allowed.records) == 5
    assert "left out" in allowed.notes[0]


@pytest.mark.parametrize("below", [[], ['5.png\t"so there"'], ['5.png\t"so there'], ["x" * 140_000]])
@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_a_quote_that_is_not_closed_takes_no_rows_with_it(tmp_path: Path, below: list[str], ending: str):
    """Up to the end of the file, to the next quote, or to more than csv takes for one cell."""
    photos(tmp_path, where="")
    said = [SAID[0], '"Hi there', *SAID[2:5]]
    lines = ["file\ttext", *(f"{i}.png\t{caption}" for i, caption in enumerate(said)), *below]
    if ending == ".csv":
        lines = [line.replace(",", "").replace("\t", ",") for line in lines]
    table = write(tmp_path / f"table{ending}", lines)
    for data in (table, tmp_path):
        with pytest.raises(UserError, match=rf"table\{ending}, line 3 cannot be read .*not closed.*: close the quotes"):
            recognise(data)


def test_quotes_that_are_closed_may_hold_lines_and_quotes(tmp_path: Path):
    photos(tmp_path, where="")
    texts = [
        '"a dog\non a ""sofa"""',
        '"two cats,\r\n\nasleep"',
        '"a red" bus',
        'a 5" nail',
        '"an old boat"',
        '"a\nloaf"',
    ]
    table = tmp_path / "table.csv"
    table.write_bytes("\n".join(["file,text", *(f"{i}.png,{text}" for i, text in enumerate(texts))]).encode())
    found = said(recognise(table))
    assert found["0.png"] == ('a dog on a "sofa"',)
    assert found["1.png"] == ("two cats, asleep",)
    assert found["2.png"] == ("a red bus",)
    assert found["3.png"] == ('a 5" nail',)
    assert [found[f"{i}.png"] for i in (4, 5)] == [("an old boat",), ("a loaf",)]


def test_repeated_captions_of_an_image_count_once(tmp_path: Path):
    names = photos(tmp_path)
    lines = [f"{name},{caption}" for name, caption in zip(names, SAID, strict=True)]
    found = recognise(write(tmp_path / "t.csv", ["file,text", *lines, lines[0]]))
    assert said(found)[names[0]] == (SAID[0],)
    assert codes(found)["repeated-caption"] == "repaired"


def test_languages_and_lengths_are_said():
    assert caption_checks.in_language(["um cão com uma bola", "a casa na praia com uma porta"]) == (
        "in Latin script (Portuguese, by its little words)"
    )
    assert caption_checks.in_language(["the dog is on the sofa"]) == "in Latin script (English, by its little words)"
    assert caption_checks.in_language(["кот спит", "猫が寝ている"] * 5).startswith("in Cyrillic (50%) and")
    assert caption_checks.in_language(["123", "!"]) == "without letters"


# --- what may be changed of an image ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "caption", ["a cat LEFT of a dog", "um gato à direita", "左の猫", "der Hund links", "слева кот"]
)
def test_a_caption_that_names_a_side_forbids_the_mirror(caption: str):
    flip, reason = mirrors([caption, "a dog"])
    assert not flip
    assert reason.startswith("1 caption of 2 ")
    assert mirrors(["brightly lit", "copyright", "a leftover"])[0]
    assert mirrors([caption] + ["a dog"] * 2000)[0]


def test_colours_stay_and_little_is_cut_off():
    import torch

    from olhar.data.reading import Preprocess, Resize
    from olhar.data.transforms import make_augment

    assert (choose(64)[0], choose(72)[0]) == ("mild", "captioned")
    assert Preprocess(224, augment="captioned").train_read.resize == Resize(256, square=False)
    image = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64).clone()  # brighter to the right
    colours = torch.tensor([10, 120, 250], dtype=torch.uint8).view(3, 1, 1).expand(3, 64, 64).contiguous()
    for flip in (False, True):
        augment = make_augment("captioned", 64, flip, 0)
        shown = [changed(augment, {"image": image}, i, 0)["image"] for i in range(40)]
        rising = [bool((s[0, 5].long().diff() >= 0).all()) for s in shown]
        assert all(rising) != flip
        assert min(int(s.max()) - int(s.min()) for s in shown) >= 0.7 * 63
    assert all(torch.equal(changed(augment, {"image": colours}, i, 0)["image"], colours) for i in range(10))
    mirror = make_augment("mirror", 64, True, 0)
    batch = image.expand(20, 3, 64, 64)
    for before, now, flipped in zip(
        batch, mirror.batch(batch, range(20), 0), mirror.flipped(range(20), 0), strict=True
    ):
        assert torch.equal(now, before.flip(2) if flipped else before)


def test_shared_captions_are_told_to_who_aligns_and_not_to_who_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same pictures, looked at one after the other: what was kept of one look is not the answer to the other."""
    monkeypatch.setenv("OLHAR_CACHE", str(tmp_path / "cache"))
    found = {}
    for task in ("align", "diffuse", "align"):
        scenes = recognise("shapes:n=200,objects=2,holdout=1", config=DataConfig(task=task))
        found[task] = {one.code for one in doctor.examine(scenes).findings}
    assert found["align"] >= {"equal-captions", "caption-leakage"}
    assert not found["diffuse"] & {"equal-captions", "caption-leakage"}
