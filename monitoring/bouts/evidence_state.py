"""A bout's evidence as a state of bounded size, which goes on from where the last look left it.

The state depends on the requests alone, to the last bit, and not on how many looks read them: sums are in fixed
point, and whatever happens at a place in the stream (a bet opened, a cycle's end, a bound fixed) happens at that place.

What is claimed: pair by pair, the challenger's expected loss given all that came before is at most `margin` above the
champion's. Three things break that on real traffic, and each has its answer here. A season makes one model better by
day and the other by night: evidence is read at whole cycles only. What neighbours share makes a thousand pairs say
less than a thousand: the logarithm of the evidence is divided by the design effect. One entity that asks often would
count often: only its first request counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitoring.bouts.bets import SMALLEST_SCALE, SPACING, BeginningSums, BetSums, RelativeBetSums, log_weights, scale
from monitoring.bouts.design import Design
from monitoring.bouts.label_rate import LabelRates
from monitoring.evidence import LARGEST_LOG, Interval
from record.block_sums import UNIT, BlockSums, fixed
from record.dependence import (
    DAY_MICROS,
    PRIOR_DAYS,
    WEEK_DAYS,
    DayEffects,
    Floats,
    Integers,
    day_effects,
    day_prior,
    design_effect,
    seasonal_day_effects,
    seasonal_effect,
)

RUN_PAIRS = 32  # neighbouring pairs in the finest block
# The bound on differences is taken from the answers to the first thousand requests, with a tenth of room.
BOUND_REQUESTS, BOUND_ROOM = 1000, 1.1
TUNED_PAIRS = 1000  # where the interval of the lead is narrowest


@dataclass(frozen=True, slots=True)
class MaturedPairs:
    """Matured requests in request order, as columns. `difference` counts only where `labelled`."""

    micros: Integers  # request time, since 1970
    labelled: NDArray[np.bool_]
    difference: Floats  # loss(champion) − loss(challenger)
    bound: Floats  # the largest difference that the two answers allow, whatever the label
    worst: Floats  # the smallest difference that they allow
    counts: NDArray[np.bool_]  # the first request of its entity in this bout
    scores: Floats  # both answers as numbers in [−1, 1], a column each

    def __len__(self) -> int:
        return len(self.micros)

    def rows(self, start: int, stop: int) -> MaturedPairs:
        return MaturedPairs(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    @classmethod
    def independent(cls, micros: Integers, differences: Floats) -> MaturedPairs:
        """Pairs of which nothing is known but their differences: all labelled, each of its own entity."""
        count = len(differences)
        one, every = np.ones(count), np.ones(count, bool)
        return cls(micros, every, np.asarray(differences, np.float64), one, -one, every, np.zeros((count, 1)))

    @classmethod
    def paired(
        cls, micros: Integers, differences: Floats, bounds: Floats, counts: NDArray[np.bool_], width: int
    ) -> MaturedPairs:
        """Pairs as the record keeps them: what the two answers were is not there any more."""
        every = np.ones(len(differences), bool)
        return cls(micros, every, differences, bounds, -bounds, counts, np.zeros((len(differences), width)))


@dataclass(frozen=True, slots=True)
class Reading:
    """What the state says. Evidence is that of the last whole cycle, where the design names one."""

    pairs: int  # labelled requests that count
    e_value: float
    e_max: float  # the highest before it was divided by the design effect, at any pair
    e_harm: float
    e_harm_max: float
    lead: Interval
    whole_lead: float  # the mean difference at the end of the last whole cycle
    whole_cycles: int
    design_effect: float
    scale: float  # the bound of differences that bets go by
    variance: float  # of one difference
    log_missing: float  # log evidence that is still to come
    growth: float  # of the log evidence with each pair
    label_rate_e: float  # evidence that the rate of labels depends on the answers
    label_rate_slope: float
    label_rate_testable: bool
    missing_bias: float  # the largest bias of the lead that missing labels may still have made
    unlabelled: int
    unlabelled_lead: float | None  # the mean difference of unlabelled requests from which the lead would be gone
    unlabelled_worst: float | None  # the smallest mean difference that their answers allow


@dataclass(frozen=True, slots=True)
class Dependence:
    """Dependence between pairs: a design effect measured from their scatter, and the effects that days may have."""

    shown: float
    days: DayEffects | None = None

    @property
    def mean(self) -> float:
        return self.shown if self.days is None else max(self.shown, self.days.mean)

    def divide(self, log_evidence: float) -> float:
        """The log evidence that is left; below 0 nothing is taken off."""
        if log_evidence <= 0:
            return log_evidence
        left = log_evidence / self.shown
        return left if self.days is None else min(left, self.days.divide(log_evidence))


@dataclass(slots=True)
class EvidenceState:
    """Mutable: `add` reads on. `copy` by way of JSON."""

    probation: bool
    margin: float
    cycle_micros: int
    scaled: bool
    corrected: bool  # by the design effect
    gain: BetSums | BeginningSums | RelativeBetSums
    harm: BeginningSums | None
    rates: LabelRates
    days: BlockSums
    runs: BlockSums
    first_micros: int | None = None  # of all matured requests
    first_pair_micros: int | None = None  # of those with a label
    bound_seen: float = 0.0
    total: int = 0
    squares: int = 0
    unlabelled: int = 0
    worst: int = 0
    peak: float = 0.0
    harm_peak: float = 0.0
    cycles: int = 0
    whole_log: float = 0.0
    whole_mean: float = 0.0
    relative: bool = False  # bets and design effect as designs have them that say `relative_bets`

    @classmethod
    def start(cls, design: Design) -> Self:
        """Before the first request."""
        probation = design.kind == "probation"
        planned = max(0, design.rollback_watch // SPACING) if probation else 0
        return cls(
            probation=probation,
            margin=design.margin,
            cycle_micros=0 if probation else round(design.cycle_seconds * 1e6),
            scaled=design.scaled_bets,
            corrected=design.design_effect,
            gain=BeginningSums(planned) if probation else RelativeBetSums() if design.relative_bets else BetSums(),
            harm=None if probation else BeginningSums(0),
            rates=LabelRates(),
            days=BlockSums(DAY_MICROS),
            runs=BlockSums(RUN_PAIRS),
            relative=design.relative_bets and not probation,
        )

    @property
    def pairs(self) -> int:
        return self.gain.bets.count if isinstance(self.gain, BeginningSums) else self.gain.count

    def add(self, matured: MaturedPairs) -> Self:
        """Reads on; `matured` comes behind everything that was added before."""
        if len(matured) and self.first_micros is None:
            self.first_micros = int(matured.micros[0])
        place = 0
        while place < len(matured):
            stop = self._next_stop(matured, place)
            if stop > place:
                self._add(matured.rows(place, stop))
            place = stop
        return self

    def close_cycles(self, micros: int) -> None:
        """All requests up to that time have been added: whole cycles that end before it are read."""
        while self.cycle_micros and self.first_micros is not None and micros >= self._cycle_end():
            self.cycles += 1
            self.whole_log, self.whole_mean = self._corrected_gain(), self._mean()

    def read(self, alpha: float, needed: float) -> Reading:
        """The evidence as it stands; `alpha` is that of the lead's interval."""
        pairs, mean, variance = self.pairs, self._mean(), self._variance()
        dependence = self._dependence()
        effect = dependence.mean
        grown = self._log_gain()
        now = dependence.divide(grown)
        whole = self.whole_log if self.cycle_micros else now
        harm = 0.0 if self.harm is None else dependence.divide(self.harm.log_evidence(_ALL))
        lead = lead_interval(mean, variance * effect, pairs, alpha)
        return Reading(
            pairs=pairs,
            e_value=_exp(whole),
            e_max=_exp(self.peak),
            e_harm=_exp(harm),
            e_harm_max=_exp(self.harm_peak),
            lead=lead,
            whole_lead=self.whole_mean if self.cycle_micros else mean,
            whole_cycles=self.cycles,
            design_effect=effect,
            scale=self._scale(),
            variance=variance,
            log_missing=max(0.0, math.log(needed) - whole) * (grown / now if now > 0 else effect),
            growth=self._growth(),
            label_rate_e=_exp(self.rates.highest),
            label_rate_slope=self.rates.slope(),
            label_rate_testable=self.rates.testable,
            missing_bias=self.rates.bias(-2 * self.worst / UNIT / self.unlabelled) if self.unlabelled else 0.0,
            unlabelled=self.unlabelled,
            unlabelled_lead=self._unlabelled_lead(lead.low),
            unlabelled_worst=self.worst / UNIT / self.unlabelled if self.unlabelled else None,
        )

    def _next_stop(self, matured: MaturedPairs, place: int) -> int:
        """Up to where the stream may be read in one go."""
        stop = len(matured)
        if self.rates.requests < BOUND_REQUESTS:  # counted over requests that count
            ahead = np.flatnonzero(matured.counts[place:])
            wanted = BOUND_REQUESTS - self.rates.requests
            if len(ahead) >= wanted:
                stop = min(stop, place + int(ahead[wanted - 1]) + 1)
        if self.cycle_micros:
            self.close_cycles(int(matured.micros[place]))
            stop = min(stop, int(np.searchsorted(matured.micros, self._cycle_end(), side="left")))
        return stop

    def _cycle_end(self) -> int:
        assert self.first_micros is not None
        return self.first_micros + (self.cycles + 1) * self.cycle_micros

    def _add(self, matured: MaturedPairs) -> None:
        own, bound = matured.counts, self._scale()
        if self.rates.requests < BOUND_REQUESTS and own.any():
            self.bound_seen = max(self.bound_seen, float(matured.bound[own].max()))
        self.rates.add(matured.labelled[own], matured.scores[own])
        missing = own & ~matured.labelled
        self.unlabelled += int(missing.sum())
        self.worst += int(fixed(matured.worst[missing]).sum())
        paired = own & matured.labelled
        differences = matured.difference[paired]
        if not len(differences):
            return
        if self.first_pair_micros is None:
            self.first_pair_micros = int(matured.micros[paired][0])
        values, squares = fixed(differences), fixed(differences**2)
        self.days.add(matured.micros[paired], values, squares)
        self.runs.add(self.pairs + np.arange(len(differences)), values, squares)
        self.total += int(values.sum())
        self.squares += int(squares.sum())
        better = -1.0 if self.probation else 1.0  # a probation's challenger is the former champion, and bets on harm
        gains = (differences + better * self.margin) / (1 + self.margin)
        if isinstance(self.gain, RelativeBetSums):
            self.peak = max(self.peak, self.gain.add(gains, bound))
        else:
            self.peak = max(self.peak, self.gain.add(gains, _weights_of(bound)))
        if self.harm is not None:
            against = (-differences - self.margin) / (1 + self.margin)
            self.harm_peak = max(self.harm_peak, self.harm.add(against, _ALL))

    def _scale(self) -> float:
        """The bound of differences: 1 until enough answers have been seen."""
        if not self.scaled or self.probation or self.rates.requests < BOUND_REQUESTS:
            return 1.0
        bound = min(1.0, BOUND_ROOM * self.bound_seen + self.margin)
        return max(SMALLEST_SCALE, bound) if self.relative else scale(bound)

    def _log_gain(self) -> float:
        """The log evidence that the challenger is better, before what neighbours share."""
        if isinstance(self.gain, RelativeBetSums):
            return self.gain.log_evidence()
        return self.gain.log_evidence(_weights_of(self._scale()))

    def _growth(self) -> float:
        if isinstance(self.gain, RelativeBetSums):
            return self.gain.growth()
        bets = self.gain.bets if isinstance(self.gain, BeginningSums) else self.gain
        return bets.growth(_weights_of(self._scale()))

    def _corrected_gain(self) -> float:
        return self._dependence().divide(self._log_gain())

    def _dependence(self) -> Dependence:
        """Of a probation without what is expected of days beforehand: harm must be found within the first."""
        if not self.corrected:
            return Dependence(1.0)
        days, runs = self.days.blocks(), self.runs.blocks()
        if self.probation:
            by_day = design_effect(days, prior_blocks=PRIOR_DAYS, steps=True)
            return Dependence(max(by_day, design_effect(runs, steps=True)))
        weekly = self.cycle_micros > DAY_MICROS
        # Within a cycle of a day, neighbouring rows share its season, which whole cycles have balanced.
        by_run = 1.0 if self.cycle_micros else design_effect(runs)
        if self.relative:
            if weekly:
                return Dependence(1.0, seasonal_day_effects(days, self.days.numbers(), WEEK_DAYS))
            return Dependence(max(by_run, design_effect(days)), day_effects(days))
        if weekly:
            return Dependence(seasonal_effect(days, self.days.numbers(), WEEK_DAYS))
        return Dependence(max(by_run, design_effect(days, prior=day_prior(days), prior_blocks=PRIOR_DAYS)))

    def _mean(self) -> float:
        return self.total / UNIT / self.pairs if self.pairs else 0.0

    def _variance(self) -> float:
        return max(0.0, self.squares / UNIT / self.pairs - self._mean() ** 2) if self.pairs else 0.0

    def _unlabelled_lead(self, low: float) -> float | None:
        """n · low + m · x = −margin · (n + m), solved for x: the lead's lower end, spread over m missing labels."""
        if not self.unlabelled or not self.pairs:
            return None
        return -(self.pairs * (low + self.margin)) / self.unlabelled - self.margin

    def to_json(self) -> dict[str, Any]:
        held: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            held[f.name] = value.to_json() if hasattr(value, "to_json") else value
        return held

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Self:
        values = dict(held)
        relative = held.get("relative", False)
        gain = BeginningSums if held["probation"] else RelativeBetSums if relative else BetSums
        values["gain"] = gain.from_json(held["gain"])
        values["harm"] = None if held["harm"] is None else BeginningSums.from_json(held["harm"])
        values["rates"] = LabelRates.from_json(held["rates"])
        values["days"], values["runs"] = BlockSums.from_json(held["days"]), BlockSums.from_json(held["runs"])
        known = {f.name for f in fields(cls)}  # a later release may have kept more
        return cls(**{name: value for name, value in values.items() if name in known})


def lead_interval(mean: float, variance: float, pairs: int, alpha: float) -> Interval:
    """An asymptotic confidence sequence for the mean difference, both sides, at every look together.

    Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics
    2024. One pair's largest square is added to the variance, so that few equal pairs are not taken for certainty.
    """
    if not pairs:
        return Interval(-1.0, 0.0, 1.0)
    tuned = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / TUNED_PAIRS
    grown = pairs * tuned + 1
    half = math.sqrt((variance + 1 / pairs) * 2 * grown / (pairs**2 * tuned) * math.log(math.sqrt(grown) / alpha))
    return Interval(max(-1.0, mean - half), mean, min(1.0, mean + half))


_CACHE: dict[float, Floats] = {}


def _weights_of(bound: float) -> Floats:
    if bound not in _CACHE:
        _CACHE[bound] = log_weights(bound)
    return _CACHE[bound]


_ALL: Floats = log_weights(1.0)


def _exp(log: float) -> float:
    return math.exp(min(log, LARGEST_LOG))
