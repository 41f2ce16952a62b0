"""A prediction drawn with its image: the picture, the answer, and the likeliest classes as bars.

Everything is sized by the picture's width, so that it reads as well in a contact sheet as on a projector.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from olhar.data.decode import decode
from olhar.errors import UserError
from olhar.tasks.classify import ClassPrediction
from olhar.tasks.task import Prediction

WIDTH = 480  # pixels: a small image is enlarged to it, a large one reduced, so that all sheets are alike
TALLEST = 640  # pixels of the image: what lies beyond is fitted in with margins
INK, FAINT, PAPER, BAR, TRACK = "#1a1a2e", "#6b7280", "#ffffff", "#2f6fde", "#e8ecf3"
MARGIN, TITLE, TEXT, LINE = 20, 34, 20, 34  # pixels: margin, font sizes, height of a bar's line


def write_pictures(
    answers: Iterable[tuple[Path, Prediction]], folder: Path, k: int = 3
) -> Iterator[tuple[Path, Prediction]]:
    """Pass `answers` on, and draw each into `folder`, named after its image.

    Raises UserError where `folder` cannot be written, or a picture would replace one of the images.
    """
    taken: set[Path] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, prediction in answers:
            target = folder / f"{path.stem}.png"
            if target in taken:  # two images of one name, in different folders or formats
                target = folder / ("-".join(path.parts).strip("/.-") + ".png")
            if target.resolve() == path.resolve():
                raise UserError(f"{target} is the image itself: give --pictures another folder.")
            taken.add(target)
            draw(decode(path, side=WIDTH), prediction, k).save(target)
            yield path, prediction
    except OSError as error:
        raise UserError(f"Could not write pictures to {folder}: {error.strerror or error}.") from error


def draw(image: Tensor, prediction: Prediction, k: int = 3) -> Image.Image:
    """The picture [C, H, W] uint8 above its answer; for a classification the k likeliest classes as bars."""
    picture = fitted(image)
    ranked = prediction.top(k) if isinstance(prediction, ClassPrediction) else []
    height = 2 * MARGIN + TITLE + (LINE * len(ranked) + MARGIN // 2 if ranked else 0)
    sheet = Image.new("RGB", (WIDTH, picture.height + height), PAPER)
    sheet.paste(picture, ((WIDTH - picture.width) // 2, 0))
    pen = ImageDraw.Draw(sheet)
    top = picture.height + MARGIN
    pen.text(
        (MARGIN, top),
        shortened(answer(prediction), font(TITLE, bold=True), WIDTH - 2 * MARGIN),
        INK,
        font(TITLE, bold=True),
    )
    for i, (label, probability) in enumerate(ranked):
        bar(pen, top + TITLE + MARGIN // 2 + 6 + i * LINE, label, probability)
    return sheet


def bar(pen: ImageDraw.ImageDraw, top: int, label: str, probability: float) -> None:
    """One line: the class, a bar as long as its probability, the number."""
    left, right = MARGIN + 160, WIDTH - MARGIN - 62
    middle = top + LINE // 2
    pen.text((MARGIN, middle), shortened(label, font(TEXT), 150), INK, font(TEXT), anchor="lm")
    pen.rounded_rectangle((left, middle - 7, right, middle + 7), 7, TRACK)
    length = round((right - left) * probability)
    if length > 0:
        pen.rounded_rectangle((left, middle - 7, left + max(length, 14), middle + 7), 7, BAR)
    pen.text((WIDTH - MARGIN, middle), percent(probability), FAINT, font(TEXT), anchor="rm")


def percent(probability: float) -> str:
    return "<1%" if 0 < probability < 0.005 else f"{probability:.0%}"


def answer(prediction: Prediction) -> str:
    """The prediction in a few words."""
    values = {key: value for key, value in prediction.row().items() if key not in ("id", "probabilities")}
    if isinstance(prediction, ClassPrediction):
        return ", ".join(prediction.labels) or "none of the classes"
    name = getattr(prediction, "target_name", "")
    number = f"{values['value']:.4g}"
    spread = f" ± {values['deviation']:.2g}" if values.get("deviation") is not None else ""
    return f"{name}: {number}{spread}" if name else number + spread


def fitted(image: Tensor) -> Image.Image:
    """The image as wide as the sheet, or as tall as it may be. Few pixels are enlarged as crisp squares."""
    array = np.ascontiguousarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy())
    picture = Image.fromarray(array)
    scale = min(WIDTH / picture.width, TALLEST / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 6 else Image.Resampling.LANCZOS)


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows the alphabets class names are written in."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def shortened(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """`text`, cut with an ellipsis where it is wider than `width` pixels."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
