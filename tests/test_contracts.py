"""What every model and every task promises, checked for all of them: a new one is tested without a line here."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from olhar import build
from olhar.data.sample import Batch
from olhar.models import MODELS
from olhar.objectives.bernoulli import Bernoulli
from olhar.objectives.categorical import Categorical
from olhar.objectives.gaussian import Gaussian
from olhar.tasks import TASKS, Task
from olhar.train.checkpoint import save_tensors

N, K, SIZE = 6, 3, 16
PIXELS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
SETTINGS = {
    "classify": PIXELS | {"class_names": ["cat", "dog", "owl"]},
    "classify, several labels": PIXELS | {"class_names": ["cat", "dog", "owl"], "multilabel": True},
    "regress": PIXELS | {"target_name": "age", "target_mean": 40.0, "target_std": 12.0, "variance": "fixed"},
    "regress, variance learned": PIXELS | {"target_mean": 40.0, "target_std": 12.0, "variance": "learned"},
}


def new_task(setting: str, model: str) -> Task:
    torch.manual_seed(0)
    args = build.default_args(model, SIZE)
    facts = {"name": model, "args": args, "in_channels": 3, "image_size": [SIZE, SIZE]}
    return build.make_task(setting.partition(",")[0], facts, SETTINGS[setting])


def batch() -> Batch:
    generator = torch.Generator().manual_seed(2)
    return {
        "id": [f"{i}.png" for i in range(N)],
        "image": torch.randint(0, 256, (N, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator),
        "label": torch.tensor([0, 1, 2, 0, 1, 2]),
        "labels": torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).float(),
        "target": torch.tensor([20.0, 30.0, 40.0, 50.0, 60.0, 35.0]),
    }


def test_every_task_has_a_setting_here():
    assert {setting.partition(",")[0] for setting in SETTINGS} == set(TASKS)


DEEP = ("resnet34", "resnet50", "resnet101", "resnet152")  # made of the blocks of resnet18, at ten times the cost
PAIRS = [(m, s) for m in MODELS for s in SETTINGS if m not in DEEP or s in TASKS]


@pytest.mark.parametrize(("model", "setting"), PAIRS)
def test_contract(setting: str, model: str, tmp_path: Path):
    task, data = new_task(setting, model), batch()

    parts = task(data)
    assert parts["loss"].shape == ()
    parts["loss"].backward()
    for name, parameter in task.named_parameters():
        assert parameter.grad is not None, f"no gradient for {name}"
        assert parameter.grad.isfinite().all(), name

    assert task.chance is not None
    assert overfit(task, data, target=task.chance - 0.3), "one batch cannot be learnt"

    task.eval()
    with torch.inference_mode():
        predictions, output = task.predict(data), task.output(data)
        metrics = task.metrics()
        task.update(metrics, output, data)
        assert task.watch in metrics
        assert float(metrics[task.watch].compute()) >= 0
    assert [p.id for p in predictions] == data["id"]
    assert all(isinstance(p.row(), dict) for p in predictions)
    assert len(task.describe_truth(data)) == task.nll(output, data).shape[0] == N
    # types do not depend on the mode
    assert type(output) is type(task.train().output(data))
    assert isinstance(output, Categorical | Bernoulli | Gaussian)

    save_tensors(task.state_dict(), tmp_path / "task.safetensors")
    again = build.make_task(task.name, {**facts_of(model)}, task.settings())
    again.load_state_dict(load_file(tmp_path / "task.safetensors"))
    task.eval()
    again.eval()
    with torch.inference_mode():
        assert torch.equal(outputs(task, data), outputs(again, data))


def facts_of(model: str) -> dict:
    args = build.default_args(model, SIZE)
    return {"name": model, "args": args, "in_channels": 3, "image_size": [SIZE, SIZE]}


def outputs(task: Task, data: Batch) -> Tensor:
    return task.model(task.normalise(data["image"]))


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
