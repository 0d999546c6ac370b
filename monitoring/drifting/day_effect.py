"""How far one day is from another where nothing drifts: the part of chance that more rows do not make smaller.

Requests of one day share its weather, its campaign, its season. So a day of 2,000 requests is not 2,000 independent
draws, and a test that takes it for that alarms on quiet days. The reference is cut into blocks as long as the time
between decisions, in the order of time. Each block's distance from the blocks that are not its neighbours, less what
drawing so few rows explains, is one observation of the day effect. Neighbours are left out since slow days resemble
them (h-block cross-validation; Burman, Chow and Nolan, Biometrika 1994): a later day has no such neighbours in the
reference either.

A few weeks of slow days say little of one column's scale. Columns of one reference lend each other strength: each
column's scale is drawn towards that of all, as far as they agree (moderated t; Smyth 2004), and so is its carry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import digamma, polygamma, stdtr

from monitoring.drifting.calibration import jensen_shannon
from monitoring.drifting.time_kinds import fit_share
from record.dependence import effective_days

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# What is believed before any day was seen, as if of eight days: a day effect of half the smallest shift worth hearing
# of, half of which is there the next day. Days that were seen take their place.
PRIOR_DAYS = 8.0
PRIOR_CARRY = 0.5
MOST_CARRY = 0.98

# Days are not quite normal. With so many degrees of freedom at most, p-values of a normal column's quiet days are near
# enough to uniform (`benchmarks/alarms.py`): one in a thousand comes twice as often at 200 rows a day, at 2,000 as
# often.
MOST_DAYS = 30.0
# Of a skewed column (the exponential law's skewness is 2) a day goes further up than down, and few rows carry its mean.
# Of lognormal columns p-values of 1e-4 came thirty times as often with those thirty degrees of freedom, and were what
# nine false alarms in ten came from; their quiet distances fall off as with 6 to 8 at 200 rows a day, 12 at 2,000.
SKEWED = 2.0
MOST_DAYS_SKEWED = 8.0
# A burst (one day in thirty loses its values) makes all of a column's scale in one day. The law then has so many
# degrees of freedom as a normal one has days of the same participation ratio, and three at least.
FEWEST_FREEDOM = 3.0

LAG = 14
MOST_WIDENING = 4.0  # times the mean square: a normal effect's square is larger on one day in twenty,
KEPT_OF_WIDENING = 0.9205  # and cut there, this is what its mean square comes to

FEWEST_IN_BLOCK = 8  # values; a block of fewer says more about drawing than about its day
FEWEST_BLOCKS = 3
NEIGHBOURS = 6  # blocks on either side that a block is not compared with; a quarter of all blocks at most
MOST_UNKNOWN = 0.8  # of the day effect's square, that the reference's own mean is off by
FEWEST_COLUMNS = 3  # from which columns lend each other strength
MOST_LENT = 60.0  # degrees of freedom


@dataclass(frozen=True, slots=True)
class DayEffect:
    """A day's own distance is scale·|t| with `days` degrees of freedom; a share `carry` of it is there the next day."""

    scale: float
    carry: float
    days: float

    def exceeded(self, distance: Floats, carried: float | None) -> Floats:
        """How often a quiet day is this far, given how far the day before was; None where that is not known.

        After a far day a far day is expected: what counts is how much further than the carried part it is.
        """
        centre, scale = 0.0, self.scale
        if carried is not None:
            centre, scale = self.carry * carried, self.scale * np.sqrt(1 - self.carry**2)
        above = stdtr(self.days, -(distance - centre) / scale)
        return np.asarray(np.minimum(1.0, above + stdtr(self.days, -(distance + centre) / scale)))

    def of_mean(self, days: int) -> DayEffect:
        """The effect of so many days together, if each is correlated with the next as a first-order autoregression."""
        lags = np.arange(1 - days, days)
        near = (days - np.abs(lags)) * self.carry ** np.abs(lags)
        far = (days - np.abs(lags)) * self.carry ** np.abs(lags + days)
        return DayEffect(self.scale * float(np.sqrt(near.sum())) / days, float(far.sum() / near.sum()), self.days)


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """What the reference's blocks show of one statistic: the mean square of their effects, how many blocks, the carry.

    `most_days` are the degrees of freedom that the law has at most, however many blocks there are. `distances` are
    the squared distances of the blocks. `lent` are degrees of freedom that other columns lend.
    """

    square: float = 0.0
    blocks: int = 0
    carry: float | None = None
    most_days: float = MOST_DAYS
    distances: Floats = field(default_factory=lambda: np.zeros(0))
    lent: float = 0.0

    def day_effect(self, prior: DayEffect, quiet: Sequence[float] = (), *, fading: bool = True) -> DayEffect:
        """Together with what was believed before, and with the squares seen on the service's own quiet days.

        A `fading` belief gives its place to blocks; another one, which rests on something, stays beside them.

        What the blocks did not show, quiet days cannot hide: where there are blocks enough, the last LAG days wait,
        so that drift is judged before it can pass for chance, and a day widens the law by at most MOST_WIDENING, or
        by what the furthest block did.
        """
        believed = max(0.0, PRIOR_DAYS - self.blocks) if fading else PRIOR_DAYS
        days = believed + self.blocks
        total = believed * prior.scale**2 + self.blocks * self.square
        carry = prior.carry
        if self.carry is not None:
            carry = (believed * prior.carry + self.blocks * self.carry) / days
        carry = min(max(carry, 0.0), MOST_CARRY)
        if self.blocks >= LAG:
            most = max(MOST_WIDENING * max(total, 0.0) / days, float(self.distances.max(initial=0.0)))
            quiet = [min(square, most) / KEPT_OF_WIDENING for square in quiet[:-LAG]]
        # However quiet the days were, there are kinds of day not yet seen.
        square = max(total + sum(quiet), 0.0) / (days + len(quiet))
        scale = max(math.sqrt(square * (1 + self._unknown(carry, fading))), prior.scale / 4)
        freedom = believed + effective_days(self.blocks + len(quiet), carry**2) + self.lent
        return DayEffect(scale, carry, max(2.0, min(freedom, self.most_days, self._tail(quiet))))

    def _unknown(self, carry: float, fading: bool) -> float:
        """The square by which the reference's own mean is off, over that of a day: slow days are few days.

        Few days know their carry badly: one standard error is added to it.
        """
        if not self.blocks or not fading:
            return 0.0
        most = min(MOST_CARRY, carry + math.sqrt((1 - carry**2) / self.blocks))
        return min(MOST_UNKNOWN, 1 / effective_days(self.blocks, most))

    def _tail(self, quiet: Sequence[float]) -> float:
        """Degrees of freedom by how many days have a part in the scale (the participation ratio of the squares)."""
        squares = np.abs(np.concatenate([self.distances, np.asarray(quiet, dtype=np.float64)]))
        bottom = float((squares**2).sum())
        return max(FEWEST_FREEDOM, 3 * float(squares.sum()) ** 2 / bottom) if bottom > 0 else math.inf


