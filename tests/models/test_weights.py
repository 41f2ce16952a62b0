"""Trained weights: whose they may be, what is said of them, and what is refused."""

import os

import huggingface_hub
import pytest
import torch
import torchvision
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file

from olhar.errors import UserError
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.models.weights import load_weights


@pytest.fixture(scope="module")
def theirs():
    """torchvision's network, as its weights file holds it."""
    torch.manual_seed(0)
    return torchvision.models.resnet18().state_dict()


def resnet18(in_channels=3, num_outputs=1000, **args):
    return Classifier(encoder("resnet18", in_channels, (32, 32), **args), num_outputs)


def tiny(num_outputs=3, **args):
    """A small network with values of its own."""
    return Classifier(encoder("resnet9-slim", 3, (8, 8), widths=(4, 4, 8, 8), **args), num_outputs)


def equal(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_torchvision_file_loads_whole(theirs, tmp_path):
    torch.save(theirs, tmp_path / "resnet18.pth")
    model = resnet18()
    report = load_weights(model, tmp_path / "resnet18.pth")
    assert report.missing == report.unexpected == report.mismatched == report.remarks == ()
    assert len(report.loaded) == 102  # 122 less the 20 counts of batch norm
    assert report.sentence == f"Loaded 102 of 102 tensors from {tmp_path / 'resnet18.pth'}."
    reference = torchvision.models.resnet18()
    reference.load_state_dict(theirs)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(image), reference.eval()(image), rtol=1e-5, atol=1e-5)


def test_head_of_other_classes_stays_new(theirs, tmp_path):
    save_file(theirs, tmp_path / "w.safetensors")
    model = resnet18(num_outputs=10)
    before = model.head.weight.clone()
    report = load_weights(model, tmp_path / "w.safetensors")
    assert report.mismatched == ("head.weight", "head.bias")
    assert report.missing == ()
    assert "The head is new: its weights are 10x512, the file's 1000x512." in report.sentence
    assert torch.equal(model.head.weight, before)
    assert torch.equal(model.encoder.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])


def test_a_bias_without_its_weights_stays_new(tmp_path):
    state = tiny().state_dict() | {"head.weight": torch.zeros(3, 16)}
    save_file(state, tmp_path / "w.safetensors")
    report = load_weights(tiny(), tmp_path / "w.safetensors")
    assert report.mismatched == ("head.weight", "head.bias")
    assert "The head is new: its weights are 3x8, the file's 3x16." in report.sentence


def test_grey_images_get_the_sum_of_the_colours(theirs, tmp_path):
    save_file(theirs, tmp_path / "w.safetensors")
    colour, grey = resnet18(), resnet18(in_channels=1)
    load_weights(colour, tmp_path / "w.safetensors")
    report = load_weights(grey, tmp_path / "w.safetensors")
    assert "encoder.conv1.weight was summed over red, green and blue" in report.sentence
    image = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = colour.eval()(image.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.eval()(image), expected, rtol=1e-4, atol=1e-4)


def test_small_stem_says_what_stays_untrained(theirs, tmp_path):
    save_file(theirs, tmp_path / "w.safetensors")
    report = load_weights(resnet18(stem="small"), tmp_path / "w.safetensors")
    assert report.mismatched == ("encoder.conv1.weight",)
    assert "Of another shape in it, so untrained: encoder.conv1.weight." in report.sentence


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {"module." + n: t for n, t in s.items()}},
        lambda s: {"module._orig_mod." + n: t for n, t in s.items()},
        lambda s: {"model." + n: t for n, t in s.items()} | {"mean": torch.zeros(1), "std": torch.ones(1)},
    ],
    ids=["state_dict", "parallel", "compiled", "task"],
)
def test_wrappings_are_taken_off(wrap, tmp_path):
    state = tiny().state_dict()
    torch.save(wrap(state), tmp_path / "w.pt")
    model = tiny()
    report = load_weights(model, tmp_path / "w.pt")
    assert report.missing == report.unexpected == ()
    assert equal(model, state)


def test_a_folder_that_holds_weights(tmp_path):
    state = tiny().state_dict()
    save_file(state, tmp_path / "model.safetensors")
    model = tiny()
    load_weights(model, tmp_path)
    assert equal(model, state)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        load_weights(model, tmp_path)


def test_what_is_missing_and_what_is_too_much_is_named(tmp_path):
    state = tiny().state_dict()
    state["extra.weight"] = torch.zeros(2)
    del state["encoder.stem.conv.weight"]
    save_file(state, tmp_path / "w.safetensors")
    report = load_weights(tiny(), tmp_path / "w.safetensors")
    assert report.missing == ("encoder.stem.conv.weight",)
    assert report.unexpected == ("extra.weight",)
    assert "Not in it, so untrained: encoder.stem.conv.weight." in report.sentence
    assert "In it, but with no place here: extra.weight." in report.sentence


@pytest.mark.parametrize(("name", "other"), [("resnet34", "resnet50"), ("resnet50", "resnet18"), ("cnn", "resnet18")])
def test_another_architecture_is_refused_and_nothing_changes(name, other, tmp_path):
    model = Classifier(encoder(name, 3, (32, 32)), 10)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    torch.save(getattr(torchvision.models, other)().state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="another architecture"):
        load_weights(model, tmp_path / "w.pth")
    assert equal(model, before)


class Trap:
    """A pickle that would run a command."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"weight": Trap(tmp_path / "ran")}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt is not a plain state dict"):
        load_weights(tiny(), tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


def test_what_is_not_weights_is_refused_by_name(tmp_path):
    save_file(tiny().state_dict(), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    torch.save(tiny().state_dict(), tmp_path / "w.pt")
    files = {
        "cut.safetensors": whole[: len(whole) // 2],
        "cut.pt": (tmp_path / "w.pt").read_bytes()[:2000],
        "notes.pt": b"weights, one day\n",
        "empty.pt": b"",
    }
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in [*files, "list.pt", "epoch.pt"]:
        with pytest.raises(UserError, match=name):
            load_weights(tiny(), tmp_path / name)


def test_the_hub_is_asked_only_when_allowed(tmp_path, monkeypatch):
    state = tiny().state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")

    def download(repository, name):
        assert repository == "someone/net"
        if name == "model.safetensors":
            raise EntryNotFoundError("no such file")
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(UserError, match=r"--data\.download"):
        load_weights(tiny(), "someone/net")
    model = tiny()
    load_weights(model, "someone/net", download=True)
    assert equal(model, state)


def test_a_hub_out_of_reach_is_said(monkeypatch):
    def download(repository, name):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(UserError, match="cannot be reached"):
        load_weights(tiny(), "someone/net", download=True)


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match=r"There is no weights file nowhere\.pth"):
        load_weights(tiny(), "nowhere.pth")
