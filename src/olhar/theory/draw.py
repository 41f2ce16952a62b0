"""The figures of chapter 1, each from the library's own computation, in the house style (olhar.inspection.figure)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from torch import Tensor

from olhar.inspection.figure import COLUMN, FULL, LIGHT, Style, grid
from olhar.theory import gaussian, likelihood, regression
from olhar.theory.capacity import Network, Overfitting, pieces, regions

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
POINTS = 400  # of a smooth curve: more than a column of print has dots to tell apart
DOTS = {"s": 14, "zorder": 4, "linewidths": 0.6}


def likelihood_curve(throws: Int[Tensor, " n"], sides: int = likelihood.SIDES, style: Style = LIGHT) -> Figure:
    """Figure 1.2: how probable the throws are for every p1 (Eq 1.5), its peak, and the fair die beside it.

    The dashed curve is the normal one that the shape tends to (footnote 6), scaled to the same peak.
    """
    n, n1 = len(throws), int(likelihood.count(throws, sides)[0])
    p1 = torch.linspace(0.5 / POINTS, 1 - 0.5 / POINTS, POINTS, dtype=torch.float64)
    logs = torch.as_tensor(likelihood.log_likelihood_of_bias(p1, n1, n, sides))
    best, fair = n1 / n, 1 / sides
    at_best, at_fair = (float(likelihood.log_likelihood_of_bias(p, n1, n, sides)) for p in (best, fair))
    power = int(np.floor(at_best / np.log(10)))
    scale = np.log(10) * power
    curve = (logs - scale).exp()
    test = likelihood.likelihood_ratio_test(at_fair, at_best, 1)
    with style.context():
        figure, ((axes,),) = grid(1, 1, COLUMN * 1.35, 2.5)
        axes.fill_between(p1, curve, color=style.accent_soft, linewidth=0)
        axes.plot(p1, curve, color=style.accent)
        bell = likelihood.normal_approximation(n1, n)
        if bell.deviation > 0:
            shape = np.exp(at_best - scale - (p1.numpy() - bell.mean) ** 2 / (2 * bell.deviation**2))
            axes.plot(p1, shape, color=style.soft, linewidth=0.9, linestyle=(0, (3, 2)), label="normal curve")
            axes.legend(loc="center right")
        top = float(np.exp(at_best - scale))
        axes.plot([best, best], [0, top], color=style.accent, linewidth=0.9)
        height = float(np.exp(at_fair - scale))
        axes.plot([fair, fair], [0, height], color=style.second, linewidth=0.9)
        axes.scatter([best], [top], color=style.accent, **DOTS)
        axes.scatter([fair], [height], color=style.second, **DOTS)
        text = {"textcoords": "offset points", "fontsize": 7}
        axes.annotate(f"largest: p₁ = {n1}/{n}", (best, top), (8, -2), color=style.accent, **text)
        said = f"fair: {np.exp(at_best - at_fair):.2f} times\nless likely, p = {test.p:.3f}"
        before = fair < best
        axes.annotate(
            said, (fair, height), (-6 if before else 6, 4), color=style.second, ha="right" if before else "left", **text
        )
        axes.set(
            xlabel="p₁, probability of side 1",
            ylabel=f"P(s; p₁), units of 10{str(power).translate(RAISED)}",
            xlim=(0, 1),
        )
        axes.set_ylim(0, top * 1.12)
        if before:  # room for what is said to the left of the fair die
            axes.set_xlim(-0.28, 1)
            axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_title(f"{n} throws, side 1 came {n1} times")
    return figure


def candidates(data: Float[Tensor, " n"], models: Sequence[tuple[float, float]], style: Style = LIGHT) -> Figure:
    """Figure 1.3: the histogram of some values, and normal distributions (μ, σ) that may have given them.

    The NLL (Eq 1.8) of each is beside it: the least belongs to the best.
    """
    values = data.double()
    margin = 0.15 * float(values.max() - values.min())
    x = torch.linspace(float(values.min()) - margin, float(values.max()) + margin, POINTS, dtype=torch.float64)
    with style.context():
        figure, ((axes,),) = grid(1, 1, COLUMN * 1.35, 2.5)
        axes.hist(values, bins="auto", density=True, color=style.line, edgecolor=style.paper)
        for i, (mean, deviation) in enumerate(models):
            label = f"μ = {mean:.3g}, σ = {deviation:.3g}: NLL {gaussian.nll(values, mean, deviation):.2f}"
            axes.plot(x, gaussian.density(x, mean, deviation), color=style.colour(i), label=label)
        axes.set(xlabel="x", ylabel="f(x; μ, σ), density", title=f"{len(values)} values and {len(models)} models")
        axes.set_ylim(0, axes.get_ylim()[1] * (1.1 + 0.1 * len(models)))
        axes.legend(loc="upper left")
    return figure


def gaussian_descent(searched: gaussian.Grid, path: gaussian.Path, style: Style = LIGHT) -> Figure:
    """The NLL over μ and σ, the best of the grid, and the way of a descent (the two procedures of section 1.1.1)."""
    with style.context():
        figure, ((axes,),) = grid(1, 1, COLUMN * 1.35, 2.8)
        excess = searched.nll - searched.nll.min()
        contours(axes, searched.means, searched.deviations, excess, style)
        way(axes, path.means, path.deviations, style)
        axes.scatter(
            *searched.best, marker="s", facecolor="none", edgecolor=style.ink, label="best of the grid", **DOTS
        )
        axes.set(xlabel="μ", ylabel="σ", title="Negative log-likelihood, and its descent")
        legend(axes, "lower right", style)
    return figure


def contours(axes: Axes, x: Tensor, y: Tensor, excess: Float[Tensor, "A B"], style: Style) -> None:
    """What an error exceeds its least value by, over two parameters, at equal ratios: the valley and its walls."""
    z = excess.T.numpy()
    levels = float(z.max()) * np.concatenate([[0], np.geomspace(1e-3, 1, 13)])
    colours = style.sequential
    axes.contourf(x, y, z, levels=levels, cmap=colours, norm=BoundaryNorm(levels, colours.N), alpha=0.75)
    axes.contour(x, y, z, levels=levels[1:-1], colors=style.paper, linewidths=0.5)
    axes.set(xlim=(float(x[0]), float(x[-1])), ylim=(float(y[0]), float(y[-1])))


def legend(axes: Axes, place: Literal["lower right", "upper right"], style: Style) -> None:
    """On a ground of its own, because it stands over colours."""
    axes.legend(loc=place, frameon=True, facecolor=style.paper, edgecolor="none", framealpha=0.85)


def way(axes: Axes, x: Tensor, y: Tensor, style: Style) -> None:
    """The places of a descent, from an open circle to a filled one."""
    axes.plot(x, y, color=style.second, linewidth=1.2, marker=".", markersize=3, zorder=3)
    axes.scatter(x[:1], y[:1], facecolor=style.paper, edgecolor=style.second, label="start", **DOTS)
    axes.scatter(x[-1:], y[-1:], color=style.second, label=f"after {len(x) - 1} steps", **DOTS)


def lines(
    x: Float[Tensor, " n"],
    y: Float[Tensor, " n"],
    models: Sequence[tuple[float, float]],
    logistic: bool = False,
    style: Style = LIGHT,
) -> Figure:
    """Figure 1.5: lines (φ0, φ1) through the same points, what they miss dashed, and how wrong they are above.

    Args:
        logistic: y are classes 0 and 1, and what is drawn is the probability of 1 (Eq 1.14).
    """
    error = regression.logistic_error if logistic else regression.squared_error
    name = "cross-entropy" if logistic else "squared error"

    def fitted(intercept: float, slope: float, at: Tensor) -> Tensor:
        return regression.probability(intercept, slope, at) if logistic else intercept + slope * at

    with style.context():
        figure, panels = grid(1, len(models), FULL, 2.4, sharex=True, sharey=True)
        fine = torch.linspace(float(x.min()), float(x.max()), POINTS, dtype=x.dtype)
        for axes, model in zip(panels[0], models, strict=True):
            axes.plot([x, x], [y, fitted(*model, x)], color=style.second, linewidth=0.9, linestyle=(0, (2, 1.5)))
            axes.plot(fine, fitted(*model, fine), color=style.accent)
            axes.scatter(x, y, color=style.ink, **DOTS)
            intercept, slope = torch.tensor(model, dtype=x.dtype)
            wrong = error(intercept, slope, x, y).item()
            axes.set_title(f"φ₀ = {model[0]:.2f}, φ₁ = {model[1]:.2f}\n{name} {wrong:.3g}", fontsize=7.5)
            axes.set_xlabel("x")
        panels[0][0].set_ylabel("class, and p(1)" if logistic else "y")
    return figure


def error_surface(
    surface: regression.Surface, path: regression.Descent | None = None, title: str = "Error", style: Style = LIGHT
) -> Figure:
    """Figure 1.6: the error over intercept and slope, and the way of a descent on it."""
    with style.context():
        figure, ((axes,),) = grid(1, 1, COLUMN * 1.35, 2.8)
        contours(axes, surface.intercepts, surface.slopes, surface.error - surface.error.min(), style)
        if path is not None:
            way(axes, path.intercepts, path.slopes, style)
            legend(axes, "upper right", style)
        axes.set(xlabel="intercept φ₀", ylabel="slope φ₁", title=title)
    return figure


def ridge_fits(
    x: Float[Tensor, " n"],
    y: Float[Tensor, " n"],
    truth: tuple[Tensor, Tensor],
    decays: Sequence[float],
    degree: int = 12,
    style: Style = LIGHT,
) -> Figure:
    """Figure 1.4: a polynomial fitted under rising λ (Eq 1.60), beside the function that gave the points.

    Args:
        truth: that function's x and y.
    """
    fine, features = regression.powers(truth[0], degree), regression.powers(x, degree)
    with style.context():
        figure, panels = grid(1, len(decays), FULL, 2.2, sharex=True, sharey=True)
        for axes, decay in zip(panels[0], decays, strict=True):
            weights = regression.ridge(features, y, decay)
            axes.plot(*truth, color=style.ink, linewidth=0.9, label="truth")
            axes.plot(truth[0], fine @ weights, color=style.accent, label="fitted")
            axes.scatter(x, y, color=style.second, **DOTS)
            axes.set_title(f"λ = {decay:g},  |w| = {weights.norm().item():.3g}", fontsize=7.5)
            axes.set_xlabel("x")
        spread = float(y.max() - y.min())
        panels[0][0].set(ylabel="y", ylim=(float(y.min()) - 0.5 * spread, float(y.max()) + 0.5 * spread))
        panels[0][0].legend(loc="lower left")
    return figure


def composition(
    first: Network, second: Network, window: tuple[float, float] = (-1.0, 1.0), style: Style = LIGHT
) -> Figure:
    """Figure 1.7: two networks of one number and their composition, each straight piece in a colour of its own."""
    with style.context():
        figure, panels = grid(1, 3, FULL, 2.5)
        shown = (("network 1", "x", "y", first), ("network 2", "y", "y′", second), ("both", "x", "y′", None))
        for axes, (name, across, up, network) in zip(panels[0], shown, strict=True):
            network = network or first.then(second)
            found = pieces(network, *window)
            for i, piece in enumerate(found):
                ends = np.array([[piece.low], [piece.high]])
                axes.plot(ends[:, 0], network(ends)[:, 0], color=style.colour(i % 2), linewidth=1.6)
                if i:
                    axes.axvline(piece.low, color=style.line, linewidth=0.6, zorder=0)
            axes.set(xlabel=across, ylabel=up, title=f"{name}: {len(found)} pieces", xlim=window)
    return figure


def region_map(network: Network, low: float = -1.0, high: float = 1.0, style: Style = LIGHT) -> Figure:
    """Figure 1.8: the regions of a network of two inputs, coloured by its output, outlined where units switch."""
    found = regions(network, low, high)
    with style.context():
        figure, ((axes,),) = grid(1, 1, COLUMN * 1.2, 3.0)
        side = np.linspace(low, high, POINTS)
        points = np.stack(np.meshgrid(side, side), -1)
        values = network(points)[..., 0]
        image = axes.imshow(values, origin="lower", extent=(low, high, low, high), cmap=style.sequential, alpha=0.85)
        for region in found:
            axes.fill(*region.corners.T, facecolor="none", edgecolor=style.second, linewidth=0.9)
        figure.colorbar(image, ax=axes, shrink=0.85, label="output").outline.set_visible(False)  # type: ignore[operator]
        axes.locator_params(nbins=5)
        axes.set(xlabel="x₁", ylabel="x₂", title=f"{len(found)} linear regions", aspect="equal")
    return figure


def loss_curves(found: Overfitting, style: Style = LIGHT) -> Figure:
    """Figure 1.9: the losses of a run, and from where on it overfits."""
    with style.context():
        figure, ((axes,),) = grid(1, 1, COLUMN * 1.35, 2.4)
        if found.train:
            axes.plot(*zip(*found.train, strict=True), color=style.accent, label="training")
        axes.plot(*zip(*found.validation, strict=True), color=style.second, label="validation")
        title = "No overfitting found"
        if found.turning is not None:
            end = found.validation[-1][0]
            axes.axvspan(found.turning.epoch, end, color=style.second_soft, linewidth=0, zorder=0)
            title = f"Overfits from epoch {found.turning.epoch:.0f}"
        axes.set(xlabel="epoch", ylabel="loss, nats", title=title)
        axes.legend(loc="upper right")
    return figure
