"""A regression of the logarithm: where errors grow with the value, effects multiply, and add up as logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from retrain.features.target_scale import predict_values

Floats = npt.NDArray[np.float64]

# Beyond what training saw, an exponential of a guess grows without bounds: e times the largest is the most.
BEYOND = 1.0
# A distribution as skewed as this gains by it; that of normal errors has 0, an exponential one 2.
SKEWED = 0.5


class LogTarget(BaseEstimator):  # type: ignore[misc]
    """Answers with `factor` · (exp(model's answer) − shift).

    The exponential of a mean of logarithms lies below the mean: `factor`, settled by validation, mends that.
    """

    def __init__(self, model: Any, factor: float = 1.0) -> None:
        self.model = model
        self.factor = factor

    def learn(self, y: Floats) -> Floats:
        """What the model is to be fitted to; a target that is not positive throughout is shifted to 1."""
        least = float(y.min())
        self.shift_ = 0.0 if least > 0 else 1.0 - least
        logs = np.log(y + self.shift_)
        self.low_, self.high_ = float(logs.min()) - BEYOND, float(logs.max()) + BEYOND
        return np.asarray(logs, dtype=np.float64)

    def answers(self, logs: Floats) -> Floats:
        return np.asarray(self.factor * (np.exp(np.clip(logs, self.low_, self.high_)) - self.shift_))

    def predict(self, x: Any) -> Floats:
        return self.answers(predict_values(self.model, x))


def worth_a_logarithm(y: Floats) -> bool:
    """Whether values that are never negative have a long tail, and their logarithms a shorter one."""
    if len(y) < 3 or y.min() < 0 or y.std() == 0:
        return False
    skewness = _skewness(y)
    return skewness > SKEWED and abs(_skewness(np.log(y if y.min() > 0 else y + 1.0))) < skewness


def _skewness(values: Floats) -> float:
    return float(np.mean(((values - values.mean()) / values.std()) ** 3))
