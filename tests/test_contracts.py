"""What every model and every task promises, checked for all of them: a new one is tested without a line here."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from olhar import build
from olhar.data.sample import IGNORE, Batch
from olhar.metrics import results
from olhar.models import AUTOENCODERS, MODELS
from olhar.objectives.bernoulli import Bernoulli
from olhar.objectives.categorical import Categorical
from olhar.objectives.contrastive import Contrastive
from olhar.objectives.detection import Detection
from olhar.objectives.gaussian import Gaussian
from olhar.objectives.restored import Restored
from olhar.tasks import TASKS, Task
from olhar.train.checkpoint import save_tensors

N, K, SIZE = 6, 3, 16
PIXELS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
PLACES = PIXELS | {"class_names": ["sky", "tree", "road"], "palette": [[1, 2, 3], [4, 5, 6], [0, 0, 0]]}
ANCHORS = PIXELS | {"class_names": ["cell", "nut", "leaf"], "sizes": [[5, 9]], "proportions": [0.7, 1.0, 1.4]}
SETTINGS = {
    "classify": PIXELS | {"class_names": ["cat", "dog", "owl"]},
    "classify, several labels": PIXELS | {"class_names": ["cat", "dog", "owl"], "multilabel": True},
    "regress": PIXELS | {"target_name": "age", "target_mean": 40.0, "target_std": 12.0, "variance": "fixed"},
    "regress, variance learned": PIXELS | {"target_mean": 40.0, "target_std": 12.0, "variance": "learned"},
    "segment": PIXELS | {"class_names": ["sky", "tree", "road"], "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]},
    "segment, weighed, with Dice": PIXELS
    | {
        "class_names": ["sky", "tree", "road"],
        "palette": [[0, 0, 0]] * 3,
        "class_weights": [0.5, 1.0, 2.0],
        "dice": 0.5,
    },
    "detect": ANCHORS,
    "detect, likelihoods": ANCHORS | {"balance": "none", "overlap": 0.3},
    "detect, no likelihoods": ANCHORS | {"balance": "hard", "box_loss": "giou", "threshold": 0.1},
    "reconstruct": PIXELS | {"corruption": "noise"},
    "reconstruct, holes": PIXELS | {"corruption": "holes", "likelihood": "laplace", "ssim": 0.2},
    "align": PIXELS | {"batch_size": N},
    "reconstruct, compressing": PIXELS | {"corruption": "none"},
}


ELSEWHERE = {"align", "diffuse"}  # whose models are no encoders: tested in tests/tasks


def new_task(setting: str, model: str) -> Task:
    torch.manual_seed(0)
    return build.make_task(setting.partition(",")[0], facts_of(model, setting), SETTINGS[setting])


def batch() -> Batch:
    generator = torch.Generator().manual_seed(2)
    return {
        "id": [f"{i}.png" for i in range(N)],
        "image": torch.randint(0, 256, (N, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator),
        "label": torch.tensor([0, 1, 2, 0, 1, 2]),
        "labels": torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).float(),
        "target": torch.tensor([20.0, 30.0, 40.0, 50.0, 60.0, 35.0]),
        "mask": halves(),
        "clean": (torch.arange(SIZE) * 14).expand(N, 3, SIZE, SIZE).to(torch.uint8),
        "boxes": [
            torch.tensor(rows).view(-1, 4) for rows in ([[2.0, 2, 9, 9]], [[1.0, 4, 6, 13], [8, 8, 15, 14]], []) * 2
        ],
        "box_labels": [torch.tensor(k, dtype=torch.int64) for k in ([0], [1, 2], []) * 2],
        "box_ignored": [torch.zeros(n, dtype=torch.bool) for n in (1, 2, 0) * 2],
        "size": torch.tensor([[SIZE, SIZE]] * N),
        "tokens": torch.tensor([[1, 3 + i, 5 + i % 2, 2, 0] for i in range(N)]),
        "text": [f"caption {i}" for i in range(N)],
        "others": [torch.tensor([[1, 9, 2, 0, 0]])[: i % 2] for i in range(N)],
        "holes": torch.full((N, 1, SIZE, SIZE), 255, dtype=torch.uint8),
    }


def halves() -> Tensor:
    """Masks of two classes side by side, another two in each image, and a row that nobody labelled."""
    mask = torch.arange(N)[:, None, None].repeat(1, SIZE, SIZE) % K
    mask[:, :, SIZE // 2 :] = (mask[:, :, SIZE // 2 :] + 1) % K
    mask[:, -1] = IGNORE
    return mask.to(torch.uint8)


def test_every_task_has_a_setting_here():
    assert {setting.partition(",")[0] for setting in SETTINGS} | ELSEWHERE == set(TASKS)


DEEP = ("resnet34", "resnet50", "resnet101", "resnet152")  # made of the blocks of resnet18, at ten times the cost
# of the blocks of vit-mini4, up to 300 million parameters; test_contract.py and test_vit.py build them
LARGER = tuple(name for name in MODELS if name.startswith("vit-") and name != "vit-mini4")
FLAT = ("linear", "mlp")  # give a vector an image: not for tasks about every place
EVERYWHERE = ("segment", "reconstruct", "detect")


def fits(model: str, setting: str) -> bool:
    """Variants of tasks about every place are shown on one network: the parts they differ in see no encoder."""
    if model in LARGER:
        return False
    if setting == "align":  # asks an encoder for what classification asks it for
        return model in ("linear", "cnn-tiny", "resnet9-slim")
    if setting.startswith(EVERYWHERE):
        return model not in (*FLAT, *DEEP) and (setting in EVERYWHERE or model == "cnn-tiny")
    return model not in DEEP or setting in TASKS


PAIRS = [(m, s) for m in MODELS for s in SETTINGS if fits(m, s) and s != "reconstruct, compressing"]
PAIRS += [(m, "reconstruct, compressing") for m in AUTOENCODERS]


@pytest.mark.parametrize(("model", "setting"), PAIRS)
def test_contract(setting: str, model: str, tmp_path: Path):
    task, data = new_task(setting, model), batch()

    parts = task(data)
    assert parts["loss"].shape == ()
    parts["loss"].backward()
    for name, parameter in task.named_parameters():
        assert parameter.grad is not None, f"no gradient for {name}"
        assert parameter.grad.isfinite().all(), name

    start = parts["loss"].item() if task.chance is None or "Dice" in setting else task.chance
    assert overfit(task, data, target=start - 0.3), "one batch cannot be learnt"

    task.eval()
    with torch.inference_mode():
        predictions, output = task.predict(data), task.output(data)
        metrics = task.metrics()
        task.update(metrics, output, data)
        found = results(metrics)
        assert found[task.watch] >= 0
    assert [p.id for p in predictions] == data["id"]
    assert all(isinstance(p.row(), dict) for p in predictions)
    assert len(task.describe_truth(data)) == task.nll(output, data).shape[0] == N
    assert len(task.details(output, data)) == len(task.draw(output, data)) == N
    json.dumps([p.row() for p in predictions] + task.details(output, data))
    assert all(p.dtype == torch.uint8 and p.ndim == 3 for strip in task.draw(output, data) for p in strip.values())
    # types do not depend on the mode
    assert type(output) is type(task.train().output(data))
    assert isinstance(output, Categorical | Bernoulli | Gaussian | Detection | Restored | Contrastive)

    save_tensors(task.state_dict(), tmp_path / "task.safetensors")
    again = build.make_task(task.name, facts_of(model, setting), task.settings())
    again.load_state_dict(load_file(tmp_path / "task.safetensors"))
    task.eval()
    again.eval()
    with torch.inference_mode():
        assert torch.equal(outputs(task, data), outputs(again, data))


def facts_of(model: str, setting: str) -> dict:
    # Stable Diffusion's is too large to be learnt from one batch in a second
    args = {"widths": (32, 32), "factor": 2, "blocks": 1} if model == "vae-stable-diffusion" else {}
    args = args if model in AUTOENCODERS else build.default_args(model, SIZE)
    facts = {"name": model, "args": args, "in_channels": 3 + ("holes" in setting), "image_size": [SIZE, SIZE]}
    if setting == "align":
        text = {"name": "text-small", "vocabulary": 12, "length": 5, "end": 2, "args": {"layers": 1}}
        return facts | {"text": text, "width": 16, "frozen": "none"}
    if setting.startswith("detect"):
        # one level, the coarsest, so that every parameter of the body has a gradient
        coarsest = build.encoder(model, 3, (SIZE, SIZE), **args).strides[-1]
        return facts | {"detector": {"anchors": 6, "strides": [coarsest], "width": 16}}
    return facts | {"decoder": "unet" if "holes" in setting else "pyramid", "decoder_args": {}}


def outputs(task: Task, data: Batch) -> Tensor:
    output = task.output(data)
    return output.image.mean if isinstance(output, Restored) else next(iter(vars(output).values()))


def overfit(task: Task, data: Batch, target: float) -> bool:
    """Whether the loss of one batch falls below `target` within 120 steps of AdamW."""
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)
    for _ in range(120):
        optimizer.zero_grad()
        loss = task(data)["loss"]
        loss.backward()
        optimizer.step()
        if loss.item() < target:
            return True
    return False
