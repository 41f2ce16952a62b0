"""Section 1.1 of the notes, likelihood: every number and equation, with the errata's right values.

K, C, Q are the flags of the errata: concepts, conventions and typing errors.
"""

import math

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F
from compare import close, printed
from scipy import stats

from olhar.errors import UserError
from olhar.models.classifier import Classifier
from olhar.models.linear import Linear
from olhar.objectives.bernoulli import Bernoulli
from olhar.objectives.categorical import Categorical
from olhar.theory import draw, gaussian, scores
from olhar.theory.likelihood import (
    Die,
    count,
    exact_binomial_test,
    likelihood,
    likelihood_ratio_test,
    log_likelihood,
    log_likelihood_of_bias,
    negative_log_likelihood,
    normal_approximation,
    normalised_likelihood,
    underflows_at,
)  # fmt: skip

# The forty throws of section 1.1.1.
THROWS = torch.tensor(
    [
        2, 1, 1, 3, 5, 6, 1, 3, 3, 3, 1, 6, 4, 5, 4, 6, 6, 1, 4, 3,
        5, 1, 4, 3, 2, 5, 1, 1, 4, 3, 1, 5, 2, 4, 1, 4, 1, 1, 2, 5,
    ]
)  # fmt: skip
SCORES = torch.tensor([7, 2.1, 1.2, 2.4], dtype=torch.float64)  # r of the notes, with C = 4 (C6)


