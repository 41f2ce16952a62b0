"""Sections 1.3 and 1.4 of the notes: decay, regression, capacity; the errata N1 to N3 with their right values."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from compare import close, printed
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from olhar.errors import UserError
from olhar.theory import decay, draw, regression
from olhar.theory.capacity import Affine, Network, most_regions, overfitting, pieces, regions

DATA = torch.Generator().manual_seed(3)
X = torch.linspace(-1, 1, 15, dtype=torch.float64)
Y = 0.3 + 0.8 * X + 0.2 * torch.randn(15, generator=DATA, dtype=torch.float64)
CURVE = torch.sin(4 * X) + 0.25 * torch.randn(15, generator=DATA, dtype=torch.float64)
CLASS = (X + 0.4 * torch.randn(15, generator=DATA, dtype=torch.float64) > 0).double()
THREE, LAMBDA, LR = torch.tensor([3.0], dtype=torch.float64), 0.1, 0.5
NOTHING = torch.zeros(1, dtype=torch.float64)  # the gradient of the loss in the notes' example


@pytest.mark.notes("Eq 1.60", "C10")
def test_equation_1_60_and_1_61_the_penalty_and_its_gradient():
    """C10: every weight that is given counts; that biases are left out is for who calls it."""
    w = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    loss = decay.penalised(w.prod(), w, LAMBDA)
    close(loss.detach(), -6 + 0.1 * 13)
    (gradient,) = torch.autograd.grad(loss, w)
    close(gradient, decay.penalised_gradient(torch.tensor([-2.0, 3.0]), w.detach(), LAMBDA))


@pytest.mark.notes("Eq 1.61-1.63")
def test_equations_1_61_to_1_63_three_equivalent_updates():
    printed(decay.step(THREE, NOTHING, LR, LAMBDA), [2.70], 12)
    close(THREE - LR * decay.penalised_gradient(NOTHING, THREE, LAMBDA), [2.70])
    close(decay.torch_step("sgd", THREE, NOTHING, LR, decay.weight_decay_for(LAMBDA)), [2.70])


@pytest.mark.notes("weight_decay", "N1")
def test_weight_decay_of_torch_is_twice_lambda():
    """N1: with weight_decay = λ torch's SGD does half of Eq 1.63; Adam rescales it, AdamW keeps it apart."""
    found = decay.compare(3.0, 0.0, LR, LAMBDA)
    expected = {
        "Eq 1.63": 2.70, "SGD, weight_decay = 2 λ": 2.70, "SGD, weight_decay = λ": 2.85,
        "Adam, weight_decay = λ": 2.50, "AdamW, weight_decay = λ": 2.85,
    }  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.notes("N1")
def test_weight_decay_of_a_mean_of_squares():
    w = torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(0.1 * w.square().mean(), w)
    close(gradient, decay.weight_decay_for_mean(0.1, 3) * w.detach())


@pytest.mark.notes("Fig 1.4")
def test_figure_1_4_the_more_decay_the_smaller_the_weights():
    features = regression.powers(X, 10)
    norms = [regression.ridge(features, CURVE, strength)[1:].norm().item() for strength in (1e-6, 1e-3, 0.1, 1, 100)]
    assert norms == sorted(norms, reverse=True)
    fitted = Ridge(alpha=0.1).fit(features[:, 1:].numpy(), CURVE.numpy())
    close(regression.ridge(features, CURVE, 0.1), [fitted.intercept_, *fitted.coef_])
    figure = draw.ridge_fits(X, CURVE, (X, torch.sin(4 * X)), [1e-6, 1.0], degree=10)
    weights = regression.ridge(features, CURVE, 1.0)
    close(figure.axes[1].lines[1].get_ydata(), features @ weights)


@pytest.mark.notes("Fig 1.5")
def test_figure_1_5_lines_and_their_residuals():
    intercept, slope = regression.least_squares(X, Y)
    stacked = torch.stack([torch.ones_like(X), X], 1)
    close([intercept, slope], torch.linalg.lstsq(stacked, Y[:, None]).solution[:, 0])
    left = regression.residuals(intercept, slope, X, Y)
    close(torch.stack([left.sum(), (left * X).sum()]) + 1, [1, 1])  # at the least error they are orthogonal to both
    figure = draw.lines(X, Y, [(0.0, 0.0), (intercept, slope)])
    assert f"{left.square().sum().item():.3g}" in figure.axes[1].get_title(loc="left")
    with pytest.raises(UserError, match="same x"):
        regression.least_squares(torch.ones(3), torch.ones(3))


