"""Drift alarms over monitored days that are given as arrays: what the service would have decided, without a record.

A pure function, for simulations and benchmarks. Every decision goes through `Chance` and `decide`, as the service's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.drifting.alarm import (
    SPANS,
    AlarmDecision,
    AlarmState,
    Line,
    decide,
    decisions_per_alarm,
    line_of,
    line_weights,
    uses,
)
from monitoring.drifting.chance import Chance, Quiet, Statistic
from monitoring.windows import ColumnKey, Numbers, Texts, Times, Window

DAY = timedelta(days=1)

PValues = Mapping[int, Mapping[Line, Sequence[float]]]  # by span


@dataclass(frozen=True, slots=True)
class DriftReplay:
    """`days[d]` is the decision of monitored day d; None where no span had rows enough."""

    days: tuple[AlarmDecision | None, ...]
    p_values: tuple[PValues, ...]
    weights: Mapping[Line, float]
    needed: float

    @property
    def alarms(self) -> npt.NDArray[np.bool_]:
        """Whether there is an alarm on each day; a day without a decision is as the one before."""
        found, state = [], False
        for decision in self.days:
            state = state if decision is None else decision.alarm
            found.append(state)
        return np.array(found, dtype=np.bool_)

    @property
    def episodes(self) -> int:
        """How often an alarm begins."""
        alarms = self.alarms
        return int(alarms[:1].sum() + (alarms[1:] & ~alarms[:-1]).sum())

    @property
    def first(self) -> int | None:
        """After how many days there is an alarm."""
        alarms = self.alarms
        return int(alarms.argmax()) + 1 if alarms.any() else None


class QuietDays:
    """What decisions so far have said of each statistic, by span."""

    def __init__(self) -> None:
        self._squares: dict[tuple[int, Statistic], list[float]] = {}
        self._last: dict[tuple[int, Statistic], float] = {}

    def of(self, span: int, statistic: Statistic, *, contiguous: bool) -> Quiet:
        key = span, statistic
        return Quiet(tuple(self._squares.get(key, ())), self._last.get(key) if contiguous else None)

    def add(self, seen: Mapping[tuple[int, Statistic], float], *, alarm: bool) -> None:
        for key, square in seen.items():
            self._last[key] = max(square, 0.0) ** 0.5
            if not alarm:
                self._squares.setdefault(key, []).append(square)


def replay_days(
    reference: Window,
    days: Sequence[Window],
    *,
    importances: Mapping[str, float] | None = None,
    false_alarms_per_quarter: float = 1.0,
    every: timedelta = DAY,
    min_rows: int = 1,
) -> DriftReplay:
    """The decisions at the end of each of `days`, windows as long as `every` one behind the other."""
    shortest = Chance(reference, every)
    chances = {1: shortest} | {span: Chance(reference, span * every, (shortest, span)) for span in SPANS if span > 1}
    lines = list(dict.fromkeys(line_of(key) for key in reference.columns))
    features = [name for kind, name in lines if kind == "feature"]
    known = importances or {}
    weights = line_weights(features, known, [name for kind, name in lines if kind == "output"])
    used = uses(features, known)
    needed, state, quiet = decisions_per_alarm(false_alarms_per_quarter, every), AlarmState(), QuietDays()
    begun = dict.fromkeys(SPANS, 0)
    found: list[AlarmDecision | None] = []
    every_p: list[PValues] = []
    for day in range(len(days)):
        p_values: dict[int, dict[Line, list[float]]] = {}
        seen: dict[tuple[int, Statistic], float] = {}
        for span in SPANS:
            rows = sum(len(window) for window in days[begun[span] : day + 1])
            if day + 1 - begun[span] < span or rows < min_rows:
                continue
            contiguous = begun[span] > 0 and day + 1 - begun[span] == span
            window = joined(days[begun[span] : day + 1])
            begun[span] = day + 1
            judged = chances[span].judge_window(window, partial(quiet.of, span, contiguous=contiguous), used)
            for one in judged:
                p_values.setdefault(span, {}).setdefault(line_of(one.statistic[0]), []).append(one.judged.p)
                seen[span, one.statistic] = one.judged.square
        every_p.append(p_values)
        if not p_values:
            found.append(None)
            continue
        decision = decide(state, p_values, weights, needed)
        state = decision.state
        quiet.add(seen, alarm=decision.alarm)
        found.append(decision)
    return DriftReplay(tuple(found), tuple(every_p), weights, needed)


def window_of_arrays(
    numbers: Mapping[str, Numbers],
    times: Times | None = None,
    categories: Mapping[str, Texts] | None = None,
    outputs: Mapping[str, Numbers | Texts] | None = None,
) -> Window:
    """Columns of one length as a window; `times` are microseconds since 1970, missing values NaN or None."""
    features, answered = {**numbers, **(categories or {})}, outputs or {}
    rows = len(next(iter((*features.values(), *answered.values())), ()))
    window = Window(None, None, rows, numbers, categories or {}, outputs=answered)
    if times is None:
        return window
    return replace(window, times=dict.fromkeys(features, times), output_times=dict.fromkeys(answered, times))


def joined(windows: Sequence[Window]) -> Window:
    """Windows of the same columns, one behind the other."""
    if len(windows) == 1:
        return windows[0]
    first = windows[0]

    def values(key: ColumnKey) -> npt.NDArray[Any]:
        return np.concatenate([window.columns[key] for window in windows])

    times = [window.times for window in windows]
    output_times = [window.output_times for window in windows]
    return replace(
        first,
        rows=sum(window.rows for window in windows),
        numbers={name: values(("feature", name)) for name in first.numbers},
        categories={name: values(("feature", name)) for name in first.categories},
        outputs={name: values(("output", name)) for name in first.outputs},
        times={name: np.concatenate([held[name] for held in times]) for name in first.times},
        output_times={name: np.concatenate([held[name] for held in output_times]) for name in first.output_times},
    )
