"""What the body knows of images, laid out on a plane, and how much of it a linear model can say (Figure 2.4)."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from olhar.errors import UserError
from olhar.inspection.figure import FULL, Style, new_figure
from olhar.inspection.instrument import Instrument, Subject, Table, Values, joined, model_input, needs_features
from olhar.inspection.latent import project
from olhar.inspection.probe import linear_probe, tsne
from olhar.models.classifier import Classifier
from olhar.tasks.classify import Classify

IMAGES = 1000
FEWEST = 10  # images, of which neighbours can be spoken


@dataclass(frozen=True)
class RepresentationValues(Values):
    """Places [N, 2] by principal components and, where scikit-learn is installed, by t-SNE; `groups` are classes, by
    truth or, where it is not known, by answer. `model` and `probe` are shares of right answers."""

    ids: tuple[str, ...]
    components: np.ndarray
    explained: float
    neighbours: np.ndarray | None
    groups: np.ndarray
    names: tuple[str, ...]
    model: float | None = None
    probe: float | None = None

    def table(self) -> Table:
        found = {"images": len(self.ids), "share of variance on the plane": round(self.explained, 4)}
        found |= {"model right": self.model, "linear probe right": self.probe} if self.probe is not None else {}
        return Table(("", "value"), list(found.items()))

    def document(self) -> dict:
        places = {"components": self.components.tolist()}
        if self.neighbours is not None:
            places["t-sne"] = self.neighbours.tolist()
        return super().document() | places | {"ids": list(self.ids), "groups": self.groups.tolist()}


def look(subject: Subject) -> RepresentationValues:
    """Of at most `IMAGES` images."""
    task, model = subject.task, subject.model
    assert isinstance(model, Classifier)
    kept, batches = [], []
    for batch in subject.batches():
        image = model_input(task, batch)
        with torch.inference_mode():
            kept.append(model.features(image).float().cpu())
        batches.append({key: value for key, value in batch.items() if key != "image"})
        if sum(map(len, kept)) >= IMAGES:
            break
    if sum(map(len, kept)) < FEWEST:
        raise UserError(f"representation needs {FEWEST} images or more to show how they lie: give more with --image.")
    features, batch = torch.cat(kept), joined(batches)
    array = features.numpy()
    places, explained = project(array)
    found = {"ids": tuple(batch["id"]), "components": places, "explained": explained, "neighbours": tsne(array)}
    if not isinstance(task, Classify) or task.multilabel:
        return RepresentationValues(**found, groups=np.zeros(len(array), int), names=("",))
    with torch.inference_mode():
        answers = model.head(features.to(task.mean.device)).argmax(1).cpu()
    if "label" not in batch:
        return RepresentationValues(**found, groups=answers.numpy(), names=task.class_names)
    labels = batch["label"].cpu()
    probe = linear_probe(features, labels, len(task.class_names))
    right = [round(float((told == labels).float().mean()), 4) for told in (answers, probe)]
    return RepresentationValues(**found, groups=labels.numpy(), names=task.class_names, model=right[0], probe=right[1])


def draw(values: RepresentationValues, style: Style) -> Figure:
    """One or two planes, and the legend beside them."""
    both = values.neighbours is not None
    figure = new_figure(FULL if both else 4.4, 3.1)
    axes = figure.subplots(1, 1 + both, squeeze=False)[0]
    scatter(axes[0], values.components, values, style)
    axes[0].set_title(f"principal components, {values.explained:.0%} of the variance")
    if values.neighbours is not None:
        scatter(axes[1], values.neighbours, values, style)
        axes[1].set_title("neighbours (t-SNE)")
    if values.probe is not None:
        axes[0].set_xlabel(f"right: model {values.model:.1%}, linear probe {values.probe:.1%}")
    if len(values.names) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", handletextpad=0.1, markerscale=1.6)
    return figure


def scatter(axes: Axes, places: np.ndarray, values: RepresentationValues, style: Style) -> None:
    """Every image as a sign of its class."""
    for group in np.unique(values.groups):
        inside = places[values.groups == group]
        name = values.names[group] if group < 24 else None  # a legend of more names is longer than the figure
        look = {"s": 9, "marker": style.marker(int(group)), "color": style.colour(int(group)), "linewidths": 0}
        axes.scatter(inside[:, 0], inside[:, 1], alpha=0.8, label=name, **look)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, edgecolor=style.line)


REPRESENTATION = Instrument(
    shows="the vectors the body makes of images, on a plane, and what a linear model can read from them",
    reading="Classes that lie apart are told apart; on the right only neighbourhood means something, not distance.\n"
    "A linear probe as good as the model says that the body did all the work, as Figure 2.4 has it.",
    fits=needs_features,
    look=look,
    draw=draw,
    passes=200,  # as many images as a report has
)
