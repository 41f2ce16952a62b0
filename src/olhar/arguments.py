"""What may follow each verb on the command line.

Settings of config.py become options by themselves (options.py); these are the others.
"""

from argparse import ArgumentTypeError
from pathlib import Path

from olhar.errors import nearest
from olhar.options import Usage, add_settings, choice, duration, picture_file, point, positive, real, seed, size

DATA = "a folder of images, a table, or the name of a set: digits, shapes, cifar10"
RECOGNITION = (
    *("task", "format", "file_column", "label_column", "ignore"),
    *("val_fraction", "test_fraction", "allow", "download"),
)
TOUR = ("likelihood", "gradient", "regress", "logistic", "classify", "segment", "reconstruct", "detect", "attention",
        "align", "diffuse")  # fmt: skip
RUN = "a run folder, made by `olhar train`"


def check_options(parser: Usage) -> None:
    """What may follow `olhar check`."""
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--full", action="store_true", help="read every byte, look for near duplicates too")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_settings(parser, [f"data.{name}" for name in RECOGNITION])


def train_options(parser: Usage) -> None:
    """What may follow `olhar train`."""
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--json", action="store_true", help="print the result as JSON, progress on standard error")
    parser.add_argument("--run", metavar="DIR", help="the run folder to make [runs/NAME-1, -2, ...]")
    add_settings(parser)


def adopt_options(parser: Usage) -> None:
    """What may follow `olhar adopt`."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a safetensors file of a CLIP, or the folder of one")
    parser.add_argument("--tokenizer", metavar="FILE", help="its tokenizer.json [the one beside the weights]")
    parser.add_argument("--run", metavar="DIR", help="the run folder to make [runs/NAME-1, -2, ...]")


def resume_options(parser: Usage) -> None:
    """What may follow `olhar resume`."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--json", action="store_true", help="print the result as JSON, progress on standard error")
    parser.add_argument("--verify", action="store_true", help="show that resuming changes nothing, and stop")


def evaluate_options(parser: Usage) -> None:
    """What may follow `olhar evaluate`."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    split = choice(("train", "val", "test"))
    parser.add_argument("--split", metavar="NAME", type=split, help="train, val or test [test, else val]")
    parser.add_argument(
        "--judge", metavar="RUN", help="of a run that draws: a classifier that its images are judged by"
    )
    add_naming(parser)


def names(text: str) -> list[str]:
    """`cat, dog` -> ["cat", "dog"]."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_naming(parser: Usage) -> None:
    """Options of verbs that ask a run that learnt from captions about classes it has only the names of."""
    parser.add_argument(
        "--classes", metavar="NAMES", type=names, default=[], help="of a run with captions: classes, by commas"
    )
    parser.add_argument(
        "--prompt", metavar="TEXT", action="append", default=[], help="a caption for them, as 'a photo of a {}'"
    )


def predict_options(parser: Usage) -> None:
    """What may follow `olhar predict`."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("inputs", metavar="IMAGE", nargs="+", help="a file, a folder, a pattern, or -")
    parser.add_argument("--batch-size", type=positive, metavar="N", default=64, help="images at a time [64]")
    parser.add_argument("--flips", action="store_true", help="masks and images: the mean with the mirror image's")
    parser.add_argument(
        "--tiles", action="store_true", help="look at images larger than those of the training part by part"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where masks and images go [RUN/predictions], or boxes [nowhere]"
    )
    form = choice(("coco", "yolo"))
    parser.add_argument("--format", metavar="NAME", type=form, help="of the boxes in --out: coco or yolo [coco]")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table with every probability")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object an image")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write each image with its answer")
    parser.add_argument("--top", type=positive, metavar="K", help="the K likeliest classes with their probabilities")
    add_naming(parser)


def search_options(parser: Usage) -> None:
    """What may follow `olhar search`."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("query", metavar="QUERY", help="a text in quotation marks, or an image file")
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="where to look [the data the run learnt from]")
    parser.add_argument("--top", type=positive, metavar="K", default=12, help="how many to show [12]")
    parser.add_argument("--words", action="store_true", help="find captions for an image, similar words for a text")
    parser.add_argument("--html", type=Path, metavar="FILE", help="the page with pictures [RUN/search/QUERY.html]")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and make no page")


