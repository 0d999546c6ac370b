"""What Ringside says of monitored days: the code that decides in production, on a day at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import numpy as np

from benchmarks.alarm_answers import Accumulated, Answer, Beside, Days, PValues
from benchmarks.alarm_case import Case, Scored, sample, window_of
from monitoring.drifting.alarm import SPANS, AlarmState, Line, decide, decisions_per_alarm, line_weights, uses
from monitoring.drifting.chance import Chance, Quiet, Statistic
from monitoring.inputs.contract_check import inspect_window
from monitoring.windows import Window
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn

DAY = timedelta(days=1)
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
    reference, names = case.reference[rows], [str(column) for column in range(case.reference.shape[1])]
    window = window_of(reference, case.reference_days[rows], case.categories)
    daily = Chance(window, DAY)
    chances = {span: daily if span == 1 else Chance(window, span * DAY, (daily, span)) for span in SPANS}
    importances = {str(column): share for column, share in case.importances.items()}
    lines: dict[str, Line] = {name: ("feature", name) for name in names}
    if case.target is not None:
        lines[str(case.target)] = ("output", "target")
    features = [name for name in names if lines[name][0] == "feature"]
    weights = line_weights(features, importances, () if case.target is None else ("target",))
    used = uses(features, importances)
    scores = [Scored(reference[:, column], column in case.categories) for column in range(len(names))]
    needed, state = decisions_per_alarm(1, DAY), AlarmState()
    squares: dict[tuple[int, Statistic], list[float]] = {}
    last: dict[tuple[int, Statistic], float] = {}
    begun = dict.fromkeys(SPANS, 0)
    told: list[PValues] = []
    for day in range(len(case.days)):
        p_values: dict[int, dict[Line, list[float]]] = {}
        seen: dict[tuple[int, Statistic], float] = {}
        for span in SPANS:
            held = np.concatenate(case.days[begun[span] : day + 1])
            if day + 1 - begun[span] < span or len(held) < case.min_rows:
                continue
            contiguous = begun[span] > 0 and day + 1 - begun[span] == span
            for name, scored in zip(names, scores, strict=True):
                for method, score, count in scored.of(held[:, int(name)]):
                    statistic: Statistic = (name, method)  # type: ignore[assignment]
                    key = span, statistic
                    quiet = Quiet(tuple(squares.get(key, ())), last.get(key) if contiguous else None)
                    judged = chances[span].judge(statistic, score, count, quiet, used.get(name, 1.0))
                    p_values.setdefault(span, {}).setdefault(lines[name], []).append(judged.p)
                    seen[key] = judged.square
            begun[span] = day + 1
        told.append(p_values)
        if not p_values:
            continue
        decision = decide(state, p_values, weights, needed)
        state = decision.state
        for key, square in seen.items():
            last[key] = max(square, 0.0) ** 0.5
            if not decision.alarm:
                squares.setdefault(key, []).append(square)
    return Accumulated(tuple(told), weights, needed)


def _schema(reference: Window) -> Schema:
    """The contract that training on it would have written."""
    columns = [Column(name, "feature", "number") for name in reference.numbers]
    columns += [Column(name, "feature", "category") for name in reference.categories]
    seen = {n: SeenColumn(float(np.nanmin(v)), float(np.nanmax(v))) for n, v in reference.numbers.items()}
    levels = {name: sorted(set(held.tolist()) - {None}) for name, held in reference.categories.items()}
    seen |= {name: SeenColumn(categories=tuple(held)) for name, held in levels.items()}
    return Schema(ProblemSchema("classification", "target", tuple(columns)), seen, classes=("no", "yes"))
