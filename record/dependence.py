"""What neighbours share, and what it costs: the one treatment of dependence between rows of a stream.

Rows of one day share its weather, days share a season, and a slow change outlives both. Whatever takes such rows for
independent is too sure by the square root of the design effect (Kish, Survey Sampling, 1965): the variance of a mean as
blocks of the stream show it, over what it would be if all rows were independent. Few blocks know it badly, so it is
shrunk to what one expects beforehand, as a conjugate prior for a variance does. Wider blocks (1, 2, 4, … neighbours
joined: batch means, Schmeiser, "Batch size effects in the analysis of simulation output", 1982) are compared with the
next finer ones, and the largest effect counts, so that slow weather shows too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as fisher

from record.entity import ALONE, distinct

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Cycle = Literal["day", "week"]

DAY_MICROS = 86_400_000_000
HOUR_MICROS = 3_600_000_000
WEEK_DAYS = 7

# Before any day is seen: what a day adds to all its rows has a 500th of the variance of a single one. On nine real
# streams it was between a 300th and a 15th. It counts as much as what four days say.
DAY_EFFECT = 0.002
PRIOR_DAYS = 4.0
PRIOR_BLOCKS = 16.0  # rows in a row are taken for independent until blocks of them say otherwise
WIDER_BLOCKS = 8.0
FEWEST_WIDE = 8
# Scatter within so many of its standard errors of what one expects is taken for chance: without this the largest of
# several widths costs independent rows a fifth of their evidence, with it a twentieth.
CHANCE = 1.3
FEWEST_TRIMMED = 6

# What days may share, as parts of the variance of a single row, and how likely each is before any day is seen.
DAY_SHARES: Floats = np.array([0.0, 1 / 250, 1 / 60])
DAY_SHARE_ODDS: Floats = np.array([0.75, 0.15, 0.1])

# A cycle is taken for one when its profile repeats beyond this chance, over so many of its lengths.
CYCLE_P = 0.001
FEWEST_CYCLES = 3
HOURS = 24


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of a stream in order, as columns: rows, sum of values, sum of squares."""

    rows: Floats
    totals: Floats
    squares: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, values: Floats, places: Integers) -> Blocks:
        """Values by the number of their block, such as `micros // DAY_MICROS`."""
        _, place = np.unique(places, return_inverse=True)
        sums = (np.bincount(place, weights=w).astype(np.float64) for w in (np.ones(len(values)), values, values**2))
        return cls(*sums)

    @property
    def means(self) -> Floats:
        return np.asarray(self.totals / self.rows)

    @property
    def mean(self) -> float:
        return float(self.totals.sum() / self.rows.sum())

    @property
    def usual_rows(self) -> float:
        """The size of the block that a row is in, on average over the rows; more than the mean where sizes differ."""
        return float((self.rows**2).sum() / self.rows.sum()) if len(self) else 0.0

    @property
    def spread(self) -> float:
        """The variance of a single row."""
        return max(0.0, float(self.squares.sum() / self.rows.sum()) - self.mean**2)

    def joined(self, width: int) -> Blocks:
        """Every `width` neighbouring blocks as one; a rest at the end that is no whole block is left out."""
        whole = len(self) // width * width
        return Blocks(*(c[:whole].reshape(-1, width).sum(axis=1) for c in (self.rows, self.totals, self.squares)))


def design_effect(
    blocks: Blocks, *, prior: float = 1.0, prior_blocks: float = PRIOR_BLOCKS, steps: bool = False
) -> float:
    """How many rows say what one independent row would; at least 1.

    `prior` is the effect to expect of one block, and counts as `prior_blocks` blocks. With `steps`, blocks are
    compared with their neighbours (von Neumann's ratio), so that a change that stays is not taken for weather.
    """
    if not len(blocks) or blocks.rows.sum() < 2 or blocks.spread <= 0:
        return 1.0
    mean, spread = blocks.mean, blocks.spread
    effect, weight, width = max(1.0, prior), prior_blocks, 1
    largest = 1.0
    while True:
        joined = blocks.joined(width)
        if width > 1 and len(joined) < FEWEST_WIDE:
            return largest
        freedom = max(0, len(joined) - 1)
        scatter = (_between_neighbours(joined) if steps else _around(joined, mean)) / spread
        expected = prior > 1 and width == 1
        if expected or scatter > effect * (freedom + CHANCE * math.sqrt(2 * freedom)):
            effect = max(1.0, (weight * effect + scatter) / (weight + freedom))
        largest = max(largest, effect)
        weight, width = WIDER_BLOCKS, 2 * width


def day_prior(days: Blocks) -> float:
    """The design effect to expect of days before they tell: more rows of one day say less and less that is new."""
    return 1.0 + DAY_EFFECT * days.usual_rows


