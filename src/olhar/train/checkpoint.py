"""All that resuming needs, written whole or not at all, and never as a pickle.

A checkpoint is a folder `checkpoint/step-N` with `tensors.safetensors` (weights, average, optimizer, random
states) and `state.json` (position, numbers, settings). It is written beside, flushed to the disk and renamed,
and only then are the older ones removed: a power cut or a full disk leaves the last good one.
"""

import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from olhar.errors import UserError
from olhar.train.optim import Ema
from olhar.train.position import Position


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """One safetensors file, whole or not at all.

    Raises UserError when the disk is full or not writable; what was there before is still there.
    """
    temporary = path.with_name(path.name + ".partial")
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        save_file(plain, temporary, metadata=metadata)
        flush(temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"Could not write {path}: {reason(error)}. What was written before is kept.") from error


def reason(error: BaseException) -> str:
    """The cause in words: "No space left on device"."""
    return getattr(error, "strerror", None) or str(error)


def flush(path: Path) -> None:
    """Wait until the bytes are on the disk, so that a rename never outruns them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """One text file, whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        flush(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"Could not write {path}: {reason(error)}.") from error


def save(
    folder: Path,
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
    position: Position,
    rng: Tensor,
) -> None:
    """Write `folder/step-N` whole, then remove the older ones. `rng` holds each process's `random_state()`.

    Raises UserError when the disk is full; the previous checkpoint is untouched.
    """
    moments, groups = flatten(optimizer.state_dict())
    tensors = {f"task.{name}": tensor for name, tensor in task.state_dict().items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in moments.items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in (ema.tensors() if ema else {}).items()}
    tensors["rng"] = rng
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    state = {"position": asdict(position), "optimizer": groups, "ema_steps": ema.steps if ema else 0}

    target, temporary = folder / f"step-{position.step:08d}", folder / "partial"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_tensors(tensors, temporary / "tensors.safetensors")
        write_text(temporary / "state.json", json.dumps(state))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except (OSError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        cause = error.__cause__ if isinstance(error, UserError) else error
        raise UserError(
            f"Could not write a checkpoint in {folder}: {reason(cause or error)}. The one before is whole: make room, "
            f"then go on with `olhar resume {folder.parent}`."
        ) from error
    for other in folder.glob("step-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The last checkpoint written whole, or None."""
    return max((p for p in folder.glob("step-*") if (p / "state.json").exists()), default=None)


def load(
    checkpoint: Path, task: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None, process: int = 0
) -> Position:
    """Put everything back as `save` found it; returns where the training was."""
    tensors = load_file(checkpoint / "tensors.safetensors")
    state = json.loads((checkpoint / "state.json").read_text())
    task.load_state_dict(part(tensors, "task."), strict=True)
    optimizer.load_state_dict(unflatten(part(tensors, "optimizer."), state["optimizer"]))
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # files are contiguous; a moment must lie in memory as its parameter does, since fused steps walk both
                moments[name] = torch.empty_like(parameter).copy_(value)
    if ema:
        ema.restore(part(tensors, "ema."), state["ema_steps"])
    restore_random_state(tensors["rng"][min(process, len(tensors["rng"]) - 1)])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return Position(**state["position"])


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state dict as named tensors and plain values."""
    tensors, plain = {}, {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            elif value is not None:
                plain[f"{index}.{name}"] = value
    return tensors, {"param_groups": state["param_groups"], "plain": plain}


def unflatten(tensors: Mapping[str, Tensor], groups: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **groups["plain"]}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": groups["param_groups"]}


def random_state() -> Tensor:
    """The state of the three generators of this process, as bytes: uint8 [n], n the same on every process."""
    python = np.array(random.getstate()[1], dtype=np.uint32).view(np.uint8)
    _, keys, place, has_gauss, cached = np.random.get_state(legacy=True)  # type: ignore[misc]
    numbers = np.array([place, has_gauss, cached], dtype=np.float64).view(np.uint8)
    numpy = np.concatenate([np.asarray(keys).view(np.uint8), numbers])
    return torch.cat([torch.get_rng_state(), torch.from_numpy(np.concatenate([python, numpy]))])


def restore_random_state(state: Tensor) -> None:
    """The inverse of `random_state`."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size].clone())
    rest = state[size:].numpy()
    python, numpy = rest[: 625 * 4], rest[625 * 4 :]
    random.setstate((3, tuple(int(word) for word in python.copy().view(np.uint32)), None))
    place, has_gauss, cached = numpy[624 * 4 :].copy().view(np.float64)
    np.random.set_state(("MT19937", numpy[: 624 * 4].copy().view(np.uint32), int(place), int(has_gauss), cached))
