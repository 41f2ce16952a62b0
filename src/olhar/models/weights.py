"""Start from trained weights: read a file or fetch one from the Hub, fit it to the model, and say what fitted.

Nothing in a weights file is executed: safetensors hold only numbers, and other files are read by torch with
`weights_only=True`, which refuses anything but tensors and plain containers.

Shapes: O filters, C channels, k size of a filter.
"""

import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from olhar.errors import UserError
from olhar.layers.embed import LearnedPositions
from olhar.models.classifier import Classifier
from olhar.models.clip import Clip
from olhar.models.clip_names import clip_names, is_clip
from olhar.models.vit_names import fit_positions, is_vit, vit_names

# Not weights of the model: batch norm's count of batches, absent from old files and used by nothing here, and
# the pixels' mean and deviation in a run of this library, where every run measures its own.
EXTRAS = ("num_batches_tracked", "mean", "std")
# Where training scripts put the state dict beside their optimiser's.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "state_dict_ema", "model_ema")
# What the wrappers of modules put before each name: data parallelism, compilation, a task around the model.
PREFIXES = ("module.", "_orig_mod.", "model.")
# What torchvision and timm call the last linear layer.
HEADS = ("fc.", "classifier.", "head.fc.", "head.")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, by the model's own names but for `unexpected`, which are the file's."""

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # of the model, absent from the file: they start untrained
    unexpected: tuple[str, ...]  # of the file, with no place in the model
    mismatched: tuple[str, ...]  # in both, with other shapes: they start untrained
    remarks: tuple[str, ...] = ()  # what was changed to fit, one sentence each

    @property
    def sentence(self) -> str:
        """All of it in a few plain sentences."""
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        parts = [f"Loaded {len(self.loaded)} of {total} tensors from {self.source}.", *self.remarks]
        if missing := [name for name in self.missing if not name.startswith("head.")]:
            parts.append(f"Not in it, so untrained: {_listed(missing)}.")
        if mismatched := [name for name in self.mismatched if not name.startswith("head.")]:
            parts.append(f"Of another shape in it, so untrained: {_listed(mismatched)}.")
        if self.unexpected:
            parts.append(f"In it, but with no place here: {_listed(self.unexpected)}.")
        return " ".join(parts)


def _listed(names: tuple[str, ...] | list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def load_weights(model: nn.Module, path: str | Path, download: bool = False, beside: str = "") -> LoadReport:
    """Copy into `model` every tensor of the file that fits, and report the rest.

    A head of another number of outputs stays new, and a first convolution of three channels is summed over them
    for grey images (the same answer that three equal channels would give).

    Args:
        path: a safetensors file, a state dict saved by torch, a folder that holds `model.safetensors`, or the
            name org/name of a repository on the Hub.
        download: whether the Hub may be asked.
        beside: what in the file begins with this is of another model, and no matter.

    Raises:
        UserError: no such file, not weights, or of another architecture: too few tensors fit.
    """
    file = find(str(path), download)
    own = model.state_dict()
    state = {name: tensor for name, tensor in read_state(file).items() if not (beside and name.startswith(beside))}
    theirs = rename(state, own)
    resized = resample(theirs, model)
    fitted, mismatched, remarks = fit(theirs, own)
    remarks += resized
    wanted = [name for name in own if name.rpartition(".")[2] not in EXTRAS]
    offered = [name for name in theirs if name.rpartition(".")[2] not in EXTRAS]
    loaded = [name for name in wanted if name in fitted]
    clashes = [name for name in mismatched if not name.startswith("head.")]
    # The same name with another shape speaks as much against as one that fits speaks for.
    if 2 * (len(loaded) - len(clashes)) < max(len(wanted), len(offered)):
        raise UserError(
            f"{path} holds the weights of another architecture: {len(loaded)} of its {len(offered)} tensors fit "
            f"the {len(wanted)} of this model and {len(clashes)} clash; choose the model they were trained with."
        )
    model.load_state_dict(fitted, strict=False)
    return LoadReport(
        source=str(path),
        loaded=tuple(loaded),
        missing=tuple(name for name in wanted if name not in theirs),
        unexpected=tuple(name for name in offered if name not in own),
        mismatched=tuple(mismatched),
        remarks=tuple(remarks),
    )


def load_towers(model: Clip, path: str | Path, download: bool = False) -> LoadReport:
    """The same for two towers: both from the weights of a CLIP (OpenAI's and open_clip's layout, Hugging Face's, or a
    run of this library), or the image tower alone, from those of any encoder.

    Raises:
        UserError: as `load_weights`; also where a CLIP's words are not those of the tokenizer.
    """
    file = find(str(path), download)
    state = read_state(file)
    if not is_clip(state) and not any("text_encoder." in name for name in state):
        if model.frozen == "text":
            raise UserError(f"{path} has no text tower to freeze: leave --model.freeze out.")
        return load_weights(Classifier(model.image_encoder, 1), file)
    words, own = "text_encoder.words.weight", model.state_dict()
    theirs = rename(clip_names(state) if is_clip(state) else state, own)
    if words in theirs and theirs[words].shape[0] != own[words].shape[0]:
        raise UserError(
            f"{path} knows {theirs[words].shape[0]:,} tokens, and the tokenizer has {own[words].shape[0]:,}: give the "
            "tokenizer.json that belongs to the weights with --data.tokenizer."
        )
    resized = resample(theirs, model)
    fitted, mismatched, _ = fit(theirs, own)
    missing = [name for name in own if name not in theirs]
    new = tuple(name for name in missing if name.startswith("fusion."))  # which published ones have not
    if mismatched or len(missing) > len(new):
        wrong = _listed(mismatched or [name for name in missing if name not in new])
        raise UserError(f"{path} holds the weights of another CLIP: {wrong} of this one do not fit.")
    model.load_state_dict(fitted, strict=False)
    return LoadReport(str(path), tuple(fitted), new, tuple(n for n in theirs if n not in own), (), tuple(resized))


def find(path: str, download: bool) -> Path:
    """The weights file that `path` names, fetched if it is on the Hub."""
    file = Path(path).expanduser()
    if file.is_dir():
        inside = [file / name for name in HUB_FILES if (file / name).is_file()]
        if not inside:
            raise UserError(f"The folder {path} holds no {HUB_FILES[0]}: name the file of the weights itself.")
        return inside[0]
    if file.is_file():
        return file
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        raise UserError(f"There is no weights file {path}.")
    if not download:
        raise UserError(
            f"There is no weights file {path}; if it is the name of a Hub repository, allow the download "
            "with --data.download."
        )
    return fetch(path)


def fetch(repository: str) -> Path:
    """The weights of a Hub repository, from the Hub's own cache if they are there."""
    if (file := fetch_first(repository, HUB_FILES)) is None:
        raise UserError(f"{repository} on the Hub holds neither {' nor '.join(HUB_FILES)}.")
    return file


