"""One pass over a split without gradients: every sample counts once, however many processes share it."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torchmetrics import Metric
from torchmetrics.aggregation import MeanMetric

from olhar.data.sample import Batch, to_device
from olhar.metrics import results
from olhar.tasks.task import Task


def evaluate(
    task: Task, batches: Iterable[Batch], accelerator: Accelerator, rows: list[dict[str, Any]] | None = None
) -> dict[str, float]:
    """The loss (nats) and the task's metrics over all of `batches`, summed over processes.

    `rows`, where given, receives a plain dict an image of this process: its id, truth, prediction and nll.
    Puts the task back into the mode (train or eval) it was in.
    """
    was_training = task.training
    task.eval()
    loss = MeanMetric(nan_strategy="ignore").to(accelerator.device)
    metrics: dict[str, Metric] = {k: m.to(accelerator.device) for k, m in task.metrics().items()}
    with torch.inference_mode():
        for batch in batches:
            on_device = to_device(batch, accelerator.device)
            with accelerator.autocast():
                output = task.output(on_device)
                parts = task.losses(output, on_device)
            loss.update(parts["loss"].float(), weight=len(batch["id"]))
            task.update(metrics, output, on_device)
            if rows is not None:
                rows.extend(describe(task, output, on_device))
        result = {"loss": float(loss.compute())}
        result |= {task.watch: math.nan} | results(metrics)
    task.train(was_training)
    return result


def describe(task: Task, output: Any, batch: Batch) -> list[dict[str, Any]]:
    """What evaluation/<split>.jsonl holds of each image: the prediction's row, the truth, -log p of the truth."""
    predictions = task.decode(output, batch)
    truths, nlls = task.describe_truth(batch), task.nll(output, batch).float().tolist()
    return [
        prediction.row() | {"truth": truth, "nll": nll} | details
        for prediction, truth, nll, details in zip(predictions, truths, nlls, task.details(output, batch), strict=True)
    ]
