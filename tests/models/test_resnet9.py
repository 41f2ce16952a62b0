"""The small residual network: its cost is what its table says."""

import pytest
import torch
from torch import nn

from olhar.models import encoder


@pytest.mark.parametrize(("name", "millions"), [("resnet9-slim", 95), ("resnet9", 379)])
def test_multiply_adds_of_a_small_image(name, millions):
    count = 0

    def add(conv, _, out):
        nonlocal count
        count += out[0].numel() * conv.weight[0].numel()

    with torch.device("meta"):
        body = encoder(name, 3, (32, 32), stem="small")
        for module in body.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(add)
        body(torch.empty(1, 3, 32, 32))
    assert round(count / 1e6) == millions


def test_small_stem_has_stride_one():
    assert encoder("resnet9-slim", 3, (32, 32), stem="small").strides == (1, 2, 4, 8)
    assert encoder("resnet9-slim", 3, (96, 96)).strides == (2, 4, 8, 16)
