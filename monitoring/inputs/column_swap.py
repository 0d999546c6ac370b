"""Whether columns were exchanged: each looks like another's reference, and not like its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.category_counts import count_categories

FEWEST_VALUES = 100
LOOKED_AT = 2_000  # values of each side: distances to within .05
MOST_SUSPECTS = 40  # those furthest from their own reference; each pair of them takes .1 ms

# Distances are the largest difference of two distribution functions, or of the shares of categories, summed and
# halved: both from 0 to 1. A column is suspect where its own is MOVED, and explained by another's where that is half
# of its own at most, and no more than chance and a little drift.
_MOVED = 0.25
_LEFT = 0.08


@dataclass(frozen=True, slots=True)
class Swap:
    """`own` and `exchanged` are a column's distances from its own reference and from the other column's."""

    other: str
    own: float
    exchanged: float


def find_swaps(columns: Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> dict[str, Swap]:
    """The columns (all numbers or all texts; reference and window without missing values) that were exchanged.

    Two columns with one distribution cannot be told apart: what their exchange breaks is how columns go together.
    """
    held = {
        name: (_thinned(before), _thinned(now))
        for name, (before, now) in columns.items()
        if min(len(before), len(now)) >= FEWEST_VALUES
    }
    own = {name: _distance(before, now) for name, (before, now) in held.items()}
    suspects = sorted((name for name in own if own[name] >= _MOVED), key=lambda name: -own[name])[:MOST_SUSPECTS]
    found: dict[str, Swap] = {}
    for name in suspects:
        others = {other: _distance(held[other][0], held[name][1]) for other in suspects if other != name}
        if not others:
            return {}
        nearest = min(others, key=lambda other: others[other])
        if others[nearest] <= min(own[name] / 2, _LEFT + _noise(*held[name])):
            found[name] = Swap(nearest, own[name], others[nearest])
    return {name: swap for name, swap in found.items() if _comes_back(name, found)}


def _comes_back(name: str, found: Mapping[str, Swap]) -> bool:
    """Whether following the exchange leads back: each of these columns went where another was."""
    place, steps = found[name].other, 0
    while place != name and place in found and steps < len(found):
        place, steps = found[place].other, steps + 1
    return place == name


def _thinned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if len(values) > LOOKED_AT:
        values = values[np.linspace(0, len(values) - 1, LOOKED_AT).round().astype(int)]
    return values if values.dtype == object else np.sort(values)


def _distance(before: npt.NDArray[Any], now: npt.NDArray[Any]) -> float:
    if before.dtype == object:
        both = count_categories([*before.tolist(), *now.tolist()])
        left = np.bincount(both.codes[: len(before)], minlength=len(both.names)) / len(before)
        right = np.bincount(both.codes[len(before) :], minlength=len(both.names)) / len(now)
        return float(np.abs(left - right).sum() / 2)
    grid = np.concatenate([before, now])
    left = np.searchsorted(before, grid, side="right") / len(before)
    right = np.searchsorted(now, grid, side="right") / len(now)
    return float(np.abs(left - right).max())


def _noise(before: npt.NDArray[Any], now: npt.NDArray[Any]) -> float:
    """What chance reaches: Kolmogorov's 99.9 % for numbers; for categories, their number counts too."""
    size = 1 / len(before) + 1 / len(now)
    if before.dtype == object:
        return float(np.sqrt(len(set(before.tolist())) * size / 2))
    return 1.95 * float(np.sqrt(size))
