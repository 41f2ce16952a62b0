"""Drawing in latents: what is encoded and how it spreads, stopping at every stage, what is drawn, what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

import olhar
from olhar import build, cli, latents, launch, sheet
from olhar.config import Config
from olhar.data.cache import MemoryCache
from olhar.data.latent_reader import LatentReader
from olhar.data.loader import Loader
from olhar.data.recognise import recognise
from olhar.errors import UserError
from olhar.generate import Wish, burnt, generate
from olhar.inspection.instruments.denoising import DENOISING
from olhar.layers.space import Latents
from olhar.look import subject_of
from olhar.plan import Facts
from olhar.plan_diffusion import autoencoder_config, resolve_diffusion, settled
from olhar.run import Run
from olhar.tasks.diffuse import Diffuse

SIDE = 16
QUICK: dict[str, Any] = {
    "task": "diffuse",
    "latent": "own",
    "model": "denoiser-tiny",
    "epochs": 2,
    "quiet": True,
    "batch_size": 8,
    "train.precision": "fp32",
    "train.memory_format": "contiguous",
    "model.args": {"widths": "16,32", "heads": 2, "attention": "1"},
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images of one colour each, and a bright corner."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(30):
        pixels = np.tile(random.integers(0, 200, 3, np.uint8), (SIDE, SIDE, 1))
        pixels[:6, :6] += 50
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Finished, not to be changed."""
    return olhar.train(pictures, run=tmp_path_factory.mktemp("runs") / "run", **QUICK)


def images_of(run: Run, split: str) -> Tensor:
    """All of a split, uint8 [N, C, H, W]."""
    names = json.loads(run.folder.splits.read_text())[split]
    found = [pil_to_tensor(Image.open(Path(run.facts["data"]["path"]) / name)) for name in names]
    return torch.stack(found)


def space_of(run: Run) -> Latents:
    assert isinstance(run.task, Diffuse)
    assert isinstance(run.task.space, Latents)
    return run.task.space


def test_the_scale_is_that_of_the_training_latents_and_travels_with_the_run(run: Run):
    own = olhar.load(run.path / "autoencoder")
    assert (own.task.name, own.result["val"]["psnr"] > 0) == ("reconstruct", True)
    with torch.no_grad():
        pixels = own.task.normalise(images_of(run, "train"))
        latent = own.task.model.encode(pixels).mode().double()  # type: ignore[operator]
    known = run.facts["model"]["space"]
    assert known["shift"] == pytest.approx(latent.mean((0, 2, 3)).tolist(), rel=1e-4, abs=1e-5)
    std = latent.std((0, 2, 3), correction=0)
    assert known["scale"] == pytest.approx(std.clamp_min(latents.UNUSED * std.max()).tolist(), rel=1e-4)
    space = space_of(run)
    assert space.scale.flatten().tolist() == pytest.approx(known["scale"])
    with torch.no_grad():
        seen = space(images_of(run, "train"))
        again = (space.colours(seen) - own.task.model(pixels).mul(own.task.std).add(own.task.mean) * 255).abs()  # type: ignore[operator]
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    assert again.max() < 0.1  # the way back is the autoencoder's
    assert ("hardly vary" in run.folder.metrics.read_text()) == bool((std < latents.UNUSED * std.max()).any())
    assert "losses and errors are of latents" in " ".join(run.facts["data"]["notes"])


