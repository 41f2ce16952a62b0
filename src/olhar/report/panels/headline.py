"""What was trained on what, and how well it does."""

from collections import Counter

import numpy as np
from markupsafe import Markup

from olhar.inspection.confusion import average_precision
from olhar.inspection.intervals import bootstrap, wilson
from olhar.report.panels.pictures import any_pictures, is_tiny
from olhar.report.parts import part
from olhar.report.story import Panel, Story, metric_name
from olhar.report.svg import picture, tag
from olhar.report.words import compact, duration, metric_value, number, percent, plural

MOSAIC = 18


def headline_panel(story: Story) -> Panel:
    name, split, value = result(story)
    interval = interval_of(story)
    label = f"{metric_name(name)} on the {split} split" if value is not None else ""
    uris = [uri for uri in any_pictures(story, MOSAIC) if uri]
    shown = part(
        "headline",
        sentence=sentence(story),
        value=metric_value(name, value) if value is not None else "",
        name=label,
        interval=explain(story, name, interval),
        rule=ruler(name, value, interval) if value is not None and interval else "",
        # only full rows of six
        examples=uris[: len(uris) // 6 * 6],
        pixels=is_tiny(story),
        items=facts(story),
    )
    return Panel("headline", "Result", "", shown)


def sentence(story: Story) -> str:
    """'resnet18 learned to tell 10 classes apart from 45,000 images of cifar10.'"""
    model, count = story.get("model.name", "A model"), story.get("data.counts.train", 0)
    where = str(story.get("data.path", "")).rstrip("/").rsplit("/", 1)[-1]
    if story.task == "regress":
        learnt = f"learned to read {story.get('data.target_name', 'a number')} off an image"
    elif story.multilabel:
        learnt = f"learned to see which of {plural(len(story.classes), 'label')} hold"
    else:
        learnt = f"learned to tell {plural(len(story.classes), 'class', 'classes')} apart"
    source = f" from {plural(count, 'image')}" if count else ""
    return f"{model} {learnt}{source}{f' of {where}' if where else ''}."


def result(story: Story) -> tuple[str, str, float | None]:
    """(metric, split, value) of the best weights: on test, else validation, else the best evaluation so far."""
    name = story.watch
    for split, spoken in (("test", "test"), ("val", "validation")):
        value = story.get(f"result.{split}.{name}")
        if value is not None:
            return name, spoken, value
    values = [line[name] for line in story.val if isinstance(line.get(name), (int, float))]
    if not values:
        return name, "validation", None
    return name, "validation", min(values) if name in ("loss", "mae", "rmse") else max(values)


def interval_of(story: Story) -> tuple[float, float] | None:
    """95% interval of the watched metric from the predictions: Wilson's for a share, else by bootstrap."""
    n = len(story.predictions)
    if story.classified and story.watch == "accuracy":
        return wilson(int((story.truth == story.predicted).sum()), n)
    if story.regressed and story.watch == "mae":
        errors = np.abs(story.truth - story.predicted)
        return bootstrap(lambda draws: draws @ errors / n, n)
    if story.labelled and story.watch == "mean_average_precision":
        truth, scores = story.truth, story.probabilities

        def mean_over_labels(draws: np.ndarray) -> np.ndarray:
            columns = [average_precision(truth[:, k], scores[:, k], draws) for k in range(truth.shape[1])]
            return np.nanmean(np.stack(columns), axis=0)

        return bootstrap(mean_over_labels, n, resamples=100)
    return None


def explain(story: Story, name: str, interval: tuple[float, float] | None) -> str:
    """The interval in words, and what no learning at all would give."""
    if interval is None:
        if story.predictions:
            return ""
        return "There is no final evaluation in this run: what is shown is the best evaluation during training."
    low, high = (metric_value(name, v) for v in interval)
    text = f"95% interval {low} to {high}: {plural(len(story.predictions), 'image')} of this kind cannot say it closer."
    if story.classified:
        common, times = Counter(row["truth"] for row in story.predictions).most_common(1)[0]
        text += f" Always answering “{common}” would give {percent(times / len(story.predictions))}."
    if story.regressed:
        flat = float(np.abs(story.truth - np.median(story.truth)).mean())
        text += f" Always answering the median would give {number(flat)}."
    return text


def ruler(name: str, value: float, interval: tuple[float, float]) -> Markup:
    """The value and its interval on a line from 0 to 1, or from 0 to twice the error."""
    top = 1.0 if max(value, interval[1]) <= 1 and metric_value(name, 1.0) == "100.0%" else max(2 * value, interval[1])
    x = [6 + 388 * min(max(v / (top or 1), 0), 1) for v in (0, 1 * top, value, *interval)]
    marks = [
        tag("line", x1=x[0], x2=x[1], y1=8.0, y2=8.0, class_="grid", stroke_width=2),
        tag("rect", x=x[3], y=2.0, width=max(x[4] - x[3], 2.0), height=12.0, rx=2, class_="band"),
        tag("rect", x=x[2] - 1, y=0.0, width=2.0, height=16.0, rx=1, class_="fill"),
        tag("text", metric_value(name, 0.0), x=x[0] - 4, y=27.0),
        tag("text", metric_value(name, top), x=x[1] + 4, y=27.0, text_anchor="end"),
    ]
    return picture(400, 32, f"{metric_value(name, value)} with its 95% interval", Markup("").join(marks))


def facts(story: Story) -> list[tuple[str, str, str | None]]:
    """What a person asks next: how long, on what, how large."""
    items: list[tuple[str, str, str | None]] = []
    if seconds := story.get("result.seconds") or (story.train[-1]["seconds"] if story.train else None):
        speeds = [line["images_per_second"] for line in story.train]
        items.append(("Training time", duration(seconds), f"{np.median(speeds):,.0f} images/s" if speeds else None))
    epochs = [line["epoch"] for line in (*story.train, *story.val)]
    if epochs:
        best = story.get("result.best_epoch")
        items.append(("Epochs", number(max(epochs)), None if best is None else f"best weights: epoch {number(best)}"))
    if parameters := story.get("model.parameters"):
        work = f"{compact(story.network.multiply_adds)} multiply-adds an image" if story.network else None
        items.append(("Parameters", compact(parameters), work))
    if size := story.get("model.image_size"):
        items.append(("Image size", f"{size[1]} × {size[0]}", None))
    if machine := story.get("machine"):
        precision = story.get("precision.choice")
        cpu = machine.get("cpu", "")
        device = machine.get("device", "")
        cores = plural(machine["cores"], "core") if machine.get("cores") else ""
        note = ", ".join(
            filter(None, [cores, f"{number(machine['memory_gb'])} GB" if machine.get("memory_gb") else ""])
        )
        on = cpu if device in ("", "cpu") else device
        items.append(("Machine", on, ", ".join(filter(None, [note, precision]))))
    if created := story.get("created"):
        items.append(("Trained", str(created)[:10], None))
    return items
