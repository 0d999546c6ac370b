"""Evidence that a mean has risen above a bound, valid however often and however long one looks.

Pure. A rise may begin on any day, so a bet is opened on every day, and the bets together are one e-process: with
1/(j(j+1)) of the capital on the j-th day, as a martingale mixed over its beginnings (Shekhar and Ramdas,
"Reducing sequential change detection to sequential estimation", ICML 2023, with weights that sum to 1, so that Ville's
inequality holds for ever and not per run). While the mean is not above the bound, its value reaches 1/alpha in at most
a share alpha of all lives.

The bets of one day are those of `monitoring.evidence`. Rows of one day share its weather: where their means scatter
more than their rows explain, the day's evidence is divided by that (its design effect), as if it had fewer rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.evidence import BETS, LARGEST_LOG
from record.dependence import long_run_variance

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

DIGITS = 10  # of a logarithm, in the record
# A variance between days that is known beforehand counts as so many days; below three, own days say nothing.
PRIOR_DAYS = 8
FEWEST_DAYS = 3
FEWEST_BATCHES = 6
# Before days are seen, each day's loss is believed to be a fifth of the expected one more or less, and to carry over.
BELIEVED_DAY, BELIEVED_CARRY = 0.2, 0.7


@dataclass(frozen=True, slots=True)
class DaySums:
    """What one day's rows add: enough to go on without them. `logs` has Σ log(1 + λ (x − bound)) for each bet λ."""

    rows: int
    total: float
    squares: float
    logs: tuple[float, ...]

    def __add__(self, other: DaySums) -> DaySums:
        logs = tuple(a + b for a, b in zip(self.logs, other.logs, strict=True))
        return DaySums(self.rows + other.rows, self.total + other.total, self.squares + other.squares, logs)

    def to_json(self) -> list[float]:
        return [self.rows, *(round(x, DIGITS) for x in (self.total, self.squares, *self.logs))]

    @classmethod
    def from_json(cls, held: Sequence[float]) -> DaySums:
        return cls(int(held[0]), float(held[1]), float(held[2]), tuple(float(x) for x in held[3:]))


Days = Mapping[int, DaySums]


@dataclass(frozen=True, slots=True)
class Rise:
    """The evidence as it stands, and the highest that it ever stood at a day's end."""

    value: float = 1.0
    peak: float = 1.0
    rows: int = 0
    design_effect: float = 1.0  # of the last day
    entity_effect: float = 1.0  # how many rows say what one would, were each row's entity another one


def sum_days(excess: Floats, days: Integers) -> dict[int, DaySums]:
    """The sums of each day; `excess` is each row's value minus the bound, within [−1, 1] (ValueError else)."""
    if not (np.abs(excess) <= 1).all():
        raise ValueError("an excess that is not within [-1, 1]")
    found, place = np.unique(days, return_inverse=True)
    count = np.bincount(place, minlength=len(found))
    total = np.bincount(place, weights=excess, minlength=len(found))
    squares = np.bincount(place, weights=excess**2, minlength=len(found))
    logs = [np.bincount(place, weights=np.log1p(bet * excess), minlength=len(found)) for bet in BETS]
    return {
        int(day): DaySums(int(count[n]), float(total[n]), float(squares[n]), tuple(float(bet[n]) for bet in logs))
        for n, day in enumerate(found)
    }


def merge(parts: Iterable[Days]) -> dict[int, DaySums]:
    """The sums of all parts together, by day; a day may be in several of them."""
    held: dict[int, DaySums] = {}
    for part in parts:
        for day, sums in part.items():
            held[day] = held[day] + sums if day in held else sums
    return dict(sorted(held.items()))


def days_json(days: Days) -> dict[str, Any]:
    return {str(day): sums.to_json() for day, sums in days.items()}


def days_of(held: Mapping[str, Sequence[float]]) -> dict[int, DaySums]:
    return {int(day): DaySums.from_json(sums) for day, sums in held.items()}


def accumulate(days: Days, day_variance: float | None = None, entity_effect: float = 1.0) -> Rise:
    """The e-process over these days; `day_variance` is the variance between days' means where it is known already.

    Where an entity asks `entity_effect` times as often as it says something new, each day's evidence is divided by it.
    """
    if not days:
        return Rise()
    held = [days[day] for day in sorted(days)]
    effects = _design_effects(held, day_variance) * entity_effect
    logs = np.array([sums.logs for sums in held]) / effects[:, np.newaxis]
    run = np.vstack([np.zeros(len(BETS)), np.cumsum(logs, axis=0)])
    begun = np.arange(1, len(held) + 1)
    weights = np.log(1 / (begun * (begun + 1.0)))
    values = np.empty(len(held))
    for day in range(len(held)):
        bets = run[day + 1] - run[: day + 1]  # from each beginning until this day
        top = bets.max(axis=1, keepdims=True)
        each = weights[: day + 1] + top[:, 0] + np.log(np.exp(bets - top).mean(axis=1))
        waiting = -math.log(day + 2.0)  # the capital that no day has opened yet
        values[day] = np.logaddexp(np.logaddexp.reduce(each), waiting)
    values = np.exp(np.minimum(values, LARGEST_LOG))
    rows = sum(sums.rows for sums in held)
    return Rise(float(values[-1]), float(values.max()), rows, float(effects[-1]), entity_effect)


def believed_variance(expected: float, known: float | None, days: int) -> float:
    """The variance between days to begin with, for so many: what a holdout knows, and at least what is believed.

    The more days there are, the more of what one carries over to the next counts in their mean.
    """
    lags = np.arange(1 - days, days)
    shared = float(((days - np.abs(lags)) * BELIEVED_CARRY ** np.abs(lags)).sum()) / max(1, days)
    return max((BELIEVED_DAY * expected) ** 2 * shared, known or 0.0)


def mean_excess(days: Days) -> float:
    rows = sum(sums.rows for sums in days.values())
    return sum(sums.total for sums in days.values()) / rows if rows else math.nan


def between_days(days: Days) -> float | None:
    """The variance between days beyond what their rows explain, with what neighbours share counted in.

    None of fewer than FEWEST_DAYS. The long-run variance of days' means, by differences of neighbouring batches of up
    to sixteen days: slow weather counts as weather, and a rise that stays counts once, not on every day after it.
    """
    held = [days[day] for day in sorted(days) if days[day].rows >= 2]
    if len(held) < FEWEST_DAYS:
        return None
    means = np.array([sums.total / sums.rows for sums in held])
    inner = np.array([_within(sums) / sums.rows for sums in held])
    return max(0.0, long_run_variance(means, fewest=FEWEST_BATCHES).variance - float(inner.mean()))


def within_variance(held: Sequence[DaySums]) -> float:
    """The variance of one row within its day."""
    rows = np.array([sums.rows for sums in held], dtype=np.float64)
    return float(sum(_within(sums) * sums.rows for sums in held) / rows.sum())


def _design_effects(held: Sequence[DaySums], known: float | None) -> Floats:
    """How many rows of each day say what one independent row would."""
    own = between_days(dict(enumerate(held)))
    weight = len(held) if own is not None else 0
    prior = PRIOR_DAYS if known is not None else 0
    if not weight + prior:
        return np.ones(len(held))
    between = ((own or 0.0) * weight + (known or 0.0) * prior) / (weight + prior)
    rows = np.array([sums.rows for sums in held], dtype=np.float64)
    spread = within_variance(held)
    return np.ones(len(held)) if spread <= 0 else np.asarray(1 + rows * between / spread)


def _within(sums: DaySums) -> float:
    return max(0.0, sums.squares / sums.rows - (sums.total / sums.rows) ** 2)
