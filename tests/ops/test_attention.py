"""Attention's two steps and both at once: the notes' example, torch's own, masks, gradients."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, scaled_dot_product_attention

from olhar.ops.attention import apply_weights, attend, attention_weights, causal_mask

# The memory bank of section 3, with its two values a word.
BANK = {
    "bateria": (0.43, 0.82),
    "tocava": (0.26, 0.89),
    "battery": (0.51, 0.77),
    "drums": (0.35, 0.86),
    "energia": (0.58, 0.72),
}


def code(*words):
    return torch.tensor([BANK[word] for word in words], dtype=torch.float64)


def shape_of(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def triple():
    return shape_of(2, 3, 5, 8), shape_of(2, 3, 7, 8) + 0.1, shape_of(2, 3, 7, 4)


def some_mask():
    mask = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[..., 0] = True
    return mask


def test_the_sentence_of_the_notes():
    """Eq 3.2: the products of bateria with itself, tocava, energia; and their softmax where only two words are."""
    query = code("bateria")
    products = query @ code("bateria", "tocava", "energia").T
    assert products[0].tolist() == pytest.approx([0.8573, 0.8416, 0.8398], abs=5e-5)
    weights = attention_weights(query, code("bateria", "tocava"), scaled=False)
    assert weights[0].tolist() == pytest.approx([0.5039, 0.4961], abs=5e-5)  # the notes suppose 0.9 for tocava


@pytest.mark.parametrize(
    ("word", "updated", "battery", "drums"),
    [("tocava", (0.664, 1.621), 0.980810, 0.999997), ("energia", (0.952, 1.468), 0.999953, 0.982227)],
)
def test_context_moves_bateria_to_its_meaning(word, updated, battery, drums):
    """Eq 3.3 with the weight the notes suppose: one word decides between an instrument and a store of energy."""
    query = code("bateria")
    moved = query + apply_weights(torch.tensor([[0.9]], dtype=torch.float64), code(word))
    assert moved[0].tolist() == pytest.approx(updated, abs=5e-4)
    assert cosine_similarity(moved, code("battery", "drums")).tolist() == pytest.approx([battery, drums], abs=5e-7)
    before = cosine_similarity(query, code("battery", "drums"))
    assert before.tolist() == pytest.approx([0.994799, 0.995351], abs=5e-7)


def test_rows_of_the_matrix_sum_to_one_and_match_torch():
    """Eq 3.4 and 3.5 for a sentence of 20 words of 2 values."""
    words = shape_of(20, 2)
    weights = attention_weights(words, words, scaled=False)
    assert weights.shape == (20, 20)
    torch.testing.assert_close(weights.sum(1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(weights, torch.softmax(words @ words.T, dim=1))
    theirs = scaled_dot_product_attention(words[None], words[None], words[None], scale=1.0)[0]
    torch.testing.assert_close(apply_weights(weights, words), theirs)


@pytest.mark.parametrize("masked", [False, True])
def test_two_steps_are_what_runs(masked):
    query, key, value = triple()
    mask = some_mask() if masked else None
    weights = attention_weights(query, key, mask=mask)
    torch.testing.assert_close(apply_weights(weights, value), attend(query, key, value, mask))
    theirs = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attend(query, key, value, mask), theirs)


@pytest.mark.parametrize("masked", [False, True])
def test_learning_in_bfloat16_is_the_same_attention(masked: bool):
    """Which on a CPU goes another way than answering."""
    query, key, value = (part.bfloat16().requires_grad_() for part in triple())
    mask = some_mask() if masked else None
    learning = attend(query, key, value, mask)
    with torch.no_grad():
        torch.testing.assert_close(learning, attend(query, key, value, mask), atol=0.02, rtol=0.02)
    assert learning.dtype == torch.bfloat16
    learning.sum().backward()
    assert value.grad is not None


def test_the_products_are_divided_by_the_root_of_the_width():
    query, keys = shape_of(1, 64), shape_of(2, 64, 1)[..., 0]
    with_it, without = (attention_weights(query, keys, scaled).log()[0] for scaled in (True, False))
    difference = (query[0] @ (keys[0] - keys[1])).item()
    assert (without[0] - without[1]).item() == pytest.approx(difference)
    assert (with_it[0] - with_it[1]).item() == pytest.approx(difference / 8)


def test_nobody_looks_ahead():
    query, key, value = shape_of(2, 6, 8), shape_of(2, 6, 8) * 0.7, shape_of(2, 6, 8) - 1
    before = attend(query, key, value, causal=True)
    changed_key, changed_value = key.clone(), value.clone()
    changed_key[:, 4:], changed_value[:, 4:] = 9, -9
    after = attend(query, changed_key, changed_value, causal=True)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])
    assert torch.equal(causal_mask(3, 3), torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool))
    explicit = apply_weights(attention_weights(query, key, mask=causal_mask(6, 6)), value)
    torch.testing.assert_close(before, explicit)


def test_a_causal_mask_and_another_both_hold():
    query, key, value = shape_of(1, 5, 8), shape_of(1, 5, 8) * 0.5, shape_of(1, 5, 8) + 2
    mask = torch.ones(1, 1, 5, dtype=torch.bool)
    mask[..., 1] = False
    expected = attend(query, key, value, mask & causal_mask(5, 5))
    torch.testing.assert_close(attend(query, key, value, mask, causal=True), expected)
    weights = attention_weights(query, key, mask=mask & causal_mask(5, 5))
    assert not weights[0].triu(1).any()
    assert not weights[..., 1].any()


@pytest.mark.parametrize("how", ["explicit", "fused"])
def test_who_may_look_at_nothing_gets_zeros_and_finite_gradients(how):
    query, key, value = (t.clone().requires_grad_() for t in triple())
    mask = some_mask()
    mask[0, 0, 2] = False
    if how == "explicit":
        found = apply_weights(attention_weights(query, key, mask=mask), value)
    else:
        found = attend(query, key, value, mask)
    assert not found[0, :, 2].any()
    found.square().sum().backward()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in (query, key, value))


def test_the_order_of_the_words_is_not_seen():
    """Without codes of position attention is equivariant to permutations."""
    words, order = shape_of(9, 4), torch.randperm(9, generator=torch.Generator().manual_seed(1))
    shuffled = attend(words[None, order], words[None, order], words[None, order])[0]
    torch.testing.assert_close(shuffled, attend(words[None], words[None], words[None])[0, order])
