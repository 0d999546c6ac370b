"""How often a quiet day would be as far from the reference as this one: the p-values that an alarm is made of.

Two kinds of chance come together: few rows are a noisy picture of their day (`monitoring.drifting.calibration`), and
days differ (`monitoring.drifting.day_effect`). As squares they add: a day at distance b, seen through noise s, is
found at √(b² + s²).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from monitoring.drifting.alarm import NOTHING
from monitoring.drifting.calibration import Grid, Null, effective_size, jensen_shannon_null, wasserstein_null
from monitoring.drifting.day_effect import PRIOR_CARRY, PRIOR_DAYS, BlockEffects, DayEffect, block_effects, most_days
from monitoring.windows import Window
from record.clock import MICROSECOND

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Method = Literal["wasserstein", "jensenshannon", "missing_share"]
Statistic = tuple[str, Method]

# The smallest shifts worth hearing of: .1 standard deviations, .1 of Jensen-Shannon's distance (both are Evidently's
# thresholds), one value in twenty missing more or less than before.
EFFECTS: Mapping[Method, float] = {"wasserstein": 0.1, "jensenshannon": 0.1, "missing_share": 0.05}

_MANY = 1024  # rows, at which the mean square of noise is taken: the n-th part of one row's
_NO_COUNTS: Ints = np.zeros(0, dtype=np.int64)

# The noise is summed up over so many equally likely values of its law.
_LEVELS = (np.arange(100) + 0.5) / 100


@dataclass(frozen=True, slots=True)
class Quiet:
    """What the service's own days say of one statistic.

    `squares`: the squared day effects of days without an alarm since the champion came. `carried`: the last
    decision's day effect; None where that is longer ago than the time between two decisions.
    """

    squares: Sequence[float] = ()
    carried: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A statistic's p-value, and the square of its day effect (which drawing may leave below zero)."""

    p: float
    square: float


@dataclass(frozen=True, slots=True)
class _Column:
    grid: Grid | None  # of numbers
    counts: Ints  # of categories
    rows: int
    present: int
    blocks: Mapping[Method, BlockEffects]