@pytest.mark.notes("Fig 1.6")
def test_figure_1_6_the_surface_of_squared_errors_and_the_way_down():
    grid = torch.linspace(-2, 2, 81, dtype=torch.float64)
    surface = regression.surface(regression.squared_error, X, Y, grid, grid)
    best = regression.least_squares(X, Y)
    i, j = divmod(int(surface.error.argmin()), 81)
    assert (grid[i].item(), grid[j].item()) == pytest.approx(best, abs=0.026)
    path = regression.descend(regression.squared_error, X, Y, start=(-1.0, 1.8), lr=0.4, steps=200)
    close(path.end, best)
    assert (path.error.diff() <= 1e-12).all()
    close(path.error[0], (Y + 1 - 1.8 * X).square().sum())
    with pytest.raises(UserError, match="learning rate below 5"):
        regression.descend(regression.squared_error, X, Y, lr=5.0, steps=2000)
    lines = draw.error_surface(surface, path).axes[0].lines
    close(lines[0].get_xdata(), path.intercepts)


@pytest.mark.notes("logistic regression")
def test_logistic_regression():
    zeros, ones = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    expected = nn.functional.binary_cross_entropy_with_logits(X, CLASS, reduction="sum")
    close(regression.logistic_error(zeros, ones, X, CLASS), expected)
    path = regression.descend(regression.logistic_error, X, CLASS, lr=8.0, steps=150, momentum=0.8)
    model = LogisticRegression(C=1e9, tol=1e-10).fit(X[:, None].numpy(), CLASS.numpy())
    close(path.end, [model.intercept_[0], model.coef_[0, 0]], 1e-4)
    said = model.predict_proba(X[:, None].numpy())[:, 1]
    close(regression.probability(*path.end, X), said, 1e-3)
    figure = draw.lines(X, CLASS, [(0.0, 0.0), path.end], logistic=True)
    assert f"cross-entropy {path.error[-1].item():.3g}" in figure.axes[1].get_title(loc="left")
    close(figure.axes[0].lines[0].get_ydata(), [CLASS[0], 0.5])
    (a, b), grid = path.end, torch.linspace(-0.1, 0.1, 5, dtype=torch.float64)
    around = regression.surface(regression.logistic_error, X, CLASS, a + grid, b + grid)
    assert int(around.error.argmin()) == 12  # the middle: its minimum


# The joints of Prince's Figure 4.1 (Understanding Deep Learning), from which Figure 1.7 is taken.
FIRST = Network.through([-1.0, 0.0, 0.6, 1.0], [-1.0, 1.0, -1.0, 1.0])
SECOND = Network.through([-1.0, -0.2, 0.3, 1.0], [0.6, -0.8, 0.3, -0.2])


@pytest.mark.notes("Fig 1.7", "N2")
def test_figure_1_7_three_and_three_regions_make_nine_in_the_window():
    """N2: 3, 3 and 9 are what is seen in [-1, 1]; on a wider range the same weights give 4, 4 and 10."""
    both = FIRST.then(SECOND)
    x = np.linspace(-3, 3, 1001)[:, None]
    close(both(x), SECOND(FIRST(x)))
    counts = [[len(pieces(net, -r, r)) for net in (FIRST, SECOND, both)] for r in (1, 5)]
    assert counts == [[3, 3, 9], [4, 4, 10]]
    for piece in pieces(both, -5, 5):
        inside = np.linspace(piece.low, piece.high, 7)[1:-1, None]
        close(np.diff(both(inside)[:, 0]) / np.diff(inside[:, 0]) + 10, np.full(4, piece.slope + 10))
    titles = [axes.get_title(loc="left") for axes in draw.composition(FIRST, SECOND).axes]
    assert [title.split(": ")[1] for title in titles] == ["3 pieces", "3 pieces", "9 pieces"]


@pytest.mark.notes("Fig 1.7", "N2")
def test_figure_1_7_the_most_is_four_and_sixteen():
    """N2: D + 1 regions of one layer, (D + 1)² of two."""
    up_and_down = Affine(np.array([[-1.0], [1.0], [1.0]]), np.array([2.0, 0.0, -1.0]))
    outer = Network((up_and_down, Affine(np.array([[-3.0, -6.0, 5.0]]), np.array([6.0]))))  # slopes 3, -3, 2, -1
    # the same with its joints at -2.6, -2 and -1.4, which every piece of the first passes
    closer = Affine(up_and_down.weight / 0.6, up_and_down.bias + up_and_down.weight[:, 0] * 2.6 / 0.6)
    inner = Network((closer, outer.layers[-1]))
    assert len(pieces(outer)) == len(pieces(inner)) == most_regions(3, 1) == 4
    assert len(pieces(outer.then(inner))) == 16
    close(outer(np.array([[0.0], [1.0], [2.0]])), [[0.0], [-3.0], [-1.0]])


def test_a_joint_without_a_bend_parts_nothing():
    straight = Network((Affine(np.ones((2, 1)), np.array([0.0, -0.5])), Affine(np.array([[1.0, 0.0]]), np.zeros(1))))
    assert [(piece.low, piece.slope) for piece in pieces(straight, -1, 1)] == [(-1, 0), (0, 1)]


