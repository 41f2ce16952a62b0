"""The command line: one short function a verb; it calls the Python twin and prints.

Exit status: 0; 1, the data or the run is at fault (one sentence on standard error, no traceback); 2, the command
was mistyped; 130, interrupted. Only what an answer needs is imported: help and mistakes never wait for torch.
"""

import os
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from olhar import __version__, arguments
from olhar.config import Config
from olhar.errors import UserError, nearest
from olhar.given import is_published, must_exist, run_must_exist
from olhar.options import Usage, as_typed, changes
from olhar.shipped import shipped

FIRST_SCREEN = f"""olhar {__version__}: train vision models on your own images, and see what they learnt.

  olhar check FOLDER           what is in this folder, and what is wrong with it
  olhar train FOLDER           train on it; what to learn is recognised from the folder
  olhar predict RUN PHOTO      ask the trained model
  olhar report RUN             one page that shows what it learnt and where it errs

No images at hand? Every system of the course in eight minutes, on one page:  olhar tour
Every command: olhar --help
"""


def check(found: Namespace) -> int:
    """Say what is in a folder or table of images, why we think so, and what is wrong with it."""
    config = Config().with_changes(changes(found))
    must_exist(found.data)
    from olhar import checkup, terminal

    result = checkup.check(found.data, config, "full" if found.full else "quick")
    following = shlex.join(["olhar", "train", found.data, *as_typed(changes(found))])
    return terminal.show_check(result, config.data.allow, following, found.json)


def train(found: Namespace) -> int:
    """Train a model on a folder or table of images; the task is recognised and every choice is explained."""
    started = time.monotonic()  # a budget counts from the command: importing torch takes its share of it
    config = Config().with_changes(changes(found))
    must_exist(found.data)
    from olhar import launch, terminal

    return terminal.show_result(launch.train(found.data, run=found.run, config=config, started=started), found.json)


def adopt(found: Namespace) -> int:
    """Make a run of published CLIP weights, to search and to tell classes by their names without a training."""
    from olhar import published

    path = published.adopt(found.weights, found.run, found.tokenizer).path
    print(f"Ask it   olhar search {shlex.quote(str(path))} 'what you look for' FOLDER")
    return 0


def resume(found: Namespace) -> int:
    """Continue an interrupted run from its last checkpoint, to the same weights."""
    run_must_exist(found.run)
    from olhar import launch, terminal

    if found.verify:
        launch.verify(found.run)
        return 0
    return terminal.show_result(launch.resume(found.run), found.json)


def evaluate(found: Namespace) -> int:
    """Measure a trained model on data it has not seen."""
    run_must_exist(found.run)
    must_exist(found.data)
    from olhar import run, terminal

    if found.judge:
        run_must_exist(found.judge)
    trained = run.load(found.run)
    values = trained.evaluate(found.data, found.split, found.classes, found.prompt)
    if found.judge:
        from olhar.judged import judge

        with terminal.share_done("drawing") as tell:
            values |= judge(trained, run.load(found.judge), found.data, found.split, tell=tell)
    if found.json:
        terminal.print_json(values)
    else:
        terminal.show_metrics(values)
    return 0


def predict(found: Namespace) -> int:
    """Ask a trained model about images: files, folders, patterns such as 'img*.jpg', or - for standard input."""
    run_must_exist(found.run)
    from olhar import language, run, terminal
    from olhar import predict as room

    unreadable: dict[str, str] = {}
    trained = run.load(found.run)
    language.choose_from(trained, found.classes, found.prompt)
    out = found.out or (trained.path / "predictions" if trained.answers_with_pictures else None)
    room.check_output(trained.task, found.out, found.format)
    answers = room.predict_files(trained, found.inputs, found.batch_size, unreadable, found.flips, found.tiles)
    if out and trained.answers_with_pictures:
        from olhar.pictures import write_results

        answers = write_results(answers, out)
    elif out:
        from olhar.annotate import write_boxes

        answers = write_boxes(answers, out, found.format or "coco")
    if found.pictures:
        from olhar.pictures import write_pictures

        answers = write_pictures(answers, found.pictures, found.top or 3)
    if found.csv:
        answers = room.write_csv(answers, found.csv)
    if found.json:
        terminal.print_json_list(room.document(answer, found.top) for _, answer in answers)
    else:
        terminal.show_predictions(room.table_row(answer, found.top) for _, answer in answers)
    if out:
        kind = {"segment": "masks", "detect": "boxes"}.get(trained.task.name, "images")
        print(f"The {kind} are in {out}.", file=sys.stderr)
    for name, reason in unreadable.items():
        print(reason if name in reason else f"{name}: {reason}", file=sys.stderr)
    return 1 if unreadable else 0


