"""Probabilities that mean what they say: made softer or sharper by one temperature (Guo et al. 2017), where that pays.

A class's log probability is divided by the temperature, and all are brought to a sum of 1 again; their order stays.
Of all calibrations it takes the fewest rows to learn: one number. It is judged like an ensemble, on rows that it was
not learned from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator

from retrain.models.fitting import predict_encoded
from retrain.models.losses import SMALLEST, log_losses

Floats = npt.NDArray[np.float64]

# A model further off than this is not over-confident, it is wrong.
COLDEST, HOTTEST = 0.25, 4.0
# The gain must be so many of its standard errors: unlike an ensemble, it is no better by itself.
SURE = 1.0


class Calibrated(BaseEstimator):  # type: ignore[misc]
    """A classifier that answers with its model's probabilities at another temperature; above 1 is softer."""

    def __init__(self, model: Any, temperature: float) -> None:
        self.model = model
        self.temperature = temperature

    @property
    def classes_(self) -> npt.NDArray[Any]:
        return np.asarray(self.model.classes_)

    def predict_proba(self, x: Any) -> Floats:
        return tempered(predict_encoded(self.model, x, len(self.classes_)), self.temperature)


def bare(model: Any) -> Any:
    """The model itself, where it is calibrated."""
    return model.model if isinstance(model, Calibrated) else model


@dataclass(frozen=True, slots=True)
class Calibration:
    """`gain` is the mean log loss that it spares, on rows that it was not learned from."""

    temperature: float
    gain: float
    error: float  # the gain's standard error

    @property
    def pays(self) -> bool:
        return self.gain > SURE * self.error

    def to_json(self) -> dict[str, Any]:
        """As a card keeps it."""
        return {"kept": self.pays, "temperature": self.temperature, "gain": self.gain, "error": self.error}


def tempered(probabilities: Floats, temperature: float) -> Floats:
    logs = np.log(np.clip(probabilities, SMALLEST, 1.0)) / temperature
    held = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(held / held.sum(axis=1, keepdims=True))


def calibrate(answers: Floats, y: npt.NDArray[Any]) -> Calibration:
    """The temperature of these answers on rows not fitted on; each half of them judges that of the other."""
    half = len(y) // 2
    gains = [
        log_losses(answers[judged], y[judged])
        - log_losses(tempered(answers[judged], _temperature(answers[learned], y[learned])), y[judged])
        for learned, judged in ((slice(half), slice(half, None)), (slice(half, None), slice(half)))
    ]
    spared = np.concatenate(gains)
    error = float(spared.std(ddof=1)) / math.sqrt(len(spared))
    return Calibration(_temperature(answers, y), float(spared.mean()), error)


def _temperature(answers: Floats, y: npt.NDArray[Any]) -> float:
    """The one of least log loss, in four digits, so that a card can be read."""

    def loss(logarithm: float) -> float:
        return float(log_losses(tempered(answers, math.exp(logarithm)), y).mean())

    found = minimize_scalar(loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded")
    return float(f"{math.exp(found.x):.4g}")
