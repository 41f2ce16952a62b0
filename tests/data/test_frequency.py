"""Weights of classes: their mean over what they weigh is 1, and rare ones weigh more, to a bound."""

import pytest

from olhar.data.frequency import pixel_weights


@pytest.mark.parametrize("how", ["balanced", "effective"])
def test_weights_have_the_mean_one_over_the_pixels(how: str):
    counts = [900_000, 90_000, 10_000, 0]
    weights = pixel_weights(counts, how)
    assert weights is not None
    total = sum(counts)
    assert sum(w * n / total for w, n in zip(weights, counts, strict=True)) == pytest.approx(1)
    assert weights == sorted(weights)
    assert weights[3] < 1e4, "a class that hardly occurs does not drown the rest"


def test_balanced_weights_are_inverse_frequencies_and_effective_ones_milder():
    counts = [900_000, 90_000, 10_000]
    balanced, effective = pixel_weights(counts, "balanced"), pixel_weights(counts, "effective")
    assert balanced is not None
    assert effective is not None
    assert balanced[1] / balanced[0] == pytest.approx(10)
    assert balanced[2] / balanced[0] == pytest.approx(90)
    # (1 - β^(1 + 1000 · 0.9)) / (1 - β^(1 + 1000 · 0.01)) with β = 0.99
    assert effective[2] / effective[0] == pytest.approx((1 - 0.99**901) / (1 - 0.99**11))
    assert pixel_weights(counts, "none") is None