class Chance:
    """The laws of chance of one reference, for windows of `length`. Works each out once, when it is asked.

    `parts`: the chance of windows of which `length` holds so many; what it knows is believed until blocks of
    `length` say otherwise.
    """

    def __init__(
        self, reference: Window, length: timedelta, parts: tuple[Chance, int] | None = None, seed: int = 0
    ) -> None:
        self._reference = reference
        self._seed = seed
        self._length = length
        self._parts = parts
        self._columns: dict[str, _Column] = {}
        self._nulls: dict[tuple[str, int], Null] = {}

    def judge(self, statistic: Statistic, score: float, rows: int, quiet: Quiet, use: float = 1.0) -> Judged:
        """`score` was found on `rows` rows: values present, or for missing_share all.

        The p-value of a shift too small to hear of is at least NOTHING, so that it never speaks for an alarm. What
        the model hardly uses (`use` below 1) has to shift further by as much.
        """
        name, method = statistic
        column = self._column(name)
        if method == "missing_share":
            squares, beyond, square = _missing_noise(column, score, rows)
        else:
            squares, beyond, square = self._noise(name, column, method, score, rows)
        effect = self.day_effect(statistic, quiet.squares)
        left = np.sqrt(np.maximum(score**2 - squares, 0.0))
        p = float(np.where(left > 0, effect.exceeded(left, quiet.carried), 1.0).mean()) + beyond
        p = min(1.0, max(p, NOTHING)) if score * use <= EFFECTS[method] else min(1.0, p)
        return Judged(p, score**2 - square)

    def day_effect(self, statistic: Statistic, quiet: Sequence[float] = ()) -> DayEffect:
        """How windows differ where nothing drifts, as reference and quiet days show it."""
        name, method = statistic
        blocks = self._column(name).blocks[method]
        if self._parts is not None:
            chance, number = self._parts
            return blocks.day_effect(chance.day_effect(statistic).of_mean(number), quiet, fading=False)
        return blocks.day_effect(DayEffect(EFFECTS[method] / 2, PRIOR_CARRY, PRIOR_DAYS), quiet)

    def null(self, name: str, present: int) -> Null:
        """The law of the distance of `present` independent rows from the reference."""
        column = self._column(name)
        size = effective_size(column.present, present)
        held = self._nulls.get((name, size))
        if held is None:
            rng = np.random.default_rng([self._seed, size])
            if column.grid is not None:
                held = wasserstein_null(column.grid, size, rng)
            else:
                held = jensen_shannon_null(column.counts, size, rng)
            self._nulls[name, size] = held
        return held

    def _noise(
        self, name: str, column: _Column, method: Method, score: float, rows: int
    ) -> tuple[Floats, float, float]:
        """Squares of the noise in order, how often it alone is beyond the score, and its mean square."""
        null = self.null(name, rows)
        squares = null.quantiles(_LEVELS) ** 2
        beyond = null.exceeded(score) if score**2 > squares[-1] else 0.0
        return squares, beyond, null.square

    def _column(self, name: str) -> _Column:
        held = self._columns.get(name)
        if held is None:
            held = self._numbers(name) if name in self._reference.numbers else self._categories(name)
            self._columns[name] = held
        return held

    def _numbers(self, name: str) -> _Column:
        values = self._reference.numbers[name]
        missing = np.isnan(values)
        known, blocks = values[~missing], self._blocks_of(name, len(values))
        if len(known) == 0:
            return _Column(None, _NO_COUNTS, len(values), 0, _gaps(missing, blocks) | {"wasserstein": BlockEffects()})
        grid, effects = Grid.of(known), BlockEffects()
        if blocks is not None:
            noise = _one_row(wasserstein_null(grid, _MANY, np.random.default_rng(self._seed)))
            effects = block_effects(grid.cells(values), blocks, grid.widths, noise)
        effects = replace(effects, most_days=most_days(known))
        return _Column(grid, _NO_COUNTS, len(values), len(known), _gaps(missing, blocks) | {"wasserstein": effects})

    def _categories(self, name: str) -> _Column:
        texts = self._reference.categories[name]
        missing = np.array([text is None for text in texts.tolist()], dtype=bool)
        levels, places, counts = np.unique(texts[~missing].astype(str), return_inverse=True, return_counts=True)
        blocks, effects = self._blocks_of(name, len(texts)), BlockEffects()
        if blocks is not None and len(levels) > 0:
            cells = np.full(len(texts), -1, dtype=np.int64)
            cells[~missing] = places
            noise = _one_row(jensen_shannon_null(counts, _MANY, np.random.default_rng(self._seed)))
            effects = block_effects(cells, blocks, np.ones(len(levels)), noise, shares=True)
        known = len(texts) - int(missing.sum())
        return _Column(
            None, counts.astype(np.int64), len(texts), known, _gaps(missing, blocks) | {"jensenshannon": effects}
        )

    def _blocks_of(self, name: str, rows: int) -> Ints | None:
        """The block of time that each value of the column lies in; −1 for one without a time."""
        times = self._reference.times.get(name)
        if times is None or len(times) != rows:
            return None
        return np.where(times < 0, -1, times // (self._length // MICROSECOND))


def _one_row(null: Null) -> float:
    """The mean square of the statistic at one row, of which n rows have the n-th part."""
    return null.square * _MANY


def _gaps(missing: npt.NDArray[np.bool_], blocks: Ints | None) -> dict[Method, BlockEffects]:
    """The day effects of the share of missing values."""
    if blocks is None:
        return {"missing_share": BlockEffects()}
    share = float(missing.mean())
    present = (~missing).astype(np.int64)
    return {"missing_share": block_effects(present, blocks, np.array([1.0, 0.0]), share * (1 - share))}


def _missing_noise(column: _Column, score: float, rows: int) -> tuple[Floats, float, float]:
    """As `Chance._noise`: the difference of two shares is normal, but for counts being whole."""
    share = 1 - column.present / column.rows
    share = min(1.0, max(0.0, (share * column.rows + (share + score) * rows) / (column.rows + rows)))
    part = 1 / column.rows + 1 / rows
    spread = math.sqrt(share * (1 - share) * part)
    squares = (ndtri((1 + _LEVELS) / 2) * spread + part / 2) ** 2
    beyond = 0.0
    if score**2 > squares[-1] and spread > 0:
        beyond = 2 * float(ndtr(-(score - part / 2) / spread))
    return squares, beyond, spread**2
