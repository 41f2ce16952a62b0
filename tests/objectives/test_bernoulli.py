"""The Bernoulli distribution beside Eq 1.14, torch.distributions and torch's losses."""

import math

import pytest
import torch
from torch.nn import functional as F

from olhar.objectives.bernoulli import Bernoulli
from olhar.objectives.categorical import Categorical


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(6, 4)


@pytest.mark.parametrize("weighted", [False, True])
def test_nll_is_torch_binary_cross_entropy(logits, weighted):
    target = torch.randint(2, (6, 4)).float()
    weight = torch.rand(4) * 3 if weighted else None
    ours = Bernoulli(logits, pos_weight=weight).nll(target)
    theirs = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
    torch.testing.assert_close(ours, theirs.sum(1))
    torch.testing.assert_close(ours.mean() / 4, theirs.mean())  # the mean form: over images and labels


def test_agrees_with_torch_distributions(logits):
    ours, theirs = Bernoulli(logits), torch.distributions.Bernoulli(logits=logits)
    target = torch.randint(2, (6, 4))
    torch.testing.assert_close(ours.nll(target), -theirs.log_prob(target.float()).sum(1))
    torch.testing.assert_close(ours.probabilities, theirs.probs)
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(1))
    assert torch.equal(ours.mode(), theirs.mode.long())


def test_sigmoid_is_softmax_with_a_zero(logits):
    pair = Categorical(torch.stack([logits.flatten(), torch.zeros(24)], 1))
    torch.testing.assert_close(Bernoulli(logits).probabilities.flatten(), pair.probabilities[:, 0])


def test_labels_are_independent():
    # The notes' (0.8, 0.15, 0.05) read as three labels of their own: the probabilities need not sum to 1.
    p = torch.tensor([[0.8, 0.15, 0.05]])
    nll = Bernoulli(p.logit()).nll(torch.tensor([[1.0, 0.0, 0.0]]))
    assert nll.item() == pytest.approx(-math.log(0.8 * 0.85 * 0.95), rel=1e-6)


def test_nothing_known_is_ln_2_a_label():
    p = Bernoulli(torch.zeros(2, 3))
    assert p.entropy().tolist() == pytest.approx([3 * math.log(2)] * 2)
    assert p.nll(torch.ones(2, 3)).tolist() == pytest.approx([3 * math.log(2)] * 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_saturated_scores_keep_their_loss(dtype):
    # σ(20) is exactly 1 in float32 and log(1 - σ(20)) would be log 0.
    logits = torch.tensor([[20.0, -1e4, 1e4]], dtype=dtype, requires_grad=True)
    p = Bernoulli(logits)
    nll = p.nll(torch.tensor([[0.0, 0.0, 1.0]]))
    assert nll.dtype == torch.float32
    assert nll.item() == pytest.approx(20.0)
    wrong = p.nll(torch.tensor([[1.0, 1.0, 0.0]]))
    wrong.sum().backward()
    assert wrong.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert p.entropy().item() == pytest.approx(21 * math.exp(-20), rel=1e-3)


def test_samples_come_as_often_as_they_are_probable():
    p = torch.tensor([0.9, 0.5, 0.1])
    drawn = Bernoulli(p.logit().expand(20_000, 3)).sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.float().mean(0), p, rtol=0, atol=0.015)
