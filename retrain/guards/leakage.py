"""Columns that know the target before it can be known.

How strong a column is proves nothing: honest ones are strong too, and a night's run must not stop for one. What tells
a leak is where it stands. The log is the witness: a request carries what was known when it was answered. A column
that gives the target in the log as well is honest; one that the log never carries, or that gives the target in the
source only, was filled in afterwards. Without such a witness, only a copy of the target itself is certain.

The row's own time is known when it is asked for: that it gives the target in older rows and not in the newest ones is
a season or a trend, and so is what another time gives no better than it. What lies between two times is judged as a
column is, since models are fed it: the time until a case was closed may be what is to be predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from record.contract.columns import TIME_PARTS
from retrain.data.dataset import UNKNOWN, Dataset
from retrain.data.variable import Floats, Variable, spread, variables
from retrain.features.dates import MOST_PAIRED
from retrain.guards.finding import Finding, Severity
from retrain.guards.relation import MOST_ROWS, carried_over, indicators, strength

Bools = npt.NDArray[np.bool_]

# Of the target's variance. The strongest honest column of twenty public tables explains .94 (a diamond's price by its
# weight); one that is wrong in one row of a hundred, classes being even, explains .96.
NEARLY = 0.97
# A column that still explains so much in the log was known there.
CONFIRMED = 0.9
# And one that explains no more than half of it later is another column now.
LOST = 0.5
# What a column must explain for its absence in the log to matter to a model.
USED = 0.1

FEWEST = 100  # rows on either side, below which shares say little
FEWEST_OTHERS = 20  # rows outside the largest class: with fewer, a rare value meets a rare class by chance
GONE = 0.99  # missing in so many of the log's rows is never logged; a rare failure of the client is none
HELD = 0.5  # present in so many of the source's rows
MONOTONE = 0.9999  # rank correlation; an amount in another currency, rounded, keeps its order
# A later date whose distance explains so much is no plan: scheduled durations explain .98 of the real ones.
SETTLED = 0.995
# What another time explains beyond the row's own is more than its season or trend.
BEYOND_OWN = 0.05
_DISTINCT = 50  # values of a regression's target from which ranks tell

_DAY_MICROS = 86_400_000_000
_EPOCH_2000 = 10_957  # days from 1970


def find_leaks(data: Dataset, held: int) -> Iterator[Finding]:
    """`held` is the number of newest rows that are held out."""
    if len(data) < FEWEST or _others(data) < FEWEST_OTHERS:
        return
    look = _Look(data, held)
    told: set[str] = set()
    found_columns = variables(data)
    for variable in [*look.gaps(found_columns), *found_columns]:
        if variable.column in told:
            continue
        found = look.absent(variable) or look.strong(variable) or look.late(variable)
        if found is not None:
            told.add(variable.column)
            yield found


def _others(data: Dataset) -> int:
    return len(data) - int(np.bincount(data.target).max()) if data.classes else len(data)


@dataclass(frozen=True, slots=True)
class Gap(Variable):
    """The days from one time to another; `column` is the later one, in the share `after` of the rows."""

    after: float = 0.0


def _exact_days(column: str, found: Sequence[Variable]) -> Variable:
    """A time in days, from its whole parts: its days alone are rounded to single precision, 84 s apart."""
    parts = {held.part: held.values for held in found if held.column == column}
    days, hour, second = (parts[part] for part in ("days", "hour", "second"))
    rest = (hour * 3600.0 + second) / 86_400.0
    return Variable(column, column, np.rint(days - rest) + rest)


def _gap(first: Variable, second: Variable) -> Gap:
    days = second.values - first.values
    known = days[~np.isnan(days)]
    after = float((known > 0).mean()) if len(known) else 0.0
    if after < HELD:
        first, second, days = second, first, -days
        after = float((known < 0).mean()) if len(known) else 0.0
    return Gap(second.column, f"days from {first.column} to {second.column}", days, after=after)


def _parts_of(times: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """The calendar of times in microseconds; UNKNOWN is missing."""
    known = times != UNKNOWN
    dates = pd.DatetimeIndex(np.where(known, times, 0).astype("datetime64[us]"))
    parts = {"days": times / _DAY_MICROS, "month": dates.month, "day": dates.day, "weekday": dates.weekday}
    parts["hour"] = dates.hour
    return {name: np.where(known, np.asarray(held, dtype=np.float64), np.nan) for name, held in parts.items()}


class _Look:
    """The rows as a sample, the older ones apart from the newest, the source's from the log's."""

    def __init__(self, data: Dataset, held: int) -> None:
        self._places = spread(len(data), MOST_ROWS)
        self._data = data.take(self._places)
        self._wanted = indicators(self._data)
        self._logged = self._data.seqs > 0
        self._older = self._places < len(data) - held
        self._times = {column.name for column in data.schema.problem.features if column.type == "time"}
        self._witness = min(int(self._logged.sum()), int((~self._logged).sum())) >= FEWEST

    def absent(self, variable: Variable) -> Finding | None:
        """In the source, and never in the log: the model would be fed what requests do not bring."""
        if not self._witness or isinstance(variable, Gap):
            return None
        missing = variable.missing[self._places]
        source, log = float(missing[~self._logged].mean()), float(missing[self._logged].mean())
        if log < GONE or 1 - source < HELD:
            return None
        share = self._strength(variable, ~self._logged)
        severity: Severity = "error" if share >= USED else "warning"
        message = (
            f"missing in {log:.0%} of {int(self._logged.sum())} logged requests and in {source:.0%} of the source's "
            f"rows, where it explains {share:.0%} of the target: known only afterwards? Expected to be sent with "
            f"requests, or {_leave_out(variable.column)}"
        )
        numbers = {"missing_in_log": log, "missing_in_source": source, "explained": share}
        return Finding("leakage", variable.column, severity, message, numbers)

    def strong(self, variable: Variable) -> Finding | None:
        """Nearly the target, by itself."""
        rows = ~self._logged if self._witness else self._older
        if self._own_time(variable) or int(rows.sum()) < FEWEST:
            return None
        if (share := self._strength(variable, rows)) < NEARLY or self._as_own_time(variable, share, rows):
            return None
        numbers = {"explained": share}
        if self._witness:
            return self._by_witness(variable, share, rows, "in the log")
        if self._data.ordered and int((~self._older).sum()) >= FEWEST:
            later = carried_over(self._sampled(variable), self._wanted, self._older)
            if later < LOST:
                return self._by_witness(variable, share, rows, "in the newest rows")
        alone = f"{_named(variable)}gives the target by itself: it explains {share:.1%} of it in unseen rows"
        if self._copies(variable):
            message = f"a copy of the target in other words, value for value. Expected {_leave_out(variable.column)}"
            return Finding("leakage", variable.column, "error", message, {**numbers, "copy": True})
        if isinstance(variable, Gap) and variable.after >= HELD and share >= SETTLED:
            message = (
                f"the {variable.name} explain {share:.1%} of the target, and it is the later one in "
                f"{variable.after:.0%} of the rows: known only afterwards. Expected {_leave_out(variable.column)}"
            )
            return Finding("leakage", variable.column, "error", message, {**numbers, "later_than_row": variable.after})
        message = (
            f"{alone}. If it is known before the answer, that is all there is to predict; "
            f"if only afterwards, expected {_leave_out(variable.column)}"
        )
        return Finding("leakage", variable.column, "warning", message, numbers)

    def gaps(self, found: Sequence[Variable]) -> list[Gap]:
        """What lies between each two times, in days; of two, the later one is what may be known only afterwards."""
        times = [column.name for column in self._data.schema.problem.features if column.type == "time"]
        days = [_exact_days(name, found) for name in times[:MOST_PAIRED]]
        return [_gap(*pair) for pair in combinations(days, 2)]

    def _own_time(self, variable: Variable) -> bool:
        return variable.column == self._data.schema.problem.time_column and not isinstance(variable, Gap)

    def _as_own_time(self, variable: Variable, share: float, rows: Bools) -> bool:
        """Whether a part of another time says no more than the row's own time does: a season, or a trend."""
        if variable.column not in self._times or isinstance(variable, Gap) or not self._data.ordered:
            return False
        own = _parts_of(self._data.times)
        parts = {str(variable.part), TIME_PARTS[0]} & own.keys()
        return any(
            strength(Variable("", part, own[part][rows]), self._wanted[rows]) >= share - BEYOND_OWN for part in parts
        )

    def late(self, variable: Variable) -> Finding | None:
        """A date later than the row's own time, or a value that the newest rows do not have yet."""
        if self._logged.any() or not self._data.ordered or isinstance(variable, Gap):
            return None
        days = variable.part == TIME_PARTS[0]
        return (self._dated_after(variable) if days else None) or self._not_yet(variable)

    def _by_witness(self, variable: Variable, share: float, rows: Bools, where: str) -> Finding | None:
        later = carried_over(self._sampled(variable), self._wanted, rows)
        if later >= CONFIRMED:
            return None
        severity: Severity = "error" if later < LOST else "warning"
        message = (
            f"{_named(variable)}explains {share:.1%} of the target, but {later:.1%} {where}: filled in afterwards? "
            f"Expected the same in both, or {_leave_out(variable.column)}"
        )
        return Finding("leakage", variable.column, severity, message, {"explained": share, "explained_later": later})

    def _dated_after(self, variable: Variable) -> Finding | None:
        times, values = self._data.times, variable.values[self._places]
        dated = (times != UNKNOWN) & ~np.isnan(values)
        if int(dated.sum()) < FEWEST:
            return None
        own = times[dated] / _DAY_MICROS - _EPOCH_2000
        after = float((values[dated] > own + 0.01).mean())  # days are held to a quarter of an hour at worst
        if after < 0.5:
            return None
        message = (
            f"later than the row's own time in {after:.0%} of the rows: known only afterwards, unless it is planned. "
            f"Expected dates up to {self._data.schema.problem.time_column}, or {_leave_out(variable.column)}"
        )
        return Finding("leakage", variable.column, "warning", message, {"later_than_row": after})

    def _not_yet(self, variable: Variable) -> Finding | None:
        missing = variable.missing[self._places]
        if min(int(self._older.sum()), int((~self._older).sum())) < FEWEST:
            return None
        before, now = float(missing[self._older].mean()), float(missing[~self._older].mean())
        if before > 1 - HELD or now < 0.9:
            return None
        message = (
            f"missing in {now:.0%} of the newest rows and in {before:.0%} of the older ones: comes only later, or "
            f"no longer. Expected about as many in both, or {_leave_out(variable.column)}"
        )
        return Finding("leakage", variable.column, "warning", message, {"missing_newest": now, "missing_older": before})

    def _sampled(self, variable: Variable) -> Variable:
        return variable.take(self._places)

    def _strength(self, variable: Variable, rows: Bools) -> float:
        return strength(self._sampled(variable).take(np.flatnonzero(rows)), self._wanted[rows])

    def _copies(self, variable: Variable) -> bool:
        """Whether each value goes with one target and each target with one value, or both have one order."""
        values, target = variable.values[self._places], self._data.target
        if np.isnan(values).any():
            return False
        distinct = len(np.unique(target))
        if self._data.classes or distinct <= _DISTINCT:
            pairs = len(np.unique(np.column_stack([values, target]), axis=0))
            return bool(pairs == distinct == len(np.unique(values)))
        return variable.levels is None and abs(_rank_correlation(values, target)) >= MONOTONE


def _rank_correlation(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def _named(variable: Variable) -> str:
    """What a message begins with where it is not the column itself that is judged."""
    return f"the {variable.name}: it " if isinstance(variable, Gap) else ""


def _leave_out(column: str) -> str:
    return f'[columns.{column}] role = "carried"'
