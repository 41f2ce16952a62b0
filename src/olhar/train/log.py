"""What a run says while it trains: one live line for a person, plain lines for a pipe, JSON lines for programs.

The only file below the command line that prints.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch import Tensor

from olhar.errors import UserError
from olhar.train.sentinels import not_finite


def clock(seconds: float) -> str:
    """Seconds as a person says them: 42s, 3:05, 1:02:03."""
    total = max(0, round(seconds))
    hours, minutes, rest = total // 3600, total % 3600 // 60, total % 60
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"


class Window:
    """The losses since the last line of the log, left on the device: reading each would make it wait."""

    def __init__(self) -> None:
        self.steps: list[tuple[dict[str, Tensor], list[str]]] = []

    def add(self, parts: dict[str, Tensor], ids: list[str]) -> None:
        self.steps.append(({name: part.detach() for name, part in parts.items()}, ids))

    def close(self, step: int) -> tuple[dict[str, float], int]:
        """The mean of each part and the number of images; begins anew.

        Raises UserError, with the batch's files, where a loss is not finite.
        """
        names, count = self.steps[0][0], len(self.steps)
        losses = {name: torch.stack([parts[name] for parts, _ in self.steps]).float().cpu() for name in names}
        wrong = (~losses["loss"].isfinite()).nonzero().flatten().tolist()
        if wrong:
            raise UserError(not_finite(max(step - count + wrong[0] + 1, 1), self.steps[wrong[0]][1]))
        images = sum(len(ids) for _, ids in self.steps)
        self.steps = []
        return {name: float(values.mean()) for name, values in losses.items()}, images


class Voice:
    """Speaks to the person on standard error: standard output belongs to results.

    `say` is for what stays, `progress` for what changes: while a training holds it (`with voice:`) a live line in a
    terminal, and elsewhere a plain one every ten seconds.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.live: Progress | None = None
        self.bar: TaskID | None = None
        self.printed = 0.0  # when the last plain line was printed

    def say(self, text: str, style: str = "") -> None:
        """One line, above the live line where there is one."""
        if not self.quiet:
            self.console.print(text, style=style, markup=False)

    def progress(self, share: float, text: str, left: float) -> None:
        """The share that is done, what to say of it, and the seconds left."""
        if self.live and self.bar is not None:
            self.live.update(self.bar, completed=share, text=text, left=f"{clock(left)} left")
        elif time.monotonic() - self.printed > 10:
            self.printed = time.monotonic()
            self.say(f"{share:4.0%}  {text}  {clock(left)} left")

    def __enter__(self) -> "Voice":
        if self.console.is_terminal and not self.quiet:
            columns = (
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                TextColumn("[dim]{task.fields[left]}"),
            )
            live = Progress(*columns, console=self.console, transient=True, refresh_per_second=8)
            live.start()
            self.live, self.bar = live, live.add_task("train", total=1.0, text="starting", left="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
            self.live = None


class Log:
    """Args:
    path: metrics.jsonl; every line of the log is appended there, always.
    voice: speaks to the person.
    writes: False in all but one of several processes.
    tensorboard: also write event files beside it (needs the extra).
    """

    def __init__(self, path: Path, voice: Voice, *, writes: bool = True, tensorboard: bool = False):
        self.path = path
        self.voice = voice
        self.writes = writes
        self.metric = ""  # the last evaluation, for the live line
        self.board = make_board(path.parent) if tensorboard and writes else None

    def rewind(self, length: int) -> None:
        """Forget the lines after `length` bytes: their steps will be done again."""
        if self.path.exists() and self.path.stat().st_size > length:
            with self.path.open("r+b") as file:
                file.truncate(length)

    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def write(self, kind: str, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        if not self.writes:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **values}) + "\n")
        if self.board and kind != "event":
            for name, value in values.items():
                if isinstance(value, float):
                    self.board.add_scalar(f"{kind}/{name}", value, values["step"])

    def event(self, name: str, message: str, step: int) -> None:
        """Something worth a sentence, told and kept."""
        self.write("event", name=name, message=message, step=step)
        self.voice.say(f"! {message}", style="yellow")

    def train(self, progress: float, left: float, **values: Any) -> None:
        """A line of the training log."""
        self.write("train", **values)
        speed, loss, epoch = values["images_per_second"], values["loss"], values["epoch"]
        text = f"epoch {epoch:6.2f}  loss {loss:.4f}  {self.metric}{speed:,.0f} images/s"
        self.voice.progress(progress, text, left)

    def validation(self, watch: str, best: bool, **values: Any) -> None:
        """The result of an evaluation, on a line that stays."""
        self.write("val", **values)
        self.metric = f"{watch.replace('_', ' ')} {values[watch]:.4f}  "
        text = f"epoch {values['epoch']:6.2f}  validation loss {values['loss']:.4f}  {self.metric}"
        self.voice.say(text + ("best so far" if best else ""))

    def __enter__(self) -> "Log":
        self.voice.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.voice.__exit__()
        if self.board:
            self.board.flush()


def make_board(folder: Path) -> Any:
    """TensorBoard's writer, or an error that says how to get it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError('TensorBoard is not installed: install it with pip install "olhar[tensorboard]".') from error
    return SummaryWriter(str(folder / "tensorboard"))
