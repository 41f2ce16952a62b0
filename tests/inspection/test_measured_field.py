"""Theoretical fields of ten architectures against what gradients measure, where every pixel that can count does."""

import copy

import numpy as np
import pytest
import torch
from test_receptive_field import make_monotone
from torch import nn

from olhar.errors import UserError
from olhar.inspection.capture import output_shapes
from olhar.inspection.measured_field import effective_side, measured_field, visible_window
from olhar.inspection.receptive_field import receptive_fields
from olhar.models import dense, encoder

# what each is built for, and parts of it: interior and border positions of a fine and of a coarse layer
ARCHITECTURES = {
    "cnn": ({"widths": (4, 4, 4), "pools": 2}, ["convs.1", "convs.2"]),
    "cnn-small": ({"widths": (4, 4, 4, 4)}, ["convs.2", "convs.3"]),
    "cnn-tiny": ({"widths": (4, 4, 4)}, ["convs.2"]),
    "resnet9": ({}, []),
    "resnet9-slim": ({}, []),
    "resnet18": ({"width": 2, "stem": "small", "blocks": (1, 1, 1, 1)}, ["layer2", "layer3.0"]),
    "resnet34": ({"width": 2, "blocks": (2, 1, 1, 1)}, ["layer1", "layer2"]),
    "resnet50": ({"width": 2, "blocks": (1, 1, 1, 1)}, ["layer2", "layer3"]),
}


def agrees(model: nn.Module, layer: str, shape: tuple[int, int, int]) -> None:
    """The clipped field and the measured one are the same rectangle, in a corner and in the middle."""
    field = receptive_fields(model, shape)[layer]
    _, height, width = output_shapes(model, shape)[layer]
    model = make_monotone(copy.deepcopy(model))
    image = torch.ones(1, *shape, dtype=torch.double)
    for position in ((0, 0), (height // 2, width // 2), (height - 1, width // 2)):
        measured = measured_field(model, image, layer, position)
        assert measured.window == visible_window(field, position, shape[1:]), (layer, position)
        assert measured.weight.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fields_of_encoders_are_those_of_gradients(name: str):
    torch.manual_seed(0)
    args, layers = ARCHITECTURES[name]
    body = encoder(name, 1, (48, 48), **args)
    layers = layers or [n for n, s in output_shapes(body, (1, 48, 48)).items() if s[1:] == (12, 12)][-1:]
    for layer in layers:
        agrees(body, layer, (1, 48, 48))


@pytest.mark.parametrize("decoder", ["unet", "pyramid"])
def test_fields_of_decoders_are_those_of_gradients(decoder: str):
    torch.manual_seed(0)
    body = encoder("unet-small", 1, (32, 32), widths=(2, 3))
    agrees(dense(body, decoder, 1), "decoder", (1, 32, 32))


def test_half_of_the_weight_lies_where_it_lies():
    weight = np.zeros((9, 9))
    weight[4, 4], weight[0, 4], weight[8, 4] = 0.96, 0.02, 0.02
    assert effective_side(weight) == 1
    assert effective_side(weight, 0.99) == 9
    assert effective_side(np.zeros((3, 3))) == 0


def test_a_position_that_does_not_exist_is_said():
    with pytest.raises(UserError, match=r"'0' has 8 x 8 positions, counted from 0: there is no \(8, 0\)"):
        measured_field(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), torch.zeros(1, 1, 8, 8), "0", (8, 0))
