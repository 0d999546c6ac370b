"""The report's pictures of what the model looks at, and what it makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from record.pages.numbers import in_unit
from record.pages.page import pictures
from record.pages.plot import Plot, shortened, span
from retrain.evaluation.dependence import Dependence
from retrain.evaluation.metrics import Interval
from retrain.report.forest import ForestRow, forest

SHOWN_FEATURES = 20
_YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)


def importance_picture(importances: Mapping[str, Interval]) -> str:
    """The most important features' permutation importance (Breiman 2001)."""
    if not importances:
        return "<p class='dim'>There was no time to ask how much each feature matters.</p>"
    shown = list(importances.items())[:SHOWN_FEATURES]
    note = "How much the loss rises when one feature is mixed among the holdout's rows (permutation importance), 95 %."
    more = f" The first {SHOWN_FEATURES} of {len(importances)}." if len(importances) > SHOWN_FEATURES else ""
    rows = [ForestRow(name, rise.value, rise.low, rise.high, f"{rise.value:.4f}") for name, rise in shown]
    return f"<p class='dim'>{note}{more}</p>" + forest(
        "Permutation importance", "rise of the loss", rows, reference=0.0
    )


def dependence_pictures(found: Sequence[Dependence], output: str, units: Mapping[str, str]) -> str:
    """One picture for each feature, on a common scale."""
    if not found:
        return "<p class='dim'>No feature matters enough to be drawn, or there was no time for it.</p>"
    lines = [value for each in found for line in (*each.means, *each.lines) for value in line]
    common = span(lines)
    note = (
        "The mean answer as one feature changes and all others stay (thick), and single rows' own lines (thin): where "
        "those cross or fan out, the feature acts together with others."
        if any(each.lines for each in found)
        else "The mean probability of each class as one feature changes and all others stay."
    )
    return f"<h3>Partial dependence</h3><p class='dim'>{note}</p>" + pictures(
        *(_picture(each, output, common, units.get(each.feature)) for each in found)
    )


def _picture(held: Dependence, output: str, common: tuple[float, float], unit: str | None) -> str:
    places = _places(held)
    x = (-0.4, len(places) - 0.6) if held.kind == "category" else span(places)
    plot = Plot(shortened(in_unit(held.feature, unit), 34), _across(held), output, x, common)
    if held.kind != "number":
        plot.name_at(_names(held))
    for line in held.lines:
        plot.line(list(zip(places, line, strict=True)), thin=True)
    for place, means in enumerate(held.means):
        points = list(zip(places, means, strict=True))
        plot.line(points, place if len(held.means) > 1 else 1).dots(
            points if held.kind == "category" else [], place if len(held.means) > 1 else 1
        )
        if len(held.means) > 1:
            plot.note(place, shortened(held.outputs[place], 10))
    return plot.svg()


def _places(held: Dependence) -> list[float]:
    if held.kind == "category":
        return [float(place) for place in range(len(held.grid))]
    return [float(value) for value in held.grid]


def _names(held: Dependence) -> dict[float, str]:
    if held.kind == "category":
        return {float(place): str(name) for place, name in enumerate(held.grid)}
    first, last = float(held.grid[0]), float(held.grid[-1])
    return {at: f"{_YEAR_2000 + timedelta(days=at):%Y-%m-%d}" for at in (first, (first + last) / 2, last)}


def _across(held: Dependence) -> str:
    return {"category": "the most frequent values", "time": "date"}.get(held.kind, "value, 2 to 98 % of the holdout")
