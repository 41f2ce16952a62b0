"""The categorical distribution: numbers of the notes' section 1.1, torch.distributions, torch's losses."""

import math

import pytest
import torch
from torch.nn import functional as F

from olhar.objectives.categorical import Categorical

# The notes' example of 40 throws of a die: how often each face came up.
THROWS = torch.tensor([12, 4, 7, 7, 6, 4])
# The notes' raw scores, with four classes.
SCORES = torch.tensor([[7.0, 2.1, 1.2, 2.4]])


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(6, 5)


@pytest.mark.parametrize(
    ("probabilities", "log_likelihood"),
    [
        ([0.3] + [0.14] * 5, -69.49883),  # Eq 1.5 at its maximum
        ([1 / 6] * 6, -71.67038),  # Eq 1.7: -40 ln 6
        ([0.3, 0.1, 0.175, 0.175, 0.15, 0.1], -68.6526),  # one parameter a face
    ],
)
def test_likelihood_of_a_die(probabilities, log_likelihood):
    faces = torch.arange(6).repeat_interleave(THROWS)
    p = Categorical(torch.tensor(probabilities, dtype=torch.float64).log().expand(40, 6))
    nll = p.nll(faces)
    assert -nll.sum().item() == pytest.approx(log_likelihood, abs=1e-4)
    assert nll.sum().item() == pytest.approx(40 * nll.mean().item())  # Eq 1.16: a sum is n means


def test_softmax_and_cross_entropy_of_the_notes():
    p = Categorical(SCORES)
    expected = torch.tensor([[0.97989, 0.00730, 0.00297, 0.00985]])
    torch.testing.assert_close(p.probabilities, expected, rtol=0, atol=5e-6)
    assert p.nll(torch.tensor([0])).item() == pytest.approx(0.02032, abs=5e-6)


def test_the_least_cross_entropy_with_soft_labels_is_their_entropy():
    q = torch.tensor([[0.8, 0.15, 0.05]])
    same = Categorical(q.log())
    assert same.nll(q).item() == pytest.approx(0.612869, abs=1e-6)
    assert same.entropy().item() == pytest.approx(0.612869, abs=1e-6)
    other = Categorical(torch.tensor([[0.5, 0.3, 0.2]]).log())
    assert other.nll(q).item() == pytest.approx(0.612869 + same.kl(other).item(), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("space", [(), (3, 2)])
def test_nll_is_torch_cross_entropy(smoothing, weighted, soft, space):
    torch.manual_seed(0)
    logits = torch.randn(6, 5, *space)
    target = torch.randn(6, 5, *space).softmax(1) if soft else torch.randint(5, (6, *space))
    weights = torch.rand(5) if weighted else None
    ours = Categorical(logits, label_smoothing=smoothing, class_weights=weights).nll(target)
    theirs = F.cross_entropy(logits, target, weights, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)


def test_smoothing_gives_the_true_class_one_less_epsilon_and_its_share(logits):
    epsilon, classes = 0.2, logits.shape[1]
    target = torch.arange(6) % classes
    q = torch.full_like(logits, epsilon / classes)
    q[torch.arange(6), target] = 1 - epsilon + epsilon / classes
    smooth = Categorical(logits, label_smoothing=epsilon).nll(target)
    torch.testing.assert_close(smooth, Categorical(logits).nll(q))


def test_agrees_with_torch_distributions(logits):
    ours, theirs = Categorical(logits), torch.distributions.Categorical(logits=logits)
    other = torch.randn(6, 5)
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(ours.probabilities, theirs.probs)
    torch.testing.assert_close(ours.mode(), theirs.mode)
    expected = torch.distributions.kl_divergence(theirs, torch.distributions.Categorical(logits=other))
    torch.testing.assert_close(ours.kl(Categorical(other)), expected)


def test_samples_come_as_often_as_they_are_probable():
    p = torch.tensor([0.5, 0.3, 0.2])
    logits = p.log().view(1, 3, 1, 1).expand(10, 3, 40, 50)
    drawn = Categorical(logits).sample(torch.Generator().manual_seed(0))
    assert drawn.shape == (10, 40, 50)
    frequencies = torch.bincount(drawn.flatten()) / drawn.numel()
    # 20,000 draws: the standard error of a frequency is at most 0.0036.
    torch.testing.assert_close(frequencies, p, rtol=0, atol=0.015)
    again = Categorical(logits).sample(torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_samples_of_pixels_keep_their_place():
    certain = torch.tensor([[[2, 0]], [[1, 2]]])  # [N, H, W]
    logits = 100.0 * F.one_hot(certain, 3).movedim(-1, 1)
    assert torch.equal(Categorical(logits).sample(), certain)
    assert torch.equal(Categorical(logits).mode(), certain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_large_scores_stay_finite(dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    p = Categorical(logits, label_smoothing=0.1)
    nll = p.nll(torch.tensor([1, 2]))
    assert nll.dtype == torch.float32
    nll.sum().backward()
    assert nll.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert p.entropy().tolist() == pytest.approx([0.0, math.log(3)])
    assert p.kl(Categorical(logits.flip(1))).isfinite().all()


def test_half_precision_loses_only_the_scores_own_digits(logits):
    target = torch.arange(6) % 5
    half = logits.bfloat16()
    torch.testing.assert_close(Categorical(half).nll(target), Categorical(half.float()).nll(target), rtol=0, atol=0)


def test_gradient_is_probability_less_truth(logits):
    logits.requires_grad_()
    target = torch.arange(6) % 5
    p = Categorical(logits)
    p.nll(target).sum().backward()
    torch.testing.assert_close(logits.grad, (p.probabilities - F.one_hot(target, 5)).detach())
