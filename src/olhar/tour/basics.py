"""The chapters before networks: a die, a bell curve, the chain rule, and regression with two parameters (chapter 1).

Shapes: n throws, values or points.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from olhar.data.digits import collection as digits
from olhar.data.scenes import scene
from olhar.inspection.figure import FULL, LIGHT, bare, grid
from olhar.report.parts import part
from olhar.report.words import number
from olhar.theory import chain_rule, draw, gaussian, likelihood, regression
from olhar.theory.draw_chain import chain as draw_chain
from olhar.tour.chapter import Piece, Shown, Stage
from olhar.tour.steps import drawing, sketch

# The forty throws of section 1.1.1.
THROWS = "2113561333164546614351432511431524141125"
# One of many bell curves: what is fitted has to find them again, but for chance.
MEAN, DEVIATION, VALUES = 3.0, 2.0, 100
POINTS = 24  # of a line
# A neuron that says yes with probability sigmoid(w x + b), and the surprise that it was yes (Eq 1.14, 1.15).
NEURON, PLACE = "-log(sigmoid(w*x + b))", {"w": 0.5, "x": 2.0, "b": -2.0}
DECAYS = (1e-10, 1e-2, 1.0)


def die(stage: Stage) -> Shown:
    """Is the die biased? The probability of its throws for every p1 (Figure 1.2)."""
    throws = torch.tensor([int(side) for side in THROWS])
    n, n1 = len(throws), int(likelihood.count(throws)[0])
    candidates = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    logs = torch.as_tensor(likelihood.log_likelihood_of_bias(candidates, n1, n))
    fair = likelihood.log_likelihood_of_bias(1 / likelihood.SIDES, n1, n)
    test = likelihood.likelihood_ratio_test(float(fair), float(logs.max()), 1)
    reading = (
        f"A 1 came {n1} times in {n} throws. For every probability p₁ of a 1, the curve says how probable these throws "
        f"are (Eq 1.5); the best is p₁ = {n1}/{n}. The product of {n} factors is tiny, so that its logarithm is used: "
        f"{float(logs.max()):.2f} against {float(fair):.2f} for a fair die. A fair die strays so far in "
        f"{100 * test.p:.1f}% of such experiments: evidence, no proof."
    )
    piece = sketch("model", "A die", draw.likelihood_curve(throws), reading)
    return Shown([piece], {"p1": candidates[logs.argmax()].item()})


def bell(stage: Stage) -> Shown:
    """A normal distribution for a hundred values, three times: by grid, by descent, in closed form (Figure 1.3)."""
    generator = torch.Generator().manual_seed(0)
    values = MEAN + DEVIATION * torch.randn(VALUES, dtype=torch.float64, generator=generator)
    means, deviations = torch.linspace(-0.5, 6, 66).double(), torch.linspace(0.8, 5, 64).double()
    searched = gaussian.grid_search(values, means, deviations)
    path = gaussian.descend(values)
    best = gaussian.estimate(values)
    gap = max(abs(a - b) for a, b in zip(path.end, best, strict=True))
    models = [(0.0, 1.0), (2.0, 3.0), best]
    said = (
        f"{VALUES} values, and bell curves that may have given them: the lower the negative log-likelihood, the "
        f"better. The mean and the deviation of the values, {best[0]:.3f} and {best[1]:.3f}, are the best there are "
        "(Eq 1.10, 1.11)."
    )
    went = (
        f"The same by trying {searched.nll.numel():,} pairs (best: {searched.best[0]:.1f} and {searched.best[1]:.2f}) "
        f"and by gradient descent from (0, 1): after {len(path.means) - 1:,} steps it is {number(gap)} away from the "
        "best. Every network below is trained in this way."
    )
    pieces = [
        sketch("model", "A bell curve", draw.candidates(values, models), said),
        sketch("curve", "Down the slope", draw.gaussian_descent(searched, path), went),
    ]
    return Shown(pieces, {"gap": gap})


def chain(stage: Stage) -> Shown:
    """A neuron's surprise taken apart: forward values, local derivatives, products backward (Eq 1.19-1.24)."""
    found = chain_rule.explain(NEURON, PLACE, ["w", "b"])
    w, x, b = (torch.tensor(PLACE[name], dtype=torch.float64, requires_grad=True) for name in "wxb")
    (-torch.log(torch.sigmoid(w * x + b))).backward()
    automatic = {"w": w.grad, "b": b.grad}
    gradient = found.gradient()
    gap = max(
        abs(float(gradient[name] or math.nan) - float(grad)) for name, grad in automatic.items() if grad is not None
    )
    heads = [("", "text"), ("is the product", "text"), ("value", "number")]
    rows = [[name, terms, number(value)] for name, terms, _, value in found.products()]
    drawn = Piece(
        "model",
        "Forward and backward",
        drawing(draw_chain(found)),
        "A neuron says yes with probability σ(w x + b); the result is the surprise when it was yes. Each box is one "
        "operation with its value, each arrow the derivative of one operation. In orange, made from the bottom up: the "
        "derivative of the result, the next box's times what stands on the arrow.",
        wide=True,
    )
    table = Piece(
        "result",
        "The way back",
        part("table", heads, rows),
        f"Products of local derivatives, in the contrary order. torch computes the same; the difference is "
        f"{number(gap)}. With {len(rows)} operations or with a hundred million, this is all that backpropagation does.",
    )
    return Shown([drawn, table], {"gap": gap})


