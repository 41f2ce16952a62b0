"""The diffusion transformer: what its blocks are without what they are told, and what telling them changes."""

import pytest
import torch

from olhar.errors import UserError
from olhar.layers.attention import TransformerBlock
from olhar.models import denoiser
from olhar.models.dit import DiT, ToldBlock, mean_of


def learnt(**changes) -> DiT:
    """One whose every weight says something."""
    torch.manual_seed(0)
    model = DiT(4, (8, 8), width=16, depth=2, heads=2, **changes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.notes("Fig 5.3")
def test_a_block_that_is_told_nothing_is_a_transformer_block():
    torch.manual_seed(0)
    plain, told = TransformerBlock(16, 4, 64), ToldBlock(16, 4)
    missing, unexpected = told.load_state_dict(plain.state_dict(), strict=False)
    assert (missing, sorted({name.partition(".")[0] for name in unexpected})) == (["own"], ["norm1", "norm2"])
    tokens, six = torch.randn(2, 9, 16), torch.zeros(2, 6, 16)
    mask = torch.tensor([[True] * 7 + [False] * 2, [True] * 9])[:, None, None]
    torch.testing.assert_close(told(tokens, six, mask), plain(tokens, mask=mask))
    six[:, 2] = six[:, 5] = -1  # how much its steps count
    assert torch.equal(told(tokens, six, mask), tokens)


def test_a_new_one_says_nothing_at_any_size_that_fits():
    model = denoiser("dit-mini", 16, (64, 64), shrunk=16, context_width=6)
    for height, width in ((4, 4), (2, 6)):
        found = model(torch.randn(2, 16, height, width), torch.tensor([3, 900]), context=torch.randn(2, 7, 6))
        assert torch.equal(found, torch.zeros(2, 16, height, width))
    with pytest.raises(UserError, match="multiples of 16, such as 48 x 32"):
        denoiser("dit-mini", 16, (36, 50), shrunk=16)
    with pytest.raises(UserError, match="A width of 30 cannot be shared by 4 heads"):
        DiT(4, (8, 8), width=30)


def test_level_class_text_and_place_are_told():
    model, noisy, text = learnt(context_width=6, num_classes=3), torch.randn(2, 4, 8, 8), torch.randn(2, 4, 6)
    level, label = torch.tensor([3, 900]), torch.tensor([0, 2])
    mask = torch.tensor([[True, True, False, False]] * 2)
    found = model(noisy, level, label, text, mask)
    torch.testing.assert_close(found, model(noisy, level, label, text[:, :2]))  # what is masked is not there
    torch.testing.assert_close(model(noisy, context=text), model(noisy, torch.zeros(2), torch.tensor([3, 3]), text))
    others = [
        model(noisy, level + 1, label, text, mask),
        model(noisy, level, 2 - label, text, mask),
        model(noisy, level, label, text.flip(1), mask),
        model(noisy.flip(3), level, label, text, mask).flip(3),  # the same tokens in other places
    ]
    assert min((found - other).abs().mean().item() for other in others) > 1e-3
    # one example knows nothing of the others
    torch.testing.assert_close(model(noisy[1:], level[1:], label[1:], text[1:], mask[1:]), found[1:])


def test_a_patch_is_one_token_and_keeps_its_pixels_in_place():
    model = learnt(patch=2)
    tokens = []
    model.blocks[0].register_forward_hook(lambda module, inputs, output: tokens.append(inputs[0]))
    noisy = torch.randn(1, 4, 8, 6)
    assert model(noisy).shape == noisy.shape
    assert tokens[0].shape == (1, 12, 16)
    with torch.no_grad():  # the last layer says nothing but where in its patch a number is
        model.out.weight.zero_()
        model.out.bias.copy_(torch.arange(16.0))
    assert model(noisy)[0, 1, :2, :4].tolist() == [[4, 5, 4, 5], [6, 7, 6, 7]]


def test_the_mean_is_of_what_the_mask_shows():
    states = torch.tensor([[[1.0], [3.0], [8.0]]])
    assert mean_of(states, torch.tensor([[True, True, False]])).item() == 2
    assert mean_of(states, None).item() == 4
