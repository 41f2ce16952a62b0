"""Chapter 2 of the notes, convolutional networks: the numbers of its figures; the errata N4 to N8."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops as tv
from compare import close
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from olhar.errors import UserError
from olhar.inspection.network import network
from olhar.inspection.receptive_field import receptive_fields
from olhar.models import DECODERS, dense, encoder
from olhar.models.autoencoder import Autoencoder
from olhar.models.classifier import Classifier
from olhar.models.cnn import CNN
from olhar.models.detector import Detector
from olhar.models.resnet import BasicBlock, ResNet
from olhar.objectives.detection import DEVIATION, Detection
from olhar.ops.anchors import Grid, shapes
from olhar.ops.boxes import iou, suppress
from olhar.ops.matching import Objects, assign, decode, encode, targets
from olhar.ops.resize import resize
from olhar.theory import draw_models
from olhar.theory.convolution import matrix, output_size, slide


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.notes("Fig 2.1a", "C11")
def test_figure_2_1_one_filter_over_a_colour_image():
    """C11: the notes do not say the padding."""
    for padding, expected in ((0, (1, 1196, 1296)), (2, (1, 1200, 1300))):
        (layer,) = network(nn.Sequential(nn.Conv2d(3, 1, 5, padding=padding, bias=False)), (3, 1200, 1300)).layers
        assert (layer.output_shape, layer.parameters) == (expected, 75)
        assert layer.multiply_adds == 75 * expected[1] * expected[2]
        assert expected[1:] == (output_size(1200, 5, padding=padding), output_size(1300, 5, padding=padding))
        real = torch.empty(1, 3, 1200, 1300, device="meta"), torch.empty(1, 3, 5, 5, device="meta")
        assert F.conv2d(*real, padding=padding).shape[1:] == expected


@pytest.mark.notes("Fig 2.1b-c")
def test_figure_2_1_six_filters_are_one_tensor():
    layer = nn.Conv2d(3, 6, 5)
    assert layer.weight.shape == (6, 3, 5, 5)
    assert (layer.weight.numel(), count(layer)) == (450, 456)
    (row,) = network(nn.Sequential(layer), (3, 1200, 1300)).layers
    assert (row.output_shape, row.parameters) == ((6, 1196, 1296), 456)
    image = torch.rand(1, 3, 9, 9)
    alone = [F.conv2d(image, layer.weight[i : i + 1], layer.bias[i : i + 1]) for i in range(6)]  # type: ignore[index]
    close(torch.cat(alone, 1).detach(), layer(image).detach(), 1e-4)


@pytest.mark.notes("Fig 2.2", "N4")
def test_figure_2_2_height_comes_before_width():
    """N4: torch keeps C_out x C_in/groups x k_H x k_W; and what it calls convolution turns no kernel around."""
    assert nn.Conv2d(2, 4, (3, 5)).weight.shape == (4, 2, 3, 5)
    assert nn.Conv2d(4, 8, (3, 5), groups=2).weight.shape == (8, 2, 3, 5)
    for k, s, p, d, groups in ((3, 1, 0, 1, 1), (5, 2, 2, 1, 2), (3, 2, 1, 2, 4)):
        layer = nn.Conv2d(4, 8, (k, k + 2), s, p, d, groups)
        (row,) = network(nn.Sequential(layer), (4, 32, 21)).layers
        assert row.output_shape == (8, output_size(32, k, s, p, d), output_size(21, k + 2, s, p, d))
        assert row.output_shape == layer(torch.empty(1, 4, 32, 21)).shape[1:]
        assert row.parameters == 8 * 4 // groups * k * (k + 2) + 8
    impulse, kernel = torch.tensor([0.0, 0, 1, 0, 0]), torch.tensor([1.0, 2, 3])
    assert [position.value for position in slide(impulse, kernel, padding=1)] == [0, 3, 2, 1, 0]
    with pytest.raises(UserError, match="reaches over 5 does not fit into 4"):
        output_size(4, 3, dilation=2)


@pytest.mark.notes("signal of the course")
def test_the_course_example_of_one_dimension():
    x, w = torch.tensor([5.0, 4, 8, 7, 9, 3, 6]), torch.tensor([1.0, 2, 3])
    found = slide(x, w, padding=1)
    assert [position.value for position in found] == [22, 37, 41, 49, 34, 33, 15]
    assert (found[0].start, found[0].window.tolist()) == (-1, [0, 5, 4])
    close(F.conv1d(x[None, None], w[None, None], padding=1).flatten(), [position.value for position in found])
    texts = [text.get_text() for text in draw_models.sliding(x, w, 3, padding=1).axes[0].texts]
    assert [text for text in texts if text.isdecimal()][-4:] == [
        "22",
        "37",
        "41",
        "49",
    ]  # what comes after is not known


@pytest.mark.notes("Fig 2.3", "2x2 max pool", "C12")
def test_figure_2_3_shapes_and_parameters():
    """C12: the layers in the middle are the likely ones."""
    table = network(Classifier(CNN(), 10), (3, 256, 256))
    spaces = [stage.output_shape for stage in table.stages()]
    assert spaces == [
        (64, 256, 256), (128, 128, 128), (256, 64, 64), (512, 32, 32), (1024, 16, 16), (10,),
    ]  # fmt: skip
    assert (table.layers[0].parameters, table.layers[-1].parameters, table.parameters) == (1_792, 10_250, 6_284_810)
    assert nn.MaxPool2d(2)(torch.zeros(1, 64, 256, 256)).shape[2:] == (128, 128)  # stride 2 is what a pool of 2 means


@pytest.mark.notes("Fig 2.4a")
def test_figure_2_4_body_and_head_are_the_whole():
    model = Classifier(ResNet(width=8), 10)
    assert count(model.encoder) + count(model.head) == count(model)


@pytest.mark.notes("Fig 2.6")
def test_figure_2_6_four_blocks_are_sixteen_paths():
    """Where every branch copies its input each block doubles it: 2^4 ways lead through four."""
    blocks = [BasicBlock(2, 2, 1, skip=True).eval() for _ in range(4)]
    for block in blocks:
        nn.init.dirac_(block.conv1.weight)
        nn.init.dirac_(block.conv2.weight)
    x = torch.rand(1, 2, 5, 5)
    with torch.no_grad():
        close(nn.Sequential(*blocks)(x) / x, torch.full_like(x, 16), 1e-3)


@pytest.mark.notes("Fig 2.6", "N5")
def test_figure_2_6_an_untrained_block_is_no_identity():
    """N5: only with its last norm at zero, in evaluation, and where x ≥ 0: the ReLU comes after the sum."""
    torch.manual_seed(0)
    x = torch.randn(1, 8, 6, 6)
    zeroed = ResNet(width=8, zero_init_residual=True).eval().layer1[0]
    with torch.no_grad():
        assert not torch.allclose(ResNet(width=8).eval().layer1[0](x), x.relu())
        assert torch.equal(zeroed(x), x.relu())
        assert torch.equal(zeroed(x.abs()), x.abs())
        assert not torch.equal(zeroed(x), x)


@pytest.mark.notes("Fig 2.8", "N6")
def test_figure_2_8_stages_of_resnet18():
    """N6: stage 1 keeps both resolution and width; the first quarter is the stem's."""
    with torch.device("meta"):
        model = Classifier(encoder("resnet18", 3, (256, 256)), 1000)
    table = network(model, (3, 256, 256))
    shapes_ = [stage.output_shape for stage in table.stages()]
    assert shapes_[1:5] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8)]
    assert (table.parameters, count(model.head)) == (11_689_512, 513_000)
    fields = [f for i in (1, 2, 3, 4) if (f := receptive_fields(model, (3, 256, 256))[f"encoder.layer{i}"])]
    assert [f.size[0] for f in fields] == [43, 99, 211, 435]
    assert [f.stride[0] for f in fields] == [4, 8, 16, 32]


