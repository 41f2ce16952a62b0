"""Algorithm 1 of the notes: forward, loss, gradient, step, until the end. The one loop, for every task.

It knows a Task, an optimizer and batches, and nothing inside them. The notes take all data a step; it takes a batch.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count

import torch
from accelerate import Accelerator

from olhar.data.sample import Batch, Batches, to_device
from olhar.tasks.task import Task
from olhar.train.device import agree, backward
from olhar.train.interrupt import interruptible
from olhar.train.log import Log, Window
from olhar.train.optim import Ema, Length, Schedule
from olhar.train.position import Position
from olhar.train.sentinels import Sentinels


@dataclass(kw_only=True)
class Training:
    """Everything the loop holds. The three functions are the run's: they read and write its folder."""

    task: Task
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    length: Length
    batches: Batches
    accelerator: Accelerator
    log: Log
    position: Position
    evaluate: Callable[[], dict[str, float]]  # on the validation split, with the averaged weights
    keep_best: Callable[[], None]
    checkpoint: Callable[[], None]
    ema: Ema | None = None
    clip: float | None = None
    accumulate: int = 1
    evaluations: int = 20
    patience: int | None = None
    checkpoint_seconds: float = 30.0
    stop_at: int | None = None  # leave after this many steps: for verifying a resume

    def run(self) -> Position:
        """Train to the end; returns where that is. Ctrl-C saves a checkpoint, then raises KeyboardInterrupt."""
        self.model, scaled = self.accelerator.prepare(self.task, self.optimizer)
        self.optimizer = scaled if self.accelerator.scaler else self.optimizer
        self.sentinels = Sentinels(self.task.chance, lambda name, text: self.log.event(name, text, self.position.step))
        self.window, self.norm, self.train_loss = Window(), None, math.inf
        self.began = time.perf_counter() - self.position.seconds
        self.since_log = self.since_checkpoint = time.perf_counter()
        self.progress = self.length.progress(self.position)
        self.task.train()
        with self.log, interruptible() as interrupted:
            for epoch in count(self.position.epoch):
                self.position.epoch = epoch
                for batch in self.batches.epoch(epoch, skip=self.position.batch):
                    if self.step(batch):
                        self.tell(interrupted.is_set())
                        if self.finished():
                            return self.position
                self.position.batch = 0
        raise AssertionError("epochs never end")

    def step(self, batch: Batch) -> bool:
        """Steps 1 to 5 of Algorithm 1 on one batch. False while gradients are still being accumulated."""
        position = self.position
        self.lr = self.schedule.apply(self.optimizer, self.progress)
        last = (position.batch + 1) % self.accumulate == 0 or position.batch + 1 == len(self.batches)
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            parts = self.model(to_device(batch, self.accelerator.device))
            backward(self.accelerator, parts["loss"], self.accumulate)
        self.window.add(parts, batch["id"])
        position.batch += 1
        if last:
            if self.clip:
                self.norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
            self.task.zero_grad()
            if self.ema:
                self.ema.update()
            position.step += 1
        return last

    def tell(self, interrupted: bool) -> None:
        """What follows a step when its time has come: a line of the log, an evaluation, a checkpoint."""
        position, now = self.position, time.perf_counter()
        position.seconds = now - self.began
        save = interrupted or now - self.since_checkpoint > self.checkpoint_seconds
        self.progress, *flags = agree(self.accelerator, self.length.progress(position), save, interrupted)
        save, interrupted = (bool(flag) for flag in flags)
        evaluate = math.floor(self.progress * self.evaluations + 1e-9) > position.evaluations
        # a line a second at first; in long runs fewer, or metrics.jsonl would grow to millions of lines
        if now - self.since_log > max(1.0, position.seconds / 300) or evaluate or save:
            self.line(now - self.since_log)
        if evaluate:
            self.validate()
        if save and not self.finished():
            position.log_bytes = self.log.length()
            self.checkpoint()
            self.since_checkpoint = time.perf_counter()
        if interrupted:
            raise KeyboardInterrupt

    def finished(self) -> bool:
        stale = self.patience is not None and self.position.stale >= self.patience
        return self.progress >= 1.0 or stale or self.position.step == self.stop_at

    def line(self, seconds: float) -> None:
        """One line of the log: the means since the last one. A loss that is not finite stops the training here."""
        position, done = self.position, max(self.progress, 1e-9)
        means, images = self.window.close(position.step)
        self.train_loss, wait = means["loss"], self.batches.wait_seconds / seconds
        self.batches.wait_seconds, self.since_log = 0.0, time.perf_counter()
        self.sentinels.train(self.progress, position.step, self.train_loss, wait)
        self.log.train(
            progress=self.progress,
            left=position.seconds * (1 - done) / done,
            step=position.step,
            epoch=position.passes(len(self.batches)),
            **means,
            lr=self.lr,
            grad_norm=None if self.norm is None else float(self.norm),
            images_per_second=images * self.accelerator.num_processes / seconds,
            wait=wait,
            seconds=position.seconds,
        )

    def validate(self) -> None:
        """Evaluate; keep the weights if they are the best so far."""
        position, task = self.position, self.task
        result = self.evaluate()
        value, sign = result[task.watch], 1 if task.watch_mode == "max" else -1
        before = None if position.best is None else (sign * position.best, -position.best_loss)
        best = before is None or (sign * value, -result["loss"]) > before
        position.evaluations = math.floor(self.progress * self.evaluations + 1e-9)
        position.stale = 0 if best else position.stale + 1
        if best:
            position.best, position.best_loss = value, result["loss"]
            position.best_step, position.best_epoch = position.step, position.passes(len(self.batches))
            self.keep_best()
        self.sentinels.evaluated(self.train_loss, result["loss"])
        where = {"step": position.step, "epoch": position.passes(len(self.batches))}
        self.log.validation(task.watch, best, **where, seconds=time.perf_counter() - self.began, **result)
        self.since_log = time.perf_counter()
