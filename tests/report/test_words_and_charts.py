import math
import re

import pytest

from olhar.report.panels.curves import direct_labels, thin
from olhar.report.svg import Plot, tag, ticks
from olhar.report.words import compact, duration, metric_value, number, percent, plural


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 30, [0, 10, 20, 30]),
        (-3, 3, [-2, 0, 2]),
        (0.912, 0.948, [0.92, 0.93, 0.94]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]):
    assert ticks(low, high) == pytest.approx(expected)


def test_numbers_as_people_read_them():
    assert [number(v) for v in (0, 12, 0.012345, 1234.5, 3.14159, -0.5, 2e-9, None)] == [
        "0", "12", "0.0123", "1,234", "3.14", "-0.500", "2e-9", "–",
    ]  # fmt: skip
    assert [compact(v) for v in (11_689_512, 950, 1.81e9)] == ["11.7 M", "950", "1.81 G"]
    assert [duration(v) for v in (4.25, 59, 75, 120, 3700)] == ["4.2 s", "59 s", "1 min 15 s", "2 min", "1 h 1 min"]
    assert (plural(1, "image"), plural(1200, "class", "classes")) == ("1 image", "1,200 classes")
    assert (percent(0.9345), percent(float("nan"))) == ("93.5%", "–")
    assert (metric_value("accuracy", 0.5), metric_value("mae", 0.5)) == ("50.0%", "0.500")


def test_a_plot_puts_data_where_its_axes_say():
    plot = Plot((0, 10), (0, 1), "a chart", width=100, height=100, left=10, right=10, top=10, bottom=10)
    assert plot.at(0, 0) == (10, 90)
    assert plot.at(10, 1) == (90, 10)
    assert plot.at(5, 0.5) == (50, 50)
    assert plot.at(99, -1) == (90, 90)  # clipped


def test_text_is_escaped():
    assert tag("text", "a < b", x=1.25, class_='"x"') == '<text x="1.2" class="&#34;x&#34;">a &lt; b</text>'


def test_long_lines_are_thinned_by_means():
    xs, ys = thin([i / 10 for i in range(10_000)], [1.0, 3.0] * 5_000)
    assert len(xs) == len(ys) <= 240
    assert ys == pytest.approx([2.0] * len(ys), abs=0.05)


@pytest.mark.parametrize(("train", "val"), [(1.115, 1.11), (1.11, 1.11), (1.21, 1.2), (1.11, 1.3), (math.nan, 1.1)])
def test_the_names_of_lines_are_apart_and_above_the_axis(train: float, val: float):
    plot = Plot((0, 4), (1.1, 1.4), "losses")
    direct_labels(plot, [(4, train, "train"), (4, val, "val")])
    heights = [float(re.search(r' y="?([\d.]+)', part)[1]) for part in plot.parts]  # type: ignore[index]
    assert len(heights) == 1 + math.isfinite(train)
    assert max(heights) <= plot.height - plot.bottom
    assert abs(heights[0] - heights[-1]) >= 11 or len(heights) == 1