def search(found: Namespace) -> int:
    """Find the images of a folder that fit a text or another image, by a run that learnt from captions."""
    run_must_exist(found.run)
    from olhar import run, terminal

    trained = run.load(found.run)
    with terminal.share_done("reading images") as tell:
        answer = trained.search(found.query, found.folder, found.top, found.words, tell)
    for name, reason in answer.unreadable.items():
        print(reason if name in reason else f"{name}: {reason}", file=sys.stderr)
    if found.csv:
        terminal.write_hits(answer, found.csv)
    if found.json:
        terminal.print_json(answer.document())
        return 0
    from olhar import gallery

    page = found.html or trained.path / "search" / f"{gallery.file_name(found.query)}.html"
    terminal.show_search(answer, gallery.write_gallery(answer, page, __version__, trained.path.name))
    return 0


def generate(found: Namespace) -> int:
    """Draw new images with a trained model: from texts, classes or nothing, from an image and a mask."""
    along = shipped(found.run)
    published = along is None and is_published(found.run, found.download)
    if along is None and not published:
        hub = "/" in found.run
        run_must_exist(found.run, f" ({'what is on the Hub comes with --download' if hub else 'shapes comes along'})")
    from olhar import generate as room
    from olhar import run, sheet, terminal

    names = ("n", "seed", "steps", "guidance", "sampler", "init_image", "mask", "strength", "negative", "size", "strip")
    wishes = {name: value for name in names if (value := getattr(found, name)) is not None}
    texts = (*found.texts, *(found.classes or ()))
    if published:
        from olhar import stable

        trained = stable.load(found.run, precision=found.precision or "auto", download=found.download)
    else:
        trained = run.load(along or found.run)
        if found.precision:
            raise UserError("A run draws in the number format that was measured in training: leave --precision out.")
    batch_size = found.batch_size or (1 if published else 16)
    files, beyond = [], []
    wish = room.Wish(texts=texts or (None,), **wishes)
    if sentence := room.cut(trained, wish):
        print(f"! {sentence}", file=sys.stderr)
    columns = found.n if len(texts) > 1 and found.n else None  # a row for each text
    own = Path() if along or published else trained.path
    with nullcontext(found.out) if found.out else sheet.new_folder(own) as out:
        try:
            with terminal.share_done("drawing") as on_step:
                drawn = room.generate(trained, wish, batch_size, on_step)
                for path, one in sheet.save(drawn, out, columns):
                    files.append({"file": str(path), **one.settings})
                    beyond.append(one.beyond)
        except KeyboardInterrupt:
            kept = f"{len(files)} finished images are in {out}" if files else "no image was finished yet"
            print(f"\nInterrupted: {kept}.", file=sys.stderr)
            return 130
    if files and (sentence := room.burnt(files[0]["guidance"], beyond)):
        print(f"! {sentence}", file=sys.stderr)
    if found.json:
        terminal.print_json(files)
    else:
        print(out / "grid.png" if len(files) > 1 else files[0]["file"])
    return 0


def report(found: Namespace) -> int:
    """Write the report again: one HTML file that opens without a network."""
    run_must_exist(found.run)
    from olhar import run

    print(run.load(found.run).report())
    return 0


def inspect(found: Namespace) -> int:
    """Look inside a trained model: without INSTRUMENT, the list of those that fit it."""
    run_must_exist(found.run)
    from olhar import run, terminal

    trained = run.load(found.run)
    if found.instrument is None:
        return terminal.show_instruments(trained.instruments(), found.run, found.json)
    if found.beside:
        run_must_exist(found.beside)
    with terminal.share_done(found.instrument) as tell:
        look = trained.inspect(found.instrument, found.image, found.layer, found.text, found.beside, tell)
    files = look.save(found.out or trained.path / "inspection", found.dark)
    return terminal.show_look(look, files, found.json)


def explain(found: Namespace) -> int:
    """Take an expression apart by the chain rule: its operations, their derivatives, and the way back."""
    from olhar import terminal

    if found.expression == "diffusion":
        return explain_diffusion(found)
    from olhar.theory.expression import parse

    parse(found.expression)  # a mistake is told before anything large is imported
    from olhar.theory import chain_rule

    at = {name: value for one in found.at or [] for name, value in one.items()}
    chain = chain_rule.explain(found.expression, at, found.by or [])
    if found.out:
        from olhar.inspection.figure import LIGHT, save
        from olhar.theory.draw_chain import chain as draw

        save(draw(chain), found.out, LIGHT)
    return terminal.show_chain(chain, found.out, found.json)


