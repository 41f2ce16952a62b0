"""How numbers of the notes are compared."""

import torch


def close(found: object, expected: object, tolerance: float = 1e-6) -> None:
    """Equal within a share of what is expected."""
    a, b = (torch.as_tensor(value, dtype=torch.float64) for value in (found, expected))
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance if not b.any() else 1e-12)


def printed(found: object, expected: object, digits: int) -> None:
    """Equal to what is printed with so many digits after the point."""
    a, b = (torch.as_tensor(value, dtype=torch.float64) for value in (found, expected))
    torch.testing.assert_close(a, b, rtol=0, atol=0.5000001 * 10.0**-digits)
