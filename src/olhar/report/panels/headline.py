"""What was trained on what, and how well it does."""

import warnings
from collections import Counter

import numpy as np
from markupsafe import Markup

from olhar.inspection.confusion import average_precision, intersection_over_union
from olhar.inspection.intervals import bootstrap, wilson
from olhar.report.panels.drawing import says_nothing
from olhar.report.panels.drawing import shown as drawn
from olhar.report.panels.pictures import any_pictures, is_tiny
from olhar.report.parts import part
from olhar.report.story import Panel, Story, metric_name
from olhar.report.svg import picture, tag
from olhar.report.words import compact, duration, metric_value, number, percent, plural

MOSAIC = 18
LEARNT = {  # to reconstruct, by what was done to the images
    "none": "learned to say an image in few numbers,",
    "noise": "learned to take noise away,",
    "grey": "learned to colour,",
    "holes": "learned to fill holes,",
    "x2": "learned to enlarge images twice,",
    "x4": "learned to enlarge images four times,",
    "pairs": "learned to turn one picture into another,",
}


def headline_panel(story: Story) -> Panel:
    name, split, value = result(story)
    interval = interval_of(story)
    label = f"{metric_name(name)} on the {split} split" if value is not None else ""
    uris = [uri for uri in any_pictures(story, MOSAIC) if uri] if story.task != "diffuse" else list(drawn(story))
    shown = part(
        "headline",
        sentence=sentence(story),
        value=metric_value(name, value) if value is not None else "",
        name=label,
        interval=explain(story, name, interval),
        rule=ruler(story, name, value, interval) if value is not None and interval else "",
        # only full rows of six
        examples=uris[: min(len(uris), MOSAIC) // 6 * 6],
        pixels=is_tiny(story),
        items=facts(story),
    )
    return Panel("headline", "Result", "", shown)


def sentence(story: Story) -> str:
    """'resnet18 learned to tell 10 classes apart from 45,000 images of cifar10.'"""
    model, count = story.get("model.name", "A model"), story.get("data.counts.train", 0)
    where = str(story.get("data.path", "")).rstrip("/").rsplit("/", 1)[-1]
    if story.task == "regress":
        learnt = f"learned to read {story.get('data.target_name', 'a number')} off an image,"
    elif story.task == "segment":
        learnt = f"learned to give each pixel one of {plural(len(story.classes), 'class', 'classes')},"
    elif story.task == "detect":
        learnt = f"learned to find objects of {plural(len(story.classes), 'class', 'classes')}"
    elif story.task == "reconstruct":
        learnt = LEARNT[story.get("task.settings.corruption", "none")]
    elif story.task == "diffuse":
        learnt = "learned to draw"
    elif story.task == "align":
        learnt = "learned which caption belongs to which image"
    elif story.multilabel:
        learnt = f"learned to see which of {plural(len(story.classes), 'label')} fit an image,"
    else:
        learnt = f"learned to tell {plural(len(story.classes), 'class', 'classes')} apart"
    source = f" from {plural(count, 'image')}{f' of {where}' if where else ''}" if count else ""
    return f"{model} {learnt}{source}".rstrip(",") + "."


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
    return name, "validation", min(values) if name in ("loss", "mae", "mse", "rmse") else max(values)


def interval_of(story: Story) -> tuple[float, float] | None:
    """95% interval of the watched metric from the predictions: Wilson's for a share, else by bootstrap."""
    n = len(story.predictions)
    if story.classified and story.watch == "accuracy":
        return wilson(int((story.truth == story.predicted).sum()), n)
    if story.regressed and story.watch == "mae":
        errors = np.abs(story.truth - story.predicted)
        return bootstrap(lambda draws: draws @ errors / n, n)
    if story.segmented:
        cells = story.confusions.reshape(n, -1)
        k = len(story.classes)

        def mean_overlap(draws: np.ndarray) -> np.ndarray:
            with warnings.catch_warnings():  # a draw may lack a class
                warnings.simplefilter("ignore", RuntimeWarning)
                return np.nanmean(intersection_over_union((draws @ cells).reshape(-1, k, k)), axis=1)

        return bootstrap(mean_overlap, n)
    if story.drawn and story.watch == "mse":
        return bootstrap(lambda draws: draws @ story.column("mse") / n, n)
    if story.reconstructed and story.watch == "psnr":
        return bootstrap(lambda draws: draws @ story.column("psnr") / n, n)
    if story.labelled and story.watch == "mean_average_precision":
        truth, scores = story.truth, story.probabilities

        def mean_over_labels(draws: np.ndarray) -> np.ndarray:
            columns = [average_precision(truth[:, k], scores[:, k], draws) for k in range(truth.shape[1])]
            return np.nanmean(np.stack(columns), axis=0)

        return bootstrap(mean_over_labels, n, resamples=100)
    return None


def baseline(story: Story) -> tuple[float, str] | None:
    """What a model that has learnt nothing of the images would reach, and how."""
    if story.task == "align":
        chance = story.get(f"result.{story.split}.mean_recall_chance")
        return None if chance is None else (chance, "Guessing")
    if story.classified:
        common, times = Counter(row["truth"] for row in story.predictions).most_common(1)[0]
        return times / len(story.predictions), f"Always answering “{common}”"
    if story.regressed:
        return float(np.abs(story.truth - np.median(story.truth)).mean()), "Always answering the median"
    if story.segmented:
        common = story.confusions.sum((0, 2)).argmax()
        share = story.confusions.sum((0, 2))[common] / story.confusions.sum()
        return float(share / len(story.classes)), f"Calling every pixel “{story.classes[common]}”"
    if story.drawn:
        return says_nothing(story), "Saying 0"
    if story.reconstructed and "psnr_before" in story.predictions[0]:
        return float(story.column("psnr_before").mean()), "Leaving the images as they are"
    if story.labelled:
        return float(story.truth.mean()), "Ranking the images at random"
    return None


def explain(story: Story, name: str, interval: tuple[float, float] | None) -> str:
    """The interval in words, and what no learning at all would give."""
    if interval is None:
        if story.predictions:
            return ""
        return "There is no final evaluation in this run: what is shown is the best evaluation during training."
    low, high = (metric_value(name, v) for v in interval)
    text = f"95% interval {low} to {high}: as close as {plural(len(story.predictions), 'image')} can tell."
    if nothing := baseline(story):
        text += f" {nothing[1]} would give {metric_value(name, nothing[0])}."
    return text


def ruler(story: Story, name: str, value: float, interval: tuple[float, float]) -> Markup:
    """The value and its interval on a line: from 0 to 1 for a share, to the error of no learning for an error; nothing
    for a number that has neither end."""
    share = metric_value(name, 1.0) == "100.0%"
    nothing = baseline(story)
    if not share and not nothing:
        return Markup("")
    top = max(nothing[0], value, interval[1]) if nothing and not share else 1.0
    start, end, at, low, high, chance = (
        6 + 388 * min(max(v / (top or 1), 0), 1) for v in (0, top, value, *interval, nothing[0] if nothing else 0)
    )
    marks = [
        tag("line", x1=start, x2=end, y1=8.0, y2=8.0, class_="grid", stroke_width=2),
        tag("rect", x=low, y=2.0, width=max(high - low, 2.0), height=12.0, rx=2, class_="band"),
        tag("rect", x=at - 1, y=0.0, width=2.0, height=16.0, rx=1, class_="fill"),
        tag("text", percent(0, 0) if share else "0", x=start - 4, y=29.0),
        tag("text", percent(1, 0) if share else number(top), x=end + 4, y=29.0, text_anchor="end"),
    ]
    if nothing and 60 < chance < 320:  # elsewhere its words would run into the ends'
        marks.append(tag("line", x1=chance, x2=chance, y1=3.0, y2=13.0, class_="tick"))
        marks.append(tag("text", "without learning", x=chance, y=29.0, text_anchor="middle"))
    return picture(400, 34, f"{metric_value(name, value)} with its 95% interval", Markup("").join(marks))


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
