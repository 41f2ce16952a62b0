import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from olhar.train import device
from olhar.train.device import choose_precision, images_per_second, seed_everything

CPU = torch.device("cpu")


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 2))


def step_of(model: nn.Module) -> Callable[[int], Tensor]:
    images = torch.randn(32, 3, 8, 8)
    return lambda n: model(images[:n]).float().square().mean()


def test_the_fastest_is_chosen_and_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch):
    """bf16 is made ten times slower, as where it is emulated; contiguous twice as fast as channels_last."""
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tried: list[tuple[str, str, int]] = []
    size = 0

    def step(n: int) -> Tensor:
        nonlocal size
        size = n
        return step_of(model)(n)

    def timed(step: Callable[[], Tensor], model: nn.Module, where: torch.device, precision: str, layout: str) -> float:
        step().backward()
        tried.append((precision, layout, size))
        return {"fp32": 1.0, "bf16": 10.0}[precision] * {"contiguous": 1.0, "channels_last": 2.0}[layout] * size

    monkeypatch.setattr(device, "timed", timed)
    found = choose_precision(step, model, CPU, 32, seconds=0.05)
    assert (found.choice, found.memory_format) == ("fp32", "contiguous")
    assert ("bf16", "contiguous", 32) not in tried  # a few images were enough to drop it
    assert [row["precision"] for row in found.table] == ["fp32", "fp32"]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_choice_that_was_made_is_not_measured():
    model = net()
    found = choose_precision(step_of(model), model, CPU, 32, "fp32", "channels_last")
    assert found.table == ()
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_speed_is_of_forward_and_backward():
    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, image: Tensor) -> Tensor:
            time.sleep(0.02)
            return self.net(image)

    assert 2000 < images_per_second(Slow(), (3, 8, 8), CPU) < 6400  # at most 128 images every 20 ms


def test_seeds_are_of_all_three_generators():
    import random

    import numpy as np

    drawn = []
    for _ in range(2):
        seed_everything(7)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]
