"""What Ringside says of monitored days: the code that decides in production, on a day at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.alarm_answers import Accumulated, Answer, Beside, Days
from benchmarks.alarm_case import Case, sample, window_of
from monitoring.drifting.replay import replay_days
from monitoring.inputs.contract_check import inspect_window
from monitoring.windows import TARGET, Window
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn

CHECKED_REFERENCE = 5_000  # rows: quantiles of more take four times as long, and find the same
RINGSIDE, RINGSIDE_CHECKED = "Ringside", "Ringside, with the data's checks"


def ours(case: Case) -> Mapping[str, Answer]:
    """The drift alarm by itself, and beside the data's own checks, whose errors are an alarm of their own."""
    drift = drift_alarm(case)
    return {RINGSIDE: drift, RINGSIDE_CHECKED: Beside(drift, data_errors(case))}


def data_errors(case: Case) -> Days:
    """The days on which a check of the data finds what only a broken feed brings."""
    rows = sample(len(case.reference), CHECKED_REFERENCE)
    reference = window_of(case.reference[rows], case.reference_days[rows], case.categories)
    schema = _schema(reference)
    found = np.zeros(len(case.days), dtype=np.bool_)
    for day, held in enumerate(case.days):
        current = window_of(held, np.full(len(held), day), case.categories)
        found[day] = bool(inspect_window(reference, current, schema).errors)
    return found


def drift_alarm(case: Case) -> Accumulated:
    """Every day's p-values, as the code that decides in production makes them, and their accumulated evidence."""
    rows = sample(len(case.reference))
    reference = _outputs_apart(window_of(case.reference[rows], case.reference_days[rows], case.categories), case.target)
    first = int(case.reference_days[-1]) + 1
    days = [
        _outputs_apart(window_of(held, np.full(len(held), first + day), case.categories), case.target)
        for day, held in enumerate(case.days)
    ]
    importances = {str(column): share for column, share in case.importances.items()}
    found = replay_days(reference, days, importances=importances, min_rows=case.min_rows)
    return Accumulated(found.p_values, found.weights, found.needed)


def _outputs_apart(window: Window, target: int | None) -> Window:
    """The window with its target among the outputs."""
    if target is None:
        return window
    name = str(target)
    values = window.columns["feature", name]
    return replace(
        window,
        numbers={other: held for other, held in window.numbers.items() if other != name},
        categories={other: held for other, held in window.categories.items() if other != name},
        outputs={TARGET: values},
        output_times={TARGET: window.times[name]},
    )


def _schema(reference: Window) -> Schema:
    """The contract that training on it would have written."""
    columns = [Column(name, "feature", "number") for name in reference.numbers]
    columns += [Column(name, "feature", "category") for name in reference.categories]
    seen = {n: SeenColumn(float(np.nanmin(v)), float(np.nanmax(v))) for n, v in reference.numbers.items()}
    levels = {name: sorted(set(held.tolist()) - {None}) for name, held in reference.categories.items()}
    seen |= {name: SeenColumn(categories=tuple(held)) for name, held in levels.items()}
    return Schema(ProblemSchema("classification", "target", tuple(columns)), seen, classes=("no", "yes"))
