"""Calibration, intervals, confusion and the turning epoch against closed forms, scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion

from olhar.inspection.calibration import calibration
from olhar.inspection.confusion import average_precision, class_scores, confusion_matrix, most_confused
from olhar.inspection.curves import noise, turning_point
from olhar.inspection.intervals import bootstrap, wilson

RNG = np.random.default_rng(0)


def test_calibration_by_hand():
    """Two bins: 4 answers at 0.6 of which 2 are right, 6 at 0.9 all right: 0.4 * 0.1 + 0.6 * 0.1 = 0.1."""
    confidence = np.array([0.6] * 4 + [0.9] * 6)
    correct = np.array([True, True, False, False] + [True] * 6)
    measured = calibration(confidence, correct, num_bins=10)
    assert measured.error == pytest.approx(0.1)
    assert measured.bias == pytest.approx(0.78 - 0.8)
    assert [(b.count, b.accuracy) for b in measured.bins] == [(4, 0.5), (6, 1.0)]


def test_bins_are_those_of_scikit_learn():
    confidence = RNG.random(2000)
    correct = RNG.random(2000) < confidence**2
    measured = calibration(confidence, correct)
    right, mean = calibration_curve(correct, confidence, n_bins=15)
    np.testing.assert_allclose([b.accuracy for b in measured.bins], right)
    np.testing.assert_allclose([b.confidence for b in measured.bins], mean)


def test_honest_probabilities_are_calibrated():
    confidence = RNG.random(200_000)
    assert calibration(confidence, RNG.random(200_000) < confidence).error < 0.01


def test_a_probability_on_an_edge_belongs_to_the_bin_below():
    assert [b.high for b in calibration(np.array([0.5]), np.array([True]), num_bins=2).bins] == [0.5]


def test_certain_and_impossible_answers_have_a_bin():
    measured = calibration(np.array([0.0, 1.0]), np.array([False, True]))
    assert [b.count for b in measured.bins] == [1, 1]
    assert measured.error == 0


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (912, 1000), (1, 3), (9900, 10_000)])
def test_wilson_is_scipys(k: int, n: int):
    interval = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_bootstrap_of_a_mean_is_its_normal_interval():
    values = RNG.normal(3, 2, 4000)
    low, high = bootstrap(lambda draws: draws @ values / len(values), len(values), resamples=2000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert (low, high) == bootstrap(lambda draws: draws @ values / len(values), len(values), resamples=2000)


def test_confusion_and_scores_are_those_of_scikit_learn():
    truth, said = RNG.integers(0, 6, 500), RNG.integers(0, 6, 500)
    said = np.where(RNG.random(500) < 0.6, truth, said)
    matrix = confusion_matrix(truth, said, 6)
    np.testing.assert_array_equal(matrix, sklearn_confusion(truth, said))
    scores = class_scores(matrix)
    expected = precision_recall_fscore_support(truth, said)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose([getattr(s, name) for s in scores], np.asarray(column))


def test_a_class_that_never_occurs_has_no_score():
    scores = class_scores(confusion_matrix(np.array([0, 0]), np.array([0, 0]), 2))
    assert scores[0].f1 == 1
    assert all(np.isnan(v) for v in (scores[1].precision, scores[1].recall, scores[1].f1))


def test_most_confused_are_the_mistakes_by_frequency():
    matrix = np.array([[9, 2, 0], [5, 8, 1], [0, 0, 7]])
    assert most_confused(matrix, 10) == [(1, 0, 5), (0, 1, 2), (1, 2, 1)]
    assert most_confused(matrix, 1) == [(1, 0, 5)]


def test_average_precision_is_that_of_scikit_learn():
    truth = (RNG.random(300) < 0.3).astype(int)
    score = np.round(truth * 0.3 + RNG.random(300), 1)  # with ties
    assert average_precision(truth, score)[0] == pytest.approx(average_precision_score(truth, score))


def test_average_precision_of_a_sample_counts_each_draw():
    truth = (RNG.random(80) < 0.4).astype(int)
    score = RNG.random(80)
    draws = RNG.multinomial(80, np.full(80, 1 / 80), size=3)
    expected = [average_precision_score(np.repeat(truth, w), np.repeat(score, w)) for w in draws]
    np.testing.assert_allclose(average_precision(truth, score, draws), expected)


def test_average_precision_without_positives_is_nan():
    assert np.isnan(average_precision(np.zeros(4, dtype=int), RNG.random(4))[0])


def losses(turn: float | None, sigma: float, seed: int = 0) -> tuple[list[float], list[float]]:
    epochs = np.arange(1, 31, dtype=float)
    rise = 0.0 if turn is None else 0.02 * np.clip(epochs - turn, 0, None)
    values = 2 * np.exp(-epochs / 4) + 0.3 + rise + sigma * np.random.default_rng(seed).standard_normal(30)
    return epochs.tolist(), values.tolist()


def test_the_turning_epoch_is_the_minimum_of_the_curve():
    """2 exp(-e/4) + 0.02 (e - 12)+ is lowest where exp(-e/4)/2 = 0.02: e = 4 ln 25 = 12.9."""
    turning = turning_point(*losses(12, 0.0))
    assert turning is not None
    assert turning.epoch == 13
    assert turning.rise == pytest.approx(0.02 * (29 - 13) - 2 * (np.exp(-13 / 4) - np.exp(-29 / 4)), abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_a_turn_and_does_not_hide_one(seed: int):
    assert turning_point(*losses(None, 0.02, seed)) is None
    turning = turning_point(*losses(12, 0.02, seed))
    assert turning is not None
    assert abs(turning.epoch - 13) <= 4


def test_a_short_or_broken_curve_has_no_turn():
    assert turning_point([1, 2, 3], [1.0, 2.0, 3.0]) is None
    assert turning_point([], []) is None
    epochs, values = losses(12, 0.0)
    values[3] = float("nan")
    assert turning_point(epochs, values) == turning_point(epochs[:3] + epochs[4:], values[:3] + values[4:])


def test_the_noise_of_a_curve_is_told_from_its_shape():
    values = np.exp(-np.arange(400) / 80) + 0.05 * RNG.standard_normal(400)
    assert noise(values) == pytest.approx(0.05, rel=0.2)
