"""Whole runs of tasks about every place: from folders of masks or images to files, pictures and a page."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import olhar
from olhar import cli
from olhar.errors import UserError

FIXED = {"train.precision": "fp32", "train.memory_format": "contiguous", "train.device": "cpu", "quiet": True}
SIDE = (40, 56)  # height, width: neither square nor a power of two


def street(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A light sky over a dark road, the border somewhere; a strip at the left that nobody labelled."""
    draw = np.random.default_rng(index)
    height, width = SIDE
    border = int(draw.integers(12, 28))
    image = np.zeros((height, width, 3), np.uint8)
    image[:border], image[border:] = (150, 190, 240), (60, 55, 50)
    noisy = np.clip(image + draw.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[border:] = 1
    mask[:, :4] = 255
    return noisy, mask


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """images/ and masks/, each with train/ and val/, and a file that names the classes."""
    folder = tmp_path_factory.mktemp("data") / "streets"
    for split, count in (("train", 16), ("val", 6)):
        for i in range(count):
            image, mask = street(i + 100 * (split == "val"))
            for kind, array in (("images", image), ("masks", mask)):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / kind / split / f"{i:02}.png")
    (folder / "classes.txt").write_text("sky\nroad\n")
    return folder


@pytest.fixture(scope="module")
def segmented(streets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "streets-1"
    olhar.train(streets, run=run, model="cnn-tiny", epochs=12, image_size=20, **FIXED)
    return run


def test_a_folder_of_masks_is_learnt(segmented: Path):
    facts = json.loads((segmented / "run.json").read_text())
    assert facts["task"]["name"] == "segment"
    assert facts["result"]["val"]["miou"] > 0.9
    assert facts["model"]["image_size"] == [20, 28], "images keep their proportions"
    page = (segmented / "report.html").read_text()
    for panel in ("classes", "examples", "mistakes", "network"):
        assert f'<section id="{panel}"' in page
    assert page.count("data:image/webp") > 20


def test_masks_have_the_size_of_their_images(segmented: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, scale in (("small", 1), ("large", 5)):
        image, size = Image.fromarray(street(7)[0]), (SIDE[1] * scale, SIDE[0] * scale)
        image.resize(size, Image.Resampling.BILINEAR).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    words = ["predict", str(segmented), str(tmp_path), "--out", str(tmp_path / "out"), "--flips"]
    words += ["--pictures", str(tmp_path / "seen"), "--csv", str(tmp_path / "areas.csv")]
    assert cli.main(words) == 1, "one image is broken, and only that one is missing"
    said = capsys.readouterr()
    assert "broken.png" in said.err
    assert "road" in said.out
    truth = street(7)[1]
    for name, scale in (("small", 1), ("large", 5)):
        with Image.open(tmp_path / "out" / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert mask.size == (SIDE[1] * scale, SIDE[0] * scale)
            values = np.asarray(mask)[::scale, ::scale]
        known = truth != 255
        assert (values == truth)[known].mean() > 0.9
        assert (tmp_path / "seen" / f"{name}.png").exists()
    assert (tmp_path / "areas.csv").read_text().splitlines()[0] == "file,sky,road"


def test_evaluating_the_same_data_gives_the_same_figures(segmented: Path, streets: Path):
    result = json.loads((segmented / "run.json").read_text())["result"]["val"]
    again = olhar.load(segmented).evaluate(streets)
    assert again["miou"] == pytest.approx(result["miou"], abs=1e-6)


def test_classes_are_told_by_their_names_and_not_by_their_numbers(segmented: Path, streets: Path, tmp_path: Path):
    """The same masks with the numbers swapped and the list of names too: the figures stay."""
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / "swapped" / kind / split).mkdir(parents=True)
            for path in (streets / kind / split).iterdir():
                pixels = np.asarray(Image.open(path))
                pixels = pixels if kind == "images" else np.where(pixels == 255, pixels, 1 - pixels)
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "swapped" / kind / split / path.name)
    (tmp_path / "swapped" / "classes.txt").write_text("road\nsky\n")
    run = olhar.load(segmented)
    assert run.evaluate(tmp_path / "swapped")["miou"] == pytest.approx(run.evaluate(streets)["miou"], abs=1e-6)


@pytest.mark.parametrize("task", ["segment", "reconstruct"])
def test_masks_and_corruptions_resume_to_the_same_bits(task: str, streets: Path, tmp_path: Path):
    """In a program of its own: the checks of types in this one draw random numbers."""
    small = {"model": "cnn-tiny", "model.args": {"widths": "8,8"}, "epochs": 4, "image_size": 20}
    restoring = {"task": "reconstruct", "corruption": "noise", "noise": "5-40"} if task == "reconstruct" else {}
    data = streets / "images" if restoring else streets
    olhar.train(data, run=tmp_path / "run", **small, **restoring, **FIXED)
    resume = [sys.executable, "-m", "olhar", "resume", str(tmp_path / "run"), "--verify"]
    done = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "largest difference 0." in done.stderr


def test_noise_is_taken_away(streets: Path, tmp_path: Path):
    settings = {"task": "reconstruct", "corruption": "noise", "noise": "40", "epochs": 20, "image_size": 24}
    small = {"model": "cnn-tiny", "model.args": {"widths": "16,16"}, "batch_size": 4, "optim.lr": 3e-3}
    run = olhar.train(streets / "images", run=tmp_path / "run", **small, **settings, **FIXED)
    assert run.result["val"]["psnr"] > run.result["val"]["psnr_before"] + 2
    (prediction,) = run.predict(streets / "images" / "val" / "00.png")
    assert tuple(prediction.image.shape) == (3, *SIDE)
    assert "Before and after" in run.report().read_text()


def test_enlarging_gives_twice_the_size(streets: Path, tmp_path: Path):
    settings = {"task": "reconstruct", "corruption": "x2", "epochs": 1, "image_size": 24}
    run = olhar.train(streets / "images", run=tmp_path / "run", model="cnn-tiny", **settings, **FIXED)
    (prediction,) = run.predict(streets / "images" / "val" / "00.png")
    assert tuple(prediction.image.shape) == (3, 2 * SIDE[0], 2 * SIDE[1])


def test_transparent_parts_are_filled_and_nothing_else(streets: Path, tmp_path: Path):
    settings = {"task": "reconstruct", "corruption": "holes", "epochs": 1, "image_size": 24}
    run = olhar.train(streets / "images", run=tmp_path / "run", model="cnn-tiny", **settings, **FIXED)
    pixels = np.dstack([street(3)[0], np.full(SIDE, 255, np.uint8)])
    pixels[10:20, 10:30, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "torn.png")
    (prediction,) = run.predict(tmp_path / "torn.png")
    kept = prediction.image.permute(1, 2, 0).numpy() == pixels[..., :3]
    kept[9:21, 9:31] = True
    assert kept.all()


@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_an_image_is_said_in_few_numbers(model: str, streets: Path, tmp_path: Path):
    small = {"model.args": {"widths": "16", "factor": 2, "blocks": 1, "latent_channels": 2}}
    settings = {"task": "reconstruct", "model": model, "epochs": 3, "image_size": 20}
    run = olhar.train(streets / "images", run=tmp_path / "run", **settings, **small, **FIXED)
    assert run.facts["model"]["latent"] == [2, 10, 14]
    assert ("latent_bits_per_pixel" in run.result["val"]) == (model == "vae")
    page = run.report().read_text()
    assert '<section id="latent"' in page
    assert "data:image/webp" in page
    again = olhar.load(tmp_path / "run")
    before, after = (r.predict(streets / "images" / "val" / "00.png")[0].image for r in (run, again))
    assert torch.equal(before, after)
    assert any(name.endswith("log_scale") for name in load_file(tmp_path / "run" / "model.safetensors"))


def test_mistakes_are_one_sentence(streets: Path, tmp_path: Path):
    with pytest.raises(UserError, match="gives one vector an image: try a cnn"):
        olhar.train(streets, run=tmp_path / "run", model="mlp", epochs=1, **FIXED)
    wrong = {"task": "reconstruct", "corruption": "noise", "noise": "loud"}
    with pytest.raises(UserError, match="is no level of noise"):
        olhar.train(streets / "images", run=tmp_path / "run", epochs=1, **wrong, **FIXED)
    assert not (tmp_path / "run").exists()
