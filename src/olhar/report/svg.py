"""Charts drawn by hand as inline SVG: their colours are the page's, in light, in dark and on paper.

Every chart is about 440 units wide, so that its text stays readable on a phone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

Point = tuple[float, float]


def tag(name: str, text: object = None, **attributes: object) -> Markup:
    """An escaped SVG element; `class_` is class, and underscores become hyphens."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), short(value))
        for key, value in attributes.items()
        if value is not None
    )
    if text is None:
        return Markup("<{}{}/>").format(Markup(name), written)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, text)


def short(value: object) -> object:
    """Coordinates to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) inside [low, high], about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass
class Plot:
    """Two axes and what is drawn between them, in data coordinates.

    Args:
        x, y: (low, high) of the axes.
        label: what the chart shows, for those who hear the page.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    label: str
    width: float = 440
    height: float = 260
    left: float = 44
    right: float = 14
    top: float = 22
    bottom: float = 34
    parts: list[Markup] = field(default_factory=list)

    def at(self, x: float, y: float) -> Point:
        """Data to SVG coordinates. What lies outside is clipped at the border."""
        share_x = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        share_y = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        inner_width = self.width - self.left - self.right
        inner_height = self.height - self.top - self.bottom
        return (
            self.left + min(max(share_x, 0), 1) * inner_width,
            self.height - self.bottom - min(max(share_y, 0), 1) * inner_height,
        )

    def add(self, part: Markup) -> "Plot":
        self.parts.append(part)
        return self

    def axes(
        self,
        x_label: str,
        y_label: str,
        x_format: Callable[[float], str] = "{:,.6g}".format,
        y_format: Callable[[float], str] = "{:,.6g}".format,
        y_ticks: Sequence[float] | None = None,
    ) -> "Plot":
        """Horizontal grid lines with their numbers, numbers below, the names of the axes."""
        for value in ticks(*self.y) if y_ticks is None else y_ticks:
            (x0, y0), (x1, _) = self.at(self.x[0], value), self.at(self.x[1], value)
            self.add(tag("line", x1=x0, y1=y0, x2=x1, y2=y0, class_="grid"))
            self.add(tag("text", y_format(value), x=x0 - 6, y=y0 + 3.5, text_anchor="end"))
        floor = self.height - self.bottom
        for value in ticks(*self.x):
            x, _ = self.at(value, self.y[0])
            self.add(tag("line", x1=x, y1=floor, x2=x, y2=floor + 4, class_="tick"))
            self.add(tag("text", x_format(value), x=x, y=floor + 15, text_anchor="middle"))
        self.add(tag("line", x1=self.left, y1=floor, x2=self.width - self.right, y2=floor, class_="axis"))
        self.add(tag("text", x_label, x=self.width - self.right, y=self.height - 4, text_anchor="end", class_="name"))
        return self.add(tag("text", y_label, x=2.0, y=9.0, class_="name"))

    def line(self, xs: Sequence[float], ys: Sequence[float], class_: str) -> "Plot":
        """A line through the finite points."""
        points = [self.at(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        return self.add(tag("path", d=path(points), class_=f"line {class_}")) if points else self

    def dot(self, x: float, y: float, class_: str, radius: float = 3.5) -> "Plot":
        cx, cy = self.at(x, y)
        return self.add(tag("circle", cx=cx, cy=cy, r=radius, class_=class_))

    def dots(self, xs: Sequence[float], ys: Sequence[float], class_: str, radius: float = 2.0) -> "Plot":
        """Many dots as one path: round caps of lines without length."""
        points = (self.at(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y))
        marks = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        return self.add(tag("path", d=marks, class_=f"dots {class_}", stroke_width=2 * radius))

    def box(self, x: tuple[float, float], y: tuple[float, float], class_: str, title: str | None = None) -> "Plot":
        (x0, y1), (x1, y0) = self.at(x[0], y[0]), self.at(x[1], y[1])
        inside = tag("title", title) if title else ""
        size = {"width": max(x1 - x0, 0.0), "height": max(y1 - y0, 0.0)}
        return self.add(tag("rect", inside, x=x0, y=y0, **size, class_=class_))

    def rule(self, x: float, class_: str) -> "Plot":
        """A vertical line at x."""
        x0, _ = self.at(x, self.y[0])
        return self.add(tag("line", x1=x0, y1=self.top, x2=x0, y2=self.height - self.bottom, class_=f"rule {class_}"))

    def text(
        self, x: float, y: float, text: str, class_: str, dx: float = 0, dy: float = 0, anchor: str = "start"
    ) -> "Plot":
        x0, y0 = self.at(x, y)
        return self.add(tag("text", text, x=x0 + dx, y=y0 + dy, text_anchor=anchor, class_=class_))

    def svg(self) -> Markup:
        return picture(self.width, self.height, self.label, Markup("").join(self.parts))


def picture(width: float, height: float, label: str, content: Markup, class_: str = "chart") -> Markup:
    """An SVG that fills its column."""
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", content, viewBox=box, role="img", aria_label=label, class_=class_)
