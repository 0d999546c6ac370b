"""Whether a column came in another unit: the same shape, so many times as large, or on another temperature scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_VALUES = 100
FEWEST_PART = 30  # values beyond the range that a slip of a part of the requests is read from

# What units are to each other. 1000 is the commonest slip (metres and kilometres, seconds and milliseconds).
FACTORS = (1000.0, 100.0, 10.0, 1e6, 60.0, 3600.0, 24.0, 12.0, 3.6, 2.54, 1.609344, 2.20462, 3.28084)
_SCALES = (
    ("Fahrenheit where Celsius was", 1.8, 32.0),
    ("Celsius where Fahrenheit was", 1 / 1.8, -32 / 1.8),
    ("Kelvin where Celsius was", 1.0, 273.15),
    ("Celsius where Kelvin was", 1.0, -273.15),
)

# Distances between quantiles, in mean absolute deviations of the reference's quantiles. A slip moves a column by half
# of one at least, and taking it back leaves what chance and a little drift explain, a fifth of the move at most.
_MOVED = 0.5
_LEFT = 0.1
_LEFT_SMALL = 0.05  # of factors below 5, which prices may rise by, too
_PART_LEFT = 0.3  # a part is cut off at the range's end, and so has not quite the shape
_TAKEN_BACK = 5.0
_LEVELS = np.linspace(0.02, 0.98, 49)

# The reference's own days go so far from each other, too: a lognormal column whose days differ by .2 in the logarithm
# is by chance what 1.6 times as much would be, in one window of fifty. A slip goes twice as far as any day did.
_BEYOND_DAYS = 2.0
FEWEST_DAYS = 7
FEWEST_OF_DAY = 25  # values: several days' together go less far than one, a few values of one further
DAY_MICROS = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Slip:
    """`share` of the values have it; `residual` is the distance that remains once it is taken back."""

    name: str
    factor: float
    offset: float
    share: float
    residual: float


def find_slip(
    reference: Floats, current: Floats, bounds: tuple[float, float] | None = None, wander: float = 0.0
) -> Slip | None:
    """The slip that explains the window best, or None. Both without missing values.

    A slip of only some requests is looked for among values beyond `bounds` (what training saw), and upwards only:
    small values hide among others. `wander` is how far the reference's own days go (`day_wander`).
    """
    if min(len(reference), len(current)) < FEWEST_VALUES or not np.ptp(reference) > 0:
        return None
    factors = [factor for factor in FACTORS if math.log(factor) > _BEYOND_DAYS * wander]
    found = [*_factors(reference, current, factors), *_scales(reference, current)]
    if bounds is not None:
        found += [_part(reference, current, factor, bounds) for factor in factors if factor >= 10]
    slips = [slip for slip in found if slip is not None]
    return min(slips, key=lambda slip: (slip.share < 1, slip.residual), default=None)


def day_wander(reference: Floats, times: npt.NDArray[np.int64] | None) -> float:
    """The logarithm of the factor by which the reference's furthest day is larger or smaller than all of it.

    `times` are the values', in microseconds, negative where unknown. Days of few values are put together. 0 where
    days are not known, or fewer than FEWEST_DAYS: then any of them may have been any other.
    """
    if times is None or len(times) != len(reference):
        return 0.0
    held = np.isfinite(reference) & (reference != 0) & (times >= 0)
    sizes, days = np.log(np.abs(reference[held])), times[held] // DAY_MICROS
    if not len(days):
        return 0.0
    together = max(1, math.ceil(FEWEST_OF_DAY * (int(np.ptp(days)) + 1) / len(days)))
    blocks, inverse = np.unique(days // together, return_inverse=True)
    if len(blocks) < FEWEST_DAYS:
        return 0.0
    parts = np.split(sizes[np.argsort(inverse, kind="stable")], np.cumsum(np.bincount(inverse))[:-1])
    levels = [float(np.median(part)) for part in parts if len(part) >= FEWEST_OF_DAY / 2]
    return float(np.abs(np.array(levels) - np.median(sizes)).max(initial=0.0))


@dataclass(frozen=True, slots=True)
class _Move:
    """From where a column's quantiles came, and where they are now."""

    before: Floats
    now: Floats
    distance: float
    noise: float  # of quantiles in so many rows: about one and a half deviations over the root
    few: bool  # whole numbers, a few, look like multiples of each other

    @classmethod
    def of(cls, reference: Floats, current: Floats) -> _Move | None:
        """None where the column has hardly moved."""
        before, now = np.quantile(reference, _LEVELS), np.quantile(current, _LEVELS)
        distance = _distance(before, now)
        if not distance > _MOVED:
            return None
        noise = 1.5 * float(np.sqrt(1 / len(reference) + 1 / len(current)))
        return cls(before, now, distance, noise, len(np.unique(reference)) < 20)

    def taken_back(self, name: str, factor: float, offset: float, left: float) -> Slip | None:
        residual = _distance(self.before, (self.now - offset) / factor)
        if residual > left + self.noise or residual * _TAKEN_BACK > self.distance:
            return None
        return Slip(name, factor, offset, 1.0, residual)


def _factors(reference: Floats, current: Floats, factors: Sequence[float]) -> Iterator[Slip | None]:
    """Nothing is the same in every unit: zeros say nothing of a factor."""
    before, now = reference[reference != 0], current[current != 0]
    if min(len(before), len(now)) < FEWEST_VALUES:
        return
    if abs(len(before) / len(reference) - len(now) / len(current)) > _LEFT:
        return
    move = _Move.of(before, now)
    if move is None:
        return
    for factor in factors:
        small = factor < 5
        if not (small and move.few):
            left = _LEFT_SMALL if small else _LEFT
            yield move.taken_back(f"{_times(factor)} times as large", factor, 0.0, left)
            yield move.taken_back(f"{_times(factor)} times as small", 1 / factor, 0.0, left)


def _scales(reference: Floats, current: Floats) -> Iterator[Slip | None]:
    move = _Move.of(reference, current)
    if move is not None and not move.few:
        for name, factor, offset in _SCALES:
            yield move.taken_back(name, factor, offset, _LEFT_SMALL)


def _part(reference: Floats, current: Floats, factor: float, bounds: tuple[float, float]) -> Slip | None:
    low, high = bounds
    outside = current[(current < low) | (current > high)]
    if len(outside) < FEWEST_PART or len(outside) < 0.005 * len(current):
        return None
    back = outside / factor
    if np.mean((back >= low) & (back <= high)) < 0.99:
        return None
    before = reference[reference != 0]
    # Only values that leave the range once multiplied can be among them.
    reachable = before[(before * factor > high) | (before * factor < low)]
    if len(reachable) < FEWEST_VALUES or len(reachable) < 0.5 * len(before):
        return None
    residual = _distance(np.quantile(reachable, _LEVELS), np.quantile(back, _LEVELS))
    if residual > _PART_LEFT + 1.5 / np.sqrt(len(back)):
        return None
    return Slip(f"{_times(factor)} times as large", factor, 0.0, len(outside) / len(current), residual)


def _times(factor: float) -> str:
    """The factor as people write it: never with a power of ten."""
    return f"{factor:g}" if factor < 1e6 else f"{factor:.0f}"


def _distance(quantiles: Floats, other: Floats) -> float:
    deviation = float(np.mean(np.abs(quantiles - np.median(quantiles))))
    if deviation == 0:
        deviation = max(abs(float(np.median(quantiles))), 1e-12)
    return float(np.mean(np.abs(quantiles - other))) / deviation
