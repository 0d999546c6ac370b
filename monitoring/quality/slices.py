"""Where the champion is worse than elsewhere: configured slices, and the few worst among all simple ones.

Every category's frequent values and every number's fifths are a slice. Hundreds of them are tried, so that some are
bad by chance: those are called found that the procedure of Benjamini and Hochberg (1995) keeps at 5 % false ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.quality.cohort import Cohort
from monitoring.quality.loss import Loss
from monitoring.quality.measures import Metric, measure, standard_error
from record.contract.column_slices import column_slices

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MOST_FOUND = 5
FALSE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows that share a value, and how they fare. `excess` is their mean loss minus that of all other rows."""

    name: str
    configured: bool
    rows: int
    excess: float
    p_value: float
    metrics: dict[str, Metric]

    def to_json(self) -> dict[str, Any]:
        return {
            "slice": self.name,
            "configured": self.configured,
            "rows": self.rows,
            "excess": self.excess,
            "p_value": self.p_value,
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
        }


def quality_slices(
    cohort: Cohort, loss: Loss, configured: Sequence[str], min_rows: int, threshold: float | None = None
) -> list[Slice]:
    """The configured columns' slices in their order, then the worst others that are not bad by chance.

    `cohort` is labelled rows. Found slices are those of features only: their values are the model's business, while a
    carried column's may be a person's, and is shown where it was asked for.
    """
    if len(cohort) < 2 * min_rows:
        return []
    losses = cohort.losses(loss)
    chosen = [
        (name, rows, *_compared(losses, rows, cohort))
        for column in configured
        for name, rows in column_slices(column, _values(cohort, column))
        if rows.sum() >= min_rows
    ]
    features = [column.name for column in cohort.schema.problem.features if column.name not in configured]
    tried = [
        (name, rows, *_compared(losses, rows, cohort))
        for column in features
        for name, rows in column_slices(column, _values(cohort, column))
        if min_rows <= rows.sum() <= len(cohort) - min_rows
    ]
    kept = [tried[place] for place in _discoveries([p for _, _, _, p in tried])]
    kept.sort(key=lambda one: -one[2])
    shown = [*((True, one) for one in chosen), *((False, one) for one in kept[:MOST_FOUND])]
    return [
        Slice(name, asked, int(rows.sum()), excess, p, measure(cohort.take(rows), loss, threshold))
        for asked, (name, rows, excess, p) in shown
    ]


def _values(cohort: Cohort, column: str) -> npt.NDArray[Any] | None:
    found = cohort.features.get(column)
    return cohort.carried.get(column) if found is None else found


def _compared(losses: Floats, rows: Flags, cohort: Cohort) -> tuple[float, float]:
    """The slice's mean loss minus the others', and how likely chance gives one that large."""
    inside, outside = losses[rows], losses[~rows]
    if len(inside) < 2 or len(outside) < 2:
        return 0.0, 1.0
    excess = float(inside.mean() - outside.mean())
    shared = cohort.clusters
    error = math.hypot(*(standard_error(losses[part], shared.take(part))[0] for part in (rows, ~rows)))
    return excess, 1 - NormalDist().cdf(excess / error) if error > 0 else 1.0


def _discoveries(p_values: Sequence[float]) -> list[int]:
    """Places of those that Benjamini and Hochberg keep."""
    order = np.argsort(p_values, kind="stable")
    ranked = np.asarray(p_values)[order]
    within = np.flatnonzero(ranked <= FALSE_SHARE * np.arange(1, len(ranked) + 1) / max(1, len(ranked)))
    return [int(place) for place in order[: within[-1] + 1]] if len(within) else []
