"""A model as a scikit-learn pipeline: an encoder of `retrain.encoding`, then one estimator of a family.

Models are bounded in size, so that a packaged one stays small and answers one record in microseconds. Nothing is
scaled before trees, and gradient boosting sees categories as ordinals: single precision does not part from double
at a threshold that way.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from retrain.encoding import LinearEncoder, TreeEncoder
from service.schema import Arrays, Task

Floats = npt.NDArray[np.float64]
Family = Literal["linear", "random_forest", "gradient_boosting"]
Value = float | int | str

FOREST_TREES = 80
# 80 trees of 400 leaves are 64,000 nodes: 1.1 MB as ONNX, 20 µs for one record.
FOREST_LEAVES = 400
# What one tree of so many leaves is grown on, at most: more rows change it little and cost time.
FOREST_SAMPLE = 6_000
FOREST_SHARE = 0.6
# A forest's trees grow side by side, each from its own seed: the same forest however many threads there are.
THREADS = min(2, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the search chooses: a family and its hyperparameters."""

    family: Family
    params: Mapping[str, Value]

    def to_json(self) -> dict[str, Any]:
        return {"family": self.family, "params": dict(self.params)}


def build(configuration: Configuration, task: Task, seed: int) -> Pipeline:
    """An unfitted pipeline that takes `Arrays` and class codes (or float targets)."""
    return Pipeline([("encode", encoder(configuration)), ("model", estimator(configuration, task, seed))])


def encoder(configuration: Configuration) -> LinearEncoder | TreeEncoder:
    min_count = int(configuration.params.get("min_count", 10))
    return LinearEncoder(min_count) if configuration.family == "linear" else TreeEncoder(min_count)


def estimator(configuration: Configuration, task: Task, seed: int) -> Any:
    """The family's estimator; parameters not chosen have this file's defaults."""
    params = dict(configuration.params)
    params.pop("min_count", None)
    classification = task == "classification"
    if configuration.family == "linear":
        strength = float(params.get("regularisation", 1.0))
        if not classification:
            return Ridge(alpha=strength, solver="auto", tol=1e-6, random_state=seed)
        return LogisticRegression(C=1.0 / strength, max_iter=300, tol=1e-4, random_state=seed)
    if configuration.family == "random_forest":
        forest = RandomForestClassifier if classification else RandomForestRegressor
        held: dict[str, Any] = {"max_features": 0.4, "min_samples_leaf": 3, "max_leaf_nodes": FOREST_LEAVES}
        held |= {"n_estimators": FOREST_TREES, "n_jobs": THREADS, "random_state": seed}
        return forest(**held | params)
    boosting = HistGradientBoostingClassifier if classification else HistGradientBoostingRegressor
    held = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 20}
    return boosting(**held | params, early_stopping=False, random_state=seed)


def dummy(task: Task) -> Pipeline:
    """What a model must beat: the classes' shares, or the mean."""
    model = DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor()
    return Pipeline([("encode", TreeEncoder()), ("model", model)])


def fit(pipeline: Pipeline, x: Arrays, y: npt.NDArray[Any], weights: Floats | None = None) -> Pipeline:
    """The same pipeline, fitted; `weights` say how much each row counts to the estimator."""
    encoded = pipeline.named_steps["encode"].fit(x, y).transform(x)
    fit_estimator(pipeline.named_steps["model"], encoded, y, weights)
    return pipeline


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


def predict(pipeline: Pipeline, x: Arrays, classes: int) -> Floats:
    """Probabilities [n, classes], in the order of the class codes; or values [n] where `classes` is 0."""
    return predict_encoded(pipeline.named_steps["model"], pipeline.named_steps["encode"].transform(x), classes)


def predict_encoded(model: Any, x: Any, classes: int) -> Floats:
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
