"""Algorithm 1 against a loop written out by hand, and everything that can interrupt it."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from olhar.data.sample import Batch
from olhar.errors import UserError
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.tasks import Task
from olhar.tasks.classify import Classify
from olhar.train import checkpoint
from olhar.train.device import seed_everything
from olhar.train.evaluate import evaluate
from olhar.train.log import Log, Voice
from olhar.train.loop import Training
from olhar.train.optim import Ema, Length, Schedule, make_optimizer
from olhar.train.position import Position

N, K, SIZE = 24, 3, 6


class Fixed:
    """The same images every epoch, in order, `size` at a time."""

    def __init__(self, size: int):
        generator = torch.Generator().manual_seed(5)
        self.image = torch.randint(0, 256, (N, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
        self.label = self.image.float().mean((2, 3)).argmax(1)  # the strongest channel: learnable
        self.size, self.wait_seconds = size, 0.0

    def __len__(self) -> int:
        return N // self.size

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        for i in range(skip * self.size, N, self.size):
            part = slice(i, i + self.size)
            ids = [f"{j}.png" for j in range(i, i + self.size)]
            yield {"id": ids, "image": self.image[part], "label": self.label[part]}


def new_task(name: str = "linear", dropout: bool = False) -> Classify:
    torch.manual_seed(1)
    model: nn.Module = Classifier(encoder(name, 3, (SIZE, SIZE)), K)
    if dropout:
        model = nn.Sequential(nn.Dropout(0.3), model)
    return Classify(model, mean=(0.5,) * 3, std=(0.25,) * 3, class_names=("r", "g", "b"))


def training(tmp_path: Path, task: Task, batches: Fixed, steps: int, **changes: object) -> Training:
    accelerator = Accelerator(cpu=True)
    optimizer = make_optimizer(task, "sgd", lr=0.1, weight_decay=1e-3, momentum=0.9)
    position, ema = Position(), changes.pop("ema", None)

    def save() -> None:
        rng = checkpoint.random_state()[None]
        checkpoint.save(tmp_path / "checkpoint", task, optimizer, ema, position, rng)  # type: ignore[arg-type]

    settings: dict = {
        "task": task,
        "optimizer": optimizer,
        "schedule": Schedule("cosine", 0.1, 0.1),
        "length": Length(steps=steps),
        "batches": batches,
        "accelerator": accelerator,
        "log": Log(tmp_path / "metrics.jsonl", Voice(quiet=True)),
        "position": position,
        "evaluate": lambda: evaluate(task, batches.epoch(0), accelerator),
        "keep_best": lambda: None,
        "checkpoint": save,
        "ema": ema,
        "evaluations": 2,
    }
    return Training(**(settings | changes))


def by_hand(task: Classify, batches: Fixed, steps: int, accumulate: int = 1) -> None:
    """The same in twelve lines of torch."""
    decayed = [p for p in task.parameters() if p.ndim > 1]
    free = [p for p in task.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 1e-3}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    schedule, step = Schedule("cosine", 0.1, 0.1), 0
    while step < steps:
        for i, batch in enumerate(batches.epoch(0)):
            loss = nn.functional.cross_entropy(task.model(batch["image"] / 127.5 / 0.5 - 2.0), batch["label"])
            (loss / accumulate).backward()
            if (i + 1) % accumulate == 0:
                for group in optimizer.param_groups:
                    group["lr"] = schedule(step / steps)
                optimizer.step()
                optimizer.zero_grad()
                step += 1


def same(a: nn.Module, b: nn.Module, **tolerance: float) -> None:
    for (name, ours), theirs in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.notes("Algorithm 1")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loop_is_gradient_descent(tmp_path: Path, accumulate: int):
    ours, theirs, batches = new_task(), new_task(), Fixed(6)
    end = training(tmp_path, ours, batches, steps=8, accumulate=accumulate).run()
    by_hand(theirs, batches, steps=8, accumulate=accumulate)
    same(ours, theirs, rtol=1e-4, atol=1e-6)
    assert (end.step, end.evaluations) == (8, 2)


def test_accumulating_two_batches_is_one_of_twice_the_size(tmp_path: Path):
    small, large = new_task(), new_task()
    training(tmp_path, small, Fixed(6), steps=6, accumulate=2).run()
    training(tmp_path, large, Fixed(12), steps=6).run()
    same(small, large, rtol=1e-4, atol=1e-6)


def test_it_learns(tmp_path: Path):
    task, batches = new_task("mlp"), Fixed(8)
    training(tmp_path, task, batches, steps=60, clip=0.5).run()
    assert evaluate(task, batches.epoch(0), Accelerator(cpu=True))["accuracy"] > 0.9


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_stopping_and_resuming_changes_nothing(tmp_path: Path, stop: int):
    """Anywhere in an epoch, with dropout, momentum and an average of the weights: bit for bit."""
    ends = []
    for name, stops in (("straight", [None]), ("resumed", [stop, None])):
        for stop_at in stops:
            task = new_task("mlp", dropout=True)
            ema = Ema(task, 0.9)
            run = training(tmp_path / name, task, Fixed(6), steps=10, ema=ema, stop_at=stop_at)
            (tmp_path / name).mkdir(exist_ok=True)
            seed_everything(3)
            if found := checkpoint.newest(tmp_path / name / "checkpoint"):
                position = checkpoint.load(found, task, run.optimizer, ema)
                run.position.__dict__.update(position.__dict__)
            run.run()
            run.checkpoint()
        found = checkpoint.newest(tmp_path / name / "checkpoint")
        assert found is not None
        end = load_file(found / "tensors.safetensors")
        # of the generators only torch's is compared here: the type checks of the tests themselves draw from Python's
        end["rng"] = end["rng"][:, : len(torch.get_rng_state())]
        ends.append(end)
    straight, resumed = ends
    assert straight.keys() == resumed.keys()
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []


def test_a_loss_that_is_not_finite_stops_with_the_files(tmp_path: Path):
    task, batches = new_task(), Fixed(6)
    forward: Callable = task.forward

    def broken(batch: Batch) -> dict:
        parts = forward(batch)
        return {"loss": parts["loss"] * math.nan} if "6.png" in batch["id"] else parts

    task.forward = broken  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"not finite at step 2 .*6\.png"):
        training(tmp_path, task, batches, steps=8).run()


def test_patience_ends_it_early(tmp_path: Path):
    values = iter([0.5, 0.6, 0.55, 0.52, 0.51, 0.5, 0.5, 0.5])
    run = training(tmp_path, new_task(), Fixed(6), steps=80, evaluations=8, patience=3)
    kept: list[int] = []
    run.evaluate = lambda: {"loss": 1.0, "accuracy": next(values)}
    run.keep_best = lambda: kept.append(run.position.step)
    end = run.run()
    assert (end.best, end.best_step, end.step, kept) == (0.6, 20, 50, [10, 20])


def test_ctrl_c_saves_first(tmp_path: Path):
    batches = Fixed(6)
    run = training(tmp_path, new_task(), batches, steps=1000)
    plain = batches.epoch

    def press(epoch: int, skip: int = 0) -> Iterator[Batch]:
        for i, batch in enumerate(plain(epoch, skip)):
            if (epoch, i) == (2, 1):
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    batches.epoch = press  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.run()
    found = checkpoint.newest(tmp_path / "checkpoint")
    assert found is not None
    assert found.name == "step-00000010"  # the step during which it was pressed is finished


def test_a_run_by_the_clock_ends_on_time(tmp_path: Path):
    end = training(tmp_path, new_task(), Fixed(6), steps=0, length=Length(seconds=0.7), evaluations=3).run()
    assert 0.7 <= end.seconds < 1.5
    assert end.evaluations == 3
