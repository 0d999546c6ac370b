"""What a candidate's answers cost on the holdout, at its operating threshold, at .5 and at every other one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from retrain.evaluation.metrics import Interval, evaluate, normal_interval
from retrain.models.threshold import Rule, mean_costs

Floats = npt.NDArray[np.float64]
Points = list[tuple[float, float]]

# Evenly in log odds, where rare classes have their room, from one in a thousand to all but one.
DRAWN = 1 / (1 + np.exp(-np.linspace(np.log(1 / 999), np.log(999), 81)))


@dataclass(frozen=True, slots=True)
class CostReport:
    """Costs are per 1,000 rows, with 95 % intervals; `spared` is what the threshold spares against .5, row by row."""

    threshold: float
    cost: Interval
    cost_at_half: Interval
    spared: Interval
    curve: Points  # (threshold, cost)

    def to_json(self) -> dict[str, Any]:
        """For the card: without what is only drawn."""
        named = {"cost": self.cost, "cost_at_half": self.cost_at_half, "spared": self.spared}
        return {f"{name}_per_1000": interval.to_json() for name, interval in named.items()}


def cost_report(scores: Floats, y: npt.NDArray[Any], rule: Rule, seed: int) -> CostReport | None:
    """None where the rule has no costs, or there are no two rows to tell them by."""
    if rule.costs is None or rule.point is None or len(y) < 2:
        return None
    at_half = replace(rule, point=replace(rule.point, threshold=0.5))
    spared = 1000 * (at_half.cost(scores, y) - rule.cost(scores, y))
    curve = 1000 * mean_costs(rule.costs, scores[:, rule.watched], y == rule.watched, DRAWN)
    return CostReport(
        rule.point.threshold,
        evaluate(scores, y, 2, seed, rule).metrics["cost_per_1000"],
        evaluate(scores, y, 2, seed, at_half).metrics["cost_per_1000"],
        normal_interval(spared),
        list(zip(DRAWN.tolist(), curve.tolist(), strict=True)),
    )
