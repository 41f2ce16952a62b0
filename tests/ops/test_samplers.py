"""The ways back from noise beside diffusers' schedulers, on the same predictions over whole trajectories."""

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from olhar.ops.noise import CLEAN, Estimate, make_process
from olhar.ops.samplers import SAMPLERS, STEPS, ddim, ddpm, euler, heun, make_sampler

STEPS_HERE = 20
THEIRS = {"num_train_timesteps": 1000, "timestep_spacing": "trailing"}
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
LINEAR = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}  # not the default of all of them
CURVES = {"linear": LINEAR, "scaled-linear": SD, "cosine": COSINE}


def network(x: Tensor, level: float) -> Tensor:
    """Some smooth function of x_t and t, as a network's noise is."""
    return torch.tanh(1.3 * x.roll(1, -1) + 0.3) * 0.8 + 0.3 * x + level / 2000


def noise_of(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def draws(like: Tensor):
    generator = torch.Generator().manual_seed(2)
    return lambda: torch.randn(like.shape, generator=generator)


def ours(sampler, schedule: str, x: Tensor, kind: str = "noise", steps: int = STEPS_HERE) -> list[Tensor]:
    process = make_process(schedule)

    def predict(x: Tensor, level: int) -> Estimate:
        return process.estimate(kind, network(x, level), x, torch.full((len(x),), level))

    return [state.noisy for state in sampler(predict, x, process, process.levels(steps), draws(x))]


def theirs(scheduler, x: Tensor, scaled: bool, steps: int = STEPS_HERE, extra=lambda generator: {}) -> list[Tensor]:
    """Their trajectory; those of `scaled` walk with x / a, and ask the network with x."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(2)
    at = lambda i: float(1 / (scheduler.sigmas[i] ** 2 + 1).sqrt()) if scaled else 1.0  # noqa: E731 - used thrice
    sample, found = x / at(0), []
    for i, t in enumerate(scheduler.timesteps):
        said = network(scheduler.scale_model_input(sample, t), float(t))
        sample = scheduler.step(said, t, sample, **extra(generator)).prev_sample
        found.append(sample * at(i + 1) if scaled else sample)
    return found


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, of the newest NumPy
@pytest.mark.parametrize("schedule", CURVES)
@pytest.mark.parametrize("name", ["ddpm", "ddim", "ddim, random", "dpm2m", "dpm2m-sde", "euler", "heun"])
def test_whole_trajectories_are_those_of_diffusers(name: str, schedule: str):
    x = noise_of(2, 3, 4, 4)
    own = THEIRS | CURVES[schedule]
    if name == "ddpm":
        scheduler = diffusers.DDPMScheduler(**own, clip_sample=False)
        expected = theirs(scheduler, x, False, extra=lambda generator: {"generator": generator})
        found = ours(ddpm, schedule, x)
    elif name.startswith("ddim"):
        eta = 0.7 if "random" in name else 0.0
        scheduler = diffusers.DDIMScheduler(**own, clip_sample=False)
        expected = theirs(scheduler, x, False, extra=lambda generator: {"generator": generator, "eta": eta})
        found = ours(make_sampler("ddim", eta), schedule, x)
    elif name == "dpm2m":
        scheduler = diffusers.DPMSolverMultistepScheduler(**own, final_sigmas_type="zero")
        found, expected = ours(SAMPLERS[name], schedule, x), theirs(scheduler, x, False)
    elif name == "dpm2m-sde":
        kind = {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "zero"}
        scheduler = diffusers.DPMSolverMultistepScheduler(**own, **kind)
        expected = theirs(scheduler, x, False, extra=lambda generator: {"generator": generator})
        found = ours(SAMPLERS[name], schedule, x)
    else:
        kind = {"euler": diffusers.EulerDiscreteScheduler, "heun": diffusers.HeunDiscreteScheduler}[name]
        found, expected = ours(SAMPLERS[name], schedule, x), theirs(kind(**own), x, True)
        # they make two steps of one of Heun's; the first of them is not where it goes
        expected = [*expected[1:-1:2], expected[-1]] if name == "heun" else expected
    assert len(found) == len(expected) == STEPS_HERE
    for one, other in zip(found, expected, strict=True):
        scale = float(other.abs().max().clamp(min=1))
        torch.testing.assert_close(one / scale, other.to(one.dtype) / scale, atol=1e-4, rtol=0)


def test_a_flow_is_that_of_diffusers():
    x = noise_of(2, 3, 4, 4)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / STEPS_HERE, STEPS_HERE))
    sample, expected = x, []
    for t in scheduler.timesteps:
        sample = scheduler.step(network(sample, float(t) - 1), t, sample).prev_sample  # they count levels from 1
        expected.append(sample)
    for one, other in zip(ours(euler, "flow", x, "velocity"), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize("schedule", ["cosine", "flow"])
def test_ddim_without_fresh_noise_is_euler_and_with_all_of_it_ddpm(schedule: str):
    x, kind = noise_of(1, 1, 3, 3).double(), "velocity"
    for one, other in zip(ours(ddim, schedule, x, kind), ours(euler, schedule, x, kind), strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(
        ours(make_sampler("ddim", 1.0), schedule, x, kind), ours(ddpm, schedule, x, kind), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "flow", "zero terminal"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_score_of_a_gaussian_leads_back_to_it(name: str, schedule: str):
    """Of images from N(1, 0.5²) the best estimate is known; following it gives images from N(1, 0.5²)."""
    process = make_process("linear" if schedule == "zero terminal" else schedule, zero_terminal="zero" in schedule)
    mean, spread, generator = 1.0, 0.5, torch.Generator().manual_seed(0)

    def best(x: Tensor, level: int) -> Estimate:
        a, b = process.at(level)
        image = mean + a * spread**2 / (a**2 * spread**2 + b**2) * (x - a * mean)
        return Estimate(image, (x - a * image) / b)

    draw = lambda: torch.randn(4000, 1, generator=generator, dtype=torch.float64)  # noqa: E731 - used twice
    states = list(SAMPLERS[name](best, draw(), process, process.levels(4 * STEPS[name]), draw))
    result = states[-1].noisy
    assert states[-1].level == CLEAN
    assert float(result.mean()) == pytest.approx(mean, abs=0.03)
    assert float(result.std()) == pytest.approx(spread, abs=0.03)


def test_second_order_comes_nearer_in_as_many_calls():
    """Where the exact way is known: of images from N(0, s²) x stays proportional to its deviation."""
    process = make_process("linear")
    spread, start = 0.3, torch.ones(1, 1, dtype=torch.float64)

    def best(x: Tensor, level: int) -> Estimate:
        a, b = process.at(level)
        image = a * spread**2 / (a**2 * spread**2 + b**2) * x
        return Estimate(image, (x - a * image) / b)

    a, b = process.at(len(process) - 1)
    exact = spread / (a**2 * spread**2 + b**2) ** 0.5
    error = {}
    for name, steps in (("euler", 160), ("heun", 80), ("dpm2m", 160)):
        *_, end = SAMPLERS[name](best, start, process, process.levels(steps), lambda: start)
        error[name] = abs(float(end.noisy) - exact)
    assert error["heun"] < error["euler"] / 2
    assert error["dpm2m"] < error["euler"] / 2


def test_heun_asks_twice_but_the_last_time():
    calls = []
    process = make_process("linear")

    def predict(x: Tensor, level: int) -> Estimate:
        calls.append(level)
        return Estimate(x, x)

    list(heun(predict, noise_of(1, 1), process, process.levels(3), lambda: noise_of(1, 1)))
    levels = process.levels(3)
    assert calls == [levels[0], levels[1], levels[1], levels[2], levels[2]]