@pytest.fixture(scope="module")
def sample() -> torch.Tensor:
    return 3.2 + 1.9 * torch.randn(100, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.notes("Fig 1.1")
def test_figure_1_1_a_hidden_bias_is_found_in_its_throws():
    throws = Die.biased(0.3).throw(20_000, torch.Generator().manual_seed(0))
    assert int(count(throws).sum()) == 20_000
    assert Die.of(throws).probabilities[0].item() == pytest.approx(0.3, abs=0.01)
    with pytest.raises(UserError, match="cannot show 7: write throws from 1 to 6"):
        count(torch.tensor([1, 7]))


@pytest.mark.notes("Eq 1.1")
def test_equation_1_1_product_and_sum_of_logarithms():
    die = Die(torch.tensor([0.1, 0.2, 0.3, 0.05, 0.05, 0.3], dtype=torch.float64))
    close(likelihood(die, THROWS), log_likelihood(die, THROWS).exp())
    close(likelihood(die, THROWS), math.prod(die.probabilities[s - 1].item() for s in THROWS.tolist()))


@pytest.mark.notes("Eq 1.2")
def test_equation_1_2_a_fair_die():
    close(likelihood(Die.fair(), THROWS), 7.4808e-32, 1e-4)
    close(likelihood(Die.fair(), THROWS), 6.0**-40)


@pytest.mark.notes("Eq 1.3-1.4", "Q1")
def test_equations_1_3_and_1_4_one_factor_a_throw():
    """Q1: the notes leave one p out; after the second p1 there are three."""
    p1, p = 0.3, 0.14
    close(Die.biased(0.3)(THROWS[:8]), [p, p1, p1, p, p, p, p1, p])


@pytest.mark.notes("p1 + 5p = 1")
@pytest.mark.parametrize("p1", [0.0, 1 / 6, 0.3, 1.0])
def test_the_constraint_p1_and_five_p_sum_to_1(p1: float):
    probabilities = Die.biased(p1).probabilities
    close(probabilities.sum(), 1)
    close(probabilities[1:], [(1 - p1) / 5] * 5)


@pytest.mark.notes("Eq 1.5")
def test_equation_1_5_the_likelihood_of_a_bias():
    printed(log_likelihood_of_bias(0.3, 12, 40), -69.49883, 5)
    printed(log_likelihood_of_bias(1 / 6, 12, 40), -71.67038, 5)
    for p1 in (0.05, 0.3, 0.9):
        close(log_likelihood_of_bias(p1, 12, 40), log_likelihood(Die.biased(p1), THROWS))
    assert log_likelihood_of_bias(0.0, 0, 40) == pytest.approx(40 * math.log(0.2))  # a side that never came


@pytest.mark.notes("40 throws")
def test_the_example_of_40_throws():
    assert len(THROWS) == 40
    assert count(THROWS).tolist() == [12, 4, 7, 7, 6, 4]


@pytest.mark.notes("maximum of 40 throws")
def test_the_maximum_is_at_12_of_40():
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert grid[log_likelihood_of_bias(grid, 12, 40).argmax()].item() == pytest.approx(0.3)  # type: ignore[union-attr]
    close(likelihood(Die.biased(0.3), THROWS), 6.562e-31, 1e-4)
    close(Die.biased(0.3).probabilities[1], 0.14)


@pytest.mark.notes("Fig 1.2", "biased die", "C1")
def test_figure_1_2_the_evidence_beside_the_claim():
    """C1: the maximum elsewhere than 1/6 is evidence of a bias, not a proof."""
    fair, best = log_likelihood(Die.fair(), THROWS), log_likelihood(Die.biased(0.3), THROWS)
    printed((best - fair).exp(), 8.77, 2)
    ratio = likelihood_ratio_test(fair.item(), best.item(), 1)
    printed(ratio.statistic, 4.343, 3)
    printed(ratio.p, 0.0372, 4)
    printed(exact_binomial_test(12, 40, 1 / 6).p, 0.0323, 4)
    (axes,) = draw.likelihood_curve(THROWS).axes
    curve = axes.lines[0].get_xydata()
    assert curve[curve[:, 1].argmax(), 0] == pytest.approx(0.3, abs=0.002)
    assert any("8.77" in text.get_text() and "0.037" in text.get_text() for text in axes.texts)


@pytest.mark.notes("biased die")
@pytest.mark.parametrize(("k", "n", "p"), [(0, 10, 0.5), (10, 10, 0.5), (3, 11, 0.4), (12, 40, 1 / 6), (5, 10, 0.5)])
def test_the_exact_test_is_scipys(k: int, n: int, p: float):
    close(exact_binomial_test(k, n, p).p, stats.binomtest(k, n, p).pvalue)
    close(likelihood_ratio_test(-k - 1.0, -1.0, n).p, stats.chi2.sf(2 * k, n))


@pytest.mark.notes("six probabilities", "C2")
def test_the_model_of_six_probabilities_has_five_free_ones():
    """C2."""
    best = Die.of(THROWS)
    close(best.probabilities, [0.3, 0.1, 0.175, 0.175, 0.15, 0.1])
    printed(negative_log_likelihood(best, THROWS), 68.6526, 4)
    fair = log_likelihood(Die.fair(), THROWS).item()
    printed(likelihood_ratio_test(fair, log_likelihood(best, THROWS).item(), 5).statistic, 6.035, 3)


@pytest.mark.notes("Eq 1.6")
def test_equation_1_6_any_model():
    data = torch.tensor([0.5, 2.0], dtype=torch.float64)
    close(likelihood(lambda x: 3 * (-3 * x).exp(), data), 9 * math.exp(-3 * 2.5))


@pytest.mark.notes("Eq 1.7")
def test_equation_1_7_the_logarithm_does_not_underflow():
    close(log_likelihood(Die.fair(), THROWS), -40 * math.log(6))
    printed(log_likelihood(Die.fair(), THROWS), -71.67038, 5)
    many = THROWS.repeat(100)
    assert likelihood(Die.fair(), many) == 0
    close(log_likelihood(Die.fair(), many), -4000 * math.log(6))


@pytest.mark.notes("Eq 1.7")
def test_equation_1_7_where_products_underflow():
    """58 in float32 where 1 is divided by 6 again and again; times 1/6, which is rounded up, 59."""
    assert (underflows_at(1 / 6), underflows_at(1 / 6, torch.float32)) == (416, 59)
    quotient, n = np.float32(1), 0
    while quotient > 0:
        quotient, n = quotient / np.float32(6), n + 1
    assert n == 58
    with pytest.raises(UserError, match="below 1"):
        underflows_at(1.0)


@pytest.mark.notes("Eq 1.8", "K1")
def test_equation_1_8_is_0_at_least_for_probabilities_and_not_for_densities():
    """K1: f ≤ 1 holds for a pmf; the density of Eq 1.9 exceeds 1 where σ < 0.3989."""
    assert negative_log_likelihood(Die.biased(1.0), torch.tensor([1, 1, 1])) == 0
    assert negative_log_likelihood(Die.of(THROWS), THROWS) > 0
    at_mean = torch.zeros(1, dtype=torch.float64)
    assert gaussian.nll(at_mean, 0.0, 0.39) < 0 < gaussian.nll(at_mean, 0.0, 0.40)
    printed(gaussian.DEVIATION_OF_DENSITY_ONE, 0.3989, 4)


@pytest.mark.notes("note 5")
def test_footnote_5_probability_from_nll():
    close((-negative_log_likelihood(Die.biased(0.3), THROWS)).exp(), likelihood(Die.biased(0.3), THROWS))


@pytest.mark.notes("note 6", "C3")
def test_footnote_6_the_shape_in_p1_tends_to_a_normal():
    """C3."""
    curve, bell = normalised_likelihood(12, 40), normal_approximation(12, 40)
    printed([curve.mean, curve.deviation], [0.3095, 0.0705], 4)
    printed([bell.mean, bell.deviation], [0.3, 0.0725], 4)
    p1 = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    weight = torch.as_tensor(log_likelihood_of_bias(p1, 12, 40)).exp()
    weight = weight / weight.sum()
    mean = (weight * p1).sum()
    close([curve.mean, curve.deviation], [mean, (weight * (p1 - mean) ** 2).sum().sqrt()])
    # ten thousand times the throws: both are one
    curve, bell = normalised_likelihood(120_000, 400_000), normal_approximation(120_000, 400_000)
    close([curve.mean, curve.deviation], [bell.mean, bell.deviation], 1e-4)


@pytest.mark.notes("Eq 1.9")
def test_equation_1_9_the_normal_density(sample):
    normal = torch.distributions.Normal(3.0, 1.5)
    close(gaussian.density(sample, 3.0, 1.5), normal.log_prob(sample).exp())
    close(gaussian.nll(sample, 3.0, 1.5), -normal.log_prob(sample).sum())


@pytest.mark.notes("Fig 1.3a", "Fig 1.3b")
def test_figure_1_3_histogram_and_candidates(sample):
    (axes,) = draw.candidates(sample, [(3.2, 1.9), (1.0, 3.0)]).axes
    heights, edges = np.histogram(sample, bins="auto", density=True)
    close([bar.get_height() for bar in axes.patches], heights)
    close([bar.get_x() for bar in axes.patches], edges[:-1])
    assert axes.get_legend() is not None
    texts = [text.get_text() for text in axes.get_legend().get_texts()]  # type: ignore[union-attr]
    expected = -torch.distributions.Normal(1.0, 3.0).log_prob(sample).sum()
    assert texts[1].endswith(f"NLL {expected:.2f}")


@pytest.mark.notes("four steps")
def test_the_procedure_of_four_steps_finds_the_candidate_nearest_to_the_closed_form(sample):
    means, deviations = torch.linspace(0, 6, 61).double(), torch.linspace(0.5, 4, 71).double()
    grid = gaussian.grid_search(sample, means, deviations)
    mean, deviation = gaussian.estimate(sample)
    assert grid.best[0] == pytest.approx(mean, abs=0.05)
    assert grid.best[1] == pytest.approx(deviation, abs=0.05)
    close(grid.nll[7, 9], gaussian.nll(sample, means[7].item(), deviations[9].item()))


@pytest.mark.notes("six steps")
def test_the_procedure_of_six_steps_has_the_gradient_of_sympy_and_autograd(sample):
    x, m, s = sympy.symbols("x mu sigma", positive=True)
    one = -sympy.log(sympy.exp(-((x - m) ** 2) / (2 * s**2)) / sympy.sqrt(2 * sympy.pi * s**2))
    assert sympy.simplify(sympy.diff(one, m) + (x - m) / s**2) == 0
    assert sympy.simplify(sympy.diff(one, s) - (1 / s - (x - m) ** 2 / s**3)) == 0
    mean, deviation = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.0, 1.0))
    loss = -torch.distributions.Normal(mean, deviation).log_prob(sample).sum()
    close(gaussian.gradient(sample, 0.0, 1.0), torch.stack(torch.autograd.grad(loss, (mean, deviation))))


