"""How near the numbers come to the truth."""

import numpy as np

from olhar.inspection.intervals import bootstrap
from olhar.report.panels.pictures import MISTAKES, gallery
from olhar.report.parts import join, part
from olhar.report.story import Panel, Story
from olhar.report.svg import Plot
from olhar.report.words import number, percent

MOST_DOTS = 1500
BINS = 31


def regression_panel(story: Story) -> Panel | None:
    if not story.regressed:
        return None
    charts = part("columns", [part("figure", scatter(story)), part("figure", residuals(story))])
    reading = (
        "Each dot is an image, its truth across and the answer upward; on the diagonal they agree. The bars count how "
        "far answers miss: a heap beside zero is a bias, a long tail a kind of image that was not learnt."
    )
    return Panel("regression", "Truth and answer", reading, join(charts, part("facts", facts(story))))


def facts(story: Story) -> list[tuple[str, str, str | None]]:
    errors, n = story.predicted - story.truth, len(story.predictions)
    size, square = np.abs(errors), errors**2
    low, high = (number(v) for v in bootstrap(lambda draws: draws @ size / n, n))
    low2, high2 = (number(v) for v in bootstrap(lambda draws: np.sqrt(draws @ square / n), n))
    total = ((story.truth - story.truth.mean()) ** 2).sum()
    items: list[tuple[str, str, str | None]] = [
        ("Mean absolute error", number(size.mean()), f"95% interval {low} to {high}"),
        ("Root mean squared error", number(np.sqrt(square.mean())), f"95% interval {low2} to {high2}"),
        ("R²", number(1 - square.sum() / total) if total else "–", "share of the variance explained"),
        ("Bias", number(errors.mean()), "mean of answer minus truth"),
    ]
    deviations = [row.get("deviation") for row in story.predictions]
    if all(d is not None for d in deviations):
        inside = float(np.mean(size <= np.array(deviations, dtype=float)))
        items.append(("Within one deviation", percent(inside), "68.3% where the deviations are right"))
    return items


def scatter(story: Story):
    chosen = np.random.default_rng(0).permutation(len(story.truth))[:MOST_DOTS]
    truth, said = story.truth[chosen], story.predicted[chosen]
    low, high = float(min(truth.min(), said.min())), float(max(truth.max(), said.max()))
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    plot = Plot(limits, limits, "Predicted against true value", height=400)
    plot.axes(f"true {story.get('data.target_name', 'value')}", "answer")
    return plot.line(limits, limits, "identity").dots(truth.tolist(), said.tolist(), "").svg()


def residuals(story: Story):
    errors = story.predicted - story.truth
    reach = float(np.quantile(np.abs(errors), 0.995)) or 1.0
    counts, edges = np.histogram(errors.clip(-reach, reach), bins=BINS, range=(-reach, reach))
    plot = Plot((-reach, reach), (0, counts.max() * 1.06), "Histogram of answer minus truth", height=400)
    plot.axes("answer minus truth", "images")
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        inset = 0.05 * (right - left)
        plot.box((left + inset, right - inset), (0, count), "fill", f"{count:,}")
    return plot.rule(0.0, "turn").svg()


def errors_panel(story: Story) -> Panel | None:
    if not story.regressed:
        return None
    worst = np.argsort(-np.abs(story.predicted - story.truth), kind="stable")[:MISTAKES].tolist()
    reading = (
        "The images whose answer is furthest from the truth. Look for a common cause, and for truths that were "
        "written down wrongly."
    )
    return Panel("errors", "Largest errors", reading, gallery(story, worst))
