"""How far one day is from another where nothing drifts: the part of chance that more rows do not make smaller.

Requests of one day share its weather, its campaign, its season. So a day of 2,000 requests is not 2,000 independent
draws, and a test that takes it for that alarms on quiet days. The reference is cut into blocks as long as the time
between decisions, in the order of time. Each block's distance from the rest, less what drawing so few rows explains,
is one observation of the day effect; what neighbouring blocks have in common is how much of it carries over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from monitoring.drifting.calibration import jensen_shannon

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

LAG = 14
MOST_WIDENING = 4.0  # times the mean square: a normal effect's square is larger on one day in twenty,
KEPT_OF_WIDENING = 0.9205  # and cut there, this is what its mean square comes to

FEWEST_IN_BLOCK = 8  # values; a block of fewer says more about drawing than about its day


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
    """What the reference's blocks show: the mean square of their effects, how many they are, and the carry.

    `most_days` are the degrees of freedom that the law has at most, however many blocks there are.
    """

    square: float = 0.0
    blocks: int = 0
    carry: float | None = None
    most_days: float = MOST_DAYS

    def day_effect(self, prior: DayEffect, quiet: Sequence[float] = (), *, fading: bool = True) -> DayEffect:
        """Together with what was believed before, and with the squares seen on the service's own quiet days.

        A `fading` belief gives its place to blocks; another one, which rests on something, stays beside them.

        What the blocks did not show, quiet days cannot hide: where there are blocks enough, the last LAG days wait,
        so that drift is judged before it can pass for chance, and a day widens the law by at most MOST_WIDENING.
        """
        believed = max(0.0, PRIOR_DAYS - self.blocks) if fading else PRIOR_DAYS
        days = believed + self.blocks
        total = believed * prior.scale**2 + self.blocks * self.square
        carry = prior.carry
        if self.carry is not None:
            carry = (believed * prior.carry + self.blocks * self.carry) / days
        if self.blocks >= LAG:
            most = MOST_WIDENING * max(total, 0.0) / days
            quiet = [min(square, most) / KEPT_OF_WIDENING for square in quiet[:-LAG]]
        total, days = total + sum(quiet), days + len(quiet)
        # However quiet the days were, there are kinds of day not yet seen.
        scale = max(float(np.sqrt(max(total, 0.0) / days)), prior.scale / 4)
        return DayEffect(scale, min(max(carry, 0.0), MOST_CARRY), min(days, self.most_days))


def most_days(values: Floats) -> float:
    """The degrees of freedom that the day effect of a column of these values has at most."""
    apart = values - values.mean()
    spread = float(values.std())
    skewed = spread > 0 and abs(float((apart**3).mean())) > SKEWED * spread**3
    return MOST_DAYS_SKEWED if skewed else MOST_DAYS


def block_effects(cells: Ints, blocks: Ints, widths: Floats, noise: float, *, shares: bool = False) -> BlockEffects:
    """The day effects of one column.

    `cells` says in which cell of a grid each row's value lies (of numbers in their order), `blocks` in which block
    of time; both negative where there is none. `widths` are the cells' widths in units of the statistic, `noise`
    the mean square of the statistic at one row. `shares`: the statistic is the Jensen-Shannon distance of the
    cells' shares, else the Wasserstein distance along the cells.
    """
    held = (cells >= 0) & (blocks >= 0)
    if not held.any():
        return BlockEffects()
    places, inverse = np.unique(blocks[held], return_inverse=True)
    table = np.zeros((len(places), len(widths)))
    np.add.at(table, (inverse, cells[held]), 1.0)
    sizes = table.sum(axis=1)
    enough = sizes >= FEWEST_IN_BLOCK
    table, sizes, places = table[enough], sizes[enough], places[enough]
    if len(places) < 3:
        return BlockEffects()
    return _effects(table, sizes, places, widths, noise, shares)


def _effects(table: Floats, sizes: Floats, places: Ints, widths: Floats, noise: float, shares: bool) -> BlockEffects:
    total = sizes.sum()
    laws, whole = table / sizes[:, np.newaxis], table.sum(axis=0) / total
    if not shares:
        laws, whole = np.cumsum(laws, axis=1), np.cumsum(whole)
    apart = (laws - whole) * (total / (total - sizes))[:, np.newaxis]  # from the rest, which it is no part of
    drawn = 1 / sizes + 1 / (total - sizes)
    distances = _shares_apart(table, sizes) if shares else np.abs(apart) @ widths
    square = float(np.mean(distances**2 - noise * drawn))
    return BlockEffects(square, len(places), _carry(apart, whole * (1 - whole), drawn, places, widths))


def _shares_apart(table: Floats, sizes: Floats) -> Floats:
    """The Jensen-Shannon distance of each block from the rest."""
    rest = table.sum(axis=0) - table
    return jensen_shannon(table / sizes[:, np.newaxis], rest / rest.sum(axis=1, keepdims=True))


def _carry(apart: Floats, spread: Floats, drawn: Floats, places: Ints, weights: Floats) -> float | None:
    """The correlation of a block's own deviation with the next one's, drawing taken out; None if there is none.

    Over few blocks a correlation comes out too small, by about (1 + 3r)/n (Kendall 1954).
    """
    follows = np.flatnonzero(np.diff(places) == 1)
    if len(follows) < 3:
        return None
    common = float((apart[follows] * apart[follows + 1]).mean(axis=0) @ weights)
    own = float((apart**2).mean(axis=0) @ weights) - float(drawn.mean() * (spread @ weights))
    if own <= 0:
        return None
    found = min(max(common / own, 0.0), 1.0)
    return min(1.0, found + (1 + 3 * found) / len(follows))