def test_pieces_of_a_random_network_are_those_found_by_sampling():
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    net = Network.of(model)
    x = torch.linspace(-3, 3, 200_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        y = model(x)[:, 0]
    close(net(x.numpy())[:, 0], y)
    slopes = y.diff() / x[:, 0].diff()
    bends = (slopes.diff().abs() > 1e-7).nonzero()[:, 0]
    groups = int((bends.diff() > 1).sum()) + 1  # a bend between two samples is seen by two differences
    assert len(pieces(net, -3, 3)) == groups + 1


HIDDEN = Affine(np.array([[1.0, 0.3], [-0.4, 1.0], [-0.8, -0.9]]), np.array([0.2, 0.1, 0.35]))


@pytest.mark.notes("Fig 1.8")
def test_figure_1_8_seven_regions():
    """1 + 3 + 3 (Zaslavsky): three lines in general position; and as many patterns as a dense sample sees."""
    one = Network((HIDDEN, Affine(np.array([[1.0, -1.2, 0.8]]), np.zeros(1))))
    found = regions(one)
    assert len(found) == most_regions(3, 2) == 7
    side = np.linspace(-1, 1, 400)
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    assert len(np.unique(HIDDEN(points) > 0, axis=0)) == 7
    for region in found:
        close(region.function(region.corners), one(region.corners))
    areas = [polygon_area(region.corners) for region in found]
    assert sum(areas) == pytest.approx(4)


@pytest.mark.notes("Fig 1.8", "N3")
def test_figure_1_8_a_second_network_folds_them_to_thirteen():
    """N3: where one joint of the second network cuts the six regions that are not flat, and cannot cut the flat one."""
    flat_in_the_middle = Affine(np.array([[0.0, 1.0], [0.87, -0.5], [-0.87, -0.5]]), np.full(3, -0.25))
    first = Network((flat_in_the_middle, Affine(np.ones((1, 3)), np.zeros(1))))
    assert len(regions(first, -4, 4)) == 7
    second = Network((Affine(np.ones((1, 1)), np.array([-0.2])), Affine(np.ones((1, 1)), np.zeros(1))))
    both = first.then(second)
    assert len(regions(both, -4, 4)) == 13
    title = draw.region_map(both, -4, 4).axes[0].get_title(loc="left")
    assert title == "13 linear regions"


def test_regions_of_a_random_network_hold_one_affine_function_each():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    net = Network.of(model)
    found = regions(net)
    assert sum(polygon_area(region.corners) for region in found) == pytest.approx(4)
    assert len({region.pattern for region in found}) == len(found)
    inside = [region.corners * 0.9 + region.centre * 0.1 for region in found]
    for region, points in zip(found, inside, strict=True):
        assert np.abs(region.function(points) - net(points)).max() < 1e-9
    with pytest.raises(UserError, match="two inputs: this network has 1"):
        regions(FIRST)
    with pytest.raises(UserError, match="this one has Tanh"):
        Network.of(nn.Sequential(nn.Linear(1, 2), nn.Tanh()))


def polygon_area(corners: np.ndarray) -> float:
    a, b = corners.T
    return abs(float(np.sum(a * np.roll(b, -1) - b * np.roll(a, -1)))) / 2


def write_run(path: Path, rise: float) -> Path:
    lines = [{"kind": "train", "epoch": e, "loss": 2 * math.exp(-e / 6)} for e in range(1, 31)]
    loss = [2 * math.exp(-e / 5) + 0.5 + rise * max(0, e - 10) ** 2 for e in range(1, 31)]
    lines += [{"kind": "val", "epoch": e, "loss": value} for e, value in enumerate(loss, 1)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.mark.notes("Fig 1.9")
def test_figure_1_9_where_a_run_turns(tmp_path: Path):
    converged = overfitting(write_run(tmp_path / "a.jsonl", 0.0))
    assert converged.turning is None
    assert len(converged.train) == len(converged.validation) == 30
    overfit = overfitting(write_run(tmp_path / "b.jsonl", 0.0012))
    assert overfit.turning is not None
    least = min(overfit.validation, key=lambda point: point[1])[0]
    assert overfit.turning.epoch == pytest.approx(least, abs=1)
    title = draw.loss_curves(overfit).axes[0].get_title(loc="left")
    assert title == f"Overfits from epoch {overfit.turning.epoch:.0f}"
    with pytest.raises(UserError, match=r"RUN/metrics\.jsonl"):
        overfitting(tmp_path / "none.jsonl")


@pytest.mark.notes("Fig 1.9")
def test_figure_1_9_of_a_real_run(trained: Path):
    found = overfitting(trained / "metrics.jsonl")
    assert len(found.validation) == 3
