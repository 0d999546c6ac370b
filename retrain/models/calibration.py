"""Probabilities that mean what they say: made softer or sharper, where that pays.

A class's log probability is divided by a temperature (Guo et al. 2017), and all are brought to a sum of 1 again; of two
classes the log odds may be moved by a bias, too (Platt 1999). The order of rows stays. These calibrations take the
fewest rows to learn, one number or two; each is judged like an ensemble, on rows that it was not learned from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from sklearn.base import BaseEstimator

from record.contract.losses import SMALLEST, log_losses
from retrain.models.fitting import predict_encoded

Floats = npt.NDArray[np.float64]
Learner = Callable[[Floats, npt.NDArray[Any]], tuple[float, float]]  # from answers and classes to temperature and bias

# A model further off than this is not over-confident, it is wrong.
COLDEST, HOTTEST = 0.25, 4.0
MOST_BIAS = 5.0
# The gain must be so many of its standard errors: unlike an ensemble, it is no better by itself.
SURE = 1.0


class Calibrated(BaseEstimator):  # type: ignore[misc]
    """A classifier that answers with its model's probabilities at another temperature; above 1 is softer.

    Of two classes, `bias` is added to the log odds of the second.
    """

    def __init__(self, model: Any, temperature: float, bias: float = 0.0) -> None:
        self.model = model
        self.temperature = temperature
        self.bias = bias

    def around(self, model: Any) -> Calibrated:
        """Another model's answers, calibrated alike."""
        return Calibrated(model, self.temperature, self.bias)

    @property
    def classes_(self) -> npt.NDArray[Any]:
        return np.asarray(self.model.classes_)

    def predict_proba(self, x: Any) -> Floats:
        return tempered(predict_encoded(self.model, x, len(self.classes_)), self.temperature, self.bias)


def bare(model: Any) -> Any:
    """The model itself, where it is calibrated."""
    return model.model if isinstance(model, Calibrated) else model


@dataclass(frozen=True, slots=True)
class Calibration:
    """`gain` is the mean log loss that it spares, on rows that it was not learned from."""

    temperature: float
    gain: float
    error: float  # the gain's standard error
    bias: float = 0.0  # 0 where the temperature alone is as good

    @property
    def pays(self) -> bool:
        return self.gain > SURE * self.error

    @property
    def params(self) -> dict[str, float]:
        """Among a configuration's."""
        return {"temperature": self.temperature} | ({"bias": self.bias} if self.bias else {})

    def to_json(self) -> dict[str, Any]:
        """As a card keeps it."""
        return {"kept": self.pays, **self.params, "gain": self.gain, "error": self.error}


def tempered(probabilities: Floats, temperature: float, bias: float = 0.0) -> Floats:
    logs = np.log(np.clip(probabilities, SMALLEST, 1.0)) / temperature
    if bias:
        logs = logs + np.array([0.0, bias])
    held = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(held / held.sum(axis=1, keepdims=True))


def calibrate(answers: Floats, y: npt.NDArray[Any]) -> Calibration:
    """Of these answers on rows not fitted on, the calibration that surely gains most: a temperature, or with a bias."""
    learners = [_temperature, _temperature_and_bias] if answers.shape[1] == 2 else [_temperature]
    weighed = [_weigh(learn, answers, y) for learn in learners]
    return max(weighed, key=lambda found: found.gain - SURE * found.error)  # of equals the first, which is simpler


def _weigh(learn: Learner, answers: Floats, y: npt.NDArray[Any]) -> Calibration:
    """Each half of the rows judges what is learned from the other."""
    half = len(y) // 2
    gains = [
        log_losses(answers[judged], y[judged])
        - log_losses(tempered(answers[judged], *learn(answers[learned], y[learned])), y[judged])
        for learned, judged in ((slice(half), slice(half, None)), (slice(half, None), slice(half)))
    ]
    spared = np.concatenate(gains)
    error = float(spared.std(ddof=1)) / math.sqrt(len(spared))
    temperature, bias = learn(answers, y)
    return Calibration(temperature, float(spared.mean()), error, bias)


def _temperature(answers: Floats, y: npt.NDArray[Any]) -> tuple[float, float]:
    """The one of least log loss, in four digits, so that a card can be read."""

    def loss(logarithm: float) -> float:
        return float(log_losses(tempered(answers, math.exp(logarithm)), y).mean())

    found = minimize_scalar(loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded")
    return _digits(math.exp(found.x)), 0.0


def _temperature_and_bias(answers: Floats, y: npt.NDArray[Any]) -> tuple[float, float]:
    """Both of least log loss together: a logistic regression on the log odds, whose loss has one minimum."""
    logs = np.log(np.clip(answers, SMALLEST, 1.0))
    odds, is_ = logs[:, 1] - logs[:, 0], (y == 1).astype(np.float64)

    def loss(at: Floats) -> tuple[float, Floats]:
        raised = at[0] * odds + at[1]
        wrong = expit(raised) - is_
        value = float((np.logaddexp(0.0, raised) - is_ * raised).mean())
        return value, np.array([float((wrong * odds).mean()), float(wrong.mean())])

    bounds = [(1 / HOTTEST, 1 / COLDEST), (-MOST_BIAS, MOST_BIAS)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return _digits(1.0 / float(found.x[0])), _digits(float(found.x[1]))


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