def test_kept_latents_are_those_of_encoding_afresh_and_a_step_needs_no_image(run: Run, pictures: Path):
    space, records = space_of(run), recognise(pictures, config=run.folder.config.data).records
    asked: list[int] = []

    def encode(image: Tensor) -> Tensor:
        asked.append(len(image))
        return latents.encoder_of(space)(image)

    read = LatentReader(run.feeder.preprocess.read, encode, "", (4, 4, 4))
    loader = Loader(records, read=read, batch_size=8, seed=0, shuffle=True, cache=MemoryCache(len(records), read))
    latents.spread(loader)
    assert sum(asked) == len(records)
    batch = next(iter(loader.epoch(0)))
    assert sum(asked) == len(records)
    assert "image" not in batch
    images = torch.stack([pil_to_tensor(Image.open(pictures / name)) for name in batch["id"]])
    torch.testing.assert_close(batch["latent"], latents.encoder_of(space)(images), rtol=1e-4, atol=1e-5)
    planes = read.planes(records[3])
    assert torch.equal(read.split(planes)["latent"], encode(run.feeder.preprocess.read.planes(records[3])[None])[0])
    with torch.no_grad():
        kept, fresh = (
            run.task.output({"id": batch["id"], **seen}).said.mean
            for seen in ({"latent": batch["latent"]}, {"image": images})
        )  # type: ignore[typeddict-item]
    torch.testing.assert_close(kept, fresh, rtol=1e-3, atol=1e-4)


@pytest.mark.notes("Fig 5.3")
def test_a_seed_says_which_image_and_the_run_alone_is_enough(run: Run, tmp_path: Path):
    four = run.generate(n=4, steps=4)
    assert four[0].image.shape == (3, SIDE, SIDE)
    alone = tmp_path / "alone"
    shutil.copytree(run.path, alone, ignore=shutil.ignore_patterns("autoencoder", "checkpoint"))
    single = olhar.load(alone).generate(seed=2, steps=4, batch_size=1)[0]
    assert (four[2].image.int() - single.image.int()).abs().max() <= 1
    assert not torch.equal(four[2].image, four[1].image)
    large = run.generate(steps=2, size=(24, 32))[0]
    assert large.image.shape == (3, 24, 32)
    with pytest.raises(UserError, match=r"Images of 20 x 16 px .* multiples of 8"):
        run.generate(size=(16, 20))


def test_a_mask_keeps_the_image_exactly_and_strength_says_how_much_of_it(run: Run, pictures: Path, tmp_path: Path):
    image, mask = pictures / "03.png", torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    mask[:, :, :5] = 255  # one column of pixels beyond a place of the latents
    sheet.to_picture(mask).save(tmp_path / "mask.png")
    given = {"init_image": image, "steps": 10}
    made = run.generate(mask=tmp_path / "mask.png", strength=1.0, **given)[0].image
    pixels = pil_to_tensor(Image.open(image))
    assert torch.equal(made[:, :, 5:], pixels[:, :, 5:])
    assert not torch.equal(made[:, :, :5], pixels[:, :, :5])
    assert space_of(run).places(mask[None] > 0)[0, 0].tolist() == [[True, True, False, False]] * 4
    away = [float((run.generate(strength=s, **given)[0].image.float() - pixels).abs().mean()) for s in (0.1, 1.0)]
    assert away[0] < away[1]


