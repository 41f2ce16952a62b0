import pytest
import torch
from torch import nn

from olhar.errors import UserError
from olhar.inspection.capture import capture


def test_capture_keeps_what_the_real_forward_makes():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    with capture(model, ["0", "1"]) as activations:
        output = model(x)
    assert torch.equal(activations["0"], model[0](x))
    assert torch.equal(model[2](activations["1"]), output)
    assert activations["1"].requires_grad
    model(torch.zeros(5, 3))
    assert torch.equal(activations["0"], model[0](x))  # the hooks are gone
    assert not any(module._forward_hooks for module in model)


def test_hooks_go_when_the_forward_fails():
    model = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(RuntimeError), capture(model, ["0"]):
        model(torch.zeros(1, 2))
    assert not model[0]._forward_hooks


def test_an_unknown_part_is_named_with_the_nearest():
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    with pytest.raises(UserError, match="no part 'encodr': did you mean 'encoder'"), capture(model, ["encodr"]):
        pass