def fetch_first(repository: str, names: Sequence[str]) -> Path | None:
    """The first of these files that a Hub repository has, from the Hub's own cache if it is there; None: it has none.

    Raises UserError where the Hub cannot be asked.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError:
            raise UserError(f"The Hub cannot be reached for {repository}, and it is not in its cache.") from None
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"The Hub does not give {repository}: {reason}") from None
    return None


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, out of whatever they are wrapped in."""
    try:
        if file.suffix == ".safetensors":
            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{file} is not a plain state dict: it holds Python objects, or no weights at all, and is not read "
            "for safety; save model.state_dict() as safetensors where it comes from."
        ) from None
    except (SafetensorError, RuntimeError, EOFError, UnicodeDecodeError, ValueError):
        raise UserError(f"{file} is not a weights file, or was cut short: get it again.") from None
    while isinstance(content, Mapping) and not any(isinstance(v, Tensor) for v in content.values()):
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{file} holds no tensors by name: it is not a state dict.")
    return tensors


def rename(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` by the model's names, where it has a place for them.

    Ours are torchvision's and timm's with `encoder.` before them (`encoder.body.` around timm's), and `head.`
    for the last linear layer, which has many names. Those of a vision transformer are of our own (vit_names.py).
    """
    state = {bare(name): tensor for name, tensor in state.items()}
    if is_vit(state) and any(name.endswith("attention.query.weight") for name in own):
        state = vit_names(state)
    # timm writes some of its dots as underscores where it returns features.
    plain = {name.replace("_", "."): name for name in own}

    def place(name: str) -> str:
        candidates = [name, f"encoder.{name}", f"encoder.body.{name}", f"encoder.body.model.{name}"]
        candidates += [f"head.{name.removeprefix(head)}" for head in HEADS if name.startswith(head)]
        places = (plain.get(candidate.replace("_", ".")) for candidate in candidates)
        return next((p for p in places if p is not None), name)

    return {place(name): tensor for name, tensor in state.items()}


def bare(name: str) -> str:
    """Without what wrappers put before it."""
    while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
    return name


def resample(theirs: dict[str, Tensor], model: nn.Module) -> list[str]:
    """Bring the codes of positions in `theirs` to the grids of the model; returns a sentence for each."""
    remarks = []
    for module_name, module in model.named_modules():
        name = f"{module_name}.codes"
        if isinstance(module, LearnedPositions) and name in theirs:
            fitted = fit_positions(theirs[name], module)
            if fitted is not theirs[name]:
                theirs[name] = fitted
                grid = "x".join(map(str, module.grid))
                remarks.append(f"{name} was fitted to the grid of these images, {grid}.")
    return remarks


def fit(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """(what can be copied, names whose shapes differ, sentences on what was changed)."""
    fitted, mismatched, remarks = {}, [], []
    for name in own:
        if name not in theirs:
            continue
        tensor = theirs[name]
        grey = tensor.sum(1, keepdim=True) if tensor.ndim == 4 and tensor.shape[1] == 3 else tensor
        if name == "head.bias" and "head.weight" in mismatched:
            mismatched.append(name)  # worth nothing without its weights
        elif tensor.shape == own[name].shape:
            fitted[name] = tensor
        elif grey.shape == own[name].shape:  # [O, 3, k, k] -> [O, 1, k, k]
            fitted[name] = grey
            remarks.append(f"{name} was summed over red, green and blue, for grey images.")
        else:
            mismatched.append(name)
    if "head.weight" in mismatched:
        here, there = ("x".join(map(str, of["head.weight"].shape)) for of in (own, theirs))
        remarks.append(f"The head is new: its weights are {here}, the file's {there}.")
    elif "head.weight" in own and "head.weight" not in fitted:
        remarks.append("The head is new: the file has none.")
    return fitted, mismatched, remarks
