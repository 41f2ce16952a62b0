import math

import pytest
import torch
from torch import nn

from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.train.muon import ADAPTIVE, Muon, orthogonalize
from olhar.train.optim import Ema, Length, Schedule, make_optimizer, muon_groups, parameter_groups
from olhar.train.position import Position


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_decay_is_on_weights_only():
    decayed, free = parameter_groups(small_net(), 0.1)
    assert {tuple(p.shape) for p in decayed["params"]} == {(4, 3, 3, 3), (2, 4)}
    assert len(free["params"]) == 4  # two biases, scale and shift of the norm
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize(("decay", "expected"), [(0.1, 2.85), (0.2, 2.70)])
def test_sgd_decay_is_twice_lambda(decay: float, expected: float):
    """Eq 1.63 with λ = 0.1 gives 2.70, which PyTorch's SGD gives with weight_decay = 2λ."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    optimizer = make_optimizer(layer, "sgd", lr=0.5, weight_decay=decay, momentum=0.0)
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(expected)


def test_fused_steps_equal_plain_torch():
    for name, plain in (
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.99), weight_decay=0.01)),
    ):
        ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
        theirs.load_state_dict(ours.state_dict())
        a, b = make_optimizer(ours, name, lr=0.1, weight_decay=0.01, momentum=0.9), plain(theirs.parameters())
        for _ in range(3):
            x = torch.randn(5, 3)
            for net, optimizer in ((ours, a), (theirs, b)):
                optimizer.zero_grad()
                net(x).square().sum().backward()
                optimizer.step()
        torch.testing.assert_close(ours.weight, theirs.weight)


def test_schedule_rises_then_falls_to_zero():
    for shape in ("cosine", "linear", "polynomial"):
        schedule = Schedule(shape, peak=0.4, warmup=0.2)
        assert schedule(0.0) < 0.001
        assert schedule(0.1) == pytest.approx(0.2)
        assert schedule(0.2) == pytest.approx(0.4)
        assert schedule(1.0) == pytest.approx(0.0, abs=1e-12)
        values = [schedule(p / 100) for p in range(20, 101)]
        assert values == sorted(values, reverse=True)
    assert Schedule("constant", 0.4, 0.2)(0.9) == 0.4
    # closed forms half-way down
    assert Schedule("cosine", 1.0, 0.0)(0.5) == pytest.approx(0.5 * (1 - math.cos(math.pi * 0.5)))
    assert Schedule("polynomial", 1.0, 0.0)(0.5) == pytest.approx(0.25)


def test_length_by_steps_and_by_seconds():
    assert Length(steps=10).progress(Position(step=5)) == 0.5
    assert Length(seconds=60).progress(Position(seconds=15)) == 0.25
    assert Length(seconds=60).progress(Position(seconds=90)) == 1.0
    either = Length(steps=10, seconds=60)
    assert either.progress(Position(step=5, seconds=15)) == 0.5
    assert either.progress(Position(step=2, seconds=45)) == 0.75


def test_ema_is_the_weighted_sum_of_the_past_and_swaps_back():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    ema = Ema(net, decay=0.9)
    expected, decays = 1.0, []
    for step, value in enumerate((2.0, -1.0, 5.0), start=1):
        nn.init.constant_(net.weight, value)
        ema.update()
        decays.append(min(0.9, (1 + step) / (10 + step)))
        expected = decays[-1] * expected + (1 - decays[-1]) * value
    ema.swap()
    assert net.weight.item() == pytest.approx(expected)
    ema.swap()
    assert net.weight.item() == 5.0


def test_ema_averages_running_statistics_and_copies_counters():
    net = nn.BatchNorm1d(2)
    ema = Ema(net, decay=0.5)
    net(torch.randn(8, 2) + 4)
    ema.update()
    ema.swap()
    assert int(net.num_batches_tracked) == 1
    assert 0 < float(net.running_mean.mean()) < 4


def test_orthogonalize_keeps_the_directions_and_evens_the_lengths():
    torch.manual_seed(0)
    for shape in ((6, 20), (20, 6), (8, 8)):
        matrix = torch.randn(shape)
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        singular = torch.linalg.svdvals(orthogonalize(matrix, steps=8))
        assert singular.min() > 0.6
        assert singular.max() < 1.3
        # the same singular vectors: in their basis the result is diagonal
        inner = u.T @ orthogonalize(matrix, steps=8) @ vh.T
        torch.testing.assert_close(inner, torch.diag(inner.diagonal()), atol=1e-4, rtol=0)
        assert s.max() / s.min() > 1.5  # they were not even before


def test_muon_is_sgd_where_it_does_not_orthogonalize():
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    a = Muon([{"params": ours.parameters(), "weight_decay": 0.01}], lr=0.1, momentum=0.9)
    b = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    for _ in range(3):
        x = torch.randn(5, 4)
        for net, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_muon_moves_every_direction_equally_far():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2))
    optimizer = make_optimizer(layers, "muon", lr=0.1, weight_decay=5e-4, momentum=0.9)
    inner, outer, rest = optimizer.param_groups
    assert [p.shape for p in inner["params"]] == [(8, 4, 3, 3)]  # neither the first layer nor the last
    assert [len(g["params"]) for g in (outer, rest)] == [2, 3]
    weight = layers[1].weight
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight) * torch.logspace(-3, 0, 8).view(8, 1, 1, 1)  # directions of all sizes
    optimizer.step()
    moved = torch.linalg.svdvals((weight - before * (1 - 0.1 * 0.1)).reshape(8, -1)) / 0.1
    assert moved.max() < 1.3
    assert moved.median() > 0.5


class Reader(nn.Module):
    """Words looked up, a layer that sees them, one between and one that answers."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(5, 4), nn.Parameter(torch.randn(3, 4))
        self.first, self.between, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.ends = (self.first, self.last)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(self.first(self.words(words) + self.places)))


