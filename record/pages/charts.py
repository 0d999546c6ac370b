"""Small pictures as inline SVG, in the page's own colours: nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from record.pages.numbers import figure
from record.pages.plot import Plot, Points, Span, shortened, span

Floats = npt.NDArray[np.float64]


def bars(values: Mapping[str, float], unit: str, form: Callable[[float], str] = figure) -> str:
    """Horizontal bars, one per name, longest first as given, each with its value in words."""
    if not values:
        return "<p>None.</p>"
    largest = max(max(values.values()), 1e-12)
    rows = []
    for place, (name, value) in enumerate(values.items()):
        y = 8 + place * 22
        width = max(0.0, value) / largest * 300
        rows.append(
            f'<text x="170" y="{y + 12}" text-anchor="end">{escape(shortened(name, 26))}</text>'
            f'<rect x="178" y="{y}" width="{width:.1f}" height="15" class="mark"/>'
            f'<text x="{184 + width:.1f}" y="{y + 12}" class="dim">{escape(form(value))}</text>'
        )
    height = 16 + 22 * len(values)
    svg = f'<svg viewBox="0 0 560 {height}" role="img" aria-label="{escape(unit)}">{"".join(rows)}</svg>'
    return f"<div class='wide'>{svg}</div>"


def curve(points: Points, across: str, up: str, *, diagonal: bool, dots: bool = False) -> str:
    """A line (or dots) over a unit square, with the diagonal as reference where wanted."""
    return _plot(points, (0.0, 1.0), (0.0, 1.0), across, up, diagonal=diagonal, dots=dots)


def scatter(points: Points, across: str, up: str, *, diagonal: bool) -> str:
    """Dots over the range that they cover, the same on both axes where there is a diagonal."""
    if not points:
        return "<p>None.</p>"
    spans = [span(axis) for axis in zip(*points, strict=True)]
    if diagonal:
        spans = [(min(low for low, _ in spans), max(high for _, high in spans))] * 2
    return _plot(points, spans[0], spans[1], across, up, diagonal=diagonal, dots=True)


def calibration_points(scores: Floats, positive: npt.NDArray[np.bool_], bins: int = 10) -> Points:
    """Mean prediction and observed share of equally large groups of rows."""
    order = np.argsort(scores, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return [(float(scores[group].mean()), float(positive[group].mean())) for group in groups]


def bands(series: Mapping[str, Sequence[tuple[float, float, float, float]]], across: str, up: str) -> str:
    """Lines with whiskers: each series' points are (x, low, value, high)."""
    held = {name: points for name, points in series.items() if points}
    if not held:
        return "<p>None.</p>"
    every = [point for points in held.values() for point in points]
    ends = [end for _, low, _, high in every for end in (low, high)]
    plot = Plot("", across, up, span([x for x, *_ in every]), span(ends), width=420, height=250)
    for colour, (name, points) in enumerate(held.items()):
        plot.whiskers([(x, low, high) for x, low, _, high in points if high > low], colour)
        plot.line([(x, value) for x, _, value, _ in points], colour, name=name)
    return plot.svg()


def _plot(points: Points, x: Span, y: Span, across: str, up: str, *, diagonal: bool, dots: bool) -> str:
    plot = Plot("", across, up, x, y)
    if diagonal:
        plot.guide([(x[0], y[0]), (x[1], y[1])])
    return (plot.dots(points) if dots else plot.line(points)).svg()
