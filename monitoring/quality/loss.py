"""What an answer costs, scaled to [0, 1]: 0 is a right and certain answer, 1 the worst there is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from record.contract.schema import canonical_class

LossName = Literal["brier", "zero_one", "log", "cost", "absolute"]

WORST = 1.0

# A certain and wrong answer has no finite log loss. A thousandth keeps the loss of being wrong with certainty at
# about ten times that of not knowing (two classes), without one row in a thousand deciding a bout.
LOG_FLOOR = 1e-3


@dataclass(frozen=True, slots=True)
class Costs:
    """What a wrong decision costs, divided by the dearer of the two: `positive` is the class that is looked for."""

    positive: str
    false_positive: float
    false_negative: float

    @classmethod
    def scaled(cls, positive: str, false_positive: float, false_negative: float) -> Costs:
        dearest = max(false_positive, false_negative)
        return cls(positive, false_positive / dearest, false_negative / dearest)

    @property
    def labels(self) -> tuple[str, str]:
        """The class that is looked for, and one that is not."""
        return self.positive, f"not {self.positive}"

    def __call__(self, label: str, prediction: str | None) -> float:
        """The cost of an answer, JSON, where the class turned out to be `label`; no answer is the worst."""
        if prediction is None:
            return WORST
        said, was = canonical_class(json.loads(prediction)) == self.positive, label == self.positive
        if said == was:
            return 0.0
        return self.false_positive if said else self.false_negative


@dataclass(frozen=True, slots=True)
class Loss:
    """One of the losses; `scale` is the error at which the absolute loss is clipped, in units of the target."""

    name: LossName
    scale: float = 1.0
    costs: Costs | None = None  # of the loss "cost"

    def __post_init__(self) -> None:
        if (self.name == "cost") != (self.costs is not None):
            raise ValueError(f'costs: {self.costs!r} with the loss {self.name!r}; "cost" has some, others have none')
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a finite number above 0, not {self.scale!r}")

    def __call__(self, label: str, prediction: str | None, probabilities: str | None) -> float:
        """The loss of an answer, all three as the JSON texts of the record; an answer without a number is the worst."""
        if self.name == "absolute":
            return self._absolute(json.loads(label), None if prediction is None else json.loads(prediction))
        known = canonical_class(json.loads(label))
        if self.name == "zero_one":
            return WORST if prediction is None or canonical_class(json.loads(prediction)) != known else 0.0
        if self.costs is not None:
            return self.costs(known, prediction)
        if probabilities is None:
            return WORST
        shares: dict[str, float] = json.loads(probabilities)
        return _brier(shares, known) if self.name == "brier" else _log(shares, known)

    def difference_range(
        self, one: tuple[str | None, str | None], other: tuple[str | None, str | None]
    ) -> tuple[float, float]:
        """The smallest and the largest loss(one) − loss(other) over all labels there could be.

        Both answers as their prediction and their probabilities, JSON.
        """
        if self.name == "absolute":
            values = [_number(prediction) for prediction, _ in (one, other)]
            apart = min(abs(values[0] - values[1]) / self.scale, WORST)
            return (-apart, apart) if math.isfinite(apart) else (-WORST, WORST)
        if self.costs is not None:
            costs = self.costs
            gains = [costs(label, one[0]) - costs(label, other[0]) for label in costs.labels]
            return min(gains), max(gains)
        if self.name == "zero_one":
            told = [
                None if prediction is None else canonical_class(json.loads(prediction))
                for prediction, _ in (one, other)
            ]
            return (0.0, 0.0) if told[0] == told[1] else (-WORST, WORST)
        if one[1] is None or other[1] is None:
            return -WORST, WORST
        return _range(self.name, json.loads(one[1]), json.loads(other[1]))

    def _absolute(self, label: float, prediction: Any) -> float:
        if isinstance(prediction, bool) or not isinstance(prediction, int | float) or not math.isfinite(prediction):
            return WORST
        return min(abs(prediction - label) / self.scale, WORST)


def _range(name: LossName, one: Mapping[str, float], other: Mapping[str, float]) -> tuple[float, float]:
    """Over the classes that either answer names: a label of another class costs both the same share."""
    loss = _brier if name == "brier" else _log
    apart = [loss(one, label) - loss(other, label) for label in {*one, *other}]
    return (min(apart), max(apart)) if apart else (-WORST, WORST)


def _number(prediction: str | None) -> float:
    """NaN where the answer is no number."""
    value = None if prediction is None else json.loads(prediction)
    return math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _brier(shares: Mapping[str, float], label: str) -> float:
    """Σ (p − y)² / 2 over the classes; with two classes that is (p − y)². A class that was never named had p = 0."""
    hit = shares.get(label, 0.0)
    total = sum(share * share for share in shares.values()) - hit * hit + (1.0 - hit) * (1.0 - hit)
    return min(max(total / 2, 0.0), WORST) if math.isfinite(total) else WORST


def _log(shares: Mapping[str, float], label: str) -> float:
    hit = shares.get(label, 0.0)
    if not math.isfinite(hit):
        return WORST
    return math.log(min(max(hit, LOG_FLOOR), 1.0)) / math.log(LOG_FLOOR)