def test_what_is_no_matrix_between_the_ends_moves_by_adamw():
    torch.manual_seed(0)
    task = nn.Module()
    task.model = Reader()
    theirs = Reader()
    theirs.load_state_dict(task.model.state_dict())
    ours = make_optimizer(task, "muon", lr=0.1, weight_decay=0.01, momentum=0.9)
    inner, *adaptive = ours.param_groups
    assert [p is task.model.between.weight for p in inner["params"]] == [True]
    assert sum(len(group["params"]) for group in adaptive) == 7
    assert all(group["adaptive"] for group in adaptive)
    groups = parameter_groups(theirs, 0.01)
    plain = torch.optim.AdamW(groups, lr=ADAPTIVE * 0.1, betas=(0.9, 0.99))
    for step in range(3):
        words = torch.tensor([[0, 1, step]])
        task.model(words).square().sum().backward()
        for mine, other in zip(task.model.parameters(), theirs.parameters(), strict=True):
            other.grad = mine.grad.clone()
        ours.step(), plain.step()
        task.zero_grad()
    for (name, mine), other in zip(task.model.named_parameters(), theirs.parameters(), strict=True):
        if name == "between.weight":
            assert (mine - other).abs().max() > 0.01
        else:
            torch.testing.assert_close(mine, other)


def test_of_a_vision_transformer_the_matrices_of_the_blocks_alone_have_orthogonal_steps():
    holder = nn.Module()
    holder.model = Classifier(encoder("vit-mini4", 3, (32, 32)), 10)
    orthogonal, *rest = muon_groups(holder, 0.01)
    assert orthogonal["orthogonal"]
    assert all(group["adaptive"] for group in rest)
    names = {p: name for name, p in holder.model.named_parameters()}
    weights = {name for name in names.values() if ".blocks." in name and name.endswith("weight") and "norm" not in name}
    assert {names[p] for p in orthogonal["params"]} == weights
    outside = {names[p] for group in rest for p in group["params"]}
    assert outside == set(names.values()) - weights
    assert {"head.weight", "encoder.positions.codes"} < outside
