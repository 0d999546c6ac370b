"""Answers as numbers between −1 and 1, so that the rate of labels can be compared with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_CLASSES = 6


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Fixed in a bout's design: the classes whose probabilities count, or where a regression's values lie."""

    classes: tuple[str, ...] = ()
    center: float = 0.0
    spread: float = 1.0

    @classmethod
    def of_classes(cls, classes: Sequence[str], positive: str | None) -> AnswerScores:
        """Of two classes one says all; of many the first six."""
        if len(classes) == 2:
            return cls((positive if positive is not None and positive in classes else classes[1],))
        return cls(tuple(classes[:MOST_CLASSES]))

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> AnswerScores:
        return cls(tuple(held["classes"]), float(held["center"]), float(held["spread"]))

    @property
    def width(self) -> int:
        return 3 if len(self.classes) < 2 else 2 * len(self.classes)

    def of(self, champion: tuple[str | None, str | None], challenger: tuple[str | None, str | None]) -> list[float]:
        """Both answers (prediction and probabilities, JSON) as numbers; one that failed counts as the other's."""
        first = self._numbers(*champion)
        second = self._numbers(*challenger) or first
        if first is None or second is None:
            return [0.0] * self.width
        if len(self.classes) < 2:
            return [first[0], second[0], (second[0] - first[0]) / 2]
        return [*first, *second]

    def _numbers(self, prediction: str | None, probabilities: str | None) -> list[float] | None:
        if self.classes:
            if probabilities is None:
                return None
            shares = json.loads(probabilities)
            return [_within(2 * float(shares.get(name) or 0.0) - 1) for name in self.classes]
        value = None if prediction is None else json.loads(prediction)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        apart = (value - self.center) / self.spread
        return [_within(apart / (1 + abs(apart)))]


NO_SCORES = AnswerScores()


def _within(value: float) -> float:
    return min(1.0, max(-1.0, value)) if value == value else 0.0  # NaN says nothing