@pytest.mark.notes("six steps", "Eq 1.10-1.11", "C4")
def test_equations_1_10_and_1_11_are_where_descent_from_0_1_ends(sample):
    """C4: Eq 1.11 divides by n, torch.var by n - 1 unless it is told otherwise."""
    path = gaussian.descend(sample)
    close(path.end, gaussian.estimate(sample))
    assert (path.nll.diff() <= 1e-9).all()
    close(gaussian.estimate(sample)[1] ** 2, sample.var(correction=0))
    close(sample.var() / gaussian.estimate(sample)[1] ** 2, 100 / 99)
    with pytest.raises(UserError, match="learning rate below 20"):
        gaussian.descend(sample, start=(3.0, 2.5), lr=20.0)


@pytest.mark.notes("Algorithm 1", "C5")
def test_algorithm_1_one_step_of_a_model_makes_the_loss_smaller():
    """C5: on all data at once; the loop takes mini-batches, and the same step of each."""
    torch.manual_seed(0)
    model = Classifier(Linear(1, (4, 4)), 3).double()
    images, labels = torch.rand(30, 1, 4, 4).double(), torch.arange(30) % 3
    before = Categorical(model(images)).nll(labels).sum()
    gradients = torch.autograd.grad(before, list(model.parameters()))
    lr = 1e-3
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter -= lr * gradient
    after = Categorical(model(images)).nll(labels).sum()
    fall = lr * sum(g.square().sum() for g in gradients)
    assert after < before
    close(before - after, fall, 0.1)  # to first order


