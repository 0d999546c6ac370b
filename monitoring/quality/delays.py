"""How long labels take, and whether that depends on what they say. Pure.

A delay that depends on the outcome makes every number biased that is read before all labels came: cohorts are mature
for that reason. Here it is said, so that somebody can look at the label horizon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import kolmogorov

from monitoring.quality.cohort import Cohort

Floats = npt.NDArray[np.float64]

QUANTILES = (0.5, 0.9, 0.99)
FEWEST_ROWS = 20  # of each of the two that are compared
# A larger distance of two laws of delay than this is worth a warning; chance shows smaller ones on any data.
WORTH_SAYING = 0.1
# A p-value as a bet: κ p^(κ − 1) has the mean 1 under the null (Vovk and Wang, "E-values", 2021). Half is the middle.
KAPPA = 0.5
LEAST_P = 1e-12


@dataclass(frozen=True, slots=True)
class DelayReport:
    """Seconds by quantile, and how far the delays of the most different outcome are from the others'."""

    rows: int
    quantiles: dict[str, float]
    by_outcome: dict[str, dict[str, float]]
    distance: float  # Kolmogorov's, 0 to 1
    log_e: float  # what this look adds to the evidence that delay depends on the outcome

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "quantiles": self.quantiles,
            "by_outcome": self.by_outcome,
            "distance": self.distance,
            "log_e": self.log_e,
        }


def report_delays(cohort: Cohort) -> DelayReport:
    """Of labelled rows, each of which has had its whole label horizon."""
    known = cohort.take(cohort.labelled & np.isfinite(cohort.delays))
    outcomes = _outcomes(known)
    delays = known.delays
    compared = [
        _kolmogorov(delays[rows], delays[~rows])
        for rows in outcomes.values()
        if min(rows.sum(), (~rows).sum()) >= FEWEST_ROWS
    ]
    if len(outcomes) == 2:  # each against the other is one comparison
        compared = compared[:1]
    distance = max((found for found, _ in compared), default=0.0)
    p = min(1.0, len(compared) * min((p for _, p in compared), default=1.0))
    return DelayReport(
        rows=len(known),
        quantiles=_quantiles(delays),
        by_outcome={name: _quantiles(delays[rows]) for name, rows in outcomes.items()},
        distance=distance,
        log_e=math.log(KAPPA) + (KAPPA - 1) * math.log(max(p, LEAST_P)) if compared else 0.0,
    )


def depends_on_outcome(recent: DelayReport, highest_log_e: float, alpha: float) -> bool:
    """Whether it is certain at level alpha over all looks, and large enough to matter now."""
    return highest_log_e >= -math.log(alpha) and recent.distance >= WORTH_SAYING


def _outcomes(known: Cohort) -> dict[str, npt.NDArray[np.bool_]]:
    """Rows by class, or by halves of a number's labels."""
    if known.schema.problem.task == "classification":
        codes = known.codes
        return {name: codes == code for code, name in enumerate(known.schema.classes) if (codes == code).any()}
    if not len(known):
        return {}
    labels = known.labels.astype(np.float64)
    upper = labels > float(np.median(labels))
    return {"upper half": upper, "lower half": ~upper}


def _quantiles(delays: Floats) -> dict[str, float]:
    if not len(delays):
        return {}
    return {str(q): float(v) for q, v in zip(QUANTILES, np.quantile(delays, QUANTILES), strict=True)}


def _kolmogorov(left: Floats, right: Floats) -> tuple[float, float]:
    """The distance of two empirical laws, and how likely chance alone gives one that large (at most, with ties)."""
    every = np.concatenate([left, right])
    below = np.searchsorted(np.sort(left), every, side="right") / len(left)
    other = np.searchsorted(np.sort(right), every, side="right") / len(right)
    distance = float(np.abs(below - other).max())
    size = len(left) * len(right) / (len(left) + len(right))
    return distance, float(kolmogorov(math.sqrt(size) * distance))
