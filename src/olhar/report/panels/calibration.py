"""Do the probabilities mean what they say?"""

from olhar.inspection.calibration import Calibration, calibration
from olhar.report.parts import join, part
from olhar.report.story import Panel, Story
from olhar.report.svg import Plot
from olhar.report.words import percent


def calibration_panel(story: Story) -> Panel | None:
    if story.classified:
        measured = calibration(story.probabilities.max(1), story.truth == story.predicted)
        what = "answers"
    elif story.labelled:
        measured = calibration(story.probabilities.ravel(), story.truth.ravel() == 1)
        what = "label probabilities"
    else:
        return None
    charts = part("columns", [part("figure", reliability(measured)), part("figure", histogram(measured, what))])
    kind = "overconfident" if measured.bias > 0 else "underconfident"
    facts = part(
        "facts",
        [
            ("Expected calibration error", percent(measured.error), "mean gap, weighted by how many"),
            ("On the whole", kind, f"by {percent(abs(measured.bias))}"),
        ],
    )
    reading = (
        "Of all answers given with 80%, 80% should be right: bars that end on the diagonal. Orange is what is missing "
        "to it, where the model is surer than it should be; pale blue what passes it, where it is too modest."
    )
    return Panel("calibration", "Calibration", reading, join(charts, facts))


def reliability(measured: Calibration):
    plot = Plot((0, 1), (0, 1), "Reliability diagram", height=320)
    plot.axes("probability given", "share that is right", lambda v: f"{100 * v:.0f}%", lambda v: f"{100 * v:.0f}%")
    for b in measured.bins:
        title = f"{b.count:,} given {percent(b.confidence)}, {percent(b.accuracy)} right"
        inset = 0.06 * (b.high - b.low)
        x = (b.low + inset, b.high - inset)
        low, high = sorted((b.accuracy, b.confidence))
        plot.box(x, (0, low), "fill", title)
        plot.box(x, (low, high), "under" if b.accuracy > b.confidence else "over", title)
    return plot.line((0, 1), (0, 1), "identity").svg()


def histogram(measured: Calibration, what: str):
    top = max(b.count for b in measured.bins)
    plot = Plot((0, 1), (0, top * 1.05), f"How many {what} by probability", height=320)
    plot.axes("probability given", f"number of {what}", lambda v: f"{100 * v:.0f}%")
    for b in measured.bins:
        inset = 0.06 * (b.high - b.low)
        plot.box((b.low + inset, b.high - inset), (0, b.count), "fill", f"{b.count:,}")
    return plot.svg()
