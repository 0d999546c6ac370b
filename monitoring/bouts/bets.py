"""Bets on a stream of paired differences, as sums that go on from where they stopped.

A bet λ on gains g multiplies its capital by 1 + λ g (Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting", JRSS-B 2024). While E[g | past] ≤ 0 no mixture of bets ever reaches 1/alpha in more than a share
alpha of all streams (Ville). All logarithms are kept in fixed point: their sums are the same to the last bit in
whatever parts the stream is read.

Differences of rare events are tiny but for a few: with a bound B below 1 on what the two answers allow, bets up to
0.95/B are affordable. B is fixed from answers alone, before labels count (`scale`), and a gain beyond it counts as B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from record.block_sums import UNIT, fixed
from record.dependence import Floats, Integers

LARGEST_BET = 0.95
SMALLEST_BET = 0.02
STEP = 2 ** (1 / 3)
SMALLEST_SCALE = 1 / 32
# The bets of all scales in one row, largest first: 0.95 · 32, then each a third of an octave smaller, to 0.02.
_COUNT = 1 + int(math.log(LARGEST_BET / SMALLEST_SCALE / SMALLEST_BET) / math.log(STEP))
BETS: Floats = np.asarray(LARGEST_BET / SMALLEST_SCALE / STEP ** np.arange(_COUNT), dtype=np.float64)
# Where positives are rare the best bet is near the largest: with a bound below 1 those of the top octave have a share
# of their own. Bets below 0.07 pay only for leads that take a hundred thousand labels to see: a small share.
TOP_BETS, TOP_SHARE = 4, 0.25
SMALL_BET, SMALL_SHARE = 0.07, 0.08
LARGEST_LOG = 700.0


def scale(bound: float) -> float:
    """The next third of an octave above the bound, at most 1."""
    steps = math.floor(math.log(1 / max(bound, SMALLEST_SCALE)) / math.log(STEP) + 1e-9)
    return float(1 / STEP**steps)


def log_weights(bound: float) -> Floats:
    """Logarithms of the bets' shares of the capital where |g| stays within the bound; −∞ for those too large."""
    usable = LARGEST_BET / bound * (1 + 1e-9) >= BETS
    small = BETS < SMALL_BET
    top = usable & (np.cumsum(usable) <= TOP_BETS)
    top_share = TOP_SHARE if bound < 1 else 0.0
    weights = np.where(usable & ~small, (1 - top_share - SMALL_SHARE) / (usable & ~small).sum(), 0.0)
    weights += np.where(small, SMALL_SHARE / small.sum(), 0.0) + np.where(top, top_share / TOP_BETS, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights))


def log_factors(gains: Floats) -> tuple[Integers, NDArray[np.bool_]]:
    """log(1 + λ g) for each bet and gain, in fixed point, and where a bet has lost all (its logarithm counts as 0)."""
    grown = 1 + BETS[:, np.newaxis] * np.minimum(gains, LARGEST_BET / BETS[:, np.newaxis])
    lost = grown <= 0
    return fixed(np.log(np.where(lost, 1.0, grown))), lost


@dataclass(slots=True)
class BetSums:
    """The capital of every bet, opened with the first gain."""

    count: int = 0
    logs: Integers = field(default_factory=lambda: np.zeros(len(BETS), np.int64))
    ruined: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(len(BETS), bool))

    def add(self, gains: Floats, weights: Floats) -> float:
        """The gains, and the highest log evidence that was reached after any of them."""
        if not len(gains):
            return -math.inf
        factors, lost = log_factors(gains)
        run = self.logs[:, np.newaxis] + np.cumsum(factors, axis=1)
        gone = self.ruined[:, np.newaxis] | np.logical_or.accumulate(lost, axis=1)
        self.count += len(gains)
        self.logs, self.ruined = run[:, -1].copy(), gone[:, -1].copy()
        return float(_log_mixture(np.where(gone, -np.inf, run / UNIT), weights).max())

    def log_evidence(self, weights: Floats) -> float:
        """The log of the mixture's capital now."""
        own = np.where(self.ruined, -np.inf, self.logs / UNIT)
        return float(_log_mixture(own[:, np.newaxis], weights)[0])

    def growth(self, weights: Floats) -> float:
        """Return the log growth that one more gain adds to the bet with the largest capital."""
        usable = np.isfinite(weights) & ~self.ruined
        return float((self.logs[usable] / UNIT).max() / self.count) if self.count and usable.any() else 0.0

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "logs": self.logs.tolist(), "ruined": np.flatnonzero(self.ruined).tolist()}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> BetSums:
        ruined = np.zeros(len(BETS), bool)
        ruined[held["ruined"]] = True
        return cls(int(held["count"]), np.array(held["logs"], np.int64), ruined)