def sizes() -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Of some scenes the side of a square as large as what is coloured, and the diameter of the shape, in percent."""
    covered, diameters = [], []
    for index in range(POINTS):
        drawn = scene(index, size=64)
        covered.append(100 * math.sqrt((drawn.sample()["mask"] > 0).double().mean().item()))
        diameters.append(drawn.target)
    return torch.tensor(covered, dtype=torch.float64), torch.tensor(diameters, dtype=torch.float64)


def standardised(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """With mean 0 and deviation 1: descent goes as fast along the slope as along the intercept."""
    return (x - x.mean()) / x.std(correction=0)


def line(stage: Stage) -> Shown:
    """A line through the sizes of shapes, its error as a surface, and the way down (Figures 1.4 to 1.6)."""
    x, y = sizes()
    x = standardised(x)
    best = regression.least_squares(x, y)
    path = regression.descend(regression.squared_error, x, y, lr=0.15, steps=60)
    gap = max(abs(a - b) for a, b in zip(path.end, best, strict=True))
    guesses = [(float(y.mean()), 0.0), (best[0] - 8, best[1] + 6), best]
    reach = torch.linspace(-1.4, 1.4, 61, dtype=torch.float64)
    intercepts, slopes = best[0] * (1 + 0.8 * reach), best[1] + 25 * reach
    surface = regression.surface(regression.squared_error, x, y, intercepts, slopes)
    lines_said = (
        "The diameter of some shapes, by how much of the picture they cover (standardised): two guesses, and the line "
        "of the least squared error. The dashed lines are what is squared."
    )
    surface_said = (
        f"The error of every line, and gradient descent on it: after {len(path.slopes) - 1} steps {number(gap)} from "
        "the best line, which is known in closed form."
    )
    return Shown(
        [
            Piece("model", "Lines", drawing(draw.lines(x, y, guesses)), lines_said, wide=True),
            sketch("model", "The error is a surface", draw.error_surface(surface, path, "Squared error"), surface_said),
            decay(x, y),
        ],
        {"gap": gap},
    )


def decay(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Piece:
    """A polynomial under rising decay (Figure 1.4)."""
    generator = torch.Generator().manual_seed(1)
    fine = torch.linspace(-1, 1, 200, dtype=torch.float64)
    points = torch.linspace(-1, 1, 15, dtype=torch.float64)
    noisy = torch.sin(3 * points) + 0.25 * torch.randn(15, dtype=torch.float64, generator=generator)
    figure = draw.ridge_fits(points, noisy, (fine, torch.sin(3 * fine)), DECAYS)
    reading = (
        "A polynomial of 13 terms through 15 noisy points. With almost no decay it learns them by heart; a little "
        "pulls its weights to zero and leaves the curve (Eq 1.60); too much leaves nothing."
    )
    return Piece("result", "Weight decay", drawing(figure), reading, wide=True)


def centre_ink() -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Of the zeros and ones among the digits the ink in the middle, standardised, and which of the two they are."""
    chosen = [record for record in digits().records if record.split == "train" and record.label in (0, 1)]
    ink = torch.stack([record.image.render()[0, 2:6, 3:5].double().mean() for record in chosen])  # type: ignore[union-attr]
    return standardised(ink), torch.tensor([record.label for record in chosen])


def two_digits(stage: Stage) -> Shown:
    """Zero or one, by the ink in the middle alone: logistic regression with two parameters (Eq 1.14 to 1.16)."""
    x, truth = centre_ink()
    y = truth.double()
    path = regression.descend(regression.logistic_error, x, y, lr=1.0, steps=120, momentum=0.9)
    intercept, slope = path.end
    right = (((intercept + slope * x) > 0).long() == truth).double().mean().item()
    reach = torch.linspace(-1.0, 1.0, 61, dtype=torch.float64)
    widest = 1.5 * max(abs(intercept), abs(slope))
    surface = regression.surface(regression.logistic_error, x, y, widest * reach, widest * (0.4 + reach))
    reading = (
        f"Zero or one? A single number, the ink in the middle of the picture, goes through a line and a sigmoid; the "
        f"surface is the cross-entropy of {len(x)} digits. At the end of the descent {100 * right:.1f}% are right."
    )
    figure = draw.error_surface(surface, path, "Cross-entropy, nats")
    return Shown([sketch("model", "Two parameters", figure, reading)])


def templates(stage: Stage) -> Shown:
    """The weights of each class as a picture: where ink speaks for it, and where against."""
    task = stage.run.task
    head = [module for module in task.model.modules() if isinstance(module, nn.Linear)][-1]
    height, width = stage.run.facts["model"]["image_size"]
    names: Sequence[str] = stage.run.facts["data"]["class_names"]
    weights = head.weight.detach().cpu().float().unflatten(1, (-1, height, width)).mean(1)
    bound = float(weights.abs().max())
    with LIGHT.context():
        figure, axes = grid(2, 5, FULL, 2.9)
        for cell, name, picture in zip(axes.flat, names, weights, strict=True):
            cell.imshow(picture, cmap=LIGHT.diverging, vmin=-bound, vmax=bound)
            cell.set_title(name, loc="center")
            bare(cell)
    reading = (
        "The weights of each digit at the places of their pixels: ink where it is blue speaks against the digit, where "
        "it is orange for it. A linear model is a picture for each class, held against the image."
    )
    return Shown([Piece("inside", "One picture for each class", drawing(figure), reading, wide=True)])
