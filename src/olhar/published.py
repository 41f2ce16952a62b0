"""Published CLIP weights as a run folder, without a training: to search, and to tell classes by their names, at once.

run = olhar.adopt("clip-vit-base-patch32/")  # as it lies on the Hub: model.safetensors, tokenizer.json, config.json
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from olhar import build, captioning
from olhar.config import Config
from olhar.data.sample import Collection
from olhar.data.text import Tokenizer
from olhar.describe import data_facts
from olhar.errors import UserError
from olhar.folder import RunFolder, versions
from olhar.models.clip import Clip
from olhar.models.clip_names import Untold, architecture, clip_names, is_clip
from olhar.models.weights import find, load_towers, read_state
from olhar.predict import missing
from olhar.run import Run
from olhar.train.checkpoint import save_tensors
from olhar.train.device import describe_machine, pick_device

TOKENIZERS = ("tokenizer.json", "bpe_simple_vocab_16e6.txt.gz", "merges.txt")  # beside the weights, the best first
BATCH = 64  # pairs that captions are told from one another among, where the run is evaluated on some


def adopt(
    weights: str | Path, run: str | Path | None = None, tokenizer: str | Path | None = None, device: str = "auto"
) -> Run:
    """A run folder of the weights of a CLIP whose image tower is a ViT, in open_clip's layout or Hugging Face's.

    Args:
        weights: a safetensors file, or the folder of one.
        run: the run folder to make; runs/NAME-N by default.
        tokenizer: its tokenizer.json, or list of merges; None: the one that lies beside the weights.

    Raises:
        UserError: the weights are none of a CLIP, their tokenizer is missing, or the run folder is taken.
    """
    RunFolder.refuse_taken(run)
    if not Path(weights).expanduser().exists():
        raise UserError(missing(Path(weights).expanduser()))
    file = find(str(weights), download=False)
    state = read_state(file)
    if not is_clip(state):
        raise UserError(f"{weights} holds no CLIP: give one of open_clip or Hugging Face, or train with --weights.")
    words = Tokenizer.load(tokenizer or beside(file))
    model = architecture(clip_names(state), untold(file.parent), words.start, words.end)
    channels = model["in_channels"]
    pixels = captioning.pixels("clip-vit-b32")
    assert pixels is not None
    mean, std = pixels
    settings = {"mean": mean[:channels], "std": std[:channels], "batch_size": BATCH}
    task = build.make_task("align", model, settings)
    assert isinstance(task.model, Clip)
    load_towers(task.model, file)
    model["parameters"] = sum(p.numel() for p in task.model.parameters())
    said = f"Nothing was trained: published weights, from {file}."
    folder = RunFolder.create(run, str(weights))
    folder.config = Config().with_changes({"model.weights": str(weights), "data.task": "align"})
    words.save(folder.tokenizer_file)
    save_tensors(task.state_dict(), folder.weights)
    folder.facts = {
        "olhar": versions()["olhar"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"olhar adopt {weights}",
        "task": {"name": "align", "settings": settings},
        "data": data_facts(Collection("no data of its own", "none", "align", [], said)),
        "model": model,
        "machine": describe_machine(pick_device(device)) | {"processes": 1},
        "watch": task.watch,
        "versions": versions(),
    }
    return Run(folder, pick_device(device))


def beside(file: Path) -> Path:
    """The tokenizer that lies beside the weights. Raises UserError where there is none."""
    for name in TOKENIZERS:
        if (file.parent / name).exists():
            return file.parent / name
    raise UserError(
        f"{file.parent} holds no {TOKENIZERS[0]}, which says what the tokens of {file.name} are: give the one that "
        "belongs to it with --tokenizer."
    )


def untold(folder: Path) -> Untold:
    """What the config.json of Hugging Face or open_clip beside the weights says of them; OpenAI's where there is none.

    What such a file leaves out has the value it usually has, which the widths of the towers tell.
    """
    for name in ("config.json", "open_clip_config.json"):
        try:
            config = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if model := config.get("model_cfg"):
            image, text = model.get("vision_cfg", {}), model.get("text_cfg", {})
            width, head = image.get("width"), image.get("head_width", 64)
            heads = width // head if isinstance(width, int) else None
            return Untold("quick_gelu" if model.get("quick_gelu") else "gelu", heads, text.get("heads"))
        image, text = config.get("vision_config") or {}, config.get("text_config") or {}
        activation = text.get("hidden_act", "quick_gelu")
        return Untold(activation, image.get("num_attention_heads"), text.get("num_attention_heads"))
    return Untold()
