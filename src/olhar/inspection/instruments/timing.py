"""How long the parts of a training step take: `.backward()` is the dearest (Algorithm 1, step 4)."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from olhar.inspection.figure import COLUMN, Style, new_figure
from olhar.inspection.instrument import Instrument, Subject, Table, Values, always, first_with_truth
from olhar.inspection.timing import StepTime, time_of_step

IMAGES = 32  # about a batch: what one step of training sees


@dataclass(frozen=True)
class TimingValues(Values):
    """The seconds of one step."""

    time: StepTime

    def rows(self) -> list[tuple[str, float]]:
        return [("forward", self.time.forward), (".backward()", self.time.backward), ("update", self.time.update)]

    def table(self) -> Table:
        whole = sum(seconds for _, seconds in self.rows())
        rows = [(name, round(1e3 * s, 3), round(s / whole, 3)) for name, s in self.rows()]
        return Table((f"a step on {self.time.images} images", "milliseconds", "share"), rows)


def look(subject: Subject) -> TimingValues:
    """On one batch."""
    return TimingValues(time_of_step(subject.task, first_with_truth(subject, IMAGES, "timing")))


def draw(values: TimingValues, style: Style) -> Figure:
    """A bar a part."""
    figure = new_figure(COLUMN * 1.35, 1.5)
    axes = figure.subplots()
    names, seconds = zip(*values.rows(), strict=True)
    bars = axes.barh(names, [1e3 * s for s in seconds], color=[style.accent, style.second, style.accent], height=0.62)
    axes.bar_label(bars, [f"{1e3 * s:.3g} ms" for s in seconds], padding=4, fontsize=7, color=style.ink)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.2e3 * max(seconds)), xlabel=f"milliseconds, a step on {values.time.images} images")
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    return figure


TIMING = Instrument(
    shows="how long the forward, .backward() and the update of a training step take on this machine",
    reading=".backward() takes about twice the forward: one product for each layer's input, one for its weights.\n"
    "An update that takes long belongs to a model with many weights and little to do for each.",
    fits=always,
    look=look,
    draw=draw,
)
