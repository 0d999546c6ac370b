"""What a model is told of times beyond their parts: the time of day and of the year, how far apart two lie, cycles.

A time comes as its decoded parts (`record.contract.columns.time_parts`), whole numbers but for the days, which single
precision rounds to 84 s. What is made here is made of the exact ones.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from record.contract.arrays import Arrays
from record.contract.columns import TIME_PARTS
from retrain.features.combinations import bounded

Floats = npt.NDArray[np.float64]
DateCoding = Literal["parts", "cycles", "season"]

# Six gaps; among more times most pairs mean nothing.
MOST_PAIRED = 4
HARMONICS = (1.0, 2.0)  # two rush hours are within the second
SATURDAY = 5.0
SECONDS = 86_400.0
DAYS, MONTH, DAY, WEEKDAY, HOUR, SECOND = range(len(TIME_PARTS))


class Dates(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Numbers [n, k], in which the parts of each time begin at `times`, to columns made of them.

    What does not vary over the rows fitted on is left out, and what a part says by itself.
    """

    def fit(self, numbers: npt.NDArray[np.float32], y: Any = None, *, times: tuple[int, ...]) -> Self:
        self.times_ = np.array(times, dtype=np.int64)
        pairs = list(combinations(range(min(len(times), MOST_PAIRED)), 2))
        self.pairs_ = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        parts = self._parts(numbers)
        new = np.concatenate([_varies(parts[SECOND]), _varies(parts[MONTH]), _varies(self._gaps(parts))])
        self.kept_ = np.flatnonzero(new)
        self.turning_ = np.flatnonzero(_varies(_cycles(parts)))
        return self

    def transform(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[n, d]: times of day in hours, times of the year in months, then gaps in days (the later column's lead)."""
        parts = self._parts(numbers)
        made = [parts[HOUR] + parts[SECOND] / 3600.0, parts[MONTH] + (parts[DAY] - 1.0) / 31.0, self._gaps(parts)]
        return bounded(np.concatenate(made, axis=1)[:, self.kept_]).astype(np.float32)

    def cycles(self, numbers: npt.NDArray[np.float32]) -> Floats:
        """[n, c]: sines and cosines, and whether it is a weekend; all 0 where the time is missing."""
        return _cycles(self._parts(numbers))[:, self.turning_]

    @property
    def count(self) -> int:
        return len(self.kept_)

    def _parts(self, numbers: npt.NDArray[np.float32]) -> list[Floats]:
        """Each part of all times, [n, times]."""
        return [numbers[:, self.times_ + part].astype(np.float64) for part in range(len(TIME_PARTS))]

    def _gaps(self, parts: list[Floats]) -> Floats:
        """[n, pairs]: whole days and the rest of them apart, since the days of the parts are rounded."""
        rest = (parts[HOUR] * 3600.0 + parts[SECOND]) / SECONDS
        whole = np.rint(parts[DAYS] - rest)
        first, second = self.pairs_.T
        return np.asarray((whole[:, second] - whole[:, first]) + (rest[:, second] - rest[:, first]))


def dates_of(coding: DateCoding, x: Arrays) -> Dates | None:
    """What is learned of the rows' times; None where there are none, or their parts are to do."""
    return Dates().fit(x.numbers, times=x.times) if coding != "parts" and x.times else None


def day_bounds(coding: DateCoding, x: Arrays) -> Floats | None:
    """Bounds [2, k] that the numbers are clipped to: a time's days to those of the rows, other numbers not at all.

    A trend is not known beyond the rows that it was learned from. With "season" both bounds of the days are one: there
    is no trend at all, only what comes again. None where there are no times.
    """
    if not x.times:
        return None
    bounds = np.array([[-np.inf], [np.inf]]).repeat(x.numbers.shape[1], axis=1)
    for place in x.times:
        days = x.numbers[:, place]
        days = days[~np.isnan(days)].astype(np.float64)
        if len(days):
            bounds[:, place] = days.max() if coding == "season" else (days.min(), days.max())
    return bounds


def dated(
    numbers: npt.NDArray[np.float32], dates: Dates | None, bounds: Floats | None = None
) -> npt.NDArray[np.float32]:
    """The numbers within their bounds, then what is made of times."""
    held = numbers
    if bounds is not None:  # missing ones stay missing
        held = np.where(numbers < bounds[0], bounds[0], np.where(numbers > bounds[1], bounds[1], numbers))
        held = held.astype(np.float32)
    return held if dates is None else np.concatenate([held, dates.transform(numbers)], axis=1)


def _cycles(parts: list[Floats]) -> Floats:
    """[n, …]: for each harmonic the sines, then the cosines, of all times' day, week, year, and day at weekends."""
    day = (parts[HOUR] + parts[SECOND] / 3600.0) / 24.0
    week = (parts[WEEKDAY] + day) / 7.0
    year = (parts[MONTH] - 1.0 + (parts[DAY] - 1.0) / 31.0) / 12.0
    weekend = (parts[WEEKDAY] >= SATURDAY).astype(np.float64)
    phases = np.concatenate([day, week, year], axis=1)
    phases = phases - np.floor(phases)
    columns = [weekend]
    for harmonic in HARMONICS:
        for turn in (np.sin, np.cos):
            turned = np.where(np.isnan(phases), 0.0, turn(phases * (2.0 * np.pi * harmonic)))
            columns += [turned, turned[:, : day.shape[1]] * weekend]
    return np.concatenate(columns, axis=1)


def _varies(columns: Floats) -> npt.NDArray[np.bool_]:
    """Which columns hold two different values at least, beside missing ones."""
    held = np.ma.masked_invalid(columns)
    return np.asarray(held.max(axis=0).filled(0.0) > held.min(axis=0).filled(0.0))
