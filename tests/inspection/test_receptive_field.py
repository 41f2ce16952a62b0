"""Receptive fields against the notes' Figure 2.9 and against gradients: the pixels that do change a position."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from olhar.inspection.capture import capture
from olhar.inspection.receptive_field import receptive_fields
from olhar.models import DECODERS, dense
from olhar.models.classifier import Classifier
from olhar.models.cnn import CNN
from olhar.models.resnet import ResNet


def make_monotone(model: nn.Module) -> nn.Module:
    """Positive weights, no offsets, and mean in place of max: every pixel that can be seen then is."""
    for name, module in list(model.named_modules()):
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        parent = model.get_submodule(name.rpartition(".")[0])
        if isinstance(module, nn.GroupNorm):
            setattr(parent, name.rpartition(".")[2], nn.Identity())  # its statistics see everything
        if isinstance(module, nn.MaxPool2d):
            args = (module.kernel_size, module.stride, module.padding, module.ceil_mode)
            setattr(parent, name.rpartition(".")[2], nn.AvgPool2d(*args))
    return model.double().eval()


def seen_by_gradient(
    model: nn.Module, name: str, shape: tuple[int, ...], position: list[int] | None = None
) -> tuple[list[tuple[int, int]], list[int]]:
    """First and last pixel with a gradient along each axis, for a position (the middle) of a layer; the position."""
    image = torch.ones(1, *shape, dtype=torch.double, requires_grad=True)
    with capture(model, [name]) as activations:
        model(image)
    activation = activations[name][0, 0]
    position = position or [size // 2 for size in activation.shape]
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


class UpAndDown(nn.Module):
    """Figure 2.9(c): strides 2, 2, 1, then two linear interpolations by 2."""

    def __init__(self, mode: str):
        super().__init__()
        self.down = nn.Sequential(*[nn.Conv1d(1, 1, 3, stride, padding=1) for stride in (2, 2, 1)])
        self.up1 = nn.Upsample(scale_factor=2, mode=mode)
        self.up2 = nn.Upsample(scale_factor=2, mode=mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.up2(self.up1(self.down(x)))


def test_figure_2_9_interpolated():
    """The notes say 16, which is the length of their signal: of an endless one a pixel sees 19 or 23."""
    fields = receptive_fields(UpAndDown("linear"), (1, 64))
    field = fields["up2"]
    assert field is not None
    assert (field.axes[0].sizes, field.size, field.stride) == ((19, 23), (23,), (1,))
    model = make_monotone(UpAndDown("linear"))
    for position in range(28, 36):
        (window,), _ = seen_by_gradient(model, "up2", (1, 64), [position])
        assert field.axes[0].window(position) == window
    nearest = receptive_fields(UpAndDown("nearest"), (1, 64))["up2"]
    assert nearest is not None
    assert nearest.axes[0].sizes == (15,)


def test_figure_2_9_cut_at_the_ends_of_its_signal():
    fields = receptive_fields(UpAndDown("linear"), (1, 16))
    down, up = fields["down"], fields["up2"]
    assert down is not None
    assert up is not None
    assert [len(down.axes[0].visible(i, 16)) for i in range(4)] == [8, 12, 15, 11]
    whole = [i for i in range(16) if len(up.axes[0].visible(i, 16)) == 16]
    assert whole == [5, 6, 7, 8, 9, 10]
    model = make_monotone(UpAndDown("linear"))
    for name, field, positions in (("down", down, 4), ("up2", up, 16)):
        for position in range(positions):
            ((first, last),), _ = seen_by_gradient(model, name, (1, 16), [position])
            assert field.axes[0].visible(position, 16) == range(first, last + 1)


def test_what_lies_in_the_padding_is_not_visible():
    field = receptive_fields(nn.Sequential(nn.Conv1d(1, 1, 3, padding=4)), (1, 8))["0"]
    assert field is not None
    assert len(field.axes[0].visible(0, 8)) == 0


# Layers over a convolution of stride 2, and the sizes of windows they give.
OVER = {
    "transposed by 2, kernel 4": (nn.ConvTranspose1d(1, 1, 4, 2, padding=1), (5,)),
    "transposed by 2, kernel 3": (nn.ConvTranspose1d(1, 1, 3, 2, padding=1, output_padding=1), (3, 5)),
    "transposed by 2, dilated": (nn.ConvTranspose1d(1, 1, 3, 2, padding=2, dilation=3), (3, 9)),
    "transposed by 3, kernel 2": (nn.ConvTranspose1d(1, 1, 2, 3), (3,)),
    "linear by 3": (nn.Upsample(scale_factor=3, mode="linear"), (3, 5)),
    "nearest by 3": (nn.Upsample(scale_factor=3), (3,)),
    "padded and cut": (nn.Sequential(nn.ConstantPad1d((3, 1), 0.0), nn.ConstantPad1d((-1, 0), 0.0)), (3,)),
}


@pytest.mark.parametrize("kind", OVER)
def test_windows_of_every_phase_are_those_of_the_gradient(kind: str):
    layer, sizes = OVER[kind]
    model = nn.Sequential(nn.Conv1d(1, 1, 3, 2, padding=1), layer)
    field = receptive_fields(model, (1, 48))["1"]
    assert field is not None
    assert field.axes[0].sizes == sizes
    model = make_monotone(model)
    for position in range(18, 24):
        if kind == "transposed by 3, kernel 2" and position % 3 == 2:
            continue  # nothing gives to it
        (window,), _ = seen_by_gradient(model, "1", (1, 48), [position])
        assert field.axes[0].window(position) == window


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
def test_resizing_by_no_whole_factor(mode: str):
    for size in (11, 16, 23, 31, 5):
        model = nn.Sequential(nn.Conv1d(1, 1, 3, 2, padding=1), nn.Upsample(size=size, mode=mode))
        field = receptive_fields(model, (1, 21))["1"]
        assert field is not None
        model = make_monotone(model)
        for position in range(size):
            ((first, last),), _ = seen_by_gradient(model, "1", (1, 21), [position])
            assert field.axes[0].visible(position, 21) == range(first, last + 1)


class Shuffled(nn.Module):
    """Pixels to channels and back, a slice and a concatenation."""

    def __init__(self):
        super().__init__()
        self.down = nn.PixelUnshuffle(4)
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.up = nn.PixelShuffle(4)
        self.last = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shuffled = self.up(self.conv(self.down(x)))
        return self.last(torch.cat([shuffled[:, :, 2:, 1:-1], x[:, :, :-2, :-2]], dim=1))


def test_shuffled_and_sliced():
    fields = receptive_fields(Shuffled(), (1, 32, 24))
    down, up, last = (fields[name] for name in ("down", "up", "last"))
    assert down is not None
    assert up is not None
    assert last is not None
    assert (down.size, up.size, up.stride) == ((4, 4), (12, 12), (1, 1))
    model = make_monotone(Shuffled())
    for position in ([14, 11], [15, 12], [16, 13], [17, 14]):
        windows, _ = seen_by_gradient(model, "last", (1, 32, 24), position)
        assert [axis.window(p) for axis, p in zip(last.axes, position, strict=True)] == windows


def test_a_concatenation_along_an_axis_of_space_has_no_field():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([x, x.flip(3)], dim=3))

    assert receptive_fields(Beside(), (1, 8, 8)) == {"last": None}


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


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", DECODERS)
def test_decoders_see_what_the_gradient_sees(name: str, interpolation: str):
    widths = {"width": 4} if name == "pyramid" else {"widths": (4,)}
    model = dense(CNN(3, (96, 80), widths=(4, 4, 4), pools=2), name, 1, interpolation=interpolation, **widths)
    field = receptive_fields(model, (3, 96, 80))["head"]
    assert field is not None
    model = make_monotone(model)
    for position in ([48, 40], [49, 41], [50, 42], [51, 43]):
        windows, _ = seen_by_gradient(model, "head", (3, 96, 80), position)
        assert [axis.window(p) for axis, p in zip(field.axes, position, strict=True)] == windows


@pytest.mark.parametrize("size", [(33, 19), (3, 1), (6, 11)])
@pytest.mark.parametrize("name", DECODERS)
def test_decoders_of_odd_sizes_see_no_less_than_the_gradient(name: str, size: tuple[int, int]):
    widths = {"width": 4} if name == "pyramid" else {"widths": (4,)}
    model = dense(CNN(3, size, widths=(4, 4, 4), pools=2), name, 1, interpolation="bilinear", **widths)
    field = receptive_fields(model, (3, *size))["head"]
    assert field is not None
    model = make_monotone(model)
    for row in range(0, size[0], 2):
        position = [row, row * (size[1] - 1) // max(1, size[0] - 1)]
        windows, _ = seen_by_gradient(model, "head", (3, *size), position)
        for axis, p, length, (first, last) in zip(field.axes, position, size, windows, strict=True):
            seen = axis.visible(p, length)
            # Padding around a map whose windows do not repeat is said to see a pixel or two of the image.
            assert seen.start <= first <= last < seen.stop <= last + 3


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
