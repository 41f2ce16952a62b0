"""The network of Figure 2.3, with the numbers the notes print."""

import torch

from olhar.models import encoder
from olhar.models.classifier import Classifier


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_the_notes():
    with torch.device("meta"):
        model = Classifier(encoder("cnn", 3, (256, 256)), 10)
    assert count(model) == 6_284_810
    assert count(model.head) == 10_250
    assert count(model.encoder.convs[0].conv) == 1_792


def test_activations_of_the_notes():
    with torch.device("meta"):
        model = Classifier(encoder("cnn", 3, (256, 256)), 10)
        image = torch.empty(1, 3, 256, 256)
    shapes = [tuple(level.shape[1:]) for level in model.encoder(image)]
    assert shapes == [(64, 256, 256), (128, 128, 128), (256, 64, 64), (512, 32, 32), (1024, 16, 16)]
    assert model.features(image).shape == (1, 1024)


def test_linear_is_logistic_regression():
    torch.manual_seed(0)
    model = Classifier(encoder("linear", 1, (4, 3)), 2)
    image = torch.randn(5, 1, 4, 3)
    expected = image.reshape(5, 12) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(image), expected)


def test_mlp_is_maps_and_rectifiers():
    torch.manual_seed(0)
    model = Classifier(encoder("mlp", 2, (3, 3), hidden=(7, 5)), 4)
    image = torch.randn(6, 2, 3, 3)
    first, _, second, _ = model.encoder.layers
    hidden = (image.reshape(6, 18) @ first.weight.T + first.bias).clamp(min=0)
    hidden = (hidden @ second.weight.T + second.bias).clamp(min=0)
    torch.testing.assert_close(model(image), hidden @ model.head.weight.T + model.head.bias)
