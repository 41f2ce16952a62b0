"""timm's encoders behind our contract, and its weights in our names."""

import sys

import pytest
import timm
import torch

from olhar.errors import UserError
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.models.weights import load_weights


# A plain transformer, a convolutional network whose names timm rewrites, one that puts its channels last.
@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "swin_tiny_patch4_window7_224"])
def test_levels_have_the_declared_channels_and_strides(name):
    with torch.device("meta"):
        body = encoder(f"timm:{name}", 1, (64, 64)).eval()
        levels = body(torch.empty(2, 1, 64, 64))
    expected = [(2, c, 64 // s, 64 // s) for c, s in zip(body.channels, body.strides, strict=True)]
    assert [tuple(level.shape) for level in levels] == expected


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    model = Classifier(encoder(f"timm:{name}", 3, (64, 64)), 3)
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_timm_weights_give_timm_outputs(tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model("test_resnet", num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    ours = Classifier(encoder("timm:test_resnet", 3, (64, 64)), 7).eval()
    report = load_weights(ours, tmp_path / "w.pt")
    assert report.missing == report.unexpected == report.mismatched == ()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image))


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_timm_weights_find_the_body_under_other_names(name, tmp_path):
    torch.save(timm.create_model(name, num_classes=7).state_dict(), tmp_path / "w.pt")
    ours = Classifier(encoder(f"timm:{name}", 3, (160, 160)), 7)
    report = load_weights(ours, tmp_path / "w.pt")
    assert report.missing == report.mismatched == ()


def test_wrong_words_name_the_nearest():
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        encoder("timm:resnet81", 3, (64, 64))
    with pytest.raises(UserError, match="timm cannot build resnet18"):
        encoder("timm:resnet18", 3, (64, 64), colour="blue")


def test_without_timm_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r'pip install "olhar\[timm\]"'):
        encoder("timm:resnet18", 3, (64, 64))
