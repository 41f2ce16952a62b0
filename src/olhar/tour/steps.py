"""What many chapters do alike: train, show how that went, show a panel of the report, look through an instrument."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from olhar import language, launch
from olhar.fit import TooShortError
from olhar.folder import RunFolder
from olhar.inspection.figure import inline
from olhar.report.panels.curves import loss_chart, metric_chart
from olhar.report.panels.pictures import any_pictures
from olhar.report.parts import part
from olhar.report.pictures import lighter
from olhar.report.story import Panel, Story, read_story
from olhar.report.words import compact, duration
from olhar.run import Run
from olhar.tour.chapter import Piece, Shown, Stage, Step

Data = tuple[str, str]  # what is trained on in a long tour, and in a quick one
EMBLEMS = 4  # pictures of each chapter at the head of the page
# A quick tour has no time to measure what is faster here, and takes more and smaller steps.
QUICK = {"train.precision": "fp32", "train.memory_format": "channels_last", "train.batch_size": 32}


def training(does: str, seconds: float, passes: int, data: Data, metric: str, **settings: Any) -> Step:
    """The step that trains a chapter's run and evaluates it.

    Args:
        passes: over the images of a quick tour: so much is learnt there on any machine, in the time that it takes.
        metric: of the test split, which becomes the chapter's figure of that name.
        settings: as `olhar.train` takes them.
    """
    act = partial(train, data=data, metric=metric, passes=passes, settings=settings)
    return Step("train", does, act, seconds, trains=True)


def train(stage: Stage, data: Data, metric: str, passes: int, settings: dict[str, Any]) -> Shown:
    """Train, or go on where a training was interrupted, and show its curve."""
    folder = RunFolder(stage.folder)
    if folder.facts_file.exists() and not folder.facts.get("result"):
        stage.trained = launch.resume(stage.folder, voice=stage.voice, report=False)
    elif not folder.facts_file.exists():
        stage.trained = begin(stage, data[stage.quick], passes, (QUICK if stage.quick else {}) | settings)
    story = story_of(stage.run)
    charts = [part("figure", loss_chart(story))]
    if story.watch != "loss" and sum(story.watch in line for line in story.val) > 1:
        charts.append(part("figure", metric_chart(story)))
    return Shown(
        [Piece("curve", "", part("columns", charts), sentence(stage.run), wide=True)],
        {metric: float(stage.run.result["test"][metric])},
    )


def begin(stage: Stage, data: str, passes: int, settings: dict[str, Any]) -> Run:
    """A training of so many passes; where time is given, of what that allows, or of more where a slow machine needs
    more to train at all."""
    fixed = {"run": stage.folder, "voice": stage.voice, "report": False}
    if stage.seconds is None:
        return launch.train(data, epochs=passes, **fixed, **settings)
    for longer in (1, 2, 4):
        with suppress(TooShortError):
            return launch.train(data, budget=f"{longer * stage.seconds:.1f}s", **fixed, **settings)
    return launch.train(data, budget=f"{8 * stage.seconds:.1f}s", **fixed, **settings)


def sentence(run: Run) -> str:
    """What was trained, on what and for how long."""
    facts, result = run.facts, run.result
    model, counts = facts["model"], facts["data"]["counts"]
    height, width = model["image_size"]
    return (
        f"{model['name']}, {compact(model['parameters'])} parameters, learnt from {counts['train']:,} images of "
        f"{width} × {height} pixels in {duration(result['seconds'])}; the weights kept are the best on "
        f"{counts['val']:,} others, and the figure is of {counts['test']:,} it never saw."
    )


def story_of(run: Run, **views: Any) -> Story:
    """A run's story, as the report reads it."""
    return read_story(run.path, run.pictures, None, **views)


def panels(
    name: str, does: str, makers: Sequence[Callable[[Story], Panel | None]], seconds: float, **kwargs: Any
) -> Step:
    """A step that shows panels of the report, among the results."""
    return Step(name, does, partial(show_panels, makers=makers), seconds, **kwargs)


def show_panels(stage: Stage, makers: Sequence[Callable[[Story], Panel | None]]) -> Shown:
    """The panels that have something to say."""
    story = story_of(stage.run, latent=stage.run.latent_view(), match=language.match_view(stage.run))
    made = [panel for make in makers if (panel := make(story))]
    emblems = [] if stage.run.task.name == "align" else [uri for uri in any_pictures(story, EMBLEMS) if uri]
    pieces = [Piece("result", panel.title, panel.body, panel.reading, wide=True) for panel in made]
    return Shown(pieces, emblems=emblems)


def look(instrument: str, does: str, seconds: float, title: str, layer: str | None = None, **kwargs: Any) -> Step:
    """A step that looks at the run through an instrument; `quick` and `place` may be given."""
    place, wide = kwargs.pop("place", "inside"), kwargs.pop("wide", True)
    act = partial(show_look, instrument=instrument, title=title, layer=layer, place=place, wide=wide)
    return Step(instrument, does, act, seconds, **kwargs)


def show_look(stage: Stage, instrument: str, title: str, layer: str | None, place: str, wide: bool) -> Shown:
    """The instrument's figure, and how it is read."""
    found = stage.run.inspect(instrument, layer=layer)
    reading = found.instrument.reading.replace("\n", " ")
    return Shown([Piece(place, title, drawing(found.figure()), reading, wide)])


def drawing(figure: Figure) -> Markup:
    """A figure inside the page, in its colours; its photographs as small as the report's."""
    return Markup('<div class="scroll drawing">{}</div>').format(Markup(lighter(inline(figure))))


def sketch(place: str, title: str, figure: Figure, reading: str) -> Piece:
    """A figure drawn for the occasion, one of two columns wide."""
    return Piece(place, title, drawing(figure), reading)
