"""A regression's target as trees learn it: centred and scaled where it lies far from zero, and undone in their answers.

Gradients and labels in single precision, and sums of squares in double, keep the digits of the target's distance from
zero and lose those of its spread: times in milliseconds, or amounts in a small currency. A target of ordinary size is
learned as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FAR: Final = 100.0  # spreads from zero
SMALL_SPREAD, LARGE_SPREAD = 1e-3, 1e6  # a forest takes variances below 2e-16 for none


@dataclass(frozen=True, slots=True)
class TargetScale:
    """`learn` makes of targets what is learned, `answers` makes targets of that again."""

    middle: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, y: Floats) -> Self:
        """Mean and standard deviation of a target that lies far from zero, or is very small or large."""
        middle, spread = moments(y)
        ordinary = abs(middle) <= FAR * spread and SMALL_SPREAD <= spread <= LARGE_SPREAD
        return cls() if ordinary or spread == 0 else cls(middle, spread)

    @property
    def plain(self) -> bool:
        """Whether nothing is changed."""
        return self.middle == 0.0 and self.spread == 1.0

    def learn(self, y: Floats) -> Floats:
        return y if self.plain else np.asarray((y - self.middle) / self.spread)

    def answers(self, values: Floats) -> Floats:
        return values if self.plain else np.asarray(values * self.spread + self.middle)


def moments(y: Floats) -> tuple[float, float]:
    """Mean and standard deviation, without the squares of the distance from zero."""
    first = float(y[0]) if len(y) else 0.0
    moved = y - first
    middle = float(moved.mean())
    return first + middle, float((moved - middle).std())


def scale_of(model: Any) -> TargetScale:
    """The scale that the fitted model answers in."""
    return TargetScale(*getattr(model, "target_scale_", (0.0, 1.0)))


def learn_scaled(model: Any, y: Floats) -> Floats:
    """The target that the model is to be fitted to; its scale is noted in the model's `target_scale_`."""
    scale = TargetScale.of(y)
    model.target_scale_ = (scale.middle, scale.spread)
    return scale.learn(y)


def predict_values(model: Any, x: Any) -> Floats:
    """The model's answers, in the target's own size."""
    return scale_of(model).answers(np.asarray(model.predict(x), dtype=np.float64))
