"""Receptive fields against the notes' Figure 2.9 and against gradients: the pixels that do change a position."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from olhar.inspection.capture import capture
from olhar.inspection.receptive_field import receptive_fields
from olhar.models.classifier import Classifier
from olhar.models.cnn import CNN
from olhar.models.resnet import ResNet


def make_monotone(model: nn.Module) -> nn.Module:
    """Positive weights, no offsets, and mean in place of max: every pixel that can be seen then is."""
    for name, module in list(model.named_modules()):
        if isinstance(module, (nn.Conv1d, nn.Conv2d)):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.MaxPool2d):
            parent = model.get_submodule(name.rpartition(".")[0])
            args = (module.kernel_size, module.stride, module.padding, module.ceil_mode)
            setattr(parent, name.rpartition(".")[2], nn.AvgPool2d(*args))
    return model.double().eval()


def seen_by_gradient(model: nn.Module, name: str, shape: tuple[int, ...]) -> tuple[list[tuple[int, int]], list[int]]:
    """First and last pixel with a gradient along each axis, for the middle position of a layer; the position."""
    image = torch.ones(1, *shape, dtype=torch.double, requires_grad=True)
    with capture(model, [name]) as activations:
        model(image)
    activation = activations[name][0, 0]
    position = [size // 2 for size in activation.shape]
    (gradient,) = torch.autograd.grad(activation[tuple(position)], image)
    touched = gradient[0].abs().sum(0).nonzero()
    return [(int(column.min()), int(column.max())) for column in touched.T], position


@pytest.mark.parametrize(("stride", "expected"), [(1, 7), (2, 15)])
def test_figure_2_9(stride: int, expected: int):
    """Three convolutions of 3: 7 with stride 1; with stride 2 it is 1 + 2 + 4 + 8 = 15."""
    chain = nn.Sequential(*[nn.Conv1d(1, 1, 3, stride, padding=1) for _ in range(3)])
    field = receptive_fields(chain, (1, 64))["2"]
    assert field is not None
    assert field.size == (expected,)
    assert field.stride == (stride**3,)
    (window,), (position,) = seen_by_gradient(make_monotone(chain), "2", (1, 64))
    assert field.axes[0].window(position) == window


def test_resnet18_stages():
    with torch.device("meta"):
        fields = receptive_fields(resnet18(), (3, 224, 224))
    found = [fields[f"layer{i}"] for i in (1, 2, 3, 4)]
    assert [f.size for f in found if f] == [(43, 43), (99, 99), (211, 211), (435, 435)]
    assert [f.stride for f in found if f] == [(4, 4), (8, 8), (16, 16), (32, 32)]
    assert fields["avgpool"] is fields["fc"] is None


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3"])
def test_resnet_windows_are_those_of_the_gradient(layer: str):
    model = ResNet(image_size=(352, 288), width=4)
    field = receptive_fields(model, (3, 352, 288))[layer]
    assert field is not None
    windows, position = seen_by_gradient(make_monotone(model), layer, (3, 352, 288))
    assert [axis.window(p) for axis, p in zip(field.axes, position, strict=True)] == windows


@pytest.mark.parametrize("layer", ["encoder.convs.0", "encoder.convs.1", "encoder.convs.2", "encoder.convs.3"])
def test_cnn_windows_are_those_of_the_gradient(layer: str):
    model = Classifier(CNN(3, (96, 96), widths=(4, 4, 4, 4), pools=3), 10)
    field = receptive_fields(model, (3, 96, 96))[layer]
    assert field is not None
    windows, position = seen_by_gradient(make_monotone(model), layer, (3, 96, 96))
    assert [axis.window(p) for axis, p in zip(field.axes, position, strict=True)] == windows


class Branches(nn.Module):
    """A dilated path along one axis, a wide one along the other, and a skip; joined by sums."""

    def __init__(self):
        super().__init__()
        self.dilated = nn.Conv2d(1, 1, (3, 1), dilation=(4, 1), padding=(4, 0))
        self.wide = nn.Conv2d(1, 1, (1, 5), padding=(0, 2))
        self.last = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.relu(self.dilated(x)) + x + self.wide(x))


def test_branches_join_and_axes_are_apart():
    fields = receptive_fields(Branches(), (1, 40, 40))
    dilated, wide, last = (fields[name] for name in ("dilated", "wide", "last"))
    assert dilated is not None
    assert wide is not None
    assert last is not None
    assert (dilated.size, wide.size, last.size) == ((9, 1), (1, 5), (9, 5))
    windows, position = seen_by_gradient(make_monotone(Branches()), "last", (1, 40, 40))
    assert [axis.window(p) for axis, p in zip(last.axes, position, strict=True)] == windows


def test_what_mixes_positions_sees_the_whole_image():
    model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(2), nn.Linear(64, 2))
    fields = receptive_fields(model, (3, 32, 32))
    assert fields["0"] is not None
    assert fields["0"].size == (4, 4)
    assert fields["1"] is fields["2"] is None
