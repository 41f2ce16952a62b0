"""The process of Figures 5.1 and 5.2 beside its step-by-step chain, Bayes' rule, and diffusers' schedules."""

import math
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from olhar.ops.noise import CENTRE, CLEAN, SCHEDULES, SHIFT, SPREAD, make_process

KINDS = ("noise", "image", "velocity")


def mixed(process, n=7):
    """Images, noise, levels over the whole range, and the mixtures of them."""
    generator = torch.Generator().manual_seed(0)
    image, noise = torch.randn(2, n, 2, 3, 3, dtype=torch.float64, generator=generator)
    level = torch.linspace(0, len(process) - 1, n).long()
    return image, noise, level, process.mix(image, noise, level)


def test_the_values_of_the_inventory():
    process = make_process("linear")
    power = process.signal[:-1] ** 2
    assert float(power[500]) == pytest.approx(0.07780, abs=5e-6)
    assert float(process.signal[999]) == pytest.approx(0.0063528, abs=5e-8)
    assert float(process.noise[999] ** 2) == pytest.approx(0.9999596, abs=5e-8)
    snr = process.snr(torch.arange(1000))
    assert int((snr.log().abs()).argmin()) == 258
    assert float((power < 0.1).double().mean()) == pytest.approx(0.525, abs=1e-3)
    # pixels of 0..255 would keep this much of their mean
    assert 255 * float(process.signal[999]) == pytest.approx(1.62, abs=0.005)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_closed_form_is_the_chain_of_steps(schedule: str):
    process = make_process(schedule)
    mean, variance = 1.0, 0.0  # of x_t, from an x₀ of 1
    for level in range(len(process)):
        scale, deviation = process.step(level - 1, level)
        mean, variance = scale * mean, scale**2 * variance + deviation**2
        a, b = process.at(level)
        assert mean == pytest.approx(a, abs=1e-12)
        assert variance == pytest.approx(b**2, abs=1e-12)
        if scale == 0:  # of pure noise nothing further can be told
            break
    assert process.at(CLEAN) == (1, 0)
    assert level == len(process) - 1


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        ("linear", {}),
        ("cosine", {"beta_schedule": "squaredcos_cap_v2"}),
        ("scaled-linear", {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
    ],
)
@pytest.mark.parametrize("zero_terminal", [False, True])
def test_schedules_are_those_of_diffusers(schedule: str, theirs: dict, zero_terminal: bool):
    expected = DDPMScheduler(**theirs, rescale_betas_zero_snr=zero_terminal).alphas_cumprod
    ours = make_process(schedule, zero_terminal=zero_terminal).signal[:-1] ** 2
    torch.testing.assert_close(ours.float(), expected, atol=2e-6, rtol=2e-3)
    if zero_terminal:
        assert ours[-1] == 0


