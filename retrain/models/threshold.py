"""From which probability on the watched one of two classes is answered, where wrong answers cost differently.

Were the probabilities right, it would be fp / (fp + fn), whatever the classes' shares (Elkan 2001). Another one is
taken only where rows that no model was fitted on prove it cheaper; the newest rows, held out to judge, have no say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from record.contract.operating_point import OperatingPoint, said_classes
from record.contract.schema import Schema

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# What is weighed beside the theoretical one: so many quantiles of each class's answers. Finer steps follow noise.
QUANTILES = np.linspace(0.0, 1.0, 51)
# A threshold learned from rows must spare so many standard errors of its gain: one-sided, chance passes in 5 of 100.
SURE = 1.645

Source = Literal["costs", "rows", "champion"]


@dataclass(frozen=True, slots=True)
class Costs:
    """Of wrong answers: another row taken for the watched class, and one of it that is missed; in any unit."""

    false_positive: float
    false_negative: float

    @property
    def equal(self) -> bool:
        return self.false_positive == self.false_negative

    @property
    def threshold(self) -> float:
        """The cheapest one where probabilities are right."""
        return self.false_positive / (self.false_positive + self.false_negative)

    def of(self, said: Flags, is_: Flags) -> Floats:
        """What each row's answer costs."""
        return self.false_positive * (said & ~is_) + self.false_negative * (~said & is_)


@dataclass(frozen=True, slots=True)
class Rule:
    """How probabilities become answers, and what wrong ones about the class `watched` cost.

    Without a point the most probable is answered; without costs all wrong answers are alike.
    """

    point: OperatingPoint | None = None
    costs: Costs | None = None
    watched: int = 1

    def said(self, scores: Floats) -> npt.NDArray[np.intp]:
        return said_classes(scores, self.point)

    def cost(self, scores: Floats, y: npt.NDArray[Any]) -> Floats:
        """Of each row's answer."""
        assert self.costs is not None
        return self.costs.of(self.said(scores) == self.watched, y == self.watched)


MOST_PROBABLE = Rule()


@dataclass(frozen=True, slots=True)
class ThresholdDecision:
    """`source`: the costs alone, rows that no model was fitted on, or the champion, whose recipe was kept.

    `best` was the cheapest on those rows; `gain` is what such a one spares per row against the costs' own, on rows
    that it was not chosen on. Both None without such rows.
    """

    costs: Costs
    threshold: float
    source: Source
    best: float | None = None
    gain: float | None = None
    error: float | None = None  # the gain's standard error

    @property
    def reasons(self) -> tuple[str, ...]:
        theory = f"false positives cost {self.costs.false_positive:g}, false negatives {self.costs.false_negative:g}"
        if self.gain is None or self.error is None:
            told = "as the champion's" if self.source == "champion" else "no rows to prove another one on"
            return theory, told
        told = f"{self.best:.3g} spares {1000 * self.gain:.3g} per 1,000 (standard error {1000 * self.error:.2g})"
        return theory, f"{told}: {'taken' if self.source == 'rows' else 'not proven'}"

    def rule(self, schema: Schema) -> Rule:
        assert schema.watched is not None
        point = OperatingPoint(schema.watched, 1 - schema.watched, self.threshold)
        return Rule(point, self.costs, schema.watched)

    def to_json(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "theoretical": self.costs.threshold,
            "false_positive_cost": self.costs.false_positive,
            "false_negative_cost": self.costs.false_negative,
            "source": self.source,
            "best_on_rows": self.best,
            "gain_per_1000": None if self.gain is None else 1000 * self.gain,
            "gain_error_per_1000": None if self.error is None else 1000 * self.error,
            "reasons": list(self.reasons),
        }


def keep_threshold(costs: Costs, card: Mapping[str, Any]) -> ThresholdDecision:
    """For a recipe that was kept: its card's, where that was chosen for these costs; else the costs' own."""
    held = card.get("decision") or {}
    known = (held.get("false_positive_cost"), held.get("false_negative_cost"))
    if known == (costs.false_positive, costs.false_negative):
        return ThresholdDecision(costs, float(held["threshold"]), "champion")
    return ThresholdDecision(costs, costs.threshold, "costs")


def choose_threshold(costs: Costs, chances: Floats | None, is_: Flags) -> ThresholdDecision:
    """For the watched class's chances on rows not fitted on; each half of them judges what the other would choose."""
    theory = costs.threshold
    if chances is None or len(chances) < 2:
        return ThresholdDecision(costs, theory, "costs")
    half = len(chances) // 2
    spared = np.concatenate(
        [
            costs.of(chances[judged] >= theory, is_[judged])
            - costs.of(chances[judged] >= cheapest(costs, chances[chosen], is_[chosen]), is_[judged])
            for chosen, judged in ((slice(half), slice(half, None)), (slice(half, None), slice(half)))
        ]
    )
    gain, error = float(spared.mean()), float(spared.std(ddof=1)) / math.sqrt(len(spared))
    best = cheapest(costs, chances, is_)
    if gain > SURE * error:
        return ThresholdDecision(costs, best, "rows", best, gain, error)
    return ThresholdDecision(costs, theory, "costs", best, gain, error)


def cheapest(costs: Costs, chances: Floats, is_: Flags) -> float:
    """The threshold of least cost among the costs' own and quantiles of the answers; of equals the nearest to it."""
    theory = costs.threshold
    held = [np.quantile(own, QUANTILES).tolist() for own in (chances[is_], chances[~is_]) if len(own)]
    rounded = np.unique([float(f"{value:.4g}") for value in [theory, *(value for own in held for value in own)]])
    candidates = rounded[(rounded > 0.0) & (rounded < 1.0)]
    reached = mean_costs(costs, chances, is_, candidates)
    apart = np.abs(np.log(candidates / (1 - candidates)) - math.log(theory / (1 - theory)))
    place = int(np.lexsort((apart, reached))[0])
    return theory if math.isclose(candidates[place], theory, rel_tol=1e-3) else float(candidates[place])


def mean_costs(costs: Costs, chances: Floats, is_: Flags, thresholds: Floats) -> Floats:
    """What answers cost per row at each threshold."""
    order = np.argsort(chances, kind="stable")
    positives = np.concatenate([[0.0], np.cumsum(is_[order], dtype=np.float64)])
    below = np.searchsorted(chances[order], thresholds, side="left")  # those at the threshold are said
    missed = positives[below]
    wrong = (len(chances) - below) - (positives[-1] - missed)
    return np.asarray((costs.false_positive * wrong + costs.false_negative * missed) / max(1, len(chances)))
