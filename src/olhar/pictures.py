"""A prediction drawn with its image: the picture, the answer, and the likeliest or the largest classes as bars.

Everything is sized by the picture's width, so that it reads as well in a contact sheet as on a projector.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from olhar.data.decode import decode
from olhar.data.image_size import size_of
from olhar.data.palette import palette
from olhar.data.sample import Colour
from olhar.errors import UserError
from olhar.ops.image import overlay
from olhar.tasks.align import CaptionPrediction
from olhar.tasks.box_task import BoxPrediction
from olhar.tasks.classify import ClassPrediction
from olhar.tasks.pixel_task import ImagePrediction
from olhar.tasks.segment import MaskPrediction
from olhar.tasks.task import Prediction

WIDTH = 480  # pixels: a small image is enlarged to it, a large one reduced, so that all sheets are alike
TALLEST = 640  # pixels of the image: what lies beyond is fitted in with margins
INK, FAINT, PAPER, BAR, TRACK = "#1a1a2e", "#6b7280", "#ffffff", "#2f6fde", "#e8ecf3"
LONGEST, TAG = 960, 12  # pixels: of a picture with boxes the longer side at most, and the font of their tags
LEGEND = 8  # classes of a mask that are named: more do not fit below a picture
MOST_LINES = 3  # of a caption
MARGIN, TITLE, TEXT, LINE = 20, 34, 20, 34  # pixels: margin, font sizes, height of a bar's line


def write_pictures(
    answers: Iterable[tuple[Path, Prediction]], folder: Path, k: int = 3
) -> Iterator[tuple[Path, Prediction]]:
    """Pass `answers` on, and draw each into `folder`, named after its image.

    Raises UserError where `folder` cannot be written, or a picture would replace one of the images.
    """
    return saved(answers, folder, "--pictures", lambda path, prediction: picture_of(path, prediction, k))


def write_results(answers: Iterable[tuple[Path, Prediction]], folder: Path) -> Iterator[tuple[Path, Prediction]]:
    """Pass `answers` on, and save those that are pictures themselves: masks as palette PNG whose values are the class
    indices, restored images. Raises UserError like `write_pictures`."""
    return saved(answers, folder, "--out", lambda path, prediction: result_of(prediction))


def saved(
    answers: Iterable[tuple[Path, Prediction]],
    folder: Path,
    option: str,
    make: Callable[[Path, Prediction], Image.Image],
) -> Iterator[tuple[Path, Prediction]]:
    """Pass `answers` on, with what `make` makes of each saved in `folder` under the name of its image."""
    taken: set[Path] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, prediction in answers:
            target = folder / f"{path.stem}.png"
            if target in taken:  # two images of one name, in different folders or formats
                target = folder / ("-".join(path.parts).strip("/.-") + ".png")
            if target.resolve() == path.resolve():
                raise UserError(f"{target} is the image itself: give {option} another folder.")
            taken.add(target)
            make(path, prediction).save(target)
            yield path, prediction
    except OSError as error:
        raise UserError(f"Could not write pictures to {folder}: {error.strerror or error}.") from error


def result_of(prediction: Prediction) -> Image.Image:
    """An answer that is a picture, as the file it is saved as."""
    if isinstance(prediction, MaskPrediction):
        mask = Image.fromarray(prediction.mask.numpy())
        mask.putpalette([value for colour in prediction.palette for value in colour])
        return mask
    assert isinstance(prediction, ImagePrediction)
    pixels = prediction.image.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))


def picture_of(path: Path, prediction: Prediction, k: int) -> Image.Image:
    """The sheet of one answer: a mask over its image, a restored image beside what it was made from, an image with its
    boxes."""
    if isinstance(prediction, MaskPrediction):
        # no more pixels than are drawn: an image may be larger than memory likes to hold as numbers
        step = max(1, max(prediction.mask.shape) // (2 * WIDTH))
        mask = prediction.mask[::step, ::step]
        image = F.resize(decode(path, side=WIDTH), list(mask.shape), antialias=True)
        return draw(overlay(image, mask, prediction.palette), prediction, k)
    if isinstance(prediction, ImagePrediction):
        return beside(decode(path, side=WIDTH), prediction.image)
    if isinstance(prediction, BoxPrediction):
        return boxes_on(path, prediction)
    if isinstance(prediction, CaptionPrediction):
        return captioned(decode(path, side=WIDTH), prediction, k)
    return draw(decode(path, side=WIDTH), prediction, k)


def captioned(image: Tensor, prediction: CaptionPrediction, k: int) -> Image.Image:
    """The picture [C, H, W] uint8 above the k texts that fit it best and their similarities; long ones are wrapped."""
    picture, space = fitted(image), WIDTH - 2 * MARGIN - 70
    said = [
        (wrapped(text, font(TEXT, bold=i == 0), space), similarity)
        for i, (text, similarity) in enumerate(prediction.top(k))
    ]
    height = 2 * MARGIN + sum(LINE * len(lines) for lines, _ in said)
    sheet = Image.new("RGB", (WIDTH, picture.height + height), PAPER)
    sheet.paste(picture, ((WIDTH - picture.width) // 2, 0))
    pen, top = ImageDraw.Draw(sheet), picture.height + MARGIN
    for i, (lines, similarity) in enumerate(said):
        pen.text((WIDTH - MARGIN, top), f"{similarity:.2f}", FAINT, font(TEXT), anchor="rt")
        for line in lines:
            pen.text((MARGIN, top), line, INK, font(TEXT, bold=i == 0), anchor="lt")
            top += LINE
    return sheet


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """`text` in at most `MOST_LINES` lines that are no wider than `width` pixels; what is left is cut."""
    lines, words = [""], text.split()
    while words:
        longer = f"{lines[-1]} {words[0]}".strip()
        if lines[-1] and face.getlength(longer) > width and len(lines) < MOST_LINES:
            lines.append("")
        else:
            lines[-1] = longer
            words.pop(0)
    return [shortened(line, face, width) for line in lines]


def boxes_on(path: Path, prediction: BoxPrediction) -> Image.Image:
    """The image with its boxes, each with its class and score."""
    height, width = size_of(path)
    scale = min(max(1.0, WIDTH / width), LONGEST / max(width, height))
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    pixels = F.resize(decode(path, side=min(size)), size, antialias=True).expand(3, -1, -1).permute(1, 2, 0)
    picture = Image.fromarray(np.ascontiguousarray(pixels.numpy()))
    pen = ImageDraw.Draw(picture)
    colours = dict(zip(prediction.class_names, palette(prediction.class_names), strict=True))
    every = zip((prediction.boxes * scale).tolist(), prediction.labels, prediction.scores, strict=True)
    surest_last = list(every)[::-1]  # over the others
    for (x0, y0, x1, y1), name, _ in surest_last:
        pen.rectangle((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)), outline=colours[name], width=2)
    for (x0, y0, _, _), name, score in surest_last:  # after all boxes, whose lines would cross the words
        words = f"{name} {percent(score)}"
        place = max(3, min(x0 + 3, size[1] - font(TAG).getlength(words) - 3)), max(0, y0 - TAG - 4)
        left, top, right, bottom = pen.textbbox(place, words, font(TAG))
        pen.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=colours[name])
        pen.text(place, words, readable_on(colours[name]), font(TAG))
    return picture


def readable_on(colour: Colour) -> str:
    """Dark letters on a light colour, light ones on a dark one."""
    red, green, blue = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else PAPER


def beside(before: Tensor, after: Tensor) -> Image.Image:
    """Two pictures [C, H, W] uint8, what was given and what was made of it."""
    pictures = [fitted(before), fitted(after)]
    sheet = Image.new("RGB", (2 * WIDTH + MARGIN, max(p.height for p in pictures) + MARGIN + TITLE), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (picture, word) in enumerate(zip(pictures, ("given", "restored"), strict=True)):
        left = i * (WIDTH + MARGIN)
        sheet.paste(picture, (left + (WIDTH - picture.width) // 2, 0))
        pen.text((left + WIDTH // 2, picture.height + MARGIN // 2), word, FAINT, font(TEXT), anchor="mt")
    return sheet


def draw(image: Tensor, prediction: Prediction, k: int = 3) -> Image.Image:
    """The picture [C, H, W] uint8 above its answer; for a classification the k likeliest classes as bars."""
    picture = fitted(image)
    ranked, colours = ranking(prediction, k)
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
        bar(pen, top + TITLE + MARGIN // 2 + 6 + i * LINE, label, probability, colours[i])
    return sheet


def ranking(prediction: Prediction, k: int) -> tuple[list[tuple[str, float]], list[str | Colour]]:
    """What the bars show: the k likeliest classes with their probabilities, or those of the largest areas, and the
    colour of each."""
    if isinstance(prediction, ClassPrediction):
        return prediction.top(k), [BAR] * k
    if not isinstance(prediction, MaskPrediction):
        return [], []
    areas = list(prediction.areas().items())[: max(k, LEGEND)]
    colours = dict(zip(prediction.class_names, prediction.palette, strict=True))
    return areas, [colours[name] if any(colours[name]) else FAINT for name, _ in areas]


def bar(pen: ImageDraw.ImageDraw, top: int, label: str, probability: float, colour: str | Colour = BAR) -> None:
    """One line: the class, a bar as long as its probability, the number."""
    left, right = MARGIN + 160, WIDTH - MARGIN - 62
    middle = top + LINE // 2
    pen.text((MARGIN, middle), shortened(label, font(TEXT), 150), INK, font(TEXT), anchor="lm")
    pen.rounded_rectangle((left, middle - 7, right, middle + 7), 7, TRACK)
    length = round((right - left) * probability)
    if length > 0:
        pen.rounded_rectangle((left, middle - 7, left + max(length, 14), middle + 7), 7, colour)
    pen.text((WIDTH - MARGIN, middle), percent(probability), FAINT, font(TEXT), anchor="rm")


def percent(probability: float) -> str:
    return "<1%" if 0 < probability < 0.005 else f"{probability:.0%}"


def answer(prediction: Prediction) -> str:
    """The prediction in a few words."""
    values = {key: value for key, value in prediction.row().items() if key not in ("id", "probabilities")}
    if isinstance(prediction, ClassPrediction):
        return ", ".join(prediction.labels) or "none of the classes"
    if isinstance(prediction, MaskPrediction):
        return f"mostly {next(iter(prediction.areas()), 'nothing')}"
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
