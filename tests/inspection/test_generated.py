import math

import pytest
import torch

from olhar.inspection.generated import discrepancy, kernel_distance, nearest


def test_the_discrepancy_is_its_sum_over_pairs():
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    among_x = sum(kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    among_y = sum(kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / 12
    between = sum(kernel(a, b) for a in x for b in y) / 20
    assert discrepancy(x, y) == pytest.approx(among_x + among_y - 2 * between)


def test_the_distance_of_two_gaussians_is_the_closed_form():
    """With one feature, E k(x, y) = E (xy + 1)³ = m₃m₃' + 3 m₂m₂' + 3 m₁m₁' + 1, of the moments; for N(0, 1) and
    N(1, 1), whose moments are (0, 1, 0) and (1, 2, 4): 4 + 16 + 1 + 19 + ... - 2 * 7 = 22."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4000, 1, generator=generator), 1 + torch.randn(4000, 1, generator=generator)
    moments_x, moments_y = (0, 1, 0), (1, 2, 4)

    def expected(a: tuple, b: tuple) -> float:
        return a[2] * b[2] + 3 * a[1] * b[1] + 3 * a[0] * b[0] + 1

    true = expected(moments_x, moments_x) + expected(moments_y, moments_y) - 2 * expected(moments_x, moments_y)
    assert true == 4 + 28 + 4 - 14
    found = kernel_distance(x, y, size=1000)
    assert abs(found.value - true) < 5 * found.error
    assert found.error < 0.2 * true
    same = kernel_distance(x[:2000], x[2000:], size=1000)
    assert abs(same.value) < 5 * same.error
    assert kernel_distance(x, y, size=1000) == found  # the same subsets every time


def test_too_few_images_have_no_distance():
    with pytest.raises(ValueError, match="two samples"):
        kernel_distance(torch.zeros(1, 2), torch.zeros(9, 2))


def test_what_was_learnt_by_heart_is_found():
    training = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    samples = training[[7, 3]] + torch.tensor([0.0, 0.1])[:, None, None, None]
    found = nearest(samples, training, count=2)
    assert found.indices[:, 0].tolist() == [7, 3]
    assert found.distances[:, 0].tolist() == pytest.approx([0, 0.1], abs=1e-3)
    assert found.distances[0, 1] == pytest.approx(
        min(math.sqrt(float((training[7] - other).square().mean())) for i, other in enumerate(training) if i != 7)
    )
