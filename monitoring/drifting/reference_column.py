"""One column of the reference: its law, its law at each kind of time, and how far a window's values are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from monitoring.drifting.calibration import (
    Grid,
    Null,
    effective_size,
    jensen_shannon,
    jensen_shannon_null,
    wasserstein_null,
)
from monitoring.drifting.day_effect import BlockEffects, BlockTable, most_days
from monitoring.drifting.time_kinds import partitions, time_kinds
from monitoring.windows import Numbers, Texts, Times, is_text
from record.clock import MICROSECOND
from record.contract.category_counts import count_categories

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Method = Literal["wasserstein", "jensenshannon", "missing_share"]

MANY = 1024  # rows, at which the mean square of noise is taken: the n-th part of one row's
SMALLEST_SPREAD = 0.001  # as Evidently norms numbers


@dataclass(frozen=True, slots=True)
class Score:
    """A distance found on `rows` rows, from a law that so many independent rows of the reference know."""

    value: float
    rows: int
    reference_rows: float


@dataclass(frozen=True, slots=True)
class MethodLaw:
    """What one statistic is measured against. `share` of it is what kinds of time tell (0: all times are alike)."""

    whole: Floats  # [cells] counts of all rows
    by_kind: Floats  # [kinds, cells] counts of those with a time
    joined: Ints | None  # to which kind each kind of time is joined
    share: float
    plain: BlockEffects  # of windows measured against the whole
    known: BlockEffects  # of windows measured against their kinds of time

    def expected(self, kinds: Ints | None) -> tuple[Floats, float]:
        """The law to expect of rows of these kinds of time, and how many rows know it."""
        pooled = self.whole / self.whole.sum()
        rows = float(self.whole.sum())
        if self.joined is None or self.share <= 0 or kinds is None or not len(kinds):
            return pooled, rows
        sizes = self.by_kind.sum(axis=1)
        mix = np.bincount(self.joined[kinds], minlength=len(sizes)) / len(kinds)
        laws = np.where(sizes[:, np.newaxis] > 0, self.by_kind / np.maximum(sizes, 1)[:, np.newaxis], pooled)
        law = (1 - self.share) * pooled + self.share * (mix @ laws)
        spread = (1 - self.share**2) / rows + self.share**2 * float((mix**2 / np.maximum(sizes, 1)).sum())
        return law, 1 / spread


class ReferenceColumn:
    """The laws of one column for windows of `length`; `method` is that of its distance."""

    def __init__(self, values: Numbers | Texts, times: Times | None, length: timedelta, seed: int = 0) -> None:
        self._length, self._seed = length, seed
        self._text = is_text(values)
        self.method: Method = "jensenshannon" if self._text else "wasserstein"
        missing = missing_values(values)
        self.rows, self.present = len(values), int((~missing).sum())
        known = values[~missing]
        self._grid = None if self._text or not len(known) else Grid.of(known.astype(np.float64))
        self._levels = _texts(count_categories(known.tolist()).names if self._text else [])
        self._spread = max(float(np.std(known)), SMALLEST_SPREAD) if self._grid is not None else 1.0
        self._nulls: dict[int, Null] = {}
        cells = np.full(len(values), -1, dtype=np.int64)
        if len(known):
            cells[~missing] = self._cells(known)
        present, gap = (~missing).astype(np.int64), float(missing.mean()) if len(values) else 0.0
        self.laws: dict[Method, MethodLaw] = {
            "missing_share": self._law(present, np.array([1.0, 0.0]), gap * (1 - gap), times, values),
            self.method: self._law(cells, self._widths, self._one_row(), times, values),
        }
        if self._grid is not None:
            most = most_days(known.astype(np.float64))
            law = self.laws[self.method]
            plain, expected = (replace(effects, most_days=most) for effects in (law.plain, law.known))
            self.laws[self.method] = replace(law, plain=plain, known=expected)

    def scores(self, values: Numbers | Texts, times: Times | None) -> dict[Method, Score]:
        """The share of missing values against that to expect; and the distance, where any value is present."""
        missing = missing_values(values)
        kinds = None if times is None else time_kinds(times, self._length)
        law, rows = self.laws["missing_share"].expected(kinds)
        found: dict[Method, Score] = {
            "missing_share": Score(abs(float(missing.mean()) - float(law[0])), len(values), rows)
        }
        known = values[~missing]
        if len(known) and self.present:
            law, rows = self.laws[self.method].expected(None if kinds is None else kinds[~missing])
            distance = self._shares_apart(known, law) if self._text else self._laws_apart(known, law)
            found[self.method] = Score(distance, len(known), rows)
        return found

    def null(self, reference_rows: float, rows: int) -> Null:
        """The law of the distance of `rows` independent rows from the law that `reference_rows` know."""
        size = effective_size(max(1, int(reference_rows)), rows)
        if size not in self._nulls:
            self._nulls[size] = self._drawn(size, np.random.default_rng([self._seed, size]))
        return self._nulls[size]

    @property
    def _widths(self) -> Floats:
        return self._grid.widths if self._grid is not None else np.ones(max(1, len(self._levels)))

    def _drawn(self, size: int, rng: np.random.Generator) -> Null:
        if self._grid is not None:
            return wasserstein_null(self._grid, size, rng)
        return jensen_shannon_null(self.laws[self.method].whole.astype(np.int64), size, rng)

    def _one_row(self) -> float:
        """The mean square of the distance at one row, of which n rows have the n-th part."""
        rng = np.random.default_rng(self._seed)
        if self._grid is not None:
            return wasserstein_null(self._grid, MANY, rng).square * MANY
        return 0.0 if not len(self._levels) else -1.0  # of shares it needs their counts: see `_law`

    def _cells(self, known: Numbers | Texts) -> Ints:
        if self._grid is not None:
            return self._grid.cells(known.astype(np.float64))
        return np.searchsorted(self._levels, _texts(known.tolist())).astype(np.int64)

    def _law(
        self, cells: Ints, widths: Floats, noise: float, times: Times | None, values: Numbers | Texts
    ) -> MethodLaw:
        whole = np.bincount(cells[cells >= 0], minlength=len(widths)).astype(np.float64)
        empty = MethodLaw(whole, np.zeros((1, len(widths))), None, 0.0, BlockEffects(), BlockEffects())
        if times is None or len(times) != len(values) or not whole.sum():
            return empty
        shares = noise < 0
        if shares:
            noise = jensen_shannon_null(whole.astype(np.int64), MANY, np.random.default_rng(self._seed)).square * MANY
        blocks = np.where(times < 0, -1, times // (self._length // MICROSECOND))
        kinds = time_kinds(np.maximum(times, 0), self._length)
        table = BlockTable.of(cells, blocks, kinds, widths, noise, shares=shares)
        plain, _ = table.effects()
        best = replace(empty, plain=plain, known=plain)
        for joined in partitions(self._length):
            effects, share = table.effects(joined)
            if share > 0 and effects.square < best.known.square:
                best = MethodLaw(whole, table.by_kind(joined), joined, share, plain, effects)
        return best

    def _laws_apart(self, known: Numbers | Texts, expected: Floats) -> float:
        """The normed Wasserstein distance: on the grid, and beyond it exactly, where the law is 1, or 0."""
        assert self._grid is not None
        numbers = known.astype(np.float64)
        law = np.bincount(self._grid.cells(numbers), minlength=len(expected)) / len(numbers)
        low, high = self._grid.starts[0], self._grid.starts[-1]
        beyond = float(np.maximum(numbers - high, 0).sum() + np.maximum(low - numbers, 0).sum())
        along = float(np.abs(np.cumsum(law - expected)) @ self._grid.widths)
        return along + beyond / len(numbers) / self._spread

    def _shares_apart(self, known: Numbers | Texts, expected: Floats) -> float:
        """The Jensen-Shannon distance; a level that the reference does not hold has no share there."""
        held = count_categories(known.tolist())
        levels, counts = _texts(held.names), held.counts
        every = np.union1d(self._levels, levels)
        before, now = np.zeros(len(every)), np.zeros(len(every))
        before[np.searchsorted(every, self._levels)] = expected
        now[np.searchsorted(every, levels)] = counts / len(known)
        return float(jensen_shannon(before, now))


def _texts(values: Sequence[Any]) -> Texts:
    texts: Texts = np.empty(len(values), dtype=object)
    texts[:] = [str(value) for value in values]
    return texts


def missing_values(values: Numbers | Texts) -> npt.NDArray[np.bool_]:
    """Where a column has no value."""
    if is_text(values):
        return np.array([text is None for text in values.tolist()], dtype=np.bool_)
    return np.asarray(~np.isfinite(values.astype(np.float64)))