def explain_diffusion(found: Namespace) -> int:
    """Points of a known mixture on their way to noise and back (Figure 5.2)."""
    if found.at or found.by:
        raise UserError("--at and --by are for expressions: leave them out for diffusion.")
    from olhar import terminal
    from olhar.inspection.figure import LIGHT, save
    from olhar.inspection.particles import PARTICLES, draw, particles
    from olhar.look import Look

    values = particles()
    files = [save(draw(values), found.out, LIGHT)] if found.out else []
    return terminal.show_look(Look("diffusion", PARTICLES, values), files, found.json)


def tour(found: Namespace) -> int:
    """Go through every system of the course on embedded data, and show all of it on one page."""
    started = time.monotonic()
    if found.quick and found.budget:
        raise UserError("--quick is a tour of 90 seconds: give it, or --budget.")
    from olhar.tour import guide, screen

    toured = guide.tour(found.run, found.only, found.budget, found.quick, found.fresh, started)
    return screen.farewell(toured, found.check)


def models(found: Namespace) -> int:
    """List the architectures that `--model` takes."""
    from olhar import terminal
    from olhar.models import describe

    return terminal.show_models(describe(), found.json)


class Verb(NamedTuple):
    """One command: what it does, what follows it, and its options."""

    act: Callable[[Namespace], int]
    usage: str
    options: Callable[[Usage], None]


VERBS = {
    "check": Verb(check, "DATA", arguments.check_options),
    "train": Verb(train, "DATA", arguments.train_options),
    "adopt": Verb(adopt, "WEIGHTS", arguments.adopt_options),
    "resume": Verb(resume, "RUN", arguments.resume_options),
    "evaluate": Verb(evaluate, "RUN DATA", arguments.evaluate_options),
    "predict": Verb(predict, "RUN IMAGE...", arguments.predict_options),
    "search": Verb(search, "RUN QUERY [FOLDER]", arguments.search_options),
    "generate": Verb(generate, "RUN [TEXT...]", arguments.generate_options),
    "report": Verb(report, "RUN", arguments.report_options),
    "inspect": Verb(inspect, "RUN [INSTRUMENT]", arguments.inspect_options),
    "explain": Verb(explain, "EXPRESSION", arguments.explain_options),
    "tour": Verb(tour, "", arguments.tour_options),
    "models": Verb(models, "", arguments.models_options),
}


def parser(verb: str) -> Usage:
    """The parser of one verb: made when it is typed, so that no other's options cost time."""
    made = Usage(verb, VERBS[verb].usage, VERBS[verb].act.__doc__)
    VERBS[verb].options(made)
    return made


def overview() -> str:
    """The text of `olhar --help`."""
    lines = [f"  {name:10} {verb.act.__doc__}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: olhar COMMAND ...",
            "",
            "Train vision models on your own images, and see what they learnt.",
            "",
            "commands:",
            *lines,
            "",
            "options:",
            "  -h, --help       this text; `olhar COMMAND --help` shows the options of a command",
            "  --version        the version",
            "",
            "Exit status: 0, or 1 (the data or the run is at fault: one sentence says what to do), or 2 (usage).",
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    # Threads that wait for each other spin. Beside a busy browser spinning for long starves the thread that is waited
    # for; a short spin is as fast on a quiet machine. Read by torch's threads when torch is first imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--"]:  # of `torchrun -m olhar -- train ...`: else torchrun takes --run for an option of its own
        del words[0]
    if not words or words[0] in ("-h", "--help", "help", "--version"):
        print(FIRST_SCREEN if not words else __version__ if words[0] == "--version" else overview(), end="")
        return 0
    if words[0] not in VERBS:
        print(f"There is no command '{words[0]}': {nearest(words[0], VERBS)}", file=sys.stderr)
        print("`olhar --help` shows every command.", file=sys.stderr)
        return 2
    try:
        return VERBS[words[0]].act(parser(words[0]).parse_args(words[1:]))
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(interrupted(interrupt, words), file=sys.stderr)
        return 130
    except BrokenPipeError:  # `olhar predict ... | head`: the reader has seen enough
        sys.stderr.close()
        return 0
    except SystemExit as stop:  # argparse: help (0) or usage (2)
        return int(stop.code or 0)


def interrupted(interrupt: KeyboardInterrupt, words: Sequence[str]) -> str:
    """What is saved and how to go on; the training verbs raise KeyboardInterrupt(run folder)."""
    run = next(iter(interrupt.args), None)
    if run is None:
        return "\nInterrupted."
    if not any(path for where in ("", "autoencoder/") for path in Path(run).glob(f"{where}checkpoint/*")):
        return f"\nInterrupted before the first checkpoint: {run} can be deleted."
    return f"\nInterrupted: everything so far is saved in {run}; go on with `olhar resume {run}`."


if __name__ == "__main__":
    sys.exit(main())
