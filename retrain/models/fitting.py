"""One estimator, fitted and asked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from retrain.features.target_scale import learn_scaled, moments, predict_values
from retrain.models.bounds import most_boosting_rounds, most_forest_leaves
from retrain.models.light_boosting import LightBoosting
from retrain.models.log_target import LogTarget

Floats = npt.NDArray[np.float64]

# What one tree of a forest is grown on, at most: more rows change it little and cost time.
FOREST_SAMPLE = 10_000
# Beyond so many columns most are categories, and nearly all zeros: a perceptron takes them as they are.
DENSE_COLUMNS = 600

_FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
_BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor, LightBoosting)
_TREES_OF_VALUES = (RandomForestRegressor, ExtraTreesRegressor, HistGradientBoostingRegressor, LightBoosting)
_PERCEPTRONS = (MLPClassifier, MLPRegressor)


def fit_estimator(model: Any, x: Any, y: npt.NDArray[Any], weights: Floats | None = None) -> Any:
    """The same estimator, fitted. A model that has not quite converged is used as it is."""
    if isinstance(model, LogTarget):
        fit_estimator(model.model, x, model.learn(y), weights)
        return model
    _bound(model, y)
    if isinstance(model, _FORESTS):
        few = len(y) <= FOREST_SAMPLE
        random = isinstance(model, RandomForestClassifier | RandomForestRegressor)
        model.set_params(bootstrap=random or not few, max_samples=None if few else FOREST_SAMPLE)
        if weights is not None:  # a leaf of rows that hardly count would know nothing of those that do
            model.set_params(min_weight_fraction_leaf=min(0.5, model.min_samples_leaf / len(y)))
    if isinstance(model, _PERCEPTRONS):
        return _fit_perceptron(model, x, y, weights)
    if isinstance(model, _TREES_OF_VALUES) and y.dtype.kind == "f":
        y = learn_scaled(model, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y, sample_weight=weights)


def _bound(model: Any, y: npt.NDArray[Any]) -> None:
    """Fewer rounds or leaves where the target has so many classes that the model would be too large."""
    classes = len(np.unique(y)) if y.dtype.kind != "f" else 0
    if isinstance(model, _FORESTS) and model.max_leaf_nodes is not None:
        model.set_params(max_leaf_nodes=min(model.max_leaf_nodes, most_forest_leaves(classes)))
    if isinstance(model, _BOOSTING):
        model.set_params(max_iter=min(model.max_iter, most_boosting_rounds(classes, model.max_leaf_nodes)))


def dense(model: Any, x: Any) -> Any:
    """Rows as a perceptron learns them fastest: in single precision, with their zeros unless they are very wide."""
    if sparse.issparse(x) and x.shape[1] <= DENSE_COLUMNS:
        x = x.toarray()
    rows = x.shape[0]
    model.set_params(batch_size=min(rows, 32 if rows < 2_000 else 128 if rows < 20_000 else 256))
    return x.astype(np.float32)


def _fit_perceptron(model: Any, x: Any, y: npt.NDArray[Any], weights: Floats | None) -> Any:
    """Learned in single precision on targets of mean 0 and variance 1; then in double, of the target's size."""
    middle, scale = moments(y) if y.dtype.kind == "f" else (0.0, 1.0)
    scale = scale or 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(dense(model, x), (y - middle) / scale if y.dtype.kind == "f" else y, sample_weight=weights)
    model.coefs_ = [layer.astype(np.float64) for layer in model.coefs_]
    model.intercepts_ = [layer.astype(np.float64) for layer in model.intercepts_]
    model.coefs_[-1] *= scale
    model.intercepts_[-1] = model.intercepts_[-1] * scale + middle
    for name in ("_optimizer", "_random_state"):  # of use to learning only
        delattr(model, name)
    return model


def predict_encoded(model: Any, x: Any, classes: int) -> Floats:
    """Probabilities [n, classes], in the order of the class codes; or values [n] where `classes` is 0."""
    if classes == 0:
        return predict_values(model, x)
    probabilities = model.predict_proba(x)
    if isinstance(model, ExtraTreesClassifier | RandomForestClassifier):
        share, rest = less_certain(model)
        probabilities = probabilities * share + rest
    return spread(probabilities, model.classes_, classes)


def less_certain(forest: Any) -> tuple[float, float]:
    """What a forest's shares are multiplied with, and what is added: as one more tree would that knows nothing.

    Trees may all agree on a row and be wrong; a probability of 0 is more than so many trees can know.
    """
    trees = len(forest.estimators_)
    return trees / (trees + 1), 1.0 / len(forest.classes_) / (trees + 1)


def spread(probabilities: Any, codes: npt.NDArray[Any], classes: int) -> Floats:
    """Probabilities over all class codes, where training rows held some of them only."""
    if len(codes) == classes:
        return np.asarray(probabilities, dtype=np.float64)
    held = np.zeros((len(probabilities), classes))
    held[:, codes] = probabilities
    return held
