"""A picture with axes as inline SVG: ticks at round numbers, a grid, and marks in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from record.pages.numbers import power

Points = Sequence[tuple[float, float]]
Span = tuple[float, float]

COLOURS = 8  # of the page's palette; further series begin again
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 26, 42
_CHARACTER = 7.4  # the width of a wide one


class Plot:
    """Collects marks in data's units, and gives them as one SVG element."""

    def __init__(
        self, title: str, across: str, up: str, x: Span, y: Span, *, width: int = 360, height: int = 270
    ) -> None:
        self._title, self._across, self._up = title, across, up
        self._x, self._y = _widened(x), _widened(y)
        self._width, self._height = width, height
        self._marks: list[str] = []
        self._legend: list[tuple[int, str]] = []
        self._named: dict[float, str] | None = None

    def name_at(self, names: Mapping[float, str]) -> Plot:
        """Texts on the x axis in place of numbers."""
        self._named = dict(names)
        return self

    def line(self, points: Points, colour: int = 0, *, name: str = "", thin: bool = False) -> Plot:
        """A line through the points; a thin one is one of many."""
        kind = f"thin s{colour % COLOURS}" if thin else f"line s{colour % COLOURS}"
        self._marks.append(f'<polyline points="{self._path(points)}" class="{kind}"/>')
        return self.note(colour, name)

    def band(self, lower: Points, upper: Points, colour: int = 0) -> Plot:
        """The area between two lines."""
        around = self._path([*lower, *reversed(list(upper))])
        self._marks.append(f'<polygon points="{around}" class="band f{colour % COLOURS}"/>')
        return self

    def dots(self, points: Points, colour: int = 0, *, name: str = "", size: float = 3.0) -> Plot:
        kind = f"f{colour % COLOURS}" + (" faint" if size < 3 else "")
        self._marks += [f'<circle cx="{x}" cy="{y}" r="{size:g}" class="{kind}"/>' for x, y in map(self._at, points)]
        return self.note(colour, name)

    def whiskers(self, points: Sequence[tuple[float, float, float]], colour: int = 0) -> Plot:
        """Upright lines: (x, low, high)."""
        for x, low, high in points:
            (at, bottom), (_, top) = self._at((x, low)), self._at((x, high))
            self._marks.append(f'<path d="M{at} {bottom}V{top}" class="whisker s{colour % COLOURS}"/>')
        return self

    def columns(self, edges: Sequence[float], heights: Sequence[float], colour: int = 0) -> Plot:
        """A histogram's columns between neighbouring edges."""
        for place, height in enumerate(heights):
            (left, top), (right, bottom) = self._at((edges[place], height)), self._at((edges[place + 1], self._y[0]))
            size = f'width="{max(0.5, float(right) - float(left) - 1):.1f}" height="{float(bottom) - float(top):.1f}"'
            self._marks.append(f'<rect x="{left}" y="{top}" {size} class="f{colour % COLOURS}"/>')
        return self

    def guide(self, points: Points) -> Plot:
        """A dashed line to compare with."""
        self._marks.append(f'<polyline points="{self._path(points)}" class="guide"/>')
        return self

    def svg(self) -> str:
        label = escape(f"{self._title}: {self._up} by {self._across}", quote=True)
        return (
            f'<svg viewBox="0 0 {self._width} {self._height}" class="plot" role="img" aria-label="{label}">'
            f'<text x="{_LEFT}" y="14" class="title">{escape(self._title)}</text>'
            f"{self._axes()}{''.join(self._marks)}{self._key()}</svg>"
        )

    def _axes(self) -> str:
        bottom, middle = self._height - _BOTTOM, (_TOP + self._height - _BOTTOM) / 2
        right = self._width - _RIGHT
        parts = [f'<path d="M{_LEFT} {bottom}H{right}" class="axis"/>']
        for value, text in self._y_ticks():
            _, y = self._at((self._x[0], value))
            parts.append(f'<path d="M{_LEFT} {y}H{right}" class="grid"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" class="dim end">{escape(text)}</text>')
        for value, text in self._x_ticks():
            x = min(float(self._at((value, self._y[0]))[0]), self._width - _CHARACTER / 2 * len(text))
            parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" class="dim mid">{escape(text)}</text>')
        parts.append(
            f'<text x="{(_LEFT + right) / 2:.0f}" y="{bottom + 33}" class="dim mid">{escape(self._across)}</text>'
            f'<text x="10" y="{middle:.0f}" class="dim mid" transform="rotate(-90 10 {middle:.0f})">'
            f"{escape(self._up)}</text>"
        )
        return "".join(parts)

    def _key(self) -> str:
        """Names of the series in the upper right corner, beside the title."""
        parts, x = [], self._width - _RIGHT
        for colour, name in reversed(self._legend):
            shown = shortened(name, 18)
            parts.append(f'<text x="{x}" y="14" class="end">{escape(shown)}</text>')
            x -= round(6.6 * len(shown)) + 10
            parts.append(f'<circle cx="{x}" cy="10" r="4" class="f{colour % COLOURS}"/>')
            x -= 14
        return "".join(parts)

    def note(self, colour: int, name: str) -> Plot:
        """Names a colour beside the title."""
        if name:
            self._legend.append((colour, name))
        return self

    def _y_ticks(self) -> list[tuple[float, str]]:
        return [(value, tick_text(value, ticks)) for ticks in [round_ticks(self._y)] for value in ticks]

    def _x_ticks(self) -> list[tuple[float, str]]:
        if self._named is None:
            return [(value, tick_text(value, ticks)) for ticks in [round_ticks(self._x)] for value in ticks]
        room = max(3, int((self._width - _LEFT - _RIGHT) / _CHARACTER / max(1, len(self._named))))
        return [(place, shortened(name, room)) for place, name in self._named.items()]

    def _at(self, point: tuple[float, float]) -> tuple[str, str]:
        x = (point[0] - self._x[0]) / (self._x[1] - self._x[0])
        y = (point[1] - self._y[0]) / (self._y[1] - self._y[0])
        across = _LEFT + x * (self._width - _LEFT - _RIGHT)
        return f"{across:.1f}", f"{self._height - _BOTTOM - y * (self._height - _TOP - _BOTTOM):.1f}"

    def _path(self, points: Points) -> str:
        return " ".join(f"{x},{y}" for x, y in map(self._at, points))


def span(values: Sequence[float], *, room: float = 0.04) -> Span:
    """From the smallest to the largest finite value, with a little room around."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return (0.0, 1.0)
    low, high = min(finite), max(finite)
    return low - room * (high - low), high + room * (high - low)


def round_ticks(held: Span, most: int = 5) -> list[float]:
    """Up to about `most` round numbers within the span: steps of 1, 2 or 5 times a power of ten."""
    low, high = held
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """With the digits that tell neighbours apart; thousands as k, millions as M."""
    if value == 0:
        return "0"
    largest = max((abs(tick) for tick in ticks), default=0.0)
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= 10 * size:
            return tick_text(value / size, [tick / size for tick in ticks]) + unit
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else abs(value) or 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}" if digits <= 5 else power(value, 1)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(1, most - 1)] + "…"


def _widened(held: Span) -> Span:
    """A span of no width would divide by nothing."""
    low, high = held
    if high > low:
        return held
    half = 0.5 * (abs(low) or 1.0)
    return low - half, high + half
