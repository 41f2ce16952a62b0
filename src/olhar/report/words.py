"""Numbers as people read them."""

import math


def percent(share: float | None, digits: int = 1) -> str:
    """0.934 -> 93.4%."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}%"


def number(value: float | None, significant: int = 3) -> str:
    """Three significant digits, thousands apart: 0.0123, 12.3, 12,345."""
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else "∞"
    if abs(value) < 1e6 and float(value).is_integer():
        return f"{value:,.0f}"
    digits = significant - 1 - math.floor(math.log10(abs(value)))
    if digits > 6:
        return f"{value:.{significant}g}".replace("e-0", "e-")
    return f"{value:,.{max(digits, 0)}f}"


def compact(value: float) -> str:
    """11,689,512 -> 11.7 M."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """75 -> 1 min 15 s."""
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{total} s"
    hours, minutes, rest = total // 3600, total % 3600 // 60, total % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if rest else f"{minutes} min"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """1 image, 2 images, 1,200 images."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def metric_value(name: str, value: float | None) -> str:
    """Shares as percentages, errors as numbers."""
    shares = {
        "accuracy",
        "balanced_accuracy",
        "f1",
        "top5",
        "mean_average_precision",
        "exact_match",
        "miou",
        "ap",
        "ap50",
        "ap75",
    }
    if name in ("psnr", "psnr_before") and value is not None:
        return f"{value:.2f} dB"
    return percent(value) if name in shares | {"pixel_accuracy", "mean_precision", "mean_recall"} else number(value)