def most_days(values: Floats) -> float:
    """The degrees of freedom that the day effect of a column of these values has at most."""
    apart = values - values.mean()
    spread = float(values.std())
    skewed = spread > 0 and abs(float((apart**3).mean())) > SKEWED * spread**3
    return MOST_DAYS_SKEWED if skewed else MOST_DAYS


@dataclass(frozen=True, slots=True)
class BlockTable:
    """How many of a block's rows of one kind of time lie in each cell: [blocks, kinds, cells]; consecutive blocks."""

    counts: Floats
    places: Ints  # of each block, in time
    widths: Floats  # of the cells, in units of the statistic
    noise: float  # mean square of the statistic at one row
    shares: bool  # the statistic is the Jensen-Shannon distance of shares, else the Wasserstein distance along cells

    @classmethod
    def of(
        cls, cells: Ints, blocks: Ints, kinds: Ints, widths: Floats, noise: float, *, shares: bool = False
    ) -> BlockTable:
        """`cells` says in which cell each row's value lies (of numbers in their order), `blocks` in which block of
        time, `kinds` of which kind that time is; negative where there is none."""
        known = (cells >= 0) & (blocks >= 0)
        places, inverse = np.unique(blocks[known], return_inverse=True)
        number = int(kinds.max(initial=0)) + 1
        flat = (inverse * number + kinds[known]) * len(widths) + cells[known]
        counts = np.bincount(flat, minlength=len(places) * number * len(widths)).astype(np.float64)
        counts = counts.reshape(len(places), number, len(widths))
        enough = counts.sum(axis=(1, 2)) >= FEWEST_IN_BLOCK
        return cls(counts[enough], places[enough], widths, noise, shares)

    def effects(self, kinds: Ints | None = None) -> tuple[BlockEffects, float]:
        """The effects, and the share of what kinds of time tell (0: nothing). `kinds` joins kinds; None knows none.

        The share is the one that foretells best the blocks that it was not made from.
        """
        if len(self.counts) < FEWEST_BLOCKS:
            return BlockEffects(), 0.0
        counts = self.counts if kinds is None else _joined(self.counts, kinds)
        rest = _rest(counts)
        sizes, others = counts.sum(axis=(1, 2)), rest.sum(axis=(1, 2))
        laws, pooled = counts.sum(axis=1) / sizes[:, np.newaxis], rest.sum(axis=1) / others[:, np.newaxis]
        weights = np.broadcast_to(1 / others[:, np.newaxis], rest.shape[:2])
        share, expected = 0.0, pooled
        if kinds is not None:
            seasonal, by_kind = _by_kind(counts, rest, pooled)
            share = fit_share(self._along(laws - pooled), self._along(seasonal - pooled), self._inner)
            expected = (1 - share) * pooled + share * seasonal
            weights = (1 - share) * weights + share * by_kind
        drawn = 1 / sizes + (rest.sum(axis=2) * weights**2).sum(axis=1)
        return self._of(laws, expected, drawn), share

    def by_kind(self, kinds: Ints) -> Floats:
        """Counts [kinds, cells] of all blocks."""
        return np.asarray(_joined(self.counts, kinds).sum(axis=0))

    @property
    def _inner(self) -> Floats:
        return np.ones(len(self.widths)) if self.shares else self.widths

    def _along(self, laws: Floats) -> Floats:
        return laws if self.shares else np.cumsum(laws, axis=1)

    def _of(self, laws: Floats, expected: Floats, drawn: Floats) -> BlockEffects:
        apart = self._along(laws - expected)
        distances = jensen_shannon(laws, expected) if self.shares else np.abs(apart) @ self.widths
        along = self._along(expected)
        carry = _carry(apart, along * (1 - along), drawn, self.places, self._inner)
        squares = distances**2
        square = float(np.mean(squares - self.noise * drawn))
        return BlockEffects(square, len(laws), carry, distances=squares)


