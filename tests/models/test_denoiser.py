"""The denoiser beside diffusers' U-Net of the same weights, and what it promises by itself."""

import diffusers
import pytest
import torch

from olhar.errors import UserError
from olhar.layers.embed import waves
from olhar.layers.residual import ResidualBlock
from olhar.models import DENOISERS, denoiser
from olhar.models.denoiser import Denoiser
from olhar.models.sd_names import unet_name, unet_weights


def theirs(**changes) -> diffusers.UNet2DConditionModel:
    """Stable Diffusion 1.x's U-Net, whose configuration is the default of the class but for the text's width."""
    given = {"cross_attention_dim": 768, "attention_head_dim": 8, **changes}
    return diffusers.UNet2DConditionModel(**given)


@pytest.mark.notes("Fig 5.3")
def test_stable_diffusion_at_a_reduced_width_says_what_diffusers_says():
    torch.manual_seed(0)
    small = {"block_out_channels": (32, 64, 64, 64), "cross_attention_dim": 24}
    other = theirs(**small).eval()
    ours = denoiser("stable-diffusion", 4, (16, 16), widths=(32, 64, 64, 64), context_width=24).eval()
    ours.load_state_dict(unet_weights(other.state_dict()))
    noisy, text = torch.randn(2, 4, 16, 16), torch.randn(2, 5, 24)
    with torch.inference_mode():
        for level in (0, 1, 37, 999):
            expected = other(noisy, torch.tensor(level), text).sample
            found = ours(noisy, torch.tensor([level] * 2), context=text)
            assert float(expected.std()) > 0.01
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_stable_diffusion_at_its_true_size_has_their_names_and_shapes():
    with torch.device("meta"):
        ours, other = denoiser("stable-diffusion", 4, (64, 64)), theirs()
    converted = {name: tensor.shape for name, tensor in unet_weights(other.state_dict()).items()}
    assert converted == {name: tensor.shape for name, tensor in ours.state_dict().items()}
    with pytest.raises(UserError, match="of another model"):
        unet_name("add_embedding.linear_1.weight")


@pytest.mark.parametrize("name", DENOISERS)
def test_sizes_can_be_made_and_told_apart_by_cost(name: str):
    with torch.device("meta"):
        model = denoiser(name, 3, (64, 64))
        context = torch.zeros(2, 7, 768) if name == "stable-diffusion" else None
        assert model(torch.zeros(2, 3, 64, 64), torch.zeros(2), context=context).shape == (2, 3, 64, 64)


def test_a_new_one_says_nothing_and_a_mask_hides_tokens():
    torch.manual_seed(0)
    model = Denoiser(3, (8, 8), (16, 32), heads=2, context_width=6, num_classes=2).eval()
    noisy, text = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 6)
    level = torch.tensor([3, 900])
    assert not model(noisy, level, context=text).abs().max() > model.out.bias.abs().max() + 1e-6
    for layer in [model.out, *(m.conv2 for m in model.modules() if isinstance(m, ResidualBlock))]:
        torch.nn.init.normal_(layer.weight, std=0.1)
    mask = torch.tensor([[True, True, False, False]] * 2)
    seen = model(noisy, level, context=text, mask=mask)
    torch.testing.assert_close(seen, model(noisy, level, context=text[:, :2]))
    assert (seen - model(noisy, level, context=text)).abs().max() > 1e-5
    # left out, the class is "any" and the level 0
    any_class = torch.tensor([2, 2])
    torch.testing.assert_close(seen, model(noisy, level, any_class, text, mask))
    torch.testing.assert_close(model(noisy, context=text), model(noisy, torch.zeros(2), any_class, text))
    assert (model(noisy, level, torch.tensor([0, 1]), text, mask) - seen).abs().max() > 1e-5


def test_levels_are_waves():
    found = waves(torch.tensor([0, 5]), 8)
    assert found[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    expected = [torch.tensor(5 * 10_000 ** (-i / 4)) for i in range(4)]
    torch.testing.assert_close(found[1], torch.stack([*(e.cos() for e in expected), *(e.sin() for e in expected)]))


def test_sizes_that_cannot_be_halved_or_shared_are_refused():
    with pytest.raises(UserError, match="multiples of 8, such as 24 x 16"):
        Denoiser(3, (18, 27), (16, 32, 32), heads=2, patch=2)
    with pytest.raises(UserError, match="cannot be shared by 5 heads"):
        Denoiser(3, (8, 8), (16, 32), heads=5)
    with pytest.raises(UserError, match="did you mean 'denoiser-tiny'"):
        denoiser("denoiser-tny", 3, (8, 8))
