"""Every instrument on a run, light and dark; what is refused, and in which words; probes and gradients by numbers."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import olhar
from olhar import cli
from olhar.errors import UserError
from olhar.inspection.gradient_flow import dead_units, fresh, gradient_norms
from olhar.inspection.instruments import INSTRUMENTS
from olhar.inspection.network import network
from olhar.inspection.probe import linear_probe
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.tasks.classify import Classify


@pytest.fixture(scope="module")
def run(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> olhar.Run:
    """A small convolutional network trained for an epoch."""
    folder = tmp_path_factory.mktemp("runs") / "seen"
    small = {"model": "cnn-tiny", "model.args": {"widths": "4,6", "pools": 1}, "epochs": 1, "batch_size": 8}
    quick = {"train.precision": "fp32", "train.memory_format": "contiguous"}
    return olhar.train(colours, run=folder, quiet=True, **small, **quick)


# tests/inspection/test_detector_inside.py, test_attention_maps.py, tests/test_fusion_runs.py
OF_OTHERS = {"anchors", "assignment", "objectness", "suppression", "attention", "words"}


@pytest.mark.parametrize("name", [name for name in INSTRUMENTS if name not in OF_OTHERS])
def test_every_instrument_gives_values_and_a_figure(run: olhar.Run, name: str, tmp_path: Path):
    look = run.inspect(name)
    files = look.save(tmp_path)
    assert [path.suffix for path in files] == [".svg", ".png", ".csv"]
    assert all(path.stat().st_size > 100 for path in files[:2])
    columns, rows = look.values.table()
    assert rows
    assert all(len(row) == len(columns) for row in rows)
    json.dumps(look.values.document())
    assert look.instrument.reading.count("\n") == 1
    assert look.figure(dark=True).get_facecolor() != look.figure().get_facecolor()


def test_instruments_are_listed_with_the_reasons_why_not(run: olhar.Run, trained: Path, capsys):
    assert {name for name, why in run.instruments().items() if why} == OF_OTHERS
    assert cli.main(["inspect", str(trained), "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["network"]["fits"]
    assert "no layer of this model gives a map" in found["patches"]["why"]


def test_the_command_writes_the_figure_and_prints_the_table(run: olhar.Run, colours: Path, capsys, tmp_path: Path):
    image = str(colours / "test" / "red" / "0.png")
    line = ["inspect", str(run.path), "feature-maps", "--image", image, "--layer", "encoder.convs.0"]
    assert cli.main([*line, "--out", str(tmp_path), "--dark"]) == 0
    assert "share of zeros" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        f"feature-maps-encoder.convs.0{end}" for end in (".csv", "-dark.png", "-dark.svg")
    }


@pytest.mark.parametrize(
    ("name", "layer", "sentence"),
    [
        ("netwrk", None, "There is no instrument 'netwrk': did you mean 'network'?"),
        ("patches", "encoder.conv.0", "The model has no part 'encoder.conv.0': did you mean 'encoder.convs.0'?"),
        ("feature-maps", "head", "'head' gives no map to look at"),
        ("network", "head", "network looks at the whole model: leave --layer out."),
    ],
)
def test_what_cannot_be_looked_at_is_said(run: olhar.Run, name: str, layer: str | None, sentence: str):
    with pytest.raises(UserError) as caught:
        run.inspect(name, layer=layer)
    assert str(caught.value).startswith(sentence)


def test_truth_that_is_not_known_is_asked_for(run: olhar.Run, colours: Path):
    with pytest.raises(UserError, match="needs the truth of its images"):
        run.inspect("landscape", colours / "test")
    with pytest.raises(UserError, match="needs 10 images or more"):
        run.inspect("representation", colours / "test" / "red")


def test_blocks_with_skips_are_known_by_their_sum():
    table = network(Classifier(encoder("resnet18", 3, (32, 32), width=4), 2), (3, 32, 32))
    blocks = {name for name, (how, kind) in table.joins.items() if (how, kind) == ("add", "BasicBlock")}
    assert blocks == {f"encoder.layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)}
    without = network(Classifier(encoder("resnet18", 3, (32, 32), width=4, skip=False), 2), (3, 32, 32))
    assert without.joins == {}


def test_a_linear_probe_reads_what_is_linear_and_nothing_else():
    torch.manual_seed(0)
    labels = torch.arange(200) % 2
    told = linear_probe(torch.randn(200, 5) + 6 * labels[:, None], labels, 2)
    assert (told == labels).all()
    assert 0.3 < (linear_probe(torch.randn(200, 5), labels, 2) == labels).float().mean() < 0.7


def small_task() -> Classify:
    torch.manual_seed(0)
    body = encoder("resnet18", 3, (16, 16), width=4, stem="small", blocks=(2, 2, 2, 2))
    return Classify(Classifier(body, 2), [0.5] * 3, [0.25] * 3, ["a", "b"]).eval()


def test_gradients_are_autograds_and_vanish_or_explode_without_skips_and_normalisation():
    task = small_task()
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    batch = {"id": list("abcdefgh"), "image": images, "label": torch.tensor([0, 1] * 4)}
    norms = gradient_norms(task, batch)
    task(batch)["loss"].backward()
    weight = task.model.head.weight
    assert weight.grad is not None
    assert norms["head.weight"] == pytest.approx(float(weight.grad.norm() / weight.detach().norm()), rel=1e-5)
    assert set(norms) == {name for name, value in task.model.named_parameters() if value.ndim > 1}

    bare = fresh(task, skips=False, normalised=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in bare.model.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in task.model.modules())
    twins = [fresh(task, skips=False), fresh(task, skips=False)]
    assert torch.equal(twins[0].model.head.weight, twins[1].model.head.weight)
    assert gradient_norms(twins[0], batch)["encoder.layer2.0.downsample.0.weight"] == 0


def test_units_that_are_zero_everywhere_are_dead():
    task = small_task()
    stem = task.model.encoder.bn1
    with torch.no_grad():
        stem.bias[:3] = -1e3
    batch = {"id": ["a"], "image": torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)}
    assert dead_units(task, batch)["encoder.relu"] == 0.75