def _joined(counts: Floats, kinds: Ints) -> Floats:
    found = np.zeros((len(counts), int(kinds.max()) + 1, counts.shape[2]))
    for place, kind in enumerate(kinds.tolist()[: counts.shape[1]]):
        found[:, kind] += counts[:, place]
    return found


def _rest(counts: Floats) -> Floats:
    """For each block, the sums of all blocks that are not its neighbours."""
    blocks = len(counts)
    near = min(NEIGHBOURS, blocks // 4)
    until = np.concatenate([np.zeros((1, *counts.shape[1:])), np.cumsum(counts, axis=0)])
    place = np.arange(blocks)
    own = until[np.minimum(place + near + 1, blocks)] - until[np.maximum(place - near, 0)]
    return np.asarray(until[-1] - own)


def _by_kind(counts: Floats, rest: Floats, pooled: Floats) -> tuple[Floats, Floats]:
    """What each block's mix of kinds makes expected, and the weight [blocks, kinds] of a row of each kind in that."""
    rows = rest.sum(axis=2)
    laws = np.where(rows[:, :, np.newaxis] > 0, rest / np.maximum(rows, 1)[:, :, np.newaxis], pooled[:, np.newaxis, :])
    mix = counts.sum(axis=2) / counts.sum(axis=(1, 2))[:, np.newaxis]
    return np.einsum("bk,bkc->bc", mix, laws), mix / np.maximum(rows, 1)


def _carry(apart: Floats, spread: Floats, drawn: Floats, places: Ints, weights: Floats) -> float | None:
    """The correlation of a block's own deviation with the next one's, drawing taken out; None if there is none."""
    follows = np.flatnonzero(np.diff(places) == 1)
    if len(follows) < FEWEST_BLOCKS:
        return None
    common = float((apart[follows] * apart[follows + 1]).mean(axis=0) @ weights)
    own = float((apart**2).mean(axis=0) @ weights) - float(drawn.mean() * (spread.mean(axis=0) @ weights))
    return min(max(common / own, 0.0), 1.0) if own > 0 else None


def moderated(effects: Sequence[BlockEffects], least: float) -> list[BlockEffects]:
    """The effects of one statistic in all columns, each drawn towards all of them as far as they agree.

    Columns whose mean square is not above the square of `least` have no day effect worth the name, and stay.
    """
    own = [e.carry is not None and e.blocks >= FEWEST_BLOCKS and e.square > least**2 for e in effects]
    if sum(own) < FEWEST_COLUMNS:
        return list(effects)
    chosen = [effect for effect, use in zip(effects, own, strict=True) if use]
    carries = _common_carries(chosen)
    freedom = np.array(
        [max(1.0, effective_days(e.blocks, carry**2)) for e, carry in zip(chosen, carries.tolist(), strict=True)]
    )
    squares = np.array([effect.square for effect in chosen])
    lent, common = _common_square(squares, freedom)
    drawn = (lent * common + freedom * squares) / (lent + freedom)
    made = iter(
        replace(effect, square=float(square), carry=float(carry), lent=lent)
        for effect, square, carry in zip(chosen, drawn, carries, strict=True)
    )
    return [next(made) if use else effect for effect, use in zip(effects, own, strict=True)]


def _common_carries(effects: Sequence[BlockEffects]) -> Floats:
    """Each carry between its own and the mean one, by how much more they scatter than chance explains."""
    carries = np.array([effect.carry for effect in effects], dtype=np.float64)
    chance = (1 - np.minimum(carries, 0.95) ** 2) / np.array([effect.blocks for effect in effects])
    differ = max(0.0, float(carries.var(ddof=1) - chance.mean()))
    weight = differ / (differ + chance)
    return np.asarray(np.clip(weight * carries + (1 - weight) * carries.mean(), 0.0, 0.95))


def _common_square(squares: Floats, freedom: Floats) -> tuple[float, float]:
    """The prior that all squares agree with: its degrees of freedom, and its square (Smyth 2004, section 6.2)."""
    logs = np.log(squares) - digamma(freedom / 2) + np.log(freedom / 2)
    beyond = float(logs.var(ddof=1) - polygamma(1, freedom / 2).mean())
    lent = MOST_LENT
    if beyond > polygamma(1, MOST_LENT / 2):
        lent = 2 * float(brentq(lambda half: polygamma(1, half) - beyond, 1e-3, MOST_LENT / 2))
    return lent, math.exp(float(logs.mean()) + float(digamma(lent / 2)) - math.log(lent / 2))
