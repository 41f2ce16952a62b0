"""Noise and back: a mixture whose score is known against closed forms, and a network's way against `olhar generate`."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from olhar import build, cli
from olhar.data.text import Tokenizer
from olhar.generate import Wish, generate
from olhar.inspection.denoising import Asked, Step, joined, noised, way_back, words_of
from olhar.inspection.instrument import Subject
from olhar.inspection.instruments.denoising import DENOISING
from olhar.inspection.particles import Mixture, moments_of, particles, ring
from olhar.ops.noise import CLEAN, make_process
from olhar.tasks.classify import Classify
from olhar.tasks.diffuse import Diffuse

SIDE = 8
CAPTIONS = ["a red circle", "a blue circle above a red square", "a green square"] * 2  # what is rare stays in pieces


def lopsided() -> Mixture:
    means = torch.tensor([[1.0, 0.5], [-1.5, 0.0], [0.0, -1.0]], dtype=torch.float64)
    return Mixture(torch.tensor([0.5, 0.2, 0.3]).double(), means, torch.tensor([0.2, 0.4, 0.1]).double())


@pytest.mark.parametrize("schedule", ["linear", "flow"])
def test_points_on_their_way_to_noise_have_the_moments_of_the_closed_form(schedule):
    mixture, process = lopsided(), make_process(schedule)
    made = particles(process, mixture, count=20_000, steps=3)
    for level, x in zip(made.levels, made.forward, strict=True):
        a, b = process.at(level)
        expected = a**2 * mixture.covariance + b**2 * torch.eye(2)
        torch.testing.assert_close(x.mean(0), a * mixture.mean, atol=0.03, rtol=0)
        torch.testing.assert_close(x.T.cov(), expected, atol=0.04, rtol=0)
        torch.testing.assert_close(mixture.noised(process, level).covariance, expected)


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 60), ("ddpm", 100), ("heun", 30)])
def test_the_exact_score_leads_back_to_the_mixture(sampler: str, steps: int):
    mixture = lopsided()
    made = particles(make_process("cosine", zero_terminal=True), mixture, 4_000, sampler=sampler, steps=steps)
    end = made.backward[-1]
    torch.testing.assert_close(end.mean(0), mixture.mean, atol=0.06, rtol=0)
    torch.testing.assert_close(end.T.cov(), mixture.covariance, atol=0.08, rtol=0)
    torch.testing.assert_close(made.end.bincount() / 4_000, mixture.weights.float(), atol=0.03, rtol=0)


def test_the_score_is_the_gradient_and_the_estimate_what_the_point_was_mixed_from():
    mixture, process = lopsided(), make_process("cosine", zero_terminal=True)
    x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (gradient,) = torch.autograd.grad(mixture.log_parts(x).logsumexp(1).sum(), x)
    torch.testing.assert_close(mixture.score(x.detach()), gradient)
    for level in (0, 400, 998):
        a, b = process.at(level)
        image, noise = mixture.estimate(process, x.detach(), level)
        torch.testing.assert_close(a * image + b * noise, x.detach(), atol=1e-9, rtol=0)
    assert process.at(999)[0] == 0  # pure noise tells nothing of the image
    torch.testing.assert_close(mixture.estimate(process, x.detach(), 999).image, mixture.mean.expand(50, 2))


def test_levels_begin_clean_end_in_noise_and_grow_evenly():
    process = make_process("cosine", zero_terminal=True)
    levels = moments_of(process, 6)
    assert (levels[0], levels[-1]) == (CLEAN, 999)
    noise = torch.tensor([process.at(level)[1] for level in levels])
    torch.testing.assert_close(noise, torch.linspace(0, 1, 6), atol=0.01, rtol=0)
    assert float(ring().covariance.trace()) / 2 == pytest.approx(1, abs=0.06)  # as images have


def test_diffusion_is_explained_with_numbers_and_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["explain", "diffusion", "--out", str(tmp_path / "points.svg")]) == 0
    shown = capsys.readouterr().out
    assert "exact var x" in shown
    assert (tmp_path / "points.svg").stat().st_size > 1000
    assert cli.main(["explain", "diffusion", "--at", "x=3"]) == 1
    assert "are for expressions" in capsys.readouterr().err


def new_task(captioned: bool) -> Diffuse:
    torch.manual_seed(0)
    facts = {"name": "denoiser-tiny", "in_channels": 3, "image_size": [SIDE, SIDE]}
    facts["args"] = {"widths": (16, 32), "heads": 2, "attention": (0, 1)}
    if captioned:
        size = Tokenizer.train(CAPTIONS).size
        args = {"width": 16, "heads": 2}
        facts["text"] = {"name": "text-small", "vocabulary": size, "length": 12, "start": 1, "end": 2, "args": args}
    settings = {"mean": [0.5] * 3, "std": [0.25] * 3, "class_names": [] if captioned else ["cat", "dog"]}
    task = build.make_task("diffuse", facts, settings)
    assert isinstance(task, Diffuse)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return task.eval()


class Trained:
    """A run without a folder."""

    def __init__(self, task: Diffuse):
        self.task, self.device, self.facts = task, torch.device("cpu"), {"model": {"image_size": [SIDE, SIDE]}}
        self.tokenizer = None

    def computing(self):
        return nullcontext()


def test_the_way_back_is_that_of_generate():
    task = new_task(captioned=False)
    wish = Wish(texts=("dog",), seed=3, sampler="ddim", steps=7, guidance=2.0)
    (drawn,) = generate(Trained(task), wish)
    noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        *steps, result = way_back(task, noise, task.process.levels(7), Asked(torch.tensor([1]), None))
    assert isinstance(result, Tensor)
    assert torch.equal(task.pixels(result)[0], drawn.image)
    assert [step.level for step in steps if isinstance(step, Step)] == task.process.levels(7)
    assert all(step.attention is None for step in steps if isinstance(step, Step))


def test_one_noise_is_mixed_in_at_every_level():
    task, image = new_task(captioned=False), torch.randn(1, 3, SIDE, SIDE)
    levels = (CLEAN, 300, 999)
    found = noised(task, image, levels, 0)
    assert torch.equal(found[0], image[0])
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    for level, x in zip(levels, found, strict=True):
        a, b = task.process.at(level)
        torch.testing.assert_close(x, (a * image + b * noise)[0])


def test_attention_to_words_is_shared_out_and_laid_over_the_finest_map():
    task, tokenizer = new_task(captioned=True), Tokenizer.train(CAPTIONS)
    tokens = tokenizer.encode([CAPTIONS[1]], 12)
    with torch.inference_mode():
        noise = torch.randn(1, 3, SIDE, SIDE)
        *steps, _ = way_back(task, noise, [999, 500], Asked(None, tokens))
    for step in steps:
        assert isinstance(step, Step)
        assert step.attention is not None
        assert step.attention.shape == (1, 12, SIDE, SIDE)
        torch.testing.assert_close(step.attention.sum(1), torch.ones(1, SIDE, SIDE))
        assert (step.attention[:, ~tokenizer.mask(tokens)[0]] == 0).all()  # nobody looks at padding
    coarse = torch.zeros(1, 2, 4, 3)
    coarse[0, :, 1, 2] = 1  # the position at the top right of two by two looks at token 2
    both = joined([coarse, torch.full((1, 2, 16, 3), 0.25)], (SIDE, SIDE))
    assert both.shape == (1, 3, 4, 4)
    assert both[0, 2, 0, 3] == pytest.approx((1 + 0.25) / 2)
    assert both[0, 2, 3, 0] == pytest.approx(0.25 / 2)


def test_words_are_found_among_the_tokens():
    tokenizer, text = Tokenizer.train(CAPTIONS), "a red xylophone above"
    tokens = tokenizer.encode([text], 30)
    words = words_of(tokenizer, text, 30)
    assert [word.text for word in words] == text.split()
    assert [tokenizer.encoding.decode(tokens[0, w.start : w.end].tolist()).strip() for w in words] == text.split()
    assert words[2].end - words[2].start > 1
    assert [word.text for word in words_of(tokenizer, text, 4)] == ["a", "red"]  # the rest was cut off


@pytest.mark.notes("Fig 5.2")
@pytest.mark.parametrize("captioned", [False, True])
def test_the_instrument_shows_both_ways_and_the_words(captioned: bool, tmp_path: Path):
    task = new_task(captioned)
    image = torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    batch = {"id": ["x"], "image": image, "label": torch.tensor([1])}
    if captioned:
        tokenizer = Tokenizer.train(CAPTIONS)
        tokenizer.save(tmp_path / "tokenizer.json")
        batch |= {"tokens": tokenizer.encode([CAPTIONS[1]], 12), "text": [CAPTIONS[1]]}
    subject = Subject(task, (3, SIDE, SIDE), lambda: iter([batch]), folder=tmp_path)
    assert DENOISING.fits(subject) is None
    values = DENOISING.look(subject)
    assert torch.equal(values.forward[0], image[0])
    assert len(values.levels) == len(values.forward) == len(values.noisy) == len(values.said) == 8
    assert torch.equal(values.noisy[-1], values.said[-1])
    assert values.asked == (CAPTIONS[1] if captioned else "dog")
    assert len(values.words) == (6 if captioned else 0)
    columns, rows = values.table()
    assert [row[0] for row in rows] == list(values.levels[:0:-1])
    assert {len(row) for row in rows} == {len(columns)}
    assert len(DENOISING.figure(values).axes) == 8 * (5 + len(values.words))
    assert DENOISING.figure(values, dark=True).get_facecolor() != DENOISING.figure(values).get_facecolor()
    assert DENOISING.reading.count("\n") == 1


def test_what_does_not_draw_is_told_so():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE**2, 2))
    task = Classify(model, [0.5] * 3, [0.25] * 3, ["a", "b"])
    assert "this run learnt to classify" in str(DENOISING.fits(Subject(task, (3, SIDE, SIDE), lambda: iter(()))))
