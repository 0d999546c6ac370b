"""Where the candidate is worse than elsewhere: the simple slices of the holdout, by their mean loss.

Hundreds of slices are tried, so that some are bad by chance: those are called real that the procedure of Benjamini
and Hochberg (1995) keeps at 5 % false ones.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.column_slices import column_slices
from record.contract.columns import MISSING
from record.contract.feature_places import feature_places
from retrain.data.dataset import Dataset

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEWEST_ROWS = 30  # a mean of fewer says little, and its interval is not normal
MOST_SLICES = 12
FALSE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class HoldoutSlice:
    """Rows that share a value. `excess` is their mean loss minus that of all other rows, with a 95 % interval."""

    name: str
    rows: int
    loss: float
    excess: float
    low: float
    high: float
    real: bool  # not one of those that chance makes among so many

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def holdout_slices(rows: Dataset, losses: Floats) -> list[HoldoutSlice]:
    """The worst first, of every feature but times; `losses` has one for each row."""
    found: list[tuple[HoldoutSlice, float]] = []
    for name, within in _slices(rows):
        count = int(within.sum())
        if FEWEST_ROWS <= count <= len(rows) - FEWEST_ROWS:
            found.append(_compared(name, losses, within))
    kept = _discoveries([p for _, p in found])
    told = [HoldoutSlice(**{**asdict(each), "real": place in kept}) for place, (each, _) in enumerate(found)]
    return sorted(told, key=lambda each: (not each.real, -each.excess))[:MOST_SLICES]


def _slices(rows: Dataset) -> Any:
    for places in feature_places(rows.schema.problem):
        if places.categories:
            texts = rows.arrays.categories[:, places.categories[0]].copy()
            texts[texts == MISSING] = None
            yield from column_slices(places.name, texts)
        elif len(places.numbers) == 1:
            yield from column_slices(places.name, rows.arrays.numbers[:, places.numbers[0]])


def _compared(name: str, losses: Floats, within: Flags) -> tuple[HoldoutSlice, float]:
    inside, outside = losses[within], losses[~within]
    excess = float(inside.mean() - outside.mean())
    error = math.hypot(
        float(inside.std(ddof=1)) / math.sqrt(len(inside)), float(outside.std(ddof=1)) / math.sqrt(len(outside))
    )
    p_value = 1.0 - NormalDist().cdf(excess / error) if error > 0 else 1.0
    half = 1.96 * error
    return HoldoutSlice(name, len(inside), float(inside.mean()), excess, excess - half, excess + half, False), p_value


def _discoveries(p_values: list[float]) -> set[int]:
    order = np.argsort(p_values, kind="stable")
    ranked = np.asarray(p_values)[order]
    within = np.flatnonzero(ranked <= FALSE_SHARE * np.arange(1, len(ranked) + 1) / max(1, len(ranked)))
    return {int(place) for place in order[: within[-1] + 1]} if len(within) else set()
