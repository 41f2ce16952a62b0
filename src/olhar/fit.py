"""One run from settled settings to an evaluated model: what `train` and `resume` have in common.

data + config -> task, loaders, optimizer -> Algorithm 1 -> best weights -> evaluation -> results
"""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, broadcast_object_list, gather_object
from safetensors.torch import load_file
from torch import Tensor

from olhar import build, growth, latents
from olhar.config import Config
from olhar.data.sample import Collection, first_of, to_device
from olhar.errors import UserError
from olhar.folder import RunFolder
from olhar.ops.gather import alone
from olhar.plan import Decision, ema_decay
from olhar.tasks.diffuse import Diffuse
from olhar.train import checkpoint
from olhar.train.device import Precision, choose_precision, keep_memory, seed_everything, to_format
from olhar.train.evaluate import evaluate
from olhar.train.log import Log, Voice, clock
from olhar.train.loop import Training
from olhar.train.optim import Ema, Length, Schedule
from olhar.train.position import Position

Measured = TypeVar("Measured")
EVALUATION_SHARE = 0.06  # of a budget's training time that validation may take


class TooShortError(UserError):
    """A budget that leaves no time to train."""


class Fit:
    """One process's part in one run.

    Args:
        folder: the run's; `facts` is its run.json so far, with the task's settings and the model's. What is
            measured here (precision, length) is added to them; a resumed run finds it there and keeps it.
        config: with nothing left open but the average of the weights.
        deadline: `time.monotonic()` by which the model must be evaluated, where there is a budget.
    """

    def __init__(
        self,
        folder: RunFolder,
        facts: dict[str, Any],
        collection: Collection,
        config: Config,
        feeder: build.Feeder,
        device: torch.device,
        voice: Voice,
        *,
        deadline: float | None = None,
    ):
        self.folder, self.facts, self.config, self.device = folder, facts, config, device
        self.main, self.world, self.deadline = feeder.rank == 0, feeder.world, deadline
        self.log = Log(folder.metrics, voice, writes=self.main, tensorboard=config.train.tensorboard)
        keep_memory()
        seed_everything(config.train.seed)
        latents.complete(facts, folder)
        self.task = build.make_task(facts["task"]["name"], facts["model"], facts["task"]["settings"]).to(device)
        if config.model.weights:
            voice.say(build.start_from(self.task, config))
        self.sizes = {split: len(collection.split(split)) for split in ("train", "val", "test")}
        if not self.sizes["val"]:
            raise UserError("There is no validation split to choose the best weights by: give --data.val-fraction 0.1.")
        build.settle_targets(self.task, feeder, collection)
        feeder = latents.encoding(self.task, feeder, folder)
        self.batches = feeder.train(collection.split("train"))
        batch_size = build.evaluation_batch(facts, self.batches.batch_size)
        self.loaders = {
            split: feeder.plain(collection.split(split), batch_size, keep=split == "val")
            for split in ("val", "test")
            if self.sizes[split]
        }
        self.tokenizer = feeder.tokenizer
        self.growth = None
        if isinstance(self.task, Diffuse):
            asked = growth.wishes(collection.split("val"), self.task.class_names)
            self.growth = growth.Growth(self, folder.samples, asked)
        for sentence in latents.settle(self.task, facts, self.batches, self.loaders["val"], voice.say):
            self.log.event("scale", sentence, step=0)
        self.precision = self.measure_precision()
        self.accelerator = make_accelerator(device, self.precision.choice)
        self.optimizer = build.make_task_optimizer(self.task, config)
        self.length, self.evaluations = self.measure_length()
        self.ema = Ema(self.task, self.settle_ema()) if config.optim.ema != 0 else None
        self.training = self.make_training()

    @property
    def position(self) -> Position:
        """Where the training is."""
        return self.training.position

    def measure_precision(self) -> Precision:
        """The fastest way to compute on this machine."""
        if known := self.facts.get("precision"):
            to_format(self.task, known["memory_format"])
            return Precision(known["choice"], known["memory_format"], tuple(known["table"]))
        train = self.config.train
        with closing(self.batches.epoch(0)) as batches:
            batch = to_device(next(batches), self.device)
        with alone():  # each process takes its time
            chosen = choose_precision(
                lambda n: self.task(first_of(batch, n))["loss"],
                self.task,
                self.device,
                len(batch["id"]),
                train.precision,
                train.memory_format,
            )
        chosen = self.agreed(chosen)
        to_format(self.task, chosen.memory_format)
        self.facts["precision"] = asdict(chosen)
        return chosen

    def agreed(self, value: Measured) -> Measured:
        """What the first process measured, on all of them: processes that differ would wait for each other for ever."""
        return broadcast_object_list([value])[0] if self.world > 1 else value

    def measure_length(self) -> tuple[Length, int]:
        """How many steps, or how many seconds, and how many evaluations on the way; of a run that learns to draw also
        when it draws."""
        if known := self.facts.get("length"):
            if self.growth:
                drawing = known["drawing"]  # from JSON, which has lists for tuples
                self.growth.moments = growth.Moments(tuple(drawing["after"]), drawing["images"])
            return Length(steps=known["steps"], seconds=known["seconds"]), known["evaluations"]
        train = self.config.train
        evaluations = min(train.evaluations, train.epochs or train.evaluations)
        steps = train.epochs and train.epochs * math.ceil(len(self.batches) / self.config.optim.accumulate)
        if self.deadline is None:
            length, drawing = Length(steps=steps), self.growth and self.growth.plan(evaluations)
        else:
            image = self.seconds_to_evaluate()
            after = 1.25 * image * ((2 + self.task.tuned) * self.sizes["val"] + self.sizes["test"])
            seconds = self.deadline - time.monotonic() - after
            if seconds < 2:
                raise TooShortError(
                    f"A budget of {train.budget} is too short here: starting, evaluating {self.sizes['val']:,} + "
                    f"{self.sizes['test']:,} images and reporting leave no time to train. Give twice as much."
                )
            affordable = EVALUATION_SHARE * seconds / (image * self.sizes["val"])
            evaluations = max(1, min(evaluations, int(affordable)))
            drawing = self.growth and self.growth.plan(evaluations, image, seconds)
            if self.growth and drawing:
                seconds -= 1.25 * image * self.growth.passes_after(drawing)
            length = Length(steps=steps, seconds=seconds)
        length, evaluations, drawing = self.agreed((length, evaluations, drawing))
        self.facts["length"] = asdict(length) | {"evaluations": evaluations}
        if self.growth and drawing:
            self.growth.moments = drawing
            self.facts["length"]["drawing"] = asdict(drawing)
        return length, evaluations

    @torch.inference_mode()
    def seconds_to_evaluate(self) -> float:
        """An image's share of an evaluation, the better of two tries."""
        with closing(self.loaders["val"].epoch(0)) as batches:
            batch = to_device(next(batches), self.device)
        self.task.eval()
        tries = []
        for _ in range(2):
            start = time.perf_counter()
            with self.accelerator.autocast():
                self.task.predict(batch)
            tries.append((time.perf_counter() - start) / len(batch["id"]))
        self.task.train()
        return min(tries)

    def settle_ema(self) -> float:
        """The decay that was asked for, or one that fits the number of steps."""
        if self.config.optim.ema is None:
            in_time = (self.length.seconds or math.inf) / (self.precision.seconds or 0.1)
            decay, reason = ema_decay(round(min(self.length.steps or math.inf, in_time)))
            self.config = self.config.with_changes({"optim.ema": decay})
            self.facts.setdefault("plan", []).append(asdict(Decision("optim.ema", decay, reason)))
        return self.config.optim.ema or 0.0

    def describe(self) -> str:
        """How it will be computed, and for how long, in one sentence."""
        fastest = ", ".join(f"{r['precision']} {r['memory_format']} {r['ms']:g} ms" for r in self.precision.table)
        how = f"{self.precision.choice}, {self.precision.memory_format}" + (
            f" (a batch takes: {fastest})" if fastest else ""
        )
        steps = [f"{self.length.steps:,} steps"] if self.length.steps else []
        seconds = [f"{clock(self.length.seconds)} of training"] if self.length.seconds else []
        long = ", at most ".join([*steps, *seconds])
        return f"{long}, computed in {how}. {self.batches.cache.describe()}"

    def load_checkpoint(self) -> bool:
        """Go back to where the run was; False where no checkpoint was written yet."""
        found = checkpoint.newest(self.folder.checkpoints)
        if found is not None:
            rank = self.accelerator.process_index
            self.training.position = checkpoint.load(found, self.task, self.optimizer, self.ema, rank)
        if self.main:
            self.log.rewind(self.position.log_bytes)
        return found is not None

    def make_training(self) -> Training:
        """The loop, at its beginning."""
        optim, train = self.config.optim, self.config.train
        assert optim.lr is not None
        return Training(
            task=self.task,
            optimizer=self.optimizer,
            schedule=Schedule(optim.schedule, optim.lr, optim.warmup),
            length=self.length,
            batches=self.batches,
            accelerator=self.accelerator,
            log=self.log,
            position=Position(),
            evaluate=self.validate,
            keep_best=self.keep_best,
            checkpoint=self.save_checkpoint,
            ema=self.ema,
            clip=optim.clip,
            accumulate=optim.accumulate,
            evaluations=self.evaluations,
            patience=train.patience,
            checkpoint_seconds=train.checkpoint_seconds,
        )

    def run(self, stop_at: int | None = None) -> None:
        """Train to the end, or to a step. Raises KeyboardInterrupt after saving where Ctrl-C was pressed."""
        self.training.stop_at = stop_at
        if self.position.step == 0:
            self.keep_on_path()
        self.training.run()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While this holds, the task has the averaged weights."""
        if self.ema:
            self.ema.swap()
        yield
        if self.ema:
            self.ema.swap()

    def validate(self) -> dict[str, float]:
        if self.accelerator.num_processes > 1:
            # running statistics follow each process's own images; the first one's are what is saved
            for tensor in [*self.task.buffers(), *(self.ema.average if self.ema else [])]:
                broadcast(tensor)  # in place
        with self.averaged():
            self.keep_on_path()
            found = evaluate(self.task, self.loaders["val"].epoch(0), self.accelerator)
            self.draw()
        return found

    def draw(self) -> None:
        """Where it is a moment to: what the weights are able to draw."""
        position, number = self.position, math.floor(self.training.progress * self.evaluations + 1e-9)
        if self.growth is not None and self.main and self.growth.due(position.evaluations, number):
            passes = position.passes(len(self.batches))
            with self.telling():
                self.growth.moment(number, step=position.step, epoch=passes, seconds=position.seconds)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """A picture that fails is told and is no reason to lose a run."""
        try:
            yield
        except UserError as mistake:
            self.log.event("drawing", str(mistake), self.position.step)

    def computing(self) -> AbstractContextManager[Any]:
        """While this holds, heavy operations use the number format of the training."""
        return self.accelerator.autocast()

    def keep_on_path(self) -> None:
        """The weights of this moment in a file of their own, where that was asked for."""
        if self.main and self.config.train.keep_path:
            self.folder.way.mkdir(exist_ok=True)
            weights = dict(self.task.named_parameters())
            checkpoint.save_tensors(weights, self.folder.way / f"step-{self.position.step:08d}.safetensors")

    def keep_best(self) -> None:
        if self.main:
            with self.averaged():
                checkpoint.save_tensors(self.task.state_dict(), self.folder.weights)

    def save_checkpoint(self) -> None:
        states = self.accelerator.gather(checkpoint.random_state()[None].to(self.device))
        if self.main:
            assert isinstance(states, Tensor)
            checkpoint.save(self.folder.checkpoints, self.task, self.optimizer, self.ema, self.position, states.cpu())
        self.accelerator.wait_for_everyone()

    def finish(self) -> dict[str, Any]:
        """Evaluate the best weights on validation and test, image by image; returns the results."""
        self.save_checkpoint()
        self.task.load_state_dict(load_file(self.folder.weights))
        result: dict[str, Any] = {
            "best_step": self.position.best_step,
            "best_epoch": self.position.best_epoch,
            "seconds": self.position.seconds,
            "test": None,
        }
        for split, loader in self.loaders.items():
            rows: list[dict[str, Any]] = []
            result[split] = evaluate(self.task, loader.epoch(0), self.accelerator, rows)
            if split == "val" and self.task.tuned:
                self.task.tune(result[split])
                self.facts["task"] = self.facts["task"] | {"settings": self.task.settings()}
                rows.clear()
                evaluate(self.task, loader.epoch(0), self.accelerator, rows)
            if self.accelerator.num_processes > 1:
                rows = gather_object(rows)
            if self.main:
                self.folder.write_rows(split, rows)
        if self.growth and self.main:
            with self.telling():
                self.growth.end()
        return result


def make_accelerator(device: torch.device, precision: str) -> Accelerator:
    """Accelerate for this run. Its settings are kept for the life of the process; a second run gets its own."""
    AcceleratorState._reset_state()
    mixed = "no" if precision == "fp32" else precision
    return Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
