"""Grad-CAM, integrated gradients and occlusion against Captum's."""

import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion

from olhar.inspection.attribution import enlarged, grad_cam, integrated_gradients, occlusion
from olhar.models import encoder
from olhar.models.classifier import Classifier


@pytest.fixture(scope="module", params=["resnet18", "cnn-tiny"])
def case(request: pytest.FixtureRequest):
    """A model with statistics of its own, two images, a target each, and a layer."""
    torch.manual_seed(1)
    args = {"width": 4, "stem": "small", "blocks": (1, 1, 2, 1)} if request.param == "resnet18" else {}
    model = Classifier(encoder(request.param, 3, (8, 8), **args), 4)
    model(torch.randn(16, 3, 8, 8))
    layer = model.encoder.layer3 if request.param == "resnet18" else model.encoder.convs[1]
    name = "encoder.layer3" if request.param == "resnet18" else "encoder.convs.1"
    return model.eval(), torch.randn(2, 3, 8, 8), torch.tensor([1, 3]), layer, name


def test_grad_cam_is_captums(case):
    model, image, target, layer, name = case
    expected = LayerGradCam(model, layer).attribute(image, target, relu_attributions=True)[:, 0]
    found = grad_cam(model, image, target, name)
    assert found.sum() > 0
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)


def test_a_layer_that_is_written_over_in_place_is_seen_as_it_was(case):
    model, image, target, _, name = case
    part = name.replace("layer3", "layer3.1.bn2") if "layer3" in name else f"{name}.norm"
    inner = model.get_submodule(part)
    found = grad_cam(model, image, target, part)
    by_hand = {}
    handle = inner.register_forward_hook(lambda m, i, o: by_hand.update(value=o) or o.clone())
    score = model(image.clone().requires_grad_()).gather(1, target[:, None]).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, by_hand["value"])
    expected = (gradient.mean((2, 3), keepdim=True) * by_hand["value"]).sum(1).relu()
    assert (by_hand["value"] < 0).any()
    torch.testing.assert_close(found, expected.detach())


def test_integrated_gradients_are_captums_and_complete(case):
    model, image, target, _, _ = case
    expected = IntegratedGradients(model).attribute(image, target=target, n_steps=32, method="gausslegendre")
    found = integrated_gradients(model, image, target, steps=32, chunk=10)
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        rows = torch.arange(2)
        difference = model(image)[rows, target] - model(torch.zeros_like(image))[rows, target]
    torch.testing.assert_close(found.sum((1, 2, 3)), difference, rtol=0.03, atol=0.03)


def test_occlusion_is_captums(case):
    model, image, target, _, _ = case
    tool = Occlusion(model)
    expected = tool.attribute(image, sliding_window_shapes=(3, 4, 4), strides=(3, 3, 3), target=target)
    found = occlusion(model, image, target, window=4, stride=3)
    torch.testing.assert_close(found, expected[:, 0].float(), rtol=1e-4, atol=1e-5)


def test_the_largest_value_of_an_enlarged_map_is_one():
    assert enlarged(torch.rand(2, 3, 3), (9, 9)).amax((1, 2)).tolist() == pytest.approx([1, 1])
    assert enlarged(torch.zeros(1, 3, 3), (9, 9)).sum() == 0
