"""Evidence that one model is better than another, valid at every moment it is looked at.

Pure functions of the paired loss differences d = loss(champion) − loss(challenger), each in [−1, 1], in the order in
which their requests came. The e-process is a mixture of bets (Waudby-Smith and Ramdas, "Estimating means of bounded
random variables by betting", JRSS-B 2024; Ville's inequality): if, at every pair, the expected difference given all
earlier pairs is at most −margin, its running value ever reaches 1/alpha in at most a share alpha of cases, however
often one looks. That is a claim about each pair's conditional mean. Where pairs share a season, a day's weather or an
entity, a mean over all of them may be at most −margin while this fails; `monitoring.bouts.evidence_state` is for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Small bets find small differences late, large bets find large differences at once; the mixture need not choose.
# Twenty, log-spaced: more change the value by less than 1 %. Below 1, so that one lost bet never ends the game.
BETS: Floats = np.geomspace(0.005, 0.9, 20)

# exp(709) is the largest a double holds. Evidence is written to JSON, which has no infinity.
LARGEST_LOG = 700.0

# Factors lie in [.1, 1.9]: a product of 128 of them neither underflows nor overflows, and needs one logarithm.
BLOCK = 128


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the mean lies: `low` and `high` hold at every moment together, with probability 1 − alpha."""

    low: float
    mean: float
    high: float


def e_values(differences: ArrayLike, margin: float = 0.0) -> Floats:
    """The running e-process against "the challenger is no better than −margin", one value per difference.

    E_t is the mean over BETS of Π(1 + λ g), g = (d + margin)/(1 + margin). Values above e^700 are given as e^700.
    Raises ValueError for a difference that is not finite or not within [−1, 1], and for a negative margin.
    """
    return _mixture(_gains(differences, margin))


def rate_e_values(failures: ArrayLike, rate: float, direction: Literal["cleared", "failed"]) -> Floats:
    """The running e-process about how often something fails, one value per request; needs no labels.

    "cleared" is evidence that it fails less often than `rate`, "failed" that it fails more often. The bets are those
    of `e_values`, each a likelihood ratio of a smaller (larger) rate against `rate`.
    """
    if not (math.isfinite(rate) and 0 < rate < 1):
        raise ValueError(f"rate must lie between 0 and 1, not {rate!r}")
    failed = np.asarray(failures, dtype=np.float64)
    if failed.ndim != 1 or not np.isin(failed, (0.0, 1.0)).all():
        raise ValueError("failures must be one row of booleans")
    if direction == "cleared":
        return _mixture((rate - failed) / (1 - rate))
    if direction == "failed":
        return _mixture((failed - rate) / rate)
    raise ValueError(f'direction must be "cleared" or "failed", not {direction!r}')


def confidence_sequence(differences: ArrayLike, alpha: float) -> Interval:
    """Where the mean difference lies, valid at every moment together: the means that the e-process has not refuted.

    Both sides at alpha/2; found by bisection to 1e-6 and rounded outwards. Without differences: (−1, 0, 1).
    """
    if not (math.isfinite(alpha) and 0 < alpha < 1):
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha!r}")
    seen = _checked(differences)
    if seen.size == 0:
        return Interval(-1.0, 0.0, 1.0)
    needed = math.log(2 / alpha)
    mean = min(1.0, max(-1.0, float(seen.mean())))
    return Interval(_lower_end(seen, needed, mean), mean, -_lower_end(-seen, needed, -mean))


def labels_to_go(differences: ArrayLike, margin: float, needed: float) -> int | None:
    """About how many more pairs until the e-process reaches `needed`, if the challenger goes on as it did.

    By the growth of the bet that has grown fastest. None while there is no growth to go by.
    """
    gains = _gains(differences, margin)
    if gains.size == 0:
        return None
    logs = _final_logs(gains)
    best = float(logs.max())
    missing = math.log(needed) - _log_mean(logs)
    if missing <= 0:
        return 0
    growth = best / gains.size
    if growth <= 0:
        return None
    return math.ceil(missing / growth)


def _checked(differences: ArrayLike) -> Floats:
    seen = np.asarray(differences, dtype=np.float64)
    if seen.ndim != 1:
        raise ValueError(f"differences must be one row of numbers, not an array of shape {seen.shape}")
    wrong = ~(np.abs(seen) <= 1)  # NaN compares false, and so is wrong
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"differences[{at}] is {float(seen[at])!r}; expected a finite number within [-1, 1]")
    return seen


def _gains(differences: ArrayLike, margin: float) -> Floats:
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin must be a finite number of at least 0, not {margin!r}")
    return (_checked(differences) + margin) / (1 + margin)


def _mixture(gains: Floats) -> Floats:
    """Sums of logarithms, not products: 10,000 lost bets would underflow to a zero that nothing can leave."""
    if gains.size == 0:
        return np.empty(0)
    logs = np.log1p(np.multiply.outer(BETS, gains))
    np.cumsum(logs, axis=1, out=logs)
    top = logs.max(axis=0)
    logs -= top
    mixed = top + np.log(np.exp(logs, out=logs).mean(axis=0))
    values: Floats = np.exp(np.minimum(mixed, LARGEST_LOG))
    return values


def _final_logs(gains: Floats) -> Floats:
    """log Π(1 + λ g) over all gains, for each bet."""
    padded = np.zeros(-(-gains.size // BLOCK) * BLOCK)
    padded[: gains.size] = gains
    blocks = padded.reshape(-1, BLOCK)
    return np.array([np.log(np.multiply.reduce(1 + bet * blocks, axis=1)).sum() for bet in BETS])


def _log_mean(logs: Floats) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def _lower_end(seen: Floats, needed: float, mean: float) -> float:
    """The largest mean that is refuted as an upper bound of E[d], or −1 where none is.

    Evidence against "E[d] ≤ m" falls as m grows, and is below 1 at the sample mean (Jensen): bisection between.
    """

    def refuted(m: float) -> bool:
        return _log_mean(_final_logs((seen - m) / (1 + abs(m)))) >= needed

    high = mean
    step = math.sqrt(2 * needed / seen.size)  # about the half width for the largest possible spread
    low = max(-1.0, mean - step)
    while not refuted(low):
        if low == -1.0:
            return low
        high, step = low, 2 * step
        low = max(-1.0, mean - step)
    while high - low > 1e-6:
        middle = (low + high) / 2
        if refuted(middle):
            low = middle
        else:
            high = middle
    return low
