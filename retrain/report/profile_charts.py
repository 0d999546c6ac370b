"""The small pictures of a profile, as inline SVG in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from record.pages.numbers import figure, power
from retrain.guards.profile import Step

_WIDTH, _HEIGHT = 240, 84
_LEFT = 58  # room for an axis' figures
_BOTTOM = _HEIGHT - 14


def histogram(shares: Sequence[float], low: float | None, high: float | None) -> str:
    """Bars side by side between two ends."""
    if not shares or low is None or high is None:
        return "<p class='dim'>too few values</p>"
    top, width = max(shares) or 1.0, _WIDTH / len(shares)
    bars = "".join(
        f'<rect x="{n * width:.1f}" y="{_BOTTOM - share / top * (_BOTTOM - 4):.1f}" width="{max(1.0, width - 1):.1f}" '
        f'height="{share / top * (_BOTTOM - 4):.1f}" class="mark"/>'
        for n, share in enumerate(shares)
        if share
    )
    ends = f'<text x="0" y="{_HEIGHT - 2}" class="dim">{_figure(low)}</text>'
    ends += f'<text x="{_WIDTH}" y="{_HEIGHT - 2}" text-anchor="end" class="dim">{_figure(high)}</text>'
    return _svg(bars + ends, _HEIGHT, "distribution")


def shares_bars(shares: Sequence[tuple[str, float]]) -> str:
    """Lying bars with their names and per cents."""
    if not shares:
        return "<p class='dim'>none that several rows share</p>"
    top = max(share for _, share in shares) or 1.0
    parts = []
    for n, (name, share) in enumerate(shares):
        y, width = n * 15, share / top * 74
        parts.append(
            f'<text x="116" y="{y + 11}" text-anchor="end">{escape(_short(name, 14))}</text>'
            f'<rect x="122" y="{y + 2}" width="{width:.1f}" height="11" class="mark"/>'
            f'<text x="{126 + width:.1f}" y="{y + 11}" class="dim">{share:.1%}</text>'
        )
    return _svg("".join(parts), 15 * len(shares) + 2, "shares")


def against_target(steps: Sequence[Step], baseline: float, of: str) -> str:
    """Means of the target with their intervals, step by step; dashed: the mean of all."""
    if not steps:
        return "<p class='dim'>too few values</p>"
    low = min([baseline, *(step.low for step in steps)])
    high = max([baseline, *(step.high for step in steps)])

    def up(value: float) -> float:
        return _BOTTOM - 2 - (value - low) / ((high - low) or 1.0) * (_BOTTOM - 10)

    gap = (_WIDTH - _LEFT) / len(steps)
    across = [_LEFT + gap * (n + 0.5) for n in range(len(steps))]
    marks = "".join(
        f"<g><title>{escape(step.name)}: {figure(step.mean)} ({step.share:.1%} of the rows)</title>"
        f'<path d="M{x:.1f} {up(step.low):.1f}V{up(step.high):.1f}" class="axis"/>'
        f'<circle cx="{x:.1f}" cy="{up(step.mean):.1f}" r="3.2" class="mark"/></g>'
        for x, step in zip(across, steps, strict=True)
    )
    guide = f'<path d="M{_LEFT} {up(baseline):.1f}H{_WIDTH}" class="guide"/>'
    axis = "".join(
        f'<text x="{_LEFT - 4}" y="{y}" text-anchor="end" class="dim">{_figure(value)}</text>'
        for value, y in ((high, 11), (low, _BOTTOM))
    )
    ends = f'<text x="{_LEFT}" y="{_HEIGHT - 2}" class="dim">{escape(_short(steps[0].name, 14))}</text>'
    last = _short(steps[-1].name, 14)
    ends += f'<text x="{_WIDTH}" y="{_HEIGHT - 2}" text-anchor="end" class="dim">{escape(last)}</text>'
    return _svg(guide + marks + axis + ends, _HEIGHT, of)


def over_time(values: Sequence[float | None], held: float, of: str, first: str, last: str) -> str:
    """A line over the stretches of time, gaps left out; the newest share of the rows, `held` out, is shaded."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return "<p class='dim'>too few values</p>"
    low, high = min(known), max(known)
    gap = (_WIDTH - _LEFT) / max(1, len(values) - 1)

    def place(n: int, value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return f"{_LEFT + n * gap:.1f},{_BOTTOM - 4 - share * (_BOTTOM - 12):.1f}"

    start = _LEFT + (1 - held) * (_WIDTH - _LEFT)
    shade = f'<rect x="{start:.1f}" y="2" width="{_WIDTH - start:.1f}" height="{_BOTTOM - 2}" class="shade"/>'
    points = " ".join(place(n, value) for n, value in enumerate(values) if value is not None)
    axis = f'<text x="{_LEFT - 4}" y="11" text-anchor="end" class="dim">{_figure(high)}</text>'
    if high > low:
        axis += f'<text x="{_LEFT - 4}" y="{_BOTTOM}" text-anchor="end" class="dim">{_figure(low)}</text>'
    ends = f'<text x="{_LEFT}" y="{_HEIGHT - 2}" class="dim">{escape(first)}</text>'
    ends += f'<text x="{_WIDTH}" y="{_HEIGHT - 2}" text-anchor="end" class="dim">{escape(last)}</text>'
    return _svg(f'{shade}<polyline points="{points}" class="line"/>{axis}{ends}', _HEIGHT, of)


def missing_grid(rows: Sequence[tuple[str, Sequence[float]]], first: str, last: str) -> str:
    """A cell for each column and stretch of time: the darker, the more values are missing."""
    cells = len(rows[0][1])
    width = 380 / cells
    parts = []
    for n, (name, shares) in enumerate(rows):
        y = n * 18
        parts.append(f'<text x="150" y="{y + 13}" text-anchor="end">{escape(_short(name, 24))}</text>')
        for m, share in enumerate(shares):
            parts.append(
                f'<rect x="{158 + m * width:.1f}" y="{y + 1}" width="{width - 2:.1f}" height="16" class="cell"/>'
                f'<rect x="{158 + m * width:.1f}" y="{y + 1}" width="{width - 2:.1f}" height="16" class="mark" '
                f'fill-opacity="{share:.2f}"><title>{share:.1%}</title></rect>'
            )
        mean = sum(shares) / cells
        parts.append(f'<text x="544" y="{y + 13}" class="dim">{mean:.1%}</text>')
    height = 18 * len(rows) + 16
    parts.append(f'<text x="158" y="{height - 3}" class="dim">{escape(first)}</text>')
    parts.append(f'<text x="538" y="{height - 3}" text-anchor="end" class="dim">{escape(last)}</text>')
    svg = f'<svg viewBox="0 0 590 {height}" role="img" aria-label="missing values by time">{"".join(parts)}</svg>'
    return f"<div class='wide'>{svg}</div>"


def _svg(body: str, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">{body}</svg>'


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _figure(value: float) -> str:
    """In few characters, since it stands beside an axis: 1017, 12.5k, 0.0148, 1×10⁻⁵."""
    for least, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / size:.4g}{unit}"
    if 0 < abs(value) < 0.01:
        return power(value, 0) if abs(value) < 0.001 else f"{value:.2g}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"