# Bets in units of the spread of gains so far: a lead that takes 300 to 10,000 pairs to see has its best bet among the
# first six, whatever the loss. The last two are for leads that show at once.
RELATIVE_BETS: Floats = np.array([*np.geomspace(0.022, 0.13, 6), 0.25, 0.5])
RELATIVE_WEIGHTS: Floats = np.log([*[0.15] * 6, 0.05, 0.05])
# Before gains are seen their spread is taken for a quarter, and that counts as thirty of them: rare events show late.
PRIOR_SPREAD, PRIOR_GAINS = 0.25, 30


@dataclass(slots=True)
class RelativeBetSums:
    """The capital of bets c/s, s being the root mean square of the gains before each (a predictable plug-in).

    Within a bound B of what the answers allow no bet is above 0.95/B.
    """

    count: int = 0
    squares: int = 0
    logs: Integers = field(default_factory=lambda: np.zeros(len(RELATIVE_BETS), np.int64))
    ruined: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(len(RELATIVE_BETS), bool))

    def add(self, gains: Floats, bound: float) -> float:
        """The gains, and the highest log evidence that was reached after any of them."""
        if not len(gains):
            return -math.inf
        own = fixed(gains**2)
        before = self.squares + np.cumsum(own) - own
        counts = PRIOR_GAINS + self.count + np.arange(len(gains))
        spread = np.sqrt((PRIOR_GAINS * PRIOR_SPREAD**2 + before / UNIT) / counts)
        bets = np.minimum(RELATIVE_BETS[:, np.newaxis] / spread, LARGEST_BET / bound)
        grown = 1 + bets * np.minimum(gains, bound)
        gone = self.ruined[:, np.newaxis] | np.logical_or.accumulate(grown <= 0, axis=1)
        run = self.logs[:, np.newaxis] + np.cumsum(fixed(np.log(np.where(grown <= 0, 1.0, grown))), axis=1)
        self.count += len(gains)
        self.squares += int(own.sum())
        self.logs, self.ruined = run[:, -1].copy(), gone[:, -1].copy()
        return float(_log_mixture(np.where(gone, -np.inf, run / UNIT), RELATIVE_WEIGHTS).max())

    def log_evidence(self) -> float:
        """The log of the mixture's capital now."""
        own = np.where(self.ruined, -np.inf, self.logs / UNIT)
        return float(_log_mixture(own[:, np.newaxis], RELATIVE_WEIGHTS)[0])

    def growth(self) -> float:
        """Return the log growth that one more gain adds to the bet with the largest capital."""
        usable = ~self.ruined
        return float((self.logs[usable] / UNIT).max() / self.count) if self.count and usable.any() else 0.0

    def to_json(self) -> dict[str, Any]:
        ruined = np.flatnonzero(self.ruined).tolist()
        return {"count": self.count, "squares": self.squares, "logs": self.logs.tolist(), "ruined": ruined}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> RelativeBetSums:
        ruined = np.zeros(len(RELATIVE_BETS), bool)
        ruined[held["ruined"]] = True
        return cls(int(held["count"]), int(held["squares"]), np.array(held["logs"], np.int64), ruined)


