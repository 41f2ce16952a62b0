"""A run folder made up of nothing: everything the report reads, written as a training run writes it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def curves(watch: str, turn: float | None, epochs: int = 30) -> list[dict[str, Any]]:
    """metrics.jsonl: 10 training lines and one evaluation an epoch; validation turns at the epoch `turn`."""
    rng = np.random.default_rng(1)
    lines: list[dict[str, Any]] = []
    for i in range(1, epochs * 10 + 1):
        epoch = i / 10
        loss = 2.3 * np.exp(-epoch / 6) + 0.05 + 0.04 * rng.standard_normal()
        lr = 0.4 * min(epoch / 3, (1 + np.cos(np.pi * epoch / epochs)) / 2)
        common = {"step": i * 35, "epoch": epoch, "seconds": i * 1.8}
        speed = {"images_per_second": 2500 + 80 * rng.standard_normal(), "wait": 0.02, "grad_norm": 1 + rng.random()}
        lines.append({"kind": "train", **common, "loss": max(loss, 0.01), "lr": lr, **speed})
        if i % 10 == 0:
            rise = 0.03 * max(0.0, epoch - turn) if turn is not None else 0.0
            value = 2.1 * np.exp(-epoch / 5) + 0.25 + rise + 0.006 * rng.standard_normal()
            score = {watch: 0.935 - 0.8 * np.exp(-epoch / 5) if watch != "mae" else value}
            lines.append({"kind": "val", **common, "loss": value, **score})
    return lines


def facts(task: str, watch: str, **data: Any) -> dict[str, Any]:
    """run.json, but for the result."""
    return {
        "olhar": "0.1.0",
        "created": "2026-11-24T10:00:00",
        "command": "olhar train cifar10 --budget 10min",
        "task": {"name": task, "settings": {}},
        "watch": watch,
        "data": {
            "path": "data/cifar10",
            "format": "class folders",
            "explanation": "10 folders of PNG under train/ and test/: classification, 10 classes; no validation "
            "split: 10% of train held out, stratified, seed 0, stored in the run.",
            "notes": ["Images are 32 × 32 pixels, three channels."],
            "fingerprint": "9f2c41d07ab35e68",
            "counts": {"train": 4500, "val": 500, "test": 1000},
            "class_names": [],
            "multilabel": False,
            "target_name": "",
            "split_origin": {"train": "train/", "val": "10% of train", "test": "test/"},
            **data,
        },
        "model": {"name": "resnet18", "args": {}, "in_channels": 3, "image_size": [32, 32], "parameters": 11173962},
        "plan": [
            {"setting": "train.epochs", "value": 30, "reason": "what fits in 10 minutes at 2,500 images/s"},
            {"setting": "optim.lr", "value": 0.4, "reason": "SGD with batches of 128 from scratch"},
        ],
        "precision": {
            "choice": "bf16",
            "memory_format": "channels_last",
            "table": [
                {"precision": "fp32", "memory_format": "contiguous", "ms": 410.2},
                {"precision": "bf16", "memory_format": "channels_last", "ms": 195.7},
            ],
        },
        "machine": {"cpu": "Intel Xeon", "cores": 2, "memory_gb": 8.0, "device": "cpu"},
        "versions": {"python": "3.11.9", "torch": "2.15.0", "torchvision": "0.29.2"},
        "findings": [
            {
                "level": "warning",
                "code": "duplicates-across-splits",
                "message": "3 images of test are also in train.",
                "cure": "Remove them from one split.",
                "files": ["test/cat/12.png", "train/cat/907.png"],
            }
        ],
    }


def result(value: dict[str, float]) -> dict[str, Any]:
    return {"best_epoch": 18.0, "best_step": 6300, "seconds": 540.0, "val": value, "test": value}


def classify_rows(names: list[str], ids: list[str], truth: list[int]) -> list[dict[str, Any]]:
    """Predictions that are right nine times in ten, and are surer when they are right."""
    rng = np.random.default_rng(2)
    rows = []
    for id, t in zip(ids, truth, strict=True):
        logits = rng.normal(0, 1.1, len(names))
        logits[t] += 6.0 if rng.random() < 0.85 else 1.2
        p = np.exp(logits) / np.exp(logits).sum()
        row = {"id": id, "truth": names[t], "label": names[int(p.argmax())], "probability": float(p.max())}
        rows.append({**row, "nll": float(-np.log(p[t])), "probabilities": p.round(6).tolist()})
    return rows


def multilabel_rows(names: list[str], ids: list[str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    rows = []
    for id in ids:
        truth = rng.random(len(names)) < 0.25
        p = 1 / (1 + np.exp(-rng.normal(np.where(truth, 2.0, -2.0), 1.4)))
        said = [name for name, q in zip(names, p, strict=True) if q >= 0.5]
        labels = [name for name, t in zip(names, truth, strict=True) if t]
        rows.append({"id": id, "truth": labels, "labels": said, "probabilities": p.round(6).tolist(), "nll": 1.0})
    return rows


def regress_rows(ids: list[str], learned: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(4)
    truth = rng.uniform(0, 90, len(ids))
    value = truth + rng.normal(0, 4, len(ids))
    deviation = 4.0 if learned else None
    pairs = zip(ids, truth.tolist(), value.tolist(), strict=True)
    return [{"id": i, "truth": t, "value": v, "deviation": deviation, "nll": 1.0} for i, t, v in pairs]


WATCH = {
    "classify": "accuracy",
    "multilabel": "mean_average_precision",
    "regress": "mae",
    "segment": "miou",
    "reconstruct": "psnr",
}


def segment_rows(ids: list[str], k: int) -> list[dict[str, Any]]:
    """Three classes an image, most of their pixels right; the last class is nowhere."""
    rng = np.random.default_rng(5)
    rows = []
    for id in ids:
        cells = [[int(i), int(j), int(n)] for i in rng.choice(k - 1, 3, replace=False)
                 for j, n in ((i, rng.integers(500, 900)), ((i + 1) % (k - 1), rng.integers(1, 300)))]  # fmt: skip
        rows.append({"id": id, "areas": {}, "truth": {}, "nll": 0.4, "confusion": cells})
    return rows


def reconstruct_rows(ids: list[str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(6)
    before = rng.normal(20.5, 0.3, len(ids))
    gain = rng.normal(8.5, 1.2, len(ids))
    return [
        {"id": id, "height": 32, "width": 32, "truth": None, "nll": 0.1, "psnr": b + g, "ssim": 0.9, "psnr_before": b}
        for id, b, g in zip(ids, before.tolist(), gain.tolist(), strict=True)
    ]


def fabricate(run: Path, kind: str = "classify", names: list[str] = CLASSES, ids: list[str] | None = None,
              truth: list[int] | None = None, turn: float | None = 17.0) -> Path:  # fmt: skip
    """Write a finished run of `kind` (classify, multilabel, regress, segment, reconstruct) into `run`; returns it."""
    run.mkdir(parents=True)
    ids = ids or [f"test/{names[i % len(names)]}/{i:04}.png" for i in range(400)]
    truth = truth or [i % len(names) for i in range(len(ids))]
    watch = WATCH[kind]
    if kind == "segment":
        tree = facts("segment", watch, class_names=names, class_counts={"train": [10**6 // (i + 1) for i in range(10)]})
        tree["task"]["settings"] = {"palette": [[20 * i, 9, 90] for i in range(10)]}
        rows, value = segment_rows(ids, len(names)), {"loss": 0.4, "miou": 0.6}
    elif kind == "reconstruct":
        tree = facts("reconstruct", watch)
        tree["task"]["settings"] = {"corruption": "noise", "mean": [0.5] * 3}
        rows, value = reconstruct_rows(ids), {"loss": 0.1, "psnr": 29.5, "ssim": 0.9}
    elif kind == "regress":
        tree = facts("regress", watch, target_name="age", explanation="A table of 400 images with a number: age.")
        rows, value = regress_rows(ids, learned=True), {"loss": 0.2, "mae": 3.2}
    elif kind == "multilabel":
        counts = {"train": [100 * (i + 1) for i in range(len(names))]}
        tree = facts("classify", watch, class_names=names, multilabel=True, class_counts=counts)
        rows, value = multilabel_rows(names, ids), {"loss": 0.9, watch: 0.91}
    else:
        tree = facts("classify", watch, class_names=names, class_counts={"train": [450] * len(names)})
        rows = classify_rows(names, ids, truth)
        value = {"loss": 0.3, "accuracy": float(np.mean([r["label"] == r["truth"] for r in rows]))}
    (run / "run.json").write_text(json.dumps(tree | {"result": result(value)}), encoding="utf-8")
    (run / "config.yaml").write_text("train:\n  epochs: 30\n  seed: 0\n", encoding="utf-8")
    event = {"kind": "event", "name": "overfitting", "message": "Training is far ahead of validation.", "step": 9000}
    write_lines(run / "metrics.jsonl", [*curves(watch, turn), event])
    write_lines(run / "evaluation" / "test.jsonl", rows)
    return run


def noise_images(ids: list[str]) -> list[dict[str, Tensor] | None]:
    """An image, an answer and a truth for every id but those that end in 7: their files are gone."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator)
    shown = {"image": image, "prediction": 255 - image, "truth": image // 2}
    return [None if id.endswith("7.png") else shown for id in ids]


@pytest.fixture
def made(tmp_path: Path):
    """made(kind, **changes) -> a fabricated run folder."""

    def make(kind: str = "classify", **changes: Any) -> Path:
        return fabricate(tmp_path / kind, kind, **changes)

    return make


@pytest.fixture
def images():
    return noise_images
