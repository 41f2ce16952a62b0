"""Going on from a run that draws: its latents, tokens and network are kept, and what does not fit is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import olhar
from olhar.errors import UserError
from olhar.run import Run
from olhar.tasks.diffuse import Diffuse

COLOURS = {"red": (200, 30, 20), "green": (20, 160, 60), "blue": (30, 40, 200)}
QUICK: dict[str, Any] = {
    "task": "diffuse",
    "epochs": 1,
    "quiet": True,
    "report": False,
    "batch_size": 8,
    "check": "off",
    "train.precision": "fp32",
    "train.memory_format": "contiguous",
}
TINY: dict[str, Any] = {"model": "dit-mini", "model.args": {"width": 16, "depth": 1, "heads": 2}}


def pictures(folder: Path, captions: str = "a {} page", brighter: int = 0, count: int = 30) -> Path:
    """One colour each, with a caption beside it unless `captions` is empty."""
    folder.mkdir()
    for i in range(count):
        name, colour = list(COLOURS.items())[i % 3]
        Image.new("RGB", (16, 16), tuple(value + brighter + i for value in colour)).save(folder / f"{i:02}.png")
        if captions:
            (folder / f"{i:02}.txt").write_text(captions.format(name))
    return folder


def same_weights(one: Run, other: Run) -> None:
    """And buffers."""
    mine, theirs = one.task.state_dict(), other.task.state_dict()
    assert mine.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(mine[name], theirs[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Draws in latents from captions. Not to be changed."""
    folder = tmp_path_factory.mktemp("finetune")
    return olhar.train(pictures(folder / "first"), run=folder / "run", latent="own", **QUICK, **TINY)


def test_what_goes_on_begins_as_the_run_ended(run: Run, tmp_path: Path):
    other = pictures(tmp_path / "other", "a rather dark and very {} page of a book", brighter=20)
    more = olhar.train(other, run=tmp_path / "more", weights=str(run.path), lr=1e-9, **QUICK)
    assert isinstance(more.task, Diffuse)
    assert isinstance(run.task, Diffuse)
    same_weights(more, run)
    model = more.facts["model"]
    assert model["text"] == run.facts["model"]["text"]
    assert model["space"]["scale"] == run.facts["model"]["space"]["scale"]  # not that of the new images
    assert more.folder.tokenizer_file.read_text() == run.folder.tokenizer_file.read_text()
    reasons = {d["setting"]: d["reason"] for d in more.facts["plan"]}
    assert reasons["model.name"] == reasons["model.latent"] == "what its weights were trained with"
    drawn = [next(iter(one.generate("a red page", n=1, steps=4, seed=3))).image for one in (run, more)]
    assert (drawn[0].int() - drawn[1].int()).abs().max() <= 1


def test_pixels_stay_scaled_as_the_weights_know_them(tmp_path: Path):
    settings = QUICK | {"model.args": {"widths": "16,32", "heads": 2, "attention": "1"}, "model": "denoiser-tiny"}
    settings |= {"objective.predict": "image", "objective.noise_schedule": "linear"}
    first = olhar.train(pictures(tmp_path / "first", captions=""), run=tmp_path / "run", latent="none", **settings)
    brighter = pictures(tmp_path / "other", captions="", brighter=20)
    more = olhar.train(brighter, run=tmp_path / "more", weights=str(first.path), lr=1e-9, **QUICK)
    same_weights(more, first)  # and mean and deviation of the pixels with them
    assert isinstance(more.task, Diffuse)
    assert (more.task.kind, more.task.schedule) == ("image", "linear")
    (tmp_path / "grey").mkdir()
    for file in brighter.glob("*.png"):
        Image.open(file).convert("L").save(tmp_path / "grey" / file.name)
    with pytest.raises(UserError, match="draws images of 3 channels, and these have 1: give --weights another run"):
        olhar.train(tmp_path / "grey", run=tmp_path / "no", weights=str(first.path), **QUICK)
    assert not (tmp_path / "no").exists()


def test_what_goes_on_learns_and_needs_the_first_run_no_more(run: Run, tmp_path: Path):
    more = olhar.train(
        pictures(tmp_path / "other"), run=tmp_path / "more", weights=str(run.path), **QUICK | {"epochs": 2}
    )
    before, after = run.task.state_dict(), more.task.state_dict()
    assert any((before[name] - after[name]).abs().max() > 1e-3 for name in before if name.startswith("model."))
    assert (more.path / "autoencoder" / "run.json").exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "dit-small"}, "--model.name dit-small is not what .* was trained with .dit-mini.: leave it out"),
        ({"latent": "none"}, "--model.latent none is not what"),
    ],
)
def test_what_its_weights_do_not_know_is_refused(run: Run, tmp_path: Path, settings: dict[str, Any], expected: str):
    data = pictures(tmp_path / "data")
    with pytest.raises(UserError, match=expected):
        olhar.train(data, run=tmp_path / "no", weights=str(run.path), **QUICK | settings)
    assert not (tmp_path / "no").exists()


def test_weights_that_fit_other_images_are_refused(run: Run, trained: Path, tmp_path: Path):
    plain = pictures(tmp_path / "plain", captions="")
    with pytest.raises(UserError, match="learnt to draw from captions, and these images have none"):
        olhar.train(plain, weights=str(run.path), **QUICK)
    with pytest.raises(UserError, match="draws nothing: give --weights a run that does"):
        olhar.train(plain, weights=str(trained), **QUICK)
    with pytest.raises(UserError, match="'shapes' comes along without its autoencoder's run"):
        olhar.train(plain, weights="shapes", **QUICK)
    with pytest.raises(UserError, match="There is no run folder"):
        olhar.train(plain, weights=str(tmp_path / "nowhere"), **QUICK)
