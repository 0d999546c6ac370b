"""Values with intervals, one under the other on a common axis: a forest plot as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from record.pages.plot import round_ticks, shortened, span, tick_text

_NAMES, _TEXTS, _ROW = 190, 100, 21


@dataclass(frozen=True, slots=True)
class ForestRow:
    """`strong`: in the colour of attention."""

    name: str
    value: float
    low: float
    high: float
    text: str = ""
    strong: bool = False


def forest(
    title: str, across: str, rows: Sequence[ForestRow], *, reference: float | None = None, width: int = 520
) -> str:
    """A dot and its interval for each row, beside its name and text; `reference` is a dashed line."""
    if not rows:
        return ""
    top = 26
    bottom = top + _ROW * len(rows)
    ends = [end for each in rows for end in (each.low, each.high, each.value) if math.isfinite(end)]
    low, high = span([*ends, *([] if reference is None else [reference])])
    if high <= low:
        low, high = low - 0.5, high + 0.5

    def at(value: float) -> float:
        return _NAMES + (min(max(value, low), high) - low) / (high - low) * (width - _NAMES - _TEXTS)

    ticks = round_ticks((low, high), 4)
    parts = [f'<text x="0" y="14" class="title">{escape(title)}</text>']
    parts += [
        f'<path d="M{at(tick):.1f} {top}V{bottom}" class="grid"/>'
        f'<text x="{at(tick):.1f}" y="{bottom + 14}" class="dim mid">{tick_text(tick, ticks)}</text>'
        for tick in ticks
    ]
    if reference is not None:
        parts.append(f'<path d="M{at(reference):.1f} {top}V{bottom}" class="guide"/>')
    for place, each in enumerate(rows):
        y = top + _ROW * place + _ROW / 2
        colour = 1 if each.strong else 0
        parts.append(
            f'<text x="{_NAMES - 10}" y="{y + 4}" class="end">{escape(shortened(each.name, 24))}</text>'
            f'<path d="M{at(each.low):.1f} {y}H{at(each.high):.1f}" class="whisker s{colour}"/>'
            f'<circle cx="{at(each.value):.1f}" cy="{y}" r="4" class="f{colour}"/>'
            f'<text x="{width - _TEXTS + 12}" y="{y + 4}" class="dim">{escape(each.text)}</text>'
        )
    middle = (_NAMES + width - _TEXTS) / 2
    parts.append(f'<text x="{middle:.0f}" y="{bottom + 30}" class="dim mid">{escape(across)}</text>')
    label = escape(f"{title}: {across}", quote=True)
    box = f"0 0 {width} {bottom + (36 if across else 20)}"
    svg = f'<svg viewBox="{box}" class="forest" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    return f"<div class='wide'>{svg}</div>"
