"""Small pictures as inline SVG, in the page's own colours: nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT, EDGE = 340, 260, 44


def bars(values: Mapping[str, float], unit: str) -> str:
    """Horizontal bars, one per name, longest first as given."""
    if not values:
        return "<p>None.</p>"
    largest = max(max(values.values()), 1e-12)
    rows = []
    for place, (name, value) in enumerate(values.items()):
        y = 8 + place * 22
        width = max(0.0, value) / largest * 300
        rows.append(
            f'<text x="170" y="{y + 12}" text-anchor="end">{escape(name[:26])}</text>'
            f'<rect x="178" y="{y}" width="{width:.1f}" height="15" class="mark"/>'
            f'<text x="{184 + width:.1f}" y="{y + 12}" class="dim">{value:.4f}</text>'
        )
    height = 16 + 22 * len(values)
    return f'<svg viewBox="0 0 560 {height}" role="img" aria-label="{escape(unit)}">{"".join(rows)}</svg>'


def curve(points: Points, across: str, up: str, *, diagonal: bool, dots: bool = False) -> str:
    """A line (or dots) over a unit square, with the diagonal as reference where wanted."""
    return _plot(points, (0.0, 1.0), (0.0, 1.0), across, up, diagonal=diagonal, dots=dots)


def scatter(points: Points, across: str, up: str, *, diagonal: bool) -> str:
    """Dots over the range that they cover, the same on both axes where there is a diagonal."""
    if not points:
        return "<p>None.</p>"
    horizontal, vertical = np.array(points, dtype=np.float64).T
    spans = [(float(axis.min()), float(axis.max())) for axis in (horizontal, vertical)]
    if diagonal:
        spans = [(min(low for low, _ in spans), max(high for _, high in spans))] * 2
    return _plot(points, spans[0], spans[1], across, up, diagonal=diagonal, dots=True)


def calibration_points(scores: Floats, positive: npt.NDArray[np.bool_], bins: int = 10) -> Points:
    """Mean prediction and observed share of equally large groups of rows."""
    order = np.argsort(scores, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    return [(float(scores[group].mean()), float(positive[group].mean())) for group in groups]


def bands(series: Mapping[str, Sequence[tuple[float, float, float, float]]], across: str, up: str) -> str:
    """Lines with whiskers: each series' points are (x, low, value, high). The second one is dashed."""
    held = {name: points for name, points in series.items() if points}
    if not held:
        return "<p>None.</p>"
    every = np.array([point for points in held.values() for point in points], dtype=np.float64)
    left, right = float(every[:, 0].min()), float(every[:, 0].max())
    low, high = float(every[:, 1].min()), float(every[:, 3].max())

    def place(x: float, y: float) -> tuple[float, float]:
        return 52 + (x - left) / ((right - left) or 1.0) * 488, 186 - (y - low) / ((high - low) or 1.0) * 170

    parts = [
        f'<path d="M52 16V186H540" class="axis"/><text x="296" y="214" text-anchor="middle">{escape(across)}</text>'
    ]
    parts += [
        f'<text x="48" y="{y}" text-anchor="end" class="dim">{value:.4g}</text>'
        for y, value in ((190, low), (20, high))
    ]
    for number, (name, points) in enumerate(held.items()):
        placed = [(place(x, bottom), place(x, value), place(x, top)) for x, bottom, value, top in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for _, (x, y), _ in placed)
        dash = ' stroke-dasharray="5 4"' if number else ""
        parts.append(f'<polyline points="{line}" class="line"{dash}/>')
        parts += [f'<path d="M{x:.1f} {a:.1f}V{b:.1f}" class="axis"/>' for (x, a), _, (_, b) in placed]
        parts.append(f'<text x="{60 + 150 * number}" y="12">{escape(name)}{" (dashed)" if number else ""}</text>')
    return f'<svg viewBox="0 0 560 222" role="img" aria-label="{escape(up)} by {escape(across)}">{"".join(parts)}</svg>'


def _plot(
    points: Points,
    across_span: tuple[float, float],
    up_span: tuple[float, float],
    across: str,
    up: str,
    *,
    diagonal: bool,
    dots: bool,
) -> str:
    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = (point[0] - across_span[0]) / ((across_span[1] - across_span[0]) or 1.0)
        y = (point[1] - up_span[0]) / ((up_span[1] - up_span[0]) or 1.0)
        return EDGE + x * (WIDTH - EDGE - 12), HEIGHT - EDGE + 6 - y * (HEIGHT - EDGE - 12)

    placed = [place(point) for point in points]
    (left, bottom), (right, top) = place((across_span[0], up_span[0])), place((across_span[1], up_span[1]))
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="mark"/>' for x, y in placed)
    line = f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}" class="line"/>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="plot" role="img" aria-label="{escape(up)} by {escape(across)}">'
        f'<path d="M{left:.1f} {top:.1f}V{bottom:.1f}H{right:.1f}" class="axis"/>'
        + (f'<path d="M{left:.1f} {bottom:.1f}L{right:.1f} {top:.1f}" class="guide"/>' if diagonal else "")
        + (marks if dots else line)
        + f'<text x="{left:.0f}" y="{bottom + 15:.0f}" class="dim">{across_span[0]:.3g}</text>'
        f'<text x="{right:.0f}" y="{bottom + 15:.0f}" text-anchor="end" class="dim">{across_span[1]:.3g}</text>'
        f'<text x="{left - 5:.0f}" y="{bottom:.0f}" text-anchor="end" class="dim">{up_span[0]:.3g}</text>'
        f'<text x="{left - 5:.0f}" y="{top + 9:.0f}" text-anchor="end" class="dim">{up_span[1]:.3g}</text>'
        f'<text x="{(left + right) / 2:.0f}" y="{bottom + 28:.0f}" text-anchor="middle">{escape(across)}</text>'
        f'<text x="12" y="{(bottom + top) / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 12 {(bottom + top) / 2:.0f})">{escape(up)}</text></svg>'
    )
