"""The report's section on parts of the holdout: slices that fare worse, and protected groups side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from record.pages.numbers import figure
from record.pages.page import pictures
from retrain.evaluation.fairness import Group, Rate
from retrain.evaluation.slices import HoldoutSlice
from retrain.report.forest import ForestRow, forest

_TITLES = {
    "selection_rate": "Selection rate",
    "true_positive_rate": "True positive rate",
    "false_positive_rate": "False positive rate",
    "calibration": "Calibration: said minus observed",
    "accuracy": "Accuracy",
    "loss": "Mean loss",
    "mean_error": "Mean error",
    "mean_absolute_error": "Mean absolute error",
}


def slices_picture(slices: Sequence[HoldoutSlice]) -> str:
    """Each slice's excess loss, the real ones first."""
    if not slices:
        return "<p class='dim'>No slice has enough rows.</p>"
    real = sum(each.real for each in slices)
    verdict = (
        f"In colour: worse beyond what chance makes among so many ({real}; Benjamini and Hochberg, 5 %)."
        if real
        else "None stands out beyond what chance makes among so many (Benjamini and Hochberg, 5 %)."
    )
    rows = [
        ForestRow(each.name, each.excess, each.low, each.high, f"{each.rows:,} rows", strong=each.real)
        for each in slices
    ]
    picture = forest("Mean loss beside all other rows", "excess loss, 95 % interval", rows, reference=0.0, width=640)
    return f"<p class='dim'>{verdict}</p>{picture}"


def fairness_tables(groups: Sequence[Group], watched: str | None) -> str:
    """For each protected column a picture of each rate, and a table of rates and differences."""
    if not groups:
        return (
            "<p class='dim'>No column is named in problem.protected, or none of its groups has enough rows in the "
            "holdout.</p>"
        )
    said = "" if watched is None else f" Selected: predicted to be {escape(watched)}."
    note = (
        f"<p class='dim'>Of the holdout, with 95 % intervals; differences are from all rows outside the group.{said} "
        "Where groups' base rates differ, not all of these can be equal at once.</p>"
    )
    return note + "".join(
        _column(column, [group for group in groups if group.column == column])
        for column in dict.fromkeys(group.column for group in groups)
    )


def _column(column: str, groups: Sequence[Group]) -> str:
    names = list(groups[0].rates)
    drawn = [
        forest(
            _TITLES.get(name, name),
            "",
            [_forest_row(group, group.rates[name]) for group in groups if name in group.rates],
            reference=0.0 if name in ("calibration", "mean_error") else None,
        )
        for name in names
    ]
    gaps = [(_short(name), _widest_gap(groups, name)) for name in names]
    widest = ", ".join(f"{name} {figure(gap)}" for name, gap in gaps if gap is not None)
    return (
        f"<h3>{escape(column)}</h3>{pictures(*drawn)}<div class='wide'>{_table(groups, names)}</div>"
        f"<p class='dim'>Largest gaps between two groups: {escape(widest) or 'there is one group only'}.</p>"
    )


def _table(groups: Sequence[Group], names: Sequence[str]) -> str:
    heads = "".join(f"<th>{escape(_short(name))}</th>" for name in names)
    body = ""
    for group in groups:
        cells = "".join(f"<td class='number'>{_cell(group.rates.get(name))}</td>" for name in names)
        body += f"<tr><td>{escape(group.name)}</td><td class='number'>{group.rows:,}</td>{cells}</tr>"
    return (
        f"<table class='rates'><thead><tr><th>group</th><th>rows</th>{heads}</tr></thead><tbody>{body}</tbody></table>"
    )


def _short(name: str) -> str:
    return _TITLES.get(name, name).partition(":")[0].lower()


def _forest_row(group: Group, rate: Rate) -> ForestRow:
    apart = rate.difference_low is not None and rate.difference_high is not None
    strong = apart and not float(rate.difference_low or 0.0) <= 0.0 <= float(rate.difference_high or 0.0)
    return ForestRow(
        group.name, rate.value, rate.low, rate.high, f"{figure(rate.value)} of {rate.rows:,}", strong=strong
    )


def _cell(rate: Rate | None) -> str:
    """The rate, and beneath it the difference from all others with its interval."""
    if rate is None:
        return "–"
    if rate.difference is None or rate.difference_low is None or rate.difference_high is None:
        return figure(rate.value)
    ends = f"{_signed(rate.difference_low)} to {_signed(rate.difference_high)}"
    return f"{figure(rate.value)}<small>{_signed(rate.difference)} ({ends})</small>"


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{figure(abs(value))}"


def _widest_gap(groups: Sequence[Group], name: str) -> float | None:
    values = [group.rates[name].value for group in groups if name in group.rates]
    return max(values) - min(values) if len(values) > 1 else None