@dataclass(frozen=True, slots=True)
class DayEffects:
    """The design effects that days may have, and how likely each is once their scatter is known."""

    effects: Floats
    odds: Floats  # they sum to 1

    @classmethod
    def of(cls, days: Blocks, scatter: float, freedom: int) -> DayEffects:
        """`scatter` is the days' sum of squares over the variance of one row: chi-square times the effect."""
        effects = 1 + DAY_SHARES * days.usual_rows
        logs = np.log(DAY_SHARE_ODDS) - freedom / 2 * np.log(effects) - scatter / (2 * effects)
        odds = np.exp(logs - logs.max())
        return cls(effects, odds / odds.sum())

    @property
    def mean(self) -> float:
        return float(self.effects @ self.odds)

    def divide(self, log_evidence: float) -> float:
        """Log evidence of which the reciprocal is averaged over the effects: what may be by chance under any of them.

        With few days it is not above what the largest effect that cannot be excluded leaves.
        """
        if log_evidence <= 0:
            return log_evidence
        logs = np.log(np.maximum(self.odds, 1e-300)) - log_evidence / self.effects
        top = float(logs.max())
        return -(top + math.log(float(np.exp(logs - top).sum())))


def day_effects(days: Blocks) -> DayEffects:
    """By how days scatter around their mean."""
    if not len(days) or days.spread <= 0:
        return DayEffects.of(days, 0.0, 0)
    return DayEffects.of(days, _around(days, days.mean) / days.spread, len(days) - 1)


def seasonal_day_effects(days: Blocks, numbers: Integers, period: int) -> DayEffects:
    """By how days scatter around the profile of a cycle of `period` days, which costs so many degrees of freedom."""
    if not len(days) or days.spread <= 0:
        return DayEffects.of(days, 0.0, 0)
    scatter = _around_profile(days, numbers, period)
    return DayEffects.of(days, scatter, max(0, len(days) - len(np.unique(numbers % period))))


def seasonal_effect(days: Blocks, numbers: Integers, period: int) -> float:
    """The design effect of blocks whose means follow a cycle of `period` blocks: what scatters beyond that profile.

    `numbers` are the blocks' own; the profile costs `period` degrees of freedom.
    """
    if not len(days) or days.spread <= 0:
        return 1.0
    scatter = _around_profile(days, numbers, period)
    freedom = max(0, len(days) - period)
    return max(1.0, (PRIOR_DAYS * day_prior(days) + scatter) / (PRIOR_DAYS + freedom))


@dataclass(frozen=True, slots=True)
class LongRun:
    """The variance of one block's mean, with what neighbours share counted in."""

    variance: float
    width: int  # of the batches that showed most
    freedom: float  # degrees of freedom of `variance`


def long_run_variance(means: Floats, longest: int = 16, fewest: int = FEWEST_WIDE, *, steps: bool = True) -> LongRun:
    """Of a series of equally long blocks' means, in order: the variance of their average is this over their number.

    The largest over batches of 1, 2, 4, … up to `longest` blocks that stands out from chance. With `steps` by the
    differences of neighbouring batches (von Neumann) without the largest of them, so that a level that shifts does
    not count as weather; that sees only part of what neighbours share.
    """
    variance, share = (_half_square, 2 / 3) if steps else (_variance, 1.0)
    found = LongRun(variance(means), 1, max(1.0, share * (len(means) - 1)))
    width = 2
    while width <= longest and len(means) // width >= fewest:
        whole = len(means) // width * width
        batches = means[:whole].reshape(-1, width).mean(axis=1)
        shown, freedom = width * variance(batches), share * (len(batches) - 1)
        if shown > found.variance * (1 + CHANCE * math.sqrt(2 / freedom)):
            shrunk = (WIDER_BLOCKS * found.variance + freedom * shown) / (WIDER_BLOCKS + freedom)
            found = LongRun(shrunk, width, freedom)
        width *= 2
    return found


@dataclass(frozen=True, slots=True)
class Clusters:
    """What rows share: their `days`, and their `entities` (`record.entity`); None where neither is known."""

    days: Integers | None = None
    entities: Integers | None = None

    def take(self, chosen: NDArray[np.bool_] | Integers) -> Clusters:
        return Clusters(*(None if held is None else held[chosen] for held in (self.days, self.entities)))


INDEPENDENT = Clusters()


def standard_error(values: Floats, days: Integers | None, entities: Integers | None = None) -> tuple[float, float]:
    """The standard error of the mean of rows clustered by day, by entity or by both, and its degrees of freedom.

    Days that carry over count for what they say alone: the clustered variance (Liang and Zeger, 1986) times the ratio
    of the long-run variance of the days' means to that of single days. Of both kinds of clusters the variances add up,
    without what both count (Cameron, Gelbach and Miller, "Robust inference with multiway clustering", 2011). Never
    below what independent rows give, nor what either kind gives by itself.
    """
    count = len(values)
    if count < 2:
        return math.inf, 1.0
    found = [(float(values.var(ddof=1)) / count, count - 1.0)]
    by_day = None if days is None else _by_day(values, days)
    if by_day is not None:
        found.append(by_day)
    if entities is not None and _repeat(entities):
        own = distinct(entities)
        by_entity = _clustered(values, own), _entity_freedom(own)
        found.append(by_entity)
        if by_day is not None and days is not None:
            together = _clustered(values, np.unique(own * (int(days.max()) + 1) + days, return_inverse=True)[1])
            found.append((by_day[0] + by_entity[0] - together, min(by_day[1], by_entity[1])))
    variance, freedom = max(found)
    return math.sqrt(variance), freedom


