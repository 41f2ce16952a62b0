"""The house style of figures: the report's colours and type, in light and in dark, as SVG or PNG for page and paper.

Figures are matplotlib's `Figure` objects; pyplot and its global state are not used. A drawing is made inside
`with style.context():`, which `Instrument.figure` does for every instrument.

Shapes: C channels, H W space.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from olhar.errors import UserError

FULL, COLUMN = 7.0, 3.4  # inches: a page's text and one of its two columns
DPI = 220  # of a PNG: 1540 pixels across a page, sharp in print and on a screen of double density
# The first that is installed; DejaVu comes with matplotlib and has the signs that others lack.
SANS = ("Inter", "Source Sans 3", "Helvetica Neue", "Helvetica", "Segoe UI", "Arial", "Liberation Sans")
MARKERS = "osD^vPX*<>"  # beside the colours, so that more than eight groups can be told apart, and none by colour alone


@dataclass(frozen=True)
class Style:
    """Colours, those of report/templates/style.css by their names there, and what is made of them.

    `colours` are for groups: eight that are told apart under every common colour blindness (after Okabe and Ito 2008,
    "Color universal design"), the two accents first.
    """

    paper: str
    sunk: str
    ink: str
    soft: str
    line: str
    accent: str
    accent_soft: str
    second: str
    second_soft: str
    colours: tuple[str, ...]
    dark: bool = False

    @cached_property
    def sequential(self) -> Colormap:
        """From nothing to much: lightness moves one way only, so that it survives grey printing."""
        ends = ("#0b1f3a",) if not self.dark else ("#eaf3fd",)
        return LinearSegmentedColormap.from_list("olhar", [self.sunk, self.accent_soft, self.accent, *ends])

    @cached_property
    def diverging(self) -> Colormap:
        """From blue (negative) over the ground (zero) to orange (positive)."""
        ends = ("#0b2f57", "#6d2c05") if not self.dark else ("#cfe4fa", "#fbdcc2")
        names = [ends[0], self.accent, self.paper, self.second, ends[1]]
        return LinearSegmentedColormap.from_list("olhar-both", names)

    def colour(self, group: int) -> str:
        return self.colours[group % len(self.colours)]

    def marker(self, group: int) -> str:
        return MARKERS[group // len(self.colours) * 3 % len(MARKERS)]

    @contextmanager
    def context(self) -> Iterator[None]:
        """While this holds, matplotlib draws in this style."""
        with mpl.rc_context(settings(self)):
            yield


LIGHT = Style(
    paper="#ffffff", sunk="#f3f1ec", ink="#1b1c1e", soft="#63666b", line="#e3e0d9",
    accent="#1d5fa6", accent_soft="#dce8f5", second="#bf5310", second_soft="#fbe6d6",
    colours=("#1d5fa6", "#bf5310", "#0f8a68", "#b0508f", "#d99a00", "#4fa7d8", "#7a5a3a", "#4b4e53"),
)  # fmt: skip
DARK = Style(
    paper="#131518", sunk="#212529", ink="#e9e8e4", soft="#9da1a8", line="#2d3137",
    accent="#74b0ee", accent_soft="#1d3550", second="#f09a55", second_soft="#47290f",
    colours=("#74b0ee", "#f09a55", "#3fc79b", "#e08cc0", "#f2c94c", "#a5d8f3", "#c9a27a", "#c4c7cc"),
    dark=True,
)  # fmt: skip


def settings(style: Style) -> dict[Any, Any]:
    """A style as matplotlib's settings."""
    installed = set(font_manager.get_font_names())
    return {
        "font.family": [*[name for name in SANS if name in installed][:1], "DejaVu Sans"],
        "font.size": 8.0,
        "axes.titlesize": 8.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 8.0,
        "xtick.labelsize": 7.0,
        "ytick.labelsize": 7.0,
        "legend.fontsize": 7.0,
        "legend.frameon": False,
        "figure.facecolor": style.paper,
        "savefig.facecolor": style.paper,
        "axes.facecolor": style.paper,
        "text.color": style.ink,
        "axes.labelcolor": style.soft,
        "axes.titlecolor": style.ink,
        "axes.edgecolor": style.soft,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.prop_cycle": mpl.cycler(color=style.colours),  # type: ignore[attr-defined]
        "xtick.color": style.soft,
        "ytick.color": style.soft,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "grid.color": style.line,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.4,
        "lines.solid_capstyle": "round",
        "patch.linewidth": 0.6,
        "image.cmap": "gray",
        "svg.fonttype": "path",  # text as outlines: it looks the same where the font is missing
        "svg.hashsalt": "olhar",  # the same drawing is the same file
        "figure.constrained_layout.use": True,
        "figure.max_open_warning": 0,
    }