@pytest.mark.notes("Fig 2.9a", "Fig 2.9b", "model of the course", "N7")
@pytest.mark.parametrize(
    ("strides", "field"),
    [((1, 1, 1), 7), ((2, 2, 2), 15), ((1,) * 4, 9)],
    ids=["a", "b, N7: not 12", "course"],
)
def test_figure_2_9_receptive_fields_are_those_of_the_gradient(strides: tuple[int, ...], field: int):
    chain = nn.Sequential(*[nn.Conv1d(1, 1, 3, s, padding=1, bias=False) for s in strides]).double()
    found = receptive_fields(chain, (1, 64))[str(len(strides) - 1)]
    assert found is not None
    assert found.size == (field,)
    for layer in chain:
        nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    signal = torch.ones(1, 1, 64, dtype=torch.double, requires_grad=True)
    out = chain(signal)
    (gradient,) = torch.autograd.grad(out[0, 0, out.shape[-1] // 2], signal)
    assert int((gradient != 0).sum()) == field


@pytest.mark.notes("Fig 2.9b", "N7")
def test_figure_2_9_b_twelve_is_what_the_border_leaves():
    """N7: of 16 samples and strides 2, 2, 1 the second pixel sees 12; with 2, 2, 2 the two see 8 and 15."""
    for strides, expected in (((2, 2, 1), [8, 12, 15, 11]), ((2, 2, 2), [8, 15])):
        chain = nn.Sequential(*[nn.Conv1d(1, 1, 3, s, padding=1) for s in strides])
        field = receptive_fields(chain, (1, 16))["2"]
        assert field is not None
        assert [len(field.axes[0].visible(i, 16)) for i in range(len(expected))] == expected


@pytest.mark.notes("Fig 2.9c", "N8")
def test_figure_2_9_c_interpolation_widens_the_field():
    """N8: 16 is the length of the signal; of a longer one a pixel sees 19 or 23, by nearest interpolation 15."""
    for mode, sizes in (("linear", (19, 23)), ("nearest", (15,))):
        down = [nn.Conv1d(1, 1, 3, s, padding=1) for s in (2, 2, 1)]
        up = [nn.Upsample(scale_factor=2, mode=mode) for _ in range(2)]
        fields = receptive_fields(nn.Sequential(*down, *up), (1, 64))["4"]
        assert fields is not None
        assert fields.axes[0].sizes == sizes


@pytest.mark.notes("Fig 2.10")
def test_figure_2_10_the_decoder():
    """The course's model has a 3x3 head of 2 classes and keeps ResNet's unused fc: 12,166,954 in all."""
    with torch.device("meta"):
        body = encoder("resnet18", 3, (256, 256))
        model = dense(body, "pyramid", 2, width=64)
        levels = body(torch.empty(1, 3, 256, 256))
        out = model.decoder(levels)
        assert [tuple(level.shape[1:3]) for level in levels] == [(64, 128), (64, 64), (128, 32), (256, 16), (512, 8)]
        assert out.shape[1:] == (64, 128, 128)
        assert model(torch.empty(1, 3, 256, 256)).shape == (1, 2, 256, 256)
        assert count(model.decoder) == 476_288
        assert count(body, model.decoder, nn.Linear(512, 1000), nn.Conv2d(64, 2, 3)) == 12_166_954
    assert "pyramid" in DECODERS


@pytest.mark.notes("upsampling")
def test_upsampling_by_the_nearest_and_between():
    x = torch.tensor([[[[1.0, 3]]]])
    assert resize(x, (1, 4), "nearest").flatten().tolist() == [1, 1, 3, 3]
    assert resize(x, (1, 4), "bilinear").flatten().tolist() == [1, 1.5, 2.5, 3]


@pytest.mark.notes("upsampling")
def test_a_transposed_convolution_is_the_transposed_matrix():
    """With the layer as a matrix W x; and by its definition, ⟨W x, y⟩ = ⟨x, W^T y⟩, for images."""
    torch.manual_seed(0)
    kernel, signal = torch.randn(3).double(), torch.randn(11).double()
    for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (2, 2, 2), (3, 0, 2)):
        w = matrix(kernel, 11, stride, padding, dilation)
        shape = {"stride": stride, "padding": padding, "dilation": dilation}
        out = F.conv1d(signal[None, None], kernel[None, None], **shape)
        close(w @ signal, out[0, 0])
        left = (11 + 2 * padding - dilation * 2 - 1) % stride  # samples at the end that no position reaches
        back = F.conv_transpose1d(out, kernel[None, None], output_padding=left, **shape)
        close(w.T @ out[0, 0] + 1, back[0, 0] + 1)
    x, w = torch.randn(1, 2, 7, 7).double(), torch.randn(3, 2, 3, 3).double()
    y = F.conv2d(x, w, stride=2)
    u = torch.randn_like(y)
    close((y * u).sum(), (x * F.conv_transpose2d(u, w, stride=2)).sum())


@pytest.mark.notes("Fig 2.11")
def test_figure_2_11_an_autoencoder_keeps_a_twelfth():
    model = Autoencoder(3, (64, 64), latent_channels=4, factor=4, widths=(16, 16))
    image = torch.rand(1, 3, 64, 64)
    latent = model.encode(image)
    assert latent.shape[1:] == model.latent_shape() == (4, 16, 16)
    assert image.numel() / latent.numel() == 12
    torch.testing.assert_close(model.decode(latent, (64, 64)), model(image))
    assert model(image).shape == image.shape


GRID = Grid.over((64, 64), [16], [shapes((16, 24, 36), (0.5, 1, 2))])


@pytest.mark.notes("Fig 2.12a", "Fig 2.12b")
def test_figure_2_12_nine_anchors_at_sixteen_positions():
    assert (GRID.levels[0].height, GRID.levels[0].width, len(GRID.levels[0].shapes), len(GRID)) == (4, 4, 9, 144)
    theirs = AnchorGenerator(((16, 24, 36),), ((0.5, 1.0, 2.0),)).cell_anchors[0]
    sides = torch.stack([theirs[:, 2] - theirs[:, 0], theirs[:, 3] - theirs[:, 1]], 1)
    assert (sides - torch.tensor(GRID.levels[0].shapes)).abs().max() <= 1  # torchvision rounds each edge


@pytest.mark.notes("Fig 2.12c", "C14")
def test_figure_2_12_which_anchor_answers_and_with_what():
    """C14: the notes' intersection is IoU, and the four offsets are (dx/w, dy/h, log w, log h)."""
    boxes = torch.tensor([[8.0, 8, 40, 30], [30, 30, 50, 62]])
    close(iou(boxes[:, None], GRID.boxes), tv.box_iou(boxes, GRID.boxes), 1e-4)
    best = tv.box_iou(boxes, GRID.boxes).argmax(1)
    objects = Objects.of([boxes], [torch.tensor([0, 1])])
    wanted = targets(GRID, objects, assign(GRID, objects), 2)
    assert wanted.anchor.tolist() == sorted(best.tolist())  # the best of each; others by a threshold
    assert int((assign(GRID, objects, 0.5)[0] >= 0).sum()) > 2
    values = wanted.dense()
    assert values.shape == (1, 144, 1 + 4 + 2)
    anchors = GRID.boxes[wanted.anchor]
    close(decode(encode(wanted.boxes, anchors), anchors), wanted.boxes, 1e-4)


@pytest.mark.notes("Fig 2.13", "C15")
def test_figure_2_13_numbers_of_a_detector():
    """k (5 + c) channels: 63 at each of the 16 positions, 1,008 in all."""
    body = encoder("resnet18", 3, (64, 64), width=8)
    model = Detector(body, 2, anchors=9, strides=(16,), width=8).eval()
    assert model.heads[0].out.out_channels == 63  # type: ignore[union-attr]
    with torch.no_grad():
        outputs = model(torch.rand(1, 3, 64, 64))
    assert outputs.shape == (1, 144, 7)
    assert outputs.numel() == 16 * 63 == 1_008
    boxes = torch.tensor([[8.0, 8, 40, 30]])
    objects = Objects.of([boxes], [torch.tensor([1])])
    wanted = targets(GRID, objects, assign(GRID, objects, 0.5), 2)
    parts = Detection(outputs, GRID.boxes).parts(wanted)
    asked = ~wanted.dense()[0, :, 0].isnan()  # the rule that ignores
    expected = F.binary_cross_entropy_with_logits(outputs[0, asked, 0], wanted.dense()[0, asked, 0], reduction="sum")
    close(parts["object"][0], expected, 1e-4)
    classes = F.binary_cross_entropy_with_logits(outputs[0, wanted.anchor, 5:], wanted.classes, reduction="sum")
    close(parts["classes"][0], classes, 1e-4)
    wrong = outputs[0, wanted.anchor, 1:5] - encode(wanted.boxes, GRID.boxes[wanted.anchor]) / torch.tensor(DEVIATION)
    constant = 2 * len(wanted.anchor) * math.log(2 * math.pi)  # of the density; squared differences else
    close(parts["offsets"][0], 0.5 * wrong.square().sum() + constant, 1e-4)
    close(Detection(outputs, GRID.boxes).scores[0, 3], outputs[0, 3, 5:].sigmoid() * outputs[0, 3, 0].sigmoid(), 1e-4)


@pytest.mark.notes("Fig 2.13", "C15")
def test_figure_2_13_non_maximum_suppression():
    """C15."""
    torch.manual_seed(0)
    corner = torch.rand(40, 2) * 40
    boxes = torch.cat([corner, corner + 10 + torch.rand(40, 2) * 20], 1)
    scores = torch.rand(40)
    kept = suppress(boxes, scores, torch.zeros(40, dtype=torch.int64), 0.5)
    assert kept.tolist() == tv.nms(boxes, scores, 0.5).tolist()
