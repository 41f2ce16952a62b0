"""The reader of captions: padding is never looked at, and a sentence is what its words say."""

import pytest
import torch

from olhar.models import TEXTS, text_encoder
from olhar.models.text import TextEncoder

END = 9
TOKENS = torch.tensor([[1, 4, 5, END, 0, 0, 0], [1, 6, 7, 4, 5, END, 0], [1, 0, 0, 0, END, 3, END]])


def encoder(**args) -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(10, 7, END, width=16, layers=2, heads=2, **args).eval()


@pytest.mark.parametrize("pool", ["end", "mean"])
@pytest.mark.parametrize("causal", [False, True])
def test_what_stands_after_the_end_changes_nothing(pool, causal):
    model = encoder(pool=pool, causal=causal)
    other = TOKENS.clone()
    other[0, 4:] = torch.tensor([3, END, 2])
    other[1, 6] = 8
    sentences = model.sentence(model(TOKENS), TOKENS)
    assert torch.allclose(sentences, model.sentence(model(other), other), atol=1e-6)
    # nor does how much of it there is
    assert torch.allclose(sentences[0], model.sentence(model(TOKENS[:1, :4]), TOKENS[:1, :4])[0], atol=1e-6)
    other[0, 1] = 8
    assert not torch.allclose(sentences[0], model.sentence(model(other), other)[0], atol=1e-4)


def test_zero_may_be_a_word_and_the_first_end_counts():
    inside = encoder().inside(TOKENS)
    assert inside.sum(1).tolist() == [4, 6, 5]
    same = torch.tensor([[END, 4, END, END]])  # one sign for start, end and padding
    assert encoder().inside(same).tolist() == [[True, True, True, False]]
    assert encoder().spoken(TOKENS).sum(1).tolist() == [2, 4, 3]
    assert encoder().spoken(same).tolist() == [[False, True, False, False]]


def test_the_end_and_the_mean_are_what_they_say():
    states = torch.randn(3, 7, 16)
    assert torch.equal(encoder().sentence(states, TOKENS), states[torch.arange(3), torch.tensor([3, 5, 4])])
    mean = encoder(pool="mean").sentence(states, TOKENS)
    assert torch.allclose(mean[1], states[1, :6].mean(0), atol=1e-6)


def test_causal_words_see_only_those_before():
    model, other = encoder(causal=True), TOKENS.clone()
    other[1, 3] = 8
    before, after = model(TOKENS)[1], model(other)[1]
    assert torch.allclose(before[:3], after[:3], atol=1e-6)
    assert not torch.allclose(before[3:5], after[3:5], atol=1e-4)
    assert not torch.allclose(encoder()(TOKENS)[1, 0], encoder()(other)[1, 0], atol=1e-5)


def test_hidden_words_are_hidden_in_training_only():
    model = encoder(drop_words=1.0)
    plain = model(TOKENS)
    assert torch.equal(plain, model(TOKENS))
    other = TOKENS.clone()
    other[1, 1:5] = 8
    model.train()
    assert torch.allclose(model(TOKENS)[1, 0], model(other)[1, 0])  # of words the start sees nothing
    assert torch.allclose(model.sentence(model(TOKENS), TOKENS), model.sentence(model(other), other))


def test_clips_half_has_its_size():
    with torch.device("meta"):
        model = text_encoder("text-clip", 49408, 77, 49407)
    # 49,408 tokens and 77 positions of 512, 12 blocks of 3,152,384, a norm
    assert sum(p.numel() for p in model.parameters()) == (49408 + 77) * 512 + 12 * 3_152_384 + 1024
    assert set(TEXTS) == {"text-words", "text-small", "text-base", "text-clip"}
