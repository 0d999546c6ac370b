"""The families of models: which encoder and which estimator a configuration means.

Models are bounded in size, so that a packaged one stays small and answers one record in microseconds. Nothing is
scaled before trees, and what they see of categories is whole in single precision, which does not part from double
at a threshold that way.
"""

from __future__ import annotations

import os
from typing import Any

from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge

from retrain.configuration import Configuration
from retrain.encoding import LinearEncoder, TreeEncoder
from service.schema import Task

# Parameters of the encoder, not of the estimator.
LINEAR_ENCODING = ("min_count",)
TREE_ENCODING = ("min_count", "categories", "numbers")

FOREST_TREES = 80
# 80 trees of 400 leaves are 64,000 nodes: 1.1 MB as ONNX, 20 µs for one record.
FOREST_LEAVES = 400
# A forest's trees grow side by side, each from its own seed: the same forest however many threads there are.
THREADS = min(2, os.cpu_count() or 1)


def encoder(configuration: Configuration) -> LinearEncoder | TreeEncoder:
    """The family's encoder; parameters not chosen have its own defaults."""
    names = LINEAR_ENCODING if configuration.family == "linear" else TREE_ENCODING
    chosen: dict[str, Any] = {name: value for name, value in configuration.params.items() if name in names}
    return LinearEncoder(**chosen) if configuration.family == "linear" else TreeEncoder(**chosen)


def estimator(configuration: Configuration, task: Task, seed: int) -> Any:
    """The family's estimator; parameters not chosen have this file's defaults."""
    params = {name: value for name, value in configuration.params.items() if name not in TREE_ENCODING}
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