def new_figure(width: float = FULL, height: float = 3.0) -> Figure:
    """An empty figure of `width` x `height` inches, whose parts make room for each other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(rows: int, columns: int, width: float = FULL, height: float = 3.0, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """A figure with rows x columns axes, as an array of that shape; `kwargs` are those of `Figure.subplots`."""
    figure = new_figure(width, height)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """An image [C, H, W] or [H, W], bytes or numbers in [0, 1], as matplotlib shows it: [H, W, 3] or [H, W], in [0, 1].

    Of more than three channels the first three are shown, of two the first.
    """
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    array = array / 255 if array.dtype == np.uint8 else array.astype(float).clip(0, 1)
    if array.ndim == 2:
        return array
    return array[:3].transpose(1, 2, 0) if len(array) >= 3 else array[0]


def show(axes: Axes, image: Tensor | np.ndarray, title: str = "", **kwargs: Any) -> None:
    """Draw an image, as `pixels` takes it, without ticks; small ones as pixels. `kwargs` are those of `imshow`."""
    shown = pixels(image)
    plain = {"vmin": 0, "vmax": 1, "interpolation": "nearest" if max(shown.shape[:2]) <= 96 else "antialiased"}
    axes.imshow(shown, **plain | kwargs)
    bare(axes)
    if title:
        axes.set_title(title, fontweight="normal", fontsize=7, loc="center", pad=3)


def bare(axes: Axes) -> None:
    """No ticks, no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def tiles(
    axes: Axes,
    cells: Sequence[Float[np.ndarray, "h w k"]],
    across: int,
    labels: Sequence[str] = (),
    head: float = 0.3,
    apart: float = 0.06,
) -> None:
    """Pictures of one size, in [0, 1], side by side in one axes: as many axes would take seconds to draw.

    Args:
        cells: k is 3, or 4 where parts of them are clear, as what lies between them is.
        labels: one above each, in a strip of `head` of a cell's height.
        apart: what lies between them, in sides of a cell.
    """
    height, width = cells[0].shape[:2]
    scale = max(1, round(48 / max(height, width)))  # so that the gaps are thin, however few the pixels
    gap = max(1, round(apart * scale * max(height, width)))
    strip = round(head * scale * height) if labels else gap
    tall, wide, rows = scale * height, scale * width, -(-len(cells) // across)
    canvas = np.zeros((rows * (tall + strip) - (0 if labels else gap), across * (wide + gap) - gap, 4))
    for i, cell in enumerate(cells):
        y, x = i // across * (tall + strip) + (strip if labels else 0), i % across * (wide + gap)
        place = canvas[y : y + tall, x : x + wide]
        place[..., 3] = 1
        place[..., : cell.shape[2]] = cell.repeat(scale, axis=0).repeat(scale, axis=1)
        if labels:
            axes.text(x + wide / 2, y - 0.06 * tall, labels[i], ha="center", va="bottom", fontsize=6)
    axes.imshow(canvas, interpolation="nearest" if scale > 1 else "antialiased")
    bare(axes)


def glow(image: Tensor | np.ndarray, heat: Float[np.ndarray, "H W"], style: Style) -> np.ndarray:
    """Where `heat` (0 to 1) is high an image stays itself, with a warm tint; elsewhere it fades: [H, W, 3] in [0, 1].

    Faded to the figure's ground, so that the eye goes where the heat is, in light and in dark.
    """
    shown = pixels(image)
    colour = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)
    grey = colour.mean(axis=2, keepdims=True) * np.ones(3)
    weight = np.clip(heat, 0, 1)[..., None]
    ground = np.array(to_rgb(style.paper))
    far = 0.55 * grey + 0.45 * (0.2 + 0.6 * ground)
    near = 0.45 * colour + 0.55 * np.array(to_rgb(LIGHT.second if not style.dark else DARK.second))
    return (1 - weight) * far + weight * near


def save(figure: Figure, path: Path, style: Style) -> Path:
    """Write a figure, as SVG, PNG or PDF by the ending of `path`: the same drawing gives the same bytes.

    Raises UserError where it cannot be written.
    """
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with style.context():
            figure.savefig(path, dpi=DPI, metadata=metadata)
    except OSError as error:
        raise UserError(f"Could not write {path}: {error.strerror}.") from error
    return path


def inline(figure: Figure) -> str:
    """A figure drawn in `LIGHT` as SVG inside a page: its colours are the page's, and follow it into the dark."""
    buffer = io.StringIO()
    with LIGHT.context():
        figure.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for field in fields(Style):
        value = getattr(LIGHT, field.name)
        if isinstance(value, str) and field.name != "paper":
            text = text.replace(value, f"var(--{field.name.replace('_', '-')})")
    # the size is the page's: what is left is the proportion
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1))