@pytest.mark.notes("one-hot")
def test_one_hot():
    close(scores.one_hot(torch.tensor([0, 2]), 3), F.one_hot(torch.tensor([0, 2]), 3))


@pytest.mark.notes("note 9", "K3")
def test_footnote_9_a_soft_label_is_no_multilabel():
    """K3: (0.8, 0.15, 0.05) is one class of which we are unsure; labels that hold together need not sum to 1."""
    q = torch.tensor([[0.8, 0.15, 0.05]], dtype=torch.float64)
    close(q.sum(), 1)
    logits = torch.tensor([[2.0, 1.0, -3.0]], dtype=torch.float64)
    close(Categorical(logits).probabilities.sum(), 1)
    assert Bernoulli(logits).probabilities.sum() > 1.5


@pytest.mark.notes("r = (7, 2.1, 1.2, 2.4)", "C6")
def test_the_example_of_scores():
    printed(scores.divide_by_sum(SCORES), [0.5512, 0.1654, 0.0945, 0.1890], 4)
    printed(scores.softmax(SCORES), [0.97989, 0.00730, 0.00297, 0.00985], 5)
    printed(scores.cross_entropy(scores.one_hot(torch.tensor(0), 4), scores.softmax(SCORES)), 0.02032, 5)


@pytest.mark.notes("Eq 1.12", "Q2")
def test_equation_1_12_fails_where_a_score_is_negative():
    """Q2."""
    close(scores.divide_by_sum(torch.tensor([7.0, -2, 1])), [7 / 6, -1 / 3, 1 / 6])


