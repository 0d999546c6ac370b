"""Monitored days beside a reference, and how far each is from it by the statistics that Evidently scores.

Computed by the same formulas, since Evidently's own take ten times as long on thousands of windows
(`tests/monitoring/drifting/test_evidently.py` holds the two together).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.drifting.calibration import Grid, jensen_shannon
from monitoring.drifting.evidently import FEWEST_VALUES
from monitoring.windows import Window

Floats = npt.NDArray[np.float64]
DAY_MICROS = 86_400_000_000
MOST_REFERENCE = 20_000  # as a version's reference.parquet holds


@dataclass(frozen=True, slots=True)
class Case:
    """Monitored days beside a reference. Columns from `categories` on hold levels as numbers; missing is NaN."""

    reference: Floats
    reference_days: npt.NDArray[np.int64]  # of each row
    days: Sequence[Floats]
    categories: frozenset[int]
    importances: Mapping[int, float]
    min_rows: int
    target: int | None = None  # the column that is the target


class Scored:
    """The statistics of one column against its reference."""

    def __init__(self, reference: Floats, category: bool) -> None:
        known = reference[~np.isnan(reference)]
        self._missing = 1 - len(known) / len(reference)
        self._category = category
        self._known = known.astype(np.int64) if category else known
        self._grid = Grid.of(known)
        self._law = np.cumsum(self._grid.shares)
        self._spread = max(float(known.std()), 0.001)

    def of(self, values: Floats, fewest: int = FEWEST_VALUES) -> list[tuple[str, float, int]]:
        """Method, score, and the rows that it was found on; missing_share first, alone below `fewest` values."""
        known = values[~np.isnan(values)]
        found = [("missing_share", abs(1 - len(known) / len(values) - self._missing), len(values))]
        if len(known) < fewest:
            return found
        if self._category:
            return [*found, ("jensenshannon", self._shares_apart(known.astype(np.int64)), len(known))]
        return [*found, ("wasserstein", self._laws_apart(known), len(known))]

    def _shares_apart(self, known: npt.NDArray[np.int64]) -> float:
        count = int(max(known.max(), self._known.max())) + 1
        laws = [np.bincount(side, minlength=count) / len(side) for side in (self._known, known)]
        return float(jensen_shannon(*laws))

    def _laws_apart(self, known: Floats) -> float:
        """On the grid, and beyond it exactly: there the reference's law is 1, or 0."""
        law = np.cumsum(np.bincount(self._grid.cells(known), minlength=len(self._law))) / len(known)
        low, high = self._grid.starts[0], self._grid.starts[-1]
        beyond = float(np.maximum(known - high, 0).sum() + np.maximum(low - known, 0).sum())
        return float(np.abs(law - self._law) @ self._grid.widths) + beyond / len(known) / self._spread


def window_of(reference: Floats, days: npt.NDArray[np.int64], categories: frozenset[int]) -> Window:
    """As the service's own windows are: missing texts are None, and every value has its day."""
    numbers, levels = {}, {}
    for column in range(reference.shape[1]):
        values = reference[:, column]
        if column in categories:
            texts = [None if math.isnan(value) else str(int(value)) for value in values.tolist()]
            levels[str(column)] = np.array(texts, dtype=object)
        else:
            numbers[str(column)] = values
    times = dict.fromkeys((*numbers, *levels), days * DAY_MICROS)
    return Window(None, None, len(reference), numbers, levels, times=times)


def sample(rows: int, most: int = MOST_REFERENCE) -> npt.NDArray[np.int64]:
    """Rows of an even sample, in their order; the same every time."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
