"""Words and patches: beside the same written as loops, and beside itself in portions."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from olhar.layers import fusion as room
from olhar.layers.fusion import Fusion


def made(width: int = 8) -> Fusion:
    torch.manual_seed(0)
    return Fusion(5, 6, width)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Maps of 3 images, states of 4 captions, and where words are spoken: of the second caption nowhere."""
    torch.manual_seed(1)
    spoken = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 0, 0]]).bool()
    return torch.randn(3, 5, 2, 4), torch.randn(4, 5, 6), spoken


def test_a_score_is_the_mean_over_words_of_what_each_finds_in_what_it_sees():
    fusion, (level, states, spoken) = made(), inputs()
    patches, words = fusion.patches(level), fusion.words(states, spoken)
    assert patches.shape == (3, 8, 8)
    assert torch.allclose(patches.norm(dim=-1), torch.ones(3, 8))
    # row by row: the second patch is that of the first row's second column
    assert torch.allclose(patches[0, 1], normalize(fusion.patch_projection(level[0, :, 0, 1]), dim=0), atol=1e-6)
    scores = fusion.scores(patches, words)
    for n in range(3):
        for t in range(4):
            fits = []
            for word in range(5):
                if spoken[t, word]:
                    attention = (10 * patches[n] @ words[t, word]).softmax(0)  # Eq 3.4, sharpened
                    assert torch.allclose(fusion.weights(patches[n : n + 1], words[t : t + 1])[0, word], attention)
                    seen = attention @ patches[n]  # Eq 3.5
                    fits.append(words[t, word] @ seen)
            expected = torch.stack(fits).mean() if fits else torch.tensor(0.0)
            assert scores[n, t].item() == pytest.approx(expected.item(), abs=1e-6)
    assert scores.max() < 1


def test_a_word_that_finds_itself_fits_wholly():
    fusion = made()
    word = normalize(torch.randn(1, 1, 8), dim=-1)
    with torch.no_grad():
        fusion.log_sharpness.fill_(9.0)  # is held at log 100
    patches = torch.cat([word, -word, normalize(torch.randn(1, 1, 8), dim=-1)], 1)
    assert fusion.scores(patches, word).item() == pytest.approx(1, abs=1e-3)
    assert fusion.log_sharpness.exp().item() == pytest.approx(100)


def test_portions_change_neither_scores_nor_gradients(monkeypatch: pytest.MonkeyPatch):
    level, states, spoken = inputs()
    found = []
    for most in (10**9, 5 * 3 * 8 * 2, 1):  # all at once, two captions at a time, one
        monkeypatch.setattr(room, "AT_ONCE", most)
        fusion = made()
        scores = fusion.scores(fusion.patches(level), fusion.words(states, spoken))
        (scores * torch.arange(12).view(3, 4)).sum().backward()
        found.append([scores.detach(), *(p.grad for p in fusion.parameters() if p.grad is not None)])
        with torch.no_grad():
            again = fusion.scores(fusion.patches(level), fusion.words(states, spoken))
        assert torch.allclose(again, scores, atol=1e-6)
    assert len(found[0]) == 1 + 5  # all but the scale, which the objective applies
    for other in found[1:]:
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found[0], other, strict=True))


def test_scores_are_exact_within_autocast():
    fusion, (level, states, spoken) = made(), inputs()
    patches, words = fusion.patches(level), fusion.words(states, spoken)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fusion.scores(patches, words), fusion.scores(patches, words).float())
        rounded = fusion.scores(patches, words)
    assert torch.allclose(rounded, fusion.scores(patches, words), atol=1e-6)