@pytest.mark.notes("Eq 1.13", "Q3")
def test_equation_1_13_softmax():
    """Q3: the summed index is another than the free one."""
    close(scores.softmax(SCORES), [math.exp(r) / sum(math.exp(k) for k in SCORES) for r in SCORES])
    close(scores.softmax(SCORES + 100), scores.softmax(SCORES))
    close(scores.softmax(SCORES, temperature=2.0), torch.softmax(SCORES / 2, 0))
    assert scores.softmax(SCORES, 1e3).std() < 1e-2 < scores.softmax(SCORES, 0.1).max() - 0.98


@pytest.mark.notes("note 10")
def test_footnote_10_softmax_keeps_the_order():
    close(scores.softmax(SCORES).argsort(), SCORES.argsort())


@pytest.mark.notes("Eq 1.14", "C7")
def test_equation_1_14_sigmoid():
    """C7: the ends are never reached but by rounding, in float32 from 16.64 on."""
    r = torch.linspace(-30, 30, 61, dtype=torch.float64)
    close(scores.sigmoid(r), 1 / (1 + (-r).exp()))
    close(scores.sigmoid(r), scores.softmax(torch.stack([r, torch.zeros_like(r)], -1))[:, 0])
    assert ((scores.sigmoid(r) > 0.5) == (r > 0)).all()
    assert ((scores.sigmoid(r) > 0) & (scores.sigmoid(r) < 1)).all()
    assert scores.saturates_at(torch.float32) == pytest.approx(16.64, abs=0.005)
    edge = torch.tensor(scores.saturates_at(torch.float32))
    assert torch.sigmoid(edge) == 1 > torch.sigmoid(torch.nextafter(edge, torch.tensor(0.0)))


@pytest.mark.notes("Eq 1.15", "Eq 1.16-1.17", "cross-entropy is NLL", "C8")
def test_equations_1_15_to_1_17_cross_entropy_is_negative_log_likelihood():
    """C8: the notes sum over the images, torch takes the mean."""
    logits = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(20) % 5
    each = scores.cross_entropy_of_scores(logits, labels)
    close(each, F.cross_entropy(logits, labels, reduction="none"))
    close(each, scores.cross_entropy(scores.one_hot(labels, 5), scores.softmax(logits)))
    close(each.sum(), 20 * F.cross_entropy(logits, labels))
    p = scores.softmax(logits)
    close(each.sum(), negative_log_likelihood(lambda i: p[i, labels[i]], torch.arange(20)))


@pytest.mark.notes("Eq 1.18", "Q4")
def test_equation_1_18_soft_targets():
    """Q4: the index is the class, q(c) log p(c). The least value is the entropy of q, not 0."""
    q = torch.tensor([0.8, 0.15, 0.05], dtype=torch.float64)
    p = scores.softmax(torch.tensor([1.0, 0.5, -1.0], dtype=torch.float64))
    close(scores.entropy(q), 0.612869)
    close(scores.cross_entropy(q, p), -(q * p.log()).sum())
    close(scores.cross_entropy(q, p), F.cross_entropy(p.log()[None], q[None]))
    close(scores.divergence(q, p), F.kl_div(p.log(), q, reduction="sum"))
    assert scores.cross_entropy(q, p) > scores.cross_entropy(q, q) == scores.entropy(q) > 0
    assert scores.entropy(torch.tensor([1.0, 0.0])) == 0


@pytest.mark.notes("Eq 1.18", "C9")
def test_equation_1_18_label_smoothing():
    """C9: as in torch the true class gets 1 - ε + ε/C, not 1 - ε."""
    q = scores.smooth(scores.one_hot(torch.tensor([1]), 4), 0.1)
    close(q, [[0.025, 0.925, 0.025, 0.025]])
    logits = SCORES[None]
    expected = F.cross_entropy(logits, torch.tensor([1]), label_smoothing=0.1)
    close(scores.cross_entropy(q, scores.softmax(logits)), expected[None])
    close(Categorical(logits, label_smoothing=0.1).nll(torch.tensor([1])), expected[None])