def test_a_run_stopped_in_either_stage_goes_on_to_the_same_weights(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stages: list[str] = []
    whole = launch.complete

    def stopped(fit, voice, started, report):
        stages.append(fit.task.name)
        if len(stages) in (1, 3):
            fit.run(stop_at=fit.position.step + 2)
            fit.save_checkpoint()
            raise KeyboardInterrupt
        return whole(fit, voice, started, report)

    monkeypatch.setattr(launch, "complete", stopped)
    target = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as left:
        olhar.train(pictures, run=target, **QUICK)
    assert left.value.args == (target,)
    for _ in range(2):
        try:
            launch.resume(target, quiet=True)
        except KeyboardInterrupt:
            continue
    assert stages == ["reconstruct", "reconstruct", "diffuse", "diffuse"]
    first, second = (load_file(path / "model.safetensors") for path in (run.path, target))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert json.loads((target / "run.json").read_text())["result"]["val"]["mse"] == run.result["val"]["mse"]
    # a program of its own: the checks of types in tests draw from Python's random numbers, which are compared as well
    verify = [sys.executable, "-m", "olhar", "resume", str(target), "--verify"]
    assert "largest difference 0" in subprocess.run(verify, check=True, capture_output=True, text=True).stderr


def test_a_finished_autoencoder_is_taken_as_it_is(run: Run, pictures: Path, tmp_path: Path, trained: Path):
    named = QUICK | {"latent": str(run.path / "autoencoder"), "epochs": 1}
    other = olhar.train(pictures, run=tmp_path / "run", **named)
    theirs, ours = space_of(run).state_dict(), space_of(other).state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in theirs.items())
    assert (other.path / "autoencoder" / "model.safetensors").exists()
    assert not (other.path / "autoencoder" / "checkpoint").exists()
    for path, expected in ((trained, "no variational autoencoder"), (run.path, "no variational autoencoder")):
        with pytest.raises(UserError, match=expected):
            olhar.train(pictures, run=tmp_path / "no", **QUICK | {"latent": str(path)})
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run.path / "autoencoder", unfinished)
    facts = json.loads((unfinished / "run.json").read_text())
    (unfinished / "run.json").write_text(json.dumps(facts | {"result": None}))
    with pytest.raises(UserError, match="is not finished: go on with `olhar resume"):
        olhar.train(pictures, run=tmp_path / "no", **QUICK | {"latent": str(unfinished)})
    with pytest.raises(UserError, match="learnt from coloured images, and these are grey"):
        latents.space_facts(str(run.path / "autoencoder"), 1, SIDE)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"image_size": 20}, "multiples of 8, such as"),
        ({"data.augment": "mirror"}, "--data.augment changes images"),
        ({"data.flip": True}, "--data.flip changes images"),
        ({"model": "vae"}, "--model vae trains the autoencoder alone"),
        ({"latent": "onw"}, "There is no run folder onw"),
        ({"task": "reconstruct"}, "--model.latent is for learning to diffuse"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(pictures: Path, tmp_path: Path, settings: dict, expected: str):
    with pytest.raises(UserError, match=expected):
        olhar.train(pictures, run=tmp_path / "run", **QUICK | settings)
    assert not (tmp_path / "run").exists()


def test_the_plan_gives_the_autoencoder_a_share_and_draws_with_a_transformer():
    facts = Facts(n_train=1000, task="diffuse", num_classes=0, height=72, width=72, accelerator=False, shrunk=16)
    plan = resolve_diffusion(Config().with_changes({"model.latent": settled("auto", 72)}), facts)
    assert (plan.config.data.image_size, plan.config.objective.predict) == (64, "velocity")
    assert (plan.config.model.name, plan.config.model.args) == ("dit-mini", {})
    assert "16 x 16 pixels; it is trained first, in 30% of the time" in " ".join(plan.lines())
    own = autoencoder_config(plan.config)
    assert (own.model.name, own.train.epochs, own.data.image_size) == ("vae-f16", 120, 64)
    timed = autoencoder_config(plan.config.with_changes({"train.budget": "10min"}))
    assert timed.train.budget == "180.0s"
    of_noise = Config().with_changes({"model.latent": "own", "objective.predict": "noise"})
    assert resolve_diffusion(of_noise, facts).config.objective.noise_schedule == "scaled-linear"
    for schedule in ("flow", "cosine"):  # at whose last level dividing by what is left of the image gives no image
        with pytest.raises(UserError, match=f"{schedule} ends in nothing but noise"):
            resolve_diffusion(of_noise.with_changes({"objective.noise_schedule": schedule}), facts)
    small = Facts(n_train=1000, task="diffuse", num_classes=0, height=8, width=8, accelerator=False, shrunk=4)
    with pytest.raises(UserError, match="8 x 8 px leave latents too small"):
        resolve_diffusion(Config().with_changes({"model.latent": "own"}), small)


def test_pixels_or_latents_as_the_images_suggest_unless_asked():
    assert [settled("auto", side) for side in (32, 63, 64, 300)] == ["none", "none", "own", "own"]
    assert [settled(asked, 64) for asked in ("none", "own", "runs/a")] == ["none", "own", "runs/a"]
    with pytest.raises(UserError, match="latents are made of each only once: leave it out, or give --latent none"):
        olhar.train("shapes:n=80", task="diffuse", quiet=True, **{"data.flip": True})
    with pytest.raises(UserError, match="A budget of 5s is too short here to train an autoencoder first"):
        olhar.train("shapes:n=80", task="diffuse", quiet=True, budget="5s")


def test_captions_are_drawn_by_a_transformer_that_looks_at_their_words(tmp_path: Path):
    changed = {"model": None, "model.args": {"width": 16, "depth": 2, "heads": 2}, "latent": "auto", "epochs": 1}
    run = olhar.train("shapes:n=80", run=tmp_path / "run", **QUICK | changed)
    model = run.facts["model"]
    assert (model["name"], model["text"]["name"], model["space"]["name"]) == ("dit-mini", "text-words", "vae-f16")
    assert (model["in_channels"], model["space"]["factor"]) == (16, 16)
    page = run.folder.report.read_text()
    assert ["receptive-field" in page, "denoising" in page] == [False, True]
    assert "latent of 4 × 4 places" in page
    for name in ("receptive-field", "patches", "filters"):
        with pytest.raises(UserError, match="latents and no pixels: look into RUN/autoencoder"):
            run.inspect(name)
    values = DENOISING.look(subject_of(run.folder, run.task, run.device))
    assert values.noisy.shape[1:] == values.forward.shape[1:] == (3, 64, 64)
    assert set(values.words) <= set(values.asked.split())
    assert values.attention.shape == (len(values.words), len(values.levels) - 1, 4, 4)
    assert 0 < values.attention.min() < values.attention.max() < 1
    [one] = generate(run, Wish(texts=("a red circle",), steps=2))
    assert one.image.shape == (3, 64, 64)


def test_the_autoencoder_learns_from_the_images_that_are_drawn_from():
    config = Config().with_changes({"data.task": "diffuse", "model.name": "vae"})
    found = recognise("shapes:n=80", config=config.data)
    alone = latents.to_compress(found, config)
    assert alone.task == "reconstruct"
    assert [(r.id, r.image, r.split) for r in alone.records] == [(r.id, r.image, r.split) for r in found.records]
    assert not any(record.captions for record in alone.records)
    assert latents.to_compress(found, Config()) is found


def test_latents_that_are_no_numbers_or_of_another_scale_are_told():
    batch = {"id": ["a.png", "b.png"], "latent": torch.zeros(2, 1, 2, 2)}
    latents.refuse_no_numbers(batch)  # type: ignore[arg-type]
    batch["latent"][1, 0, 0, 0] = float("nan")  # type: ignore[call-overload]
    with pytest.raises(UserError, match=r"no numbers of b\.png"):
        latents.refuse_no_numbers(batch)  # type: ignore[arg-type]
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    usual = latents.Spread(zero, one)
    assert list(latents.odd(usual, usual, one)) == []
    [wide] = latents.odd(usual, latents.Spread(zero, torch.tensor([1.0, 3.0], dtype=torch.float64)), one)
    assert "have mean 0.00 and deviation 3.00" in wide
    [unused] = latents.odd(latents.Spread(zero, torch.tensor([1.0, 0.01], dtype=torch.float64)), usual, one)
    assert "Of the 2 channels of the latents 1 hardly vary" in unused


def test_too_much_guidance_is_told():
    assert burnt(12.0, [0.01, 0.01]) is None
    sentence = burnt(12.0, [0.01, 0.4])
    assert sentence is not None
    assert "up to 40% of the values of 1 of 2 images were cut off. Try --guidance 6." in sentence


def test_the_network_is_inspected_as_it_sees_latents(run: Run, capsys: pytest.CaptureFixture[str]):
    assert build.input_shape(run.facts["model"]) == (4, 4, 4)
    assert cli.main(["inspect", str(run.path), "network", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["table"][0]["output"]