# A change for the worse may begin anywhere: half of the capital is bet from the start, the rest is opened over later
# beginnings, 100 pairs apart (Shekhar and Ramdas, "Reducing sequential change detection to sequential estimation",
# ICML 2024, with weights that sum to 1, so that Ville's inequality holds for ever).
SPACING = 100
AT_ONCE = 0.5


def opening_share(number: int, planned: int) -> float:
    """The capital opened with the `number`-th beginning: evenly over those planned, else 1/(j (j + 1)) of the rest."""
    if number == 0:
        return AT_ONCE
    if planned > 0:
        return (1 - AT_ONCE) / planned if number <= planned else 0.0
    return (1 - AT_ONCE) / (number * (number + 1.0))


def unopened_share(number: int, planned: int) -> float:
    """The capital that is left after the `number`-th beginning."""
    if planned > 0:
        return (1 - AT_ONCE) * (1 - min(number, planned) / planned)
    return (1 - AT_ONCE) / (number + 1)


@dataclass(slots=True)
class BeginningSums:
    """Bets opened at the start and again at every hundredth gain, mixed over their beginnings."""

    planned: int  # beginnings among which the later capital is divided evenly; 0: without end
    bets: BetSums = field(default_factory=BetSums)
    opened: Floats = field(default_factory=lambda: np.full(len(BETS), -np.inf))  # log Σ share · exp(−log at opening)

    def add(self, gains: Floats, weights: Floats) -> float:
        highest = -math.inf
        place = 0
        while place < len(gains):
            if self.bets.count % SPACING == 0:
                self._open(self.bets.count // SPACING)
            stop = min(len(gains), place + SPACING - self.bets.count % SPACING)
            factors, lost = log_factors(gains[place:stop])
            run = self.bets.logs[:, np.newaxis] + np.cumsum(factors, axis=1)
            gone = self.bets.ruined[:, np.newaxis] | np.logical_or.accumulate(lost, axis=1)
            self.bets.count += stop - place
            self.bets.logs, self.bets.ruined = run[:, -1].copy(), gone[:, -1].copy()
            highest = max(highest, float(self._value(run, gone, weights).max()))
            place = stop
        return highest

    def log_evidence(self, weights: Floats) -> float:
        if not self.bets.count:
            return 0.0
        return float(self._value(self.bets.logs[:, np.newaxis], self.bets.ruined[:, np.newaxis], weights)[0])

    def _open(self, number: int) -> None:
        share = opening_share(number, self.planned)
        if share > 0:
            self.opened = np.logaddexp(self.opened, math.log(share) - self.bets.logs / UNIT)
            # A bet that was ruined before is opened anew.
            self.opened = np.where(self.bets.ruined, math.log(share) - self.bets.logs / UNIT, self.opened)
            self.bets.ruined = np.zeros(len(BETS), bool)

    def _value(self, run: Integers, gone: NDArray[np.bool_], weights: Floats) -> Floats:
        waiting = unopened_share((self.bets.count - 1) // SPACING, self.planned)
        own = np.where(gone, -np.inf, self.opened[:, np.newaxis] + run / UNIT)
        mixed = _log_mixture(own, weights)
        return np.asarray(np.logaddexp(mixed, math.log(waiting)) if waiting > 1e-12 else mixed)

    def to_json(self) -> dict[str, Any]:
        opened = [None if math.isinf(value) else value for value in self.opened.tolist()]
        return {"planned": self.planned, "opened": opened, **self.bets.to_json()}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> BeginningSums:
        opened = np.array([-math.inf if value is None else value for value in held["opened"]])
        return cls(int(held["planned"]), BetSums.from_json(held), opened)


def _log_mixture(logs: Floats, weights: Floats) -> Floats:
    """log Σ w exp(l) over the bets (first axis)."""
    shifted = logs + weights[:, np.newaxis]
    top = shifted.max(axis=0)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        mixed = safe + np.log(np.exp(shifted - safe).sum(axis=0))
    return np.asarray(np.maximum(mixed, -LARGEST_LOG))