def test_the_shifted_cosine_has_a_ninth_of_the_cosines_signal():
    level = torch.arange(990)  # the last levels of both are held above 0
    shifted, cosine = (make_process(name).snr(level) for name in ("shifted-cosine", "cosine"))
    # the cosine's first level is set apart from 1 by 0.008, which the shift moves too
    torch.testing.assert_close(shifted[50:], cosine[50:] / SHIFT**2, rtol=2e-2, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_posterior_is_bayes_rule(schedule: str):
    """q(x_s | x_t, x₀) ∝ q(x_t | x_s) q(x_s | x₀), computed on a grid."""
    process = make_process(schedule, levels=20)
    now, then, x_t, image = 12, 8, 0.7, -0.4
    scale, deviation = process.step(then, now)
    a, b = process.at(then)
    grid = torch.linspace(-8, 8, 40001, dtype=torch.float64)
    p = (-(((x_t - scale * grid) / deviation) ** 2) / 2 - ((grid - a * image) / b) ** 2 / 2).softmax(0)
    mean = float((p * grid).sum())
    found = process.posterior(now, then)
    assert found.of_noisy * x_t + found.of_image * image == pytest.approx(mean, abs=1e-9)
    assert found.deviation == pytest.approx(float((p * (grid - mean) ** 2).sum().sqrt()), abs=1e-9)
    assert process.posterior(5, CLEAN) == (0, pytest.approx(1), 0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_convert_into_each_other(schedule: str, kind: str):
    process = make_process(schedule)
    image, noise, level, noisy = mixed(process)
    if kind == "noise":  # which tells nothing of an image that is gone
        image, noise, level, noisy = image[:-1], noise[:-1], level[:-1], noisy[:-1]
    found = process.estimate(kind, process.target(kind, image, noise, level), noisy, level)
    torch.testing.assert_close(found.image, image)
    torch.testing.assert_close(found.noise, noise)


@pytest.mark.parametrize("schedule", ["linear", "flow"])
def test_the_velocity_is_the_derivative_along_the_path(schedule: str):
    angle = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    a, b = (1 - angle, angle) if schedule == "flow" else (angle.cos(), angle.sin())
    image, noise = torch.tensor([[1.3]]).double(), torch.tensor([[-0.4]]).double()
    (slope,) = torch.autograd.grad((a * image + b * noise).sum(), angle)
    process = make_process(schedule, levels=2)
    table = torch.stack([a, b]).detach()[:, None].repeat(1, 3)
    process = type(process)(table[0], table[1], process.straight)
    assert float(process.target("velocity", image, noise, torch.tensor([0]))) == pytest.approx(float(slope))


def test_velocity_still_tells_the_image_from_pure_noise():
    process = make_process("linear", zero_terminal=True)
    image, noise, level, noisy = mixed(process)
    torch.testing.assert_close(noisy[-1], noise[-1])
    said = process.target("velocity", image, noise, level)
    torch.testing.assert_close(process.estimate("velocity", said, noisy, level).image, image)


@pytest.mark.parametrize("schedule", ["cosine", "flow"])
@pytest.mark.parametrize("kind", KINDS)
def test_min_snr_is_one_weighting_whatever_is_predicted(schedule: str, kind: str):
    process = make_process(schedule)
    image, noise, level, noisy = mixed(process)
    image, noise, level, noisy = image[1:-1], noise[1:-1], level[1:-1], noisy[1:-1]
    said = process.target(kind, image, noise, level) + 0.1
    weights = process.weights("min-snr", kind, level)
    error = (process.estimate(kind, said, noisy, level).image - image)[:, 0, 0, 0] ** 2
    torch.testing.assert_close((weights * 0.1**2).double(), error * process.snr(level).clamp(max=5), rtol=1e-5, atol=0)
    assert (process.weights("uniform", kind, level) == 1).all()


def test_levels_begin_with_the_noisiest():
    process = make_process("linear")
    assert process.levels(4) == [999, 749, 499, 249]
    assert process.levels(4, strength=0.5) == [499, 249]
    assert process.levels(4, strength=0.01) == [249]
    assert process.levels(1000) == list(range(999, -1, -1))
    assert len(set(process.levels(37))) == 37


def test_no_level_is_visited_twice():
    process = replace(make_process("scaled-linear"), spacing="leading", offset=1)  # as Stable Diffusion's is published
    assert process.levels(1000) == [*range(999, 0, -1)]


def test_variance_1_stays_1_only_on_the_circle():
    for schedule, expected in (("cosine", 1.0), ("flow", 0.5)):
        process = make_process(schedule, levels=1000)
        half = int((process.signal[:-1] - process.noise[:-1]).abs().argmin())
        a, b = process.at(half)
        assert a**2 + b**2 == pytest.approx(expected, abs=2e-3)
        assert math.isclose(a, b, rel_tol=0.01)


def test_levels_to_train_with_are_drawn_alike_or_mostly_in_the_middle():
    process = make_process("cosine", zero_terminal=True)
    torch.manual_seed(0)
    alike, middle = process.draw("uniform", 20_000), process.draw("logit-normal", 20_000)
    for drawn in (alike, middle):
        assert int(drawn.min()) >= 0
        assert int(drawn.max()) < len(process)
    assert float((alike < 250).float().mean()) == pytest.approx(0.25, abs=0.02)
    logit = ((middle + 0.5) / len(process)).logit()
    assert float(logit.mean()) == pytest.approx(CENTRE, abs=0.03)
    assert float(logit.std()) == pytest.approx(SPREAD, abs=0.03)
    snr = process.snr(middle)
    assert float(((snr > 1 / 30) & (snr < 3)).double().mean()) == pytest.approx(0.91, abs=0.02)
