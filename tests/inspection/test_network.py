"""The network table against hand counts, torch's own counter on real tensors, and the papers' numbers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer, resnet18

from olhar.inspection.network import network
from olhar.models import dense, encoder
from olhar.models.classifier import Classifier
from olhar.models.cnn import CNN
from olhar.models.resnet import ResNet


@pytest.fixture(scope="module")
def resnet_table():
    with torch.device("meta"):
        return network(resnet18(), (3, 224, 224))


def test_resnet18_has_the_papers_numbers(resnet_table):
    # He et al. 2016, Table 1: 1.8e9 multiply-adds; the notes' inventory: 11,689,512 parameters, 513,000 in fc
    assert resnet_table.parameters == 11_689_512
    assert resnet_table.multiply_adds == 1_814_073_344
    assert resnet_table.layers[-1].parameters == 513_000


def test_each_convolution_costs_what_its_formula_says(resnet_table):
    with torch.device("meta"):
        modules = dict(resnet18().named_modules())
    for layer in resnet_table.layers:
        module = modules[layer.name]
        if isinstance(module, nn.Conv2d):
            c, h, w = layer.output_shape
            assert layer.multiply_adds == c * h * w * module.in_channels * module.kernel_size[0] ** 2
            assert layer.activation_bytes == 4 * c * h * w
        elif not isinstance(module, nn.Linear):
            assert layer.multiply_adds == 0


def test_work_in_place_needs_no_memory(resnet_table):
    assert all(layer.activation_bytes == 0 for layer in resnet_table.layers if layer.kind == "ReLU")


def test_resnet18_has_the_stages_of_figure_2_8(resnet_table):
    stages = resnet_table.stages()
    assert [stage.name for stage in stages] == ["conv1–bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert [stage.output_shape for stage in stages[:5]] == [
        (64, 56, 56), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7),
    ]  # fmt: skip
    assert sum(stage.parameters for stage in stages) == resnet_table.parameters
    assert sum(stage.multiply_adds for stage in stages) == resnet_table.multiply_adds


def test_the_plain_network_is_cut_at_its_pools():
    table = network(Classifier(CNN(), 10), (3, 256, 256))
    stages = table.stages()
    assert [stage.output_shape for stage in stages] == [
        (64, 256, 256), (128, 128, 128), (256, 64, 64), (512, 32, 32), (1024, 16, 16), (10,),
    ]  # fmt: skip
    # Figure 2.3 and the inventory: 1,792 in the first convolution, 10,250 in the head
    assert (table.parameters, table.layers[0].parameters, stages[-1].parameters) == (6_284_810, 1_792, 10_250)


def test_a_sequence_is_cut_where_a_layer_begins_at_another_resolution():
    def block(c_in: int, c_out: int) -> list[nn.Module]:
        return [nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU(), nn.MaxPool2d(2)]

    model = nn.Sequential(*block(3, 8), *block(8, 16), nn.Flatten(), nn.Linear(16 * 16, 5))
    names = [stage.name for stage in network(model, (3, 16, 16)).stages()]
    assert names == ["0–1", "4–5", "9"]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(d_model=32, nhead=4, dim_feedforward=64, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(2).mT)


def test_attention_is_counted_whole():
    """Functional attention included, where torch has a fused path that hooks do not see into."""
    model = Encoder().eval()
    table = network(model, (32, 4, 4))
    # of 16 tokens of width 32: q, k and v, scores and their sum, output, two layers of the MLP; twice
    assert table.multiply_adds == 2 * (16 * 32 * 96 + 2 * 16 * 16 * 32 + 16 * 32 * 32 + 2 * 16 * 32 * 64)
    assert table.parameters == sum(p.numel() for p in model.parameters())


def test_the_table_agrees_with_torch_on_a_real_tensor():
    model = VisionTransformer(32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=5)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32))
    table = network(model, (3, 32, 32))
    assert table.multiply_adds == counter.get_total_flops() // 2
    assert table.parameters == sum(p.numel() for p in model.parameters())


OURS = {
    "resnet18": lambda: Classifier(encoder("resnet18", 3, (32, 32), width=4), 5),
    "resnet50": lambda: Classifier(encoder("resnet50", 3, (32, 32), width=4, stem="small", blocks=(1, 2, 1, 1)), 5),
    "vit": lambda: Classifier(encoder("vit-mini4", 3, (32, 32), width=32, depth=2), 5),
    "vit with a class token": lambda: Classifier(encoder("vit-ti16", 3, (32, 32), width=32, depth=2, heads=2), 5),
    "unet": lambda: dense(encoder("unet-small", 3, (32, 32)), "unet", 5),
    "pyramid": lambda: dense(encoder("resnet9-slim", 3, (32, 32)), "pyramid", 5),
}


@pytest.mark.parametrize("name", OURS)
def test_multiply_adds_are_torchs(name: str):
    model = OURS[name]().eval()
    # torch counts no fused attention on a processor
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32))
    table = network(model, (3, 32, 32))
    assert table.multiply_adds == counter.get_total_flops() // 2 > 0
    assert table.parameters == sum(p.numel() for p in model.parameters())


class Odd(nn.Module):
    """A layer used twice, one never used, a parameter and a matrix product of its own, two outputs."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(2, 2, 1, bias=False)
        self.unused = nn.Linear(3, 4)
        self.own = nn.Parameter(torch.ones(2, 5))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.shared(self.shared(x))
        return {"map": y, "scores": y.mean((2, 3)) @ self.own}


def test_shared_unused_and_own_parts_are_each_counted_once():
    table = network(Odd(), (2, 4, 4))
    rows = [(layer.name, layer.parameters, layer.multiply_adds, layer.output_shape) for layer in table.layers]
    assert rows == [
        ("", 10, 10, (5,)),
        ("shared", 4, 64, (2, 4, 4)),
        ("shared", 0, 64, (2, 4, 4)),
        ("unused", 16, 0, ()),
    ]
    assert table.parameters == sum(p.numel() for p in Odd().parameters())
    assert sum(len(stage.layers) for stage in table.stages()) == 3


def test_the_model_is_left_as_it_was():
    model = ResNet(width=4).train()
    model.layer1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network(model, (3, 64, 64))
    assert model.training
    assert model.layer2.training
    assert not model.layer1[0].training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
