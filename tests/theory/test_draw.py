"""Every figure of the theory is drawn without a warning, in the dark style too, and nothing in it is cut off."""

import numpy as np
import pytest
import torch

from olhar.inspection.curves import Turning
from olhar.inspection.figure import DARK
from olhar.theory import draw, draw_models, gaussian, regression
from olhar.theory.capacity import Affine, Network, Overfitting
from olhar.theory.words import Words

X = torch.linspace(-1, 1, 12, dtype=torch.float64)
Y = torch.sin(3 * X)
GRID = torch.linspace(0.5, 3, 9, dtype=torch.float64)
CURVE = tuple((float(e), 1 / e) for e in range(1, 9))
LINES = [(0.0, 0.0), (0.1, 0.8)]
PLANE = Network((Affine(np.eye(2), np.zeros(2)), Affine(np.ones((1, 2)), np.zeros(1))))
ZIGZAG = Network.through([-1.0, 0.0, 1.0], [0.0, 1.0, 0.0])

WORDS = Words.of({"a": (0.4, 0.8), "b": (0.9, 0.2)})

SLACK = 3  # pixels of empty box: the layout measures tick labels before they have their last digits

FIGURES = {
    "likelihood": lambda: draw.likelihood_curve(torch.tensor([1, 1, 2, 3, 6, 1]), style=DARK),
    "one side alone": lambda: draw.likelihood_curve(torch.tensor([2, 2, 3]), style=DARK),
    "candidates": lambda: draw.candidates(Y, [(0.0, 1.0), (0.2, 0.5)], style=DARK),
    "descent": lambda: draw.gaussian_descent(
        gaussian.grid_search(Y, GRID - 1.5, GRID), gaussian.descend(Y, steps=20), style=DARK
    ),
    "lines": lambda: draw.lines(X, Y, LINES, style=DARK),
    "probabilities": lambda: draw.lines(X, (Y > 0).double(), LINES, logistic=True, style=DARK),
    "surface": lambda: draw.error_surface(
        regression.surface(regression.squared_error, X, Y, GRID, GRID),
        regression.descend(regression.squared_error, X, Y, steps=5),
        style=DARK,
    ),
    "ridge": lambda: draw.ridge_fits(X, Y, (X, Y), [1e-3, 1.0], degree=5, style=DARK),
    "composition": lambda: draw.composition(ZIGZAG, ZIGZAG, style=DARK),
    "regions": lambda: draw.region_map(PLANE, style=DARK),
    "sliding": lambda: draw_models.sliding(X, torch.tensor([1.0, -1.0]).double(), 3, 2, 1, style=DARK),
    "words": lambda: draw_models.word_moves(WORDS, "a", [("b", WORDS["b"])], style=DARK),
    "curves": lambda: draw.loss_curves(Overfitting(CURVE, CURVE, Turning(4.0, 0.25, 0.1)), style=DARK),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn(name: str):
    figure = FIGURES[name]()
    with DARK.context():
        figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert box.x0 >= -SLACK
        assert box.x1 <= figure.bbox.x1 + SLACK
        assert box.y0 >= -SLACK
        assert box.y1 <= figure.bbox.y1 + SLACK
