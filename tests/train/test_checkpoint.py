import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from olhar.errors import UserError
from olhar.train import checkpoint
from olhar.train.optim import Ema, make_optimizer
from olhar.train.position import Position


def trained(name: str, steps: int, seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer, Ema]:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer, ema = make_optimizer(net, name, lr=0.1, weight_decay=0.1, momentum=0.9), Ema(net, 0.9)
    advance(net, optimizer, ema, steps)
    return net, optimizer, ema


def advance(net: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(6, 3)).square().mean().backward()
        optimizer.step()
        ema.update()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_saving_and_loading_changes_nothing(name: str, tmp_path: Path):
    net, optimizer, ema = trained(name, 3)
    position = Position(step=3, epoch=1, batch=2, seconds=1.5, best=0.25, stale=1)
    checkpoint.save(tmp_path, net, optimizer, ema, position, checkpoint.random_state()[None])
    advance(net, optimizer, ema, 4)

    other, other_optimizer, other_ema = trained(name, 1, seed=9)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert checkpoint.load(found, other, other_optimizer, other_ema) == position
    advance(other, other_optimizer, other_ema, 4)  # draws the same random inputs
    for ours, theirs in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(ema.average, other_ema.average, strict=True):
        assert torch.equal(ours, theirs)


def test_all_three_random_generators_come_back():
    state = checkpoint.random_state()
    drawn = (torch.rand(3).tolist(), random.random(), np.random.rand(), np.random.randn())
    checkpoint.restore_random_state(state)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand(), np.random.randn()) == drawn


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    net, optimizer, ema = trained("sgd", 1)
    checkpoint.save(tmp_path, net, optimizer, ema, Position(step=1), checkpoint.random_state()[None])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match="No space left on device"):
        checkpoint.save(tmp_path, net, optimizer, ema, Position(step=2), checkpoint.random_state()[None])
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.name == "step-00000001"
    assert checkpoint.load(found, net, optimizer, ema).step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_a_half_written_checkpoint_is_not_taken(tmp_path: Path):
    """What `kill -9` leaves: the folder that was being written has another name until it is whole."""
    net, optimizer, ema = trained("sgd", 1)
    checkpoint.save(tmp_path, net, optimizer, ema, Position(step=1), checkpoint.random_state()[None])
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "tensors.safetensors").write_bytes(b"half")
    (tmp_path / "step-00000007").mkdir()  # no state.json
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.name == "step-00000001"


def test_nothing_in_it_is_a_pickle(tmp_path: Path):
    net, optimizer, ema = trained("adamw", 2)
    checkpoint.save(tmp_path, net, optimizer, ema, Position(step=2), checkpoint.random_state()[None])
    files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["state.json", "tensors.safetensors"]
    state = json.loads((tmp_path / "step-00000002" / "state.json").read_text())
    assert state["position"]["step"] == 2


def test_only_the_newest_is_kept(tmp_path: Path):
    net, optimizer, ema = trained("sgd", 1)
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, net, optimizer, ema, Position(step=step), checkpoint.random_state()[None])
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_moments_lie_in_memory_as_their_parameters_do(name: str, tmp_path: Path):
    """A fused step walks the parameter and its momentum side by side: in another order it would mix them up."""

    def new() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(5, 2))
        net = net.to(memory_format=torch.channels_last)
        return net, make_optimizer(net, name, lr=0.1, weight_decay=0.1, momentum=0.9)

    def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        net(torch.randn(2, 3, 5, 5)).square().sum().backward()
        optimizer.step()

    net, optimizer = new()
    step(net, optimizer)
    checkpoint.save(tmp_path, net, optimizer, None, Position(step=1), checkpoint.random_state()[None])
    step(net, optimizer)
    other, other_optimizer = new()
    found = checkpoint.newest(tmp_path)
    assert found is not None
    checkpoint.load(found, other, other_optimizer, None)
    step(other, other_optimizer)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
