"""One estimator, fitted and asked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

Floats = npt.NDArray[np.float64]

# What one tree of a forest is grown on, at most: more rows change it little and cost time.
FOREST_SAMPLE = 6_000
FOREST_SHARE = 0.6


def fit_estimator(model: Any, x: Any, y: npt.NDArray[Any], weights: Floats | None = None) -> Any:
    """The same estimator, fitted. A linear model that has not quite converged is used as it is.

    It predicts in one thread from now on: threads would add up a forest's trees in any order.
    """
    if hasattr(model, "max_samples"):
        model.set_params(max_samples=max(1, min(FOREST_SAMPLE, round(FOREST_SHARE * len(y)))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y, sample_weight=weights)
    if hasattr(model, "n_jobs"):
        model.set_params(n_jobs=1)
    return model


def predict_encoded(model: Any, x: Any, classes: int) -> Floats:
    """Probabilities [n, classes], in the order of the class codes; or values [n] where `classes` is 0."""
    if classes == 0:
        return np.asarray(model.predict(x), dtype=np.float64)
    return spread(model.predict_proba(x), model.classes_, classes)


def spread(probabilities: Any, codes: npt.NDArray[Any], classes: int) -> Floats:
    """Probabilities over all class codes, where training rows held some of them only."""
    if len(codes) == classes:
        return np.asarray(probabilities, dtype=np.float64)
    held = np.zeros((len(probabilities), classes))
    held[:, codes] = probabilities
    return held