def entity_effect(values: Floats, days: Integers | None, entities: Integers) -> float:
    """How many rows say what one would, were each row's entity another one; at least 1."""
    if len(values) < 2 or not _repeat(entities):
        return 1.0
    without, _ = standard_error(values, days)
    return max(1.0, (standard_error(values, days, entities)[0] / without) ** 2) if without > 0 else 1.0


def _by_day(values: Floats, days: Integers) -> tuple[float, float] | None:
    blocks = Blocks.of(values, days)
    if len(blocks) < 2:
        return None
    single = float(blocks.means.var(ddof=1))
    long_run = long_run_variance(blocks.means, steps=False)
    carried = max(1.0, long_run.variance / single) if single > 0 else 1.0
    return _clustered(values, days) * carried, max(1.0, len(blocks) / carried - 1)


def _clustered(values: Floats, places: Integers) -> float:
    """The variance of the mean of rows that come in clusters."""
    blocks = Blocks.of(values, places)
    if len(blocks) < 2:
        return 0.0
    centred = blocks.totals - blocks.rows * blocks.mean
    return float((centred**2).sum()) * len(blocks) / (len(blocks) - 1) / len(values) ** 2


def _repeat(entities: Integers) -> bool:
    named = entities[entities != ALONE]
    return len(np.unique(named)) < len(named)


def _entity_freedom(places: Integers) -> float:
    """As many clusters of equal size as these say: one that has most of the rows leaves little to compare."""
    rows = np.bincount(places).astype(np.float64)
    return max(1.0, float(rows.sum() ** 2 / (rows**2).sum()) - 1)


def effective_days(days: float, carry: float) -> float:
    """How many independent days say what `days` do, each of which carries over the share `carry` to the next."""
    return days * (1 - carry) / (1 + carry)


def find_cycle(micros: Integers, values: Floats) -> Cycle | None:
    """The longest cycle, of a week or of a day, whose profile repeats: an F-test of phases against days.

    A profile counts only as far as it stands out from how the same phase differs between days or weeks. None where
    fewer than three cycles have been seen.
    """
    days = micros // DAY_MICROS
    if _repeats(values, (days + 3) // WEEK_DAYS, days % WEEK_DAYS, days):  # the first of January 1970 was a Thursday
        return "week"
    hours = micros // HOUR_MICROS
    return "day" if _repeats(values, days, hours % HOURS, hours) else None


def _repeats(values: Floats, cycle: Integers, phase: Integers, cell: Integers) -> bool:
    if len(values) < 2 * HOURS or len(np.unique(cycle)) < FEWEST_CYCLES:
        return False
    _, first, place = np.unique(cell, return_index=True, return_inverse=True)
    rows, totals = np.bincount(place).astype(np.float64), np.bincount(place, weights=values)
    kinds, kind = np.unique(phase[first], return_inverse=True)
    freedom = len(rows) - len(kinds)
    if len(kinds) < 2 or freedom < len(kinds):
        return False
    own_rows, own_totals = np.bincount(kind, weights=rows), np.bincount(kind, weights=totals)
    mean = totals.sum() / rows.sum()
    between = float((own_rows * (own_totals / own_rows - mean) ** 2).sum()) / (len(kinds) - 1)
    rest = float((rows * (totals / rows - (own_totals / own_rows)[kind]) ** 2).sum()) / freedom
    return rest > 0 and float(fisher.sf(between / rest, len(kinds) - 1, freedom)) < CYCLE_P


def _around(blocks: Blocks, mean: float) -> float:
    return float((((blocks.totals - blocks.rows * mean) ** 2) / blocks.rows).sum())


def _around_profile(days: Blocks, numbers: Integers, period: int) -> float:
    """The days' sum of squares around the mean of their own phase, over the variance of one row."""
    scatter = 0.0
    for phase in np.unique(numbers % period):
        own = numbers % period == phase
        part = Blocks(days.rows[own], days.totals[own], days.squares[own])
        scatter += _around(part, part.mean) / days.spread
    return scatter


def _between_neighbours(blocks: Blocks) -> float:
    """The same sum, expected from the differences of neighbouring blocks alone."""
    if len(blocks) < 2:
        return 0.0
    return _without_largest(np.diff(blocks.means) ** 2 / (1 / blocks.rows[1:] + 1 / blocks.rows[:-1])) * (
        len(blocks) - 1
    )


def _without_largest(squares: Floats) -> float:
    """The mean of squared differences, expected from all but the largest, which may be a step."""
    count = len(squares)
    if count < FEWEST_TRIMMED:
        return float(squares.mean())
    largest = float(chi2.ppf(1 - 0.56 / count, 1))  # about its expectation among so many, where there is no step
    return float(squares.sum() - squares.max()) / (count - largest)


def _half_square(means: Floats) -> float:
    return _without_largest(np.diff(means) ** 2) / 2 if len(means) > 1 else 0.0


def _variance(means: Floats) -> float:
    return float(means.var(ddof=1)) if len(means) > 1 else 0.0
