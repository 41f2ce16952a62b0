"""Multi-head attention in its two forms and beside torch's; the transformer block beside torch's."""

import math

import pytest
import torch
from torch import nn

from olhar.layers.attention import FeedForward, MultiHeadAttention, QuickGELU, TransformerBlock, head_by_head
from olhar.ops.attention import apply_weights, attention_weights, causal_mask


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())


def like_torch(ours, theirs):
    """Our weights in torch's module."""
    with torch.no_grad():
        packed = [ours.query, ours.key, ours.value]
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in packed]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in packed]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs


def test_it_has_the_parameters_of_the_figure():
    assert count(MultiHeadAttention(128, 4)) == count(nn.MultiheadAttention(128, 4)) == 66_048
    assert count(MultiHeadAttention(128, 4, bias=False)) == 4 * 128 * 128


@pytest.mark.parametrize("cross", [False, True])
def test_two_forms_and_torch_agree(cross):
    ours = MultiHeadAttention(128, 4)
    theirs = like_torch(ours, nn.MultiheadAttention(128, 4, batch_first=True))
    tokens, context = torch.randn(2, 16, 128), torch.randn(2, 9, 128)
    looked_at = context if cross else tokens
    mask = torch.rand(2, 1, looked_at.shape[1]) < 0.7
    mask[..., 0] = True
    for given in (None, mask):
        found = ours(tokens, context if cross else None, None if given is None else given[:, None])
        expected, weights = theirs(
            tokens,
            looked_at,
            looked_at,
            key_padding_mask=None if given is None else ~given[:, 0],
            average_attn_weights=False,
        )
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(head_by_head(ours, tokens, context if cross else None, given), expected)
        seen = ours.weights(tokens, context if cross else None, None if given is None else given[:, None])
        torch.testing.assert_close(seen, weights)


def test_one_head_has_the_shapes_of_the_figure():
    """Figure 3.2a: 16 tokens, 32 values each, a matrix of 16 x 16; Figure 3.3: a direct reshape is something else."""
    layer = MultiHeadAttention(128, 4)
    tokens = torch.randn(1, 16, 128)
    projected = layer.query(tokens)
    heads = layer.split(projected)
    assert heads.shape == (1, 4, 16, 32)
    torch.testing.assert_close(heads[0, 1], projected[0, :, 32:64])
    assert not torch.allclose(heads, projected.reshape(1, 4, 16, 32))
    assert layer.weights(tokens).shape == (1, 4, 16, 16)


def test_concatenating_and_mixing_is_a_sum_over_heads():
    layer = MultiHeadAttention(12, 3, bias=False)
    tokens = torch.randn(2, 5, 12)
    heads = apply_weights(layer.weights(tokens), layer.split(layer.value(tokens)))
    mixed = [head @ part.T for head, part in zip(heads.unbind(1), layer.out.weight.chunk(3, 1), strict=True)]
    torch.testing.assert_close(layer(tokens), sum(mixed))


def test_a_context_may_have_another_width():
    layer = MultiHeadAttention(8, 2, context_width=6)
    tokens, context = torch.randn(2, 4, 8), torch.randn(2, 3, 6)
    assert layer(tokens, context).shape == (2, 4, 8)
    torch.testing.assert_close(layer(tokens, context), head_by_head(layer, tokens, context))


def test_causal_tokens_see_no_later_ones():
    layer = MultiHeadAttention(8, 2)
    tokens = torch.randn(2, 6, 8)
    later = tokens.clone()
    later[:, 3:] += 5
    torch.testing.assert_close(layer(tokens, causal=True)[:, :3], layer(later, causal=True)[:, :3])
    assert not layer.weights(tokens, causal=True).triu(1).any()
    found = layer(tokens, causal=True)
    torch.testing.assert_close(found, head_by_head(layer, tokens, mask=causal_mask(6, 6)[None]))


def test_heads_must_share_the_width():
    with pytest.raises(AssertionError, match="5 heads cannot share"):
        MultiHeadAttention(12, 5)


def test_the_block_is_torchs_encoder_layer():
    ours = TransformerBlock(16, 4, 48)
    theirs = nn.TransformerEncoderLayer(16, 4, 48, 0.0, "gelu", batch_first=True, norm_first=True)
    like_torch(ours.attention, theirs.self_attn)
    pairs = [(theirs.linear1, ours.mlp.fc1), (theirs.linear2, ours.mlp.fc2)]
    pairs += [(theirs.norm1, ours.norm1), (theirs.norm2, ours.norm2)]
    for to, of in pairs:
        nn.init.normal_(of.bias, std=0.5)
        to.load_state_dict(of.state_dict())
    tokens = torch.randn(3, 7, 16)
    theirs.train()  # evaluation takes a path of its own
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-5, atol=1e-5)
    ahead = nn.Transformer.generate_square_subsequent_mask(7)
    torch.testing.assert_close(ours(tokens, causal=True), theirs(tokens, src_mask=ahead), rtol=1e-5, atol=1e-5)


def test_the_block_with_a_context_is_torchs_decoder_layer():
    ours = TransformerBlock(16, 4, 48, context_width=16)
    theirs = nn.TransformerDecoderLayer(16, 4, 48, 0.0, "gelu", batch_first=True, norm_first=True)
    like_torch(ours.attention, theirs.self_attn)
    like_torch(ours.cross, theirs.multihead_attn)
    theirs.linear1.load_state_dict(ours.mlp.fc1.state_dict())
    theirs.linear2.load_state_dict(ours.mlp.fc2.state_dict())
    tokens, context = torch.randn(3, 7, 16), torch.randn(3, 5, 16)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    expected = theirs(tokens, context, memory_key_padding_mask=padding)
    found = ours(tokens, context, context_mask=~padding[:, None, None])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(AssertionError, match="needs a context"):
        ours(tokens)


def test_dropped_paths_leave_an_example_as_it_was():
    block = TransformerBlock(8, 2, 16, drop_path=0.999)
    tokens = torch.randn(4, 3, 8)
    assert torch.equal(block(tokens), tokens)
    assert not torch.allclose(block.eval()(tokens), tokens)


def test_quick_gelu_is_close_to_gelu():
    x = torch.linspace(-6, 6, 201)
    assert QuickGELU()(torch.ones(1)).item() == pytest.approx(1 / (1 + math.exp(-1.702)))
    assert 0.01 < (QuickGELU()(x) - nn.functional.gelu(x)).abs().max() < 0.03


def test_the_feed_forward_network_treats_tokens_alike():
    network = FeedForward(6, 12, nn.ReLU)
    tokens = torch.randn(2, 4, 6)
    torch.testing.assert_close(network(tokens)[1, 2], network(tokens[1, 2]))


def test_the_weights_are_those_of_the_operation():
    layer = MultiHeadAttention(8, 1)
    tokens = torch.randn(1, 5, 8)
    torch.testing.assert_close(layer.weights(tokens)[:, 0], attention_weights(layer.query(tokens), layer.key(tokens)))
