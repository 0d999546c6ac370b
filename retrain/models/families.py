"""The families of models: which encoder and which estimator a configuration means.

Models are bounded in size, so that a packaged one stays small and answers one record in microseconds. Nothing is
scaled before trees, and what they see of categories is whole in single precision, which does not part from double
at a threshold that way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from record.contract.schema import Task
from retrain.features.encoding import LinearEncoder, TreeEncoder
from retrain.models.bounds import FOREST_LEAVES, FOREST_TREES
from retrain.models.configuration import Configuration, Family
from retrain.models.light_boosting import LightBoosting
from retrain.models.log_target import LogTarget

# Parameters of the encoder, not of the estimator.
ENCODING = ("min_count", "categories", "numbers", "dates", "texts")

# Families that add up: they see what lines see (`LinearEncoder`), the others what trees see.
SMOOTH: frozenset[Family] = frozenset({"linear", "perceptron"})

FORESTS: frozenset[Family] = frozenset({"random_forest", "extra_trees"})
MOST_EPOCHS = 60


def encoder(configuration: Configuration) -> LinearEncoder | TreeEncoder:
    """The family's encoder; parameters not chosen have its own defaults."""
    chosen: dict[str, Any] = {name: value for name, value in configuration.params.items() if name in ENCODING}
    return LinearEncoder(**chosen) if configuration.family in SMOOTH else TreeEncoder(**chosen)


def estimator(configuration: Configuration, task: Task, seed: int) -> Any:
    """The family's estimator, of the target or of its logarithm; parameters not chosen have this file's defaults."""
    params = {name: value for name, value in configuration.params.items() if name not in ENCODING}
    target, factor = params.pop("target", "plain"), float(params.pop("factor", 1.0))
    model = _estimator(replace(configuration, params=params), task, seed)
    return LogTarget(model, factor) if target == "log" else model


def _estimator(configuration: Configuration, task: Task, seed: int) -> Any:
    params = dict(configuration.params)
    classification = task == "classification"
    if configuration.family == "linear":
        strength = float(params.get("regularisation", 1.0))
        if not classification:
            return Ridge(alpha=strength, solver="auto", tol=1e-6, random_state=seed)
        return LogisticRegression(C=1.0 / strength, max_iter=300, tol=1e-4, random_state=seed)
    if configuration.family in FORESTS:
        held: dict[str, Any] = {"max_features": 0.4, "min_samples_leaf": 3, "max_leaf_nodes": FOREST_LEAVES}
        return _FORESTS[configuration.family, task](**held | {"n_estimators": FOREST_TREES} | params, random_state=seed)
    if configuration.family == "perceptron":
        return _perceptron(params, classification, seed)
    held = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 20}
    if configuration.family == "lightgbm":
        return LightBoosting(classification, **held | params, random_state=seed)
    boosting = HistGradientBoostingClassifier if classification else HistGradientBoostingRegressor
    return boosting(**held | params, early_stopping=False, random_state=seed)


def _perceptron(params: dict[str, Any], classification: bool, seed: int) -> Any:
    """Hidden layers of `units` each; epochs are settled by validation, never by the library's own split."""
    held: dict[str, Any] = {"max_iter": 20, "alpha": 1e-4, "learning_rate_init": 3e-3, "activation": "relu"}
    held |= {"n_iter_no_change": MOST_EPOCHS + 1, "tol": 0.0, "random_state": seed}
    units, layers = int(params.pop("units", 64)), int(params.pop("layers", 1))
    kind = MLPClassifier if classification else MLPRegressor
    return kind(**held | params, hidden_layer_sizes=(units,) * layers)


_FORESTS: dict[tuple[str, Task], Any] = {
    ("random_forest", "classification"): RandomForestClassifier,
    ("random_forest", "regression"): RandomForestRegressor,
    ("extra_trees", "classification"): ExtraTreesClassifier,
    ("extra_trees", "regression"): ExtraTreesRegressor,
}
