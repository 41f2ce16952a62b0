"""How training went: losses, metric, learning rate."""

import math
from collections.abc import Sequence

import numpy as np

from olhar.inspection.curves import turning_point
from olhar.report.parts import part
from olhar.report.story import Panel, Story, metric_name
from olhar.report.svg import Plot
from olhar.report.words import metric_value, number

MOST_POINTS = 240  # of a line: more than a column has pixels to tell apart


def curves_panel(story: Story) -> Panel | None:
    if len(story.train) + len(story.val) < 2:
        return None
    charts = [part("figure", loss_chart(story), loss_caption(story))]
    if any(story.watch in line for line in story.val) and story.watch != "loss":
        charts.append(part("figure", metric_chart(story)))
    charts += [
        part("figure", small_chart(story, key, name))
        for key, name in (("lr", "learning rate"), ("grad_norm", "gradient norm"))
        if sum(isinstance(line.get(key), (int, float)) for line in story.train) > 1
    ]
    reading = (
        "Both losses should fall together (Figure 1.9a). Where validation turns upward while training goes on "
        "falling, the model has begun to learn its training images by heart (Figure 1.9b)."
    )
    return Panel("curves", "Curves", reading, part("columns", charts))


def loss_chart(story: Story):
    train_x, train_y = thin([r["epoch"] for r in story.train], [r["loss"] for r in story.train])
    val_x, val_y = [r["epoch"] for r in story.val], [r["loss"] for r in story.val]
    plot = Plot(span(train_x, val_x), loss_range(train_y, val_y), "Training and validation loss by epoch")
    turning = turning_point(val_x, val_y)
    if turning:
        plot.box((turning.epoch, plot.x[1]), plot.y, "overfit")
    plot.axes("epoch", "loss, nats")
    if turning:
        plot.rule(turning.epoch, "turn")
        late = turning.epoch > (plot.x[0] + plot.x[1]) / 2
        text, anchor, dx = f"overfits from epoch {number(turning.epoch)}", "end" if late else "start", -6 if late else 6
        plot.text(turning.epoch, plot.y[1], text, "turn", dx=dx, dy=11, anchor=anchor)
    smooth = moving_average(train_y)
    plot.line(train_x, train_y, "faint").line(train_x, smooth, "train").line(val_x, val_y, "val")
    ends = [(xs[-1], ys[-1], name) for xs, ys, name in ((train_x, smooth, "train"), (val_x, val_y, "val")) if len(xs)]
    direct_labels(plot, ends)
    mark_best(plot, story, "loss")
    return plot.svg()


def loss_caption(story: Story) -> str:
    turning = turning_point([r["epoch"] for r in story.val], [r["loss"] for r in story.val])
    marked = "Circle: the weights that were kept." if story.get("result.best_step") else ""
    if turning:
        since = f"since epoch {number(turning.epoch)}"
        return f"{marked} Shaded: validation loss has risen by {number(turning.rise)} nats {since}."
    calm = "The validation loss has no lasting rise: no overfitting is seen."
    return f"{marked} {calm}" if len(story.val) >= 5 else marked


def metric_chart(story: Story):
    lines = [line for line in story.val if story.watch in line]
    xs, ys = [r["epoch"] for r in lines], [r[story.watch] for r in lines]
    low, high = padded(ys)
    share = metric_value(story.watch, 1.0) == "100.0%"
    if share:
        low, high = max(low, 0.0), min(high, 1.0)
    plot = Plot(
        span([r["epoch"] for r in story.train], xs), (low, high), f"Validation {metric_name(story.watch)} by epoch"
    )
    digits = 0 if high - low > 0.05 else 1
    form = (lambda v: f"{100 * v:.{digits}f}%") if share else "{:,.6g}".format
    plot.axes("epoch", f"validation {metric_name(story.watch)}", y_format=form)
    plot.line(xs, ys, "val")
    mark_best(plot, story, story.watch)
    return plot.svg()


def small_chart(story: Story, key: str, name: str):
    lines = [line for line in story.train if isinstance(line.get(key), (int, float))]
    xs, ys = thin([r["epoch"] for r in lines], [r[key] for r in lines])
    top = max((y for y in ys if math.isfinite(y)), default=1.0) * 1.08 or 1.0
    plot = Plot(span(xs, []), (0, top), f"{name} by epoch", height=150)
    plot.axes(
        "epoch",
        name,
    )
    return plot.line(xs, ys, "train").svg()


def mark_best(plot: Plot, story: Story, key: str) -> None:
    """A circle on the evaluation whose weights were kept."""
    step = story.get("result.best_step")
    line = next((line for line in story.val if line.get("step") == step and key in line), None)
    if line and math.isfinite(line[key]):
        plot.dot(line["epoch"], line[key], "best-dot", radius=4.5)


def direct_labels(plot: Plot, ends: Sequence[tuple[float, float, str]]) -> None:
    """The names of the lines above their ends; of two ends close together the lower one's below it, and where the axis
    is in the way between the two."""
    names = {"train": "training", "val": "validation"}
    placed = sorted((plot.at(x, y)[1], x, y, name) for x, y, name in ends if math.isfinite(y))
    shifts = [-8.0] * len(placed)
    if len(placed) == 2 and (gap := placed[1][0] - placed[0][0]) < 20:
        room = plot.height - plot.bottom - placed[1][0]
        shifts = [-8.0, 16.0] if room > 18 else [-20.0, -8.0 - gap]
    for shift, (_, x, y, name) in zip(shifts, placed, strict=True):
        plot.text(x, y, names[name], name, dx=-2, dy=shift, anchor="end")


def thin(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most `MOST_POINTS` of a line: means of neighbours."""
    if len(xs) <= MOST_POINTS:
        return list(xs), list(ys)
    groups = np.array_split(np.arange(len(xs)), MOST_POINTS)
    x, y = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
    return [float(x[g].mean()) for g in groups], [float(y[g].mean()) for g in groups]


def moving_average(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours within a fortieth of the line on either side."""
    reach = len(values) // 40
    return [float(np.mean(values[max(0, i - reach) : i + reach + 1])) for i in range(len(values))]


def span(*lines: Sequence[float]) -> tuple[float, float]:
    """From epoch 0 to the last."""
    return 0.0, max((max(line) for line in lines if len(line)), default=1.0)


def loss_range(train: Sequence[float], val: Sequence[float]) -> tuple[float, float]:
    """Of both losses, without the few highest values of training: a spike shall not flatten the rest."""
    train = [y for y in train if math.isfinite(y)]
    val = [y for y in val if math.isfinite(y)]
    ceiling = [float(np.quantile(train, 0.98))] if train else []
    return padded([*val, min(train, default=0.0), *ceiling] if train else val)


def padded(values: Sequence[float]) -> tuple[float, float]:
    finite = [v for v in values if math.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < 0.4 * high else low - margin), high + margin
