"""Residual networks beside torchvision's, and the options torchvision does not have."""

import pytest
import torch
import torchvision

from olhar.models import encoder
from olhar.models.classifier import Classifier

NAMES = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


def prefixed(state):
    """torchvision's names as ours: the rule in the docstring of models/resnet.py."""
    return {n.replace("fc.", "head.") if n.startswith("fc.") else f"encoder.{n}": t for n, t in state.items()}


@pytest.mark.parametrize("name", NAMES)
def test_same_parameters_as_torchvision(name):
    with torch.device("meta"):
        ours = Classifier(encoder(name, 3, (224, 224)), 1000).state_dict()
        theirs = prefixed(getattr(torchvision.models, name)().state_dict())
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


@pytest.mark.parametrize("name", NAMES)
def test_same_outputs_as_torchvision(name):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().train()
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        theirs(image)  # so that the running statistics are not 0 and 1
    ours = Classifier(encoder(name, 3, (32, 32)), 1000)
    ours.load_state_dict(prefixed(theirs.state_dict()))
    with torch.no_grad():
        expected, outputs = theirs.eval()(image), ours.eval()(image)
    assert (outputs - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_numbers_of_figure_2_8():
    with torch.device("meta"):
        model = Classifier(encoder("resnet18", 3, (256, 256)), 1000)
        levels = model.encoder(torch.empty(1, 3, 256, 256))
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
    assert sum(p.numel() for p in model.head.parameters()) == 513_000
    # Stage 1 neither halves nor doubles: the stem has already halved twice.
    assert [tuple(level.shape[1:]) for level in levels] == [
        (64, 128, 128),
        (64, 64, 64),
        (128, 32, 32),
        (256, 16, 16),
        (512, 8, 8),
    ]


def test_small_stem_keeps_small_images_large():
    body = encoder("resnet18", 3, (32, 32), stem="small", width=8)
    levels = body(torch.randn(2, 3, 32, 32))
    assert body.strides == (1, 1, 2, 4, 8)
    assert [level.shape[2] for level in levels] == [32, 32, 16, 8, 4]


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_zero_init_residual_makes_blocks_the_identity(block):
    torch.manual_seed(0)
    body = encoder("resnet18", 3, (32, 32), block=block, width=8, zero_init_residual=True).eval()
    for stage in (body.layer1, body.layer4):
        last = stage[1]
        x = torch.randn(2, stage[0](torch.randn(2, stage[0].conv1.in_channels, 8, 8)).shape[1], 8, 8)
        with torch.no_grad():
            assert torch.equal(last(x), x.clamp(min=0))


def test_an_untrained_block_is_not_the_identity_otherwise():
    torch.manual_seed(0)
    block = encoder("resnet18", 3, (32, 32), width=8).eval().layer1[1]
    x = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        assert (block(x) - x).abs().max() > 0.1


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_without_skip_nothing_goes_around_a_block(name):
    body = encoder(name, 3, (32, 32), width=8, skip=False).eval()
    assert not any("downsample" in n for n, _ in body.named_parameters())
    block = body.layer1[1]
    last = block.bn3 if name == "resnet50" else block.bn2
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        assert not block(torch.rand(1, block.conv1.in_channels, 8, 8)).any()