def generate_options(parser: Usage) -> None:
    """What may follow `olhar generate`."""
    along = "shapes, which comes along; or a Stable Diffusion, a folder or org/name on the Hub"
    parser.add_argument("run", metavar="RUN", help=f"{RUN}; {along}")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="what to draw: captions, or names of classes")
    parser.add_argument("--class", dest="classes", action="append", metavar="NAME", help="a class; may be repeated")
    parser.add_argument("--n", type=positive, metavar="N", help="images of each text [1]")
    parser.add_argument("--seed", type=seed, metavar="N", help="of the first image; the next has the next [0]")
    parser.add_argument("--steps", type=positive, metavar="N", help="of the way back [what the sampler needs]")
    parser.add_argument("--guidance", type=real, metavar="X", help="how much texts count [2, published 7.5; 1: plain]")
    parser.add_argument(
        "--sampler", metavar="NAME", help="dpm2m, dpm2m-sde, ddim, euler, heun or ddpm [dpm2m; shapes: -sde]"
    )
    parser.add_argument("--negative", metavar="TEXT", help="what to go away from, with a text or alone")
    parser.add_argument("--init-image", type=Path, metavar="FILE", help="an image to begin from")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="white where that image is to be drawn anew")
    parser.add_argument("--strength", type=real, metavar="X", help="how much of that image is drawn anew, 0 to 1 [0.7]")
    parser.add_argument("--size", type=size, metavar="WxH", help="of the images, px [as learnt]")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="images at a time [16, published 1]")
    parser.add_argument("--strip", action="store_true", help="write how each image came out of the noise, too")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where images go [RUN/generated-1 ..., of no run here]")
    form = choice(("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--precision", metavar="NAME", type=form, help="of a published one: fp32, bf16 or fp16 [auto]")
    parser.add_argument("--download", action="store_true", help="fetch a published one from the Hub")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object an image")


def report_options(parser: Usage) -> None:
    """What may follow `olhar report`."""
    parser.add_argument("run", metavar="RUN", help=RUN)


def inspect_options(parser: Usage) -> None:
    """What may follow `olhar inspect`."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("instrument", metavar="INSTRUMENT", nargs="?", help="what to look with; none: a list of them")
    parser.add_argument(
        "--image", metavar="FILE", nargs="+", default=[], help="files, folders or patterns [of the run's validation]"
    )
    parser.add_argument("--layer", metavar="NAME", help="the part of the model to look at, as `network` names it")
    parser.add_argument("--text", metavar="TEXT", help="what the images are said to show [their own captions]")
    parser.add_argument("--beside", metavar="RUN", help="another run on the same data, to compare landscapes with")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where figure and table go [RUN/inspection]")
    parser.add_argument("--dark", action="store_true", help="draw on a dark ground")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def explain_options(parser: Usage) -> None:
    """What may follow `olhar explain`."""
    parser.takes_minus = True
    parser.add_argument(
        "expression", metavar="EXPRESSION", help="as '(x - 5)**2 + 8', 'a = w*x + b; a**2'; or diffusion"
    )
    parser.add_argument("--at", action="append", type=point, metavar="x=3", help="where to compute it: x=3,w=0.5")
    parser.add_argument("--by", action="append", metavar="NAME", help="what to differentiate by [x, y and z, else all]")
    parser.add_argument("--out", type=picture_file, metavar="FILE", help="draw its graph: an SVG, PNG or PDF file")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def chapters(text: str) -> list[str]:
    """`detect,diffuse` -> ["detect", "diffuse"], of the tour's chapters."""
    for name in names(text):
        if name not in TOUR:
            raise ArgumentTypeError(f"there is no chapter '{name}': {nearest(name, TOUR)}")
    return names(text)


def tour_options(parser: Usage) -> None:
    """What may follow `olhar tour`."""
    parser.add_argument("--budget", metavar="TIME", type=duration, help="for all of it: 90s, 8min, 1h [8min]")
    parser.add_argument("--quick", action="store_true", help="in 90 seconds: less data, fewer looks inside")
    parser.add_argument(
        "--only", metavar="NAMES", type=chapters, default=[], help="chapters, by commas: detect,diffuse"
    )
    parser.add_argument("--run", metavar="DIR", type=Path, default=Path("runs/tour"), help="its folder [runs/tour]")
    parser.add_argument("--fresh", action="store_true", help="begin anew what an earlier tour left there")
    parser.add_argument("--check", action="store_true", help="fail where a figure is not what is expected here")


def models_options(parser: Usage) -> None:
    """What may follow `olhar models`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
