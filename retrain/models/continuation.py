"""A champion's estimator that goes on with rows it has not seen, its encoder as it was.

Gradient boosting adds rounds on the new rows' gradients. A ridge regression is fitted to what it got wrong there,
its penalty on the change: the ridge that stays closest to what it was. The other families have no such step:
a logistic regression or a forest fitted to the new rows alone would forget the old ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

from retrain.data.dataset import Dataset
from retrain.features.target_scale import scale_of
from retrain.models.bounds import most_boosting_rounds
from retrain.models.calibration import bare

# Fewer new rows than this cannot grow a tree that holds elsewhere.
FEWEST_NEW_ROWS = 200
# Rounds added at a time, and altogether: a model that went on for ever would answer slower and slower.
FEWEST_ROUNDS, MOST_NEW_ROUNDS, MOST_ROUNDS = 10, 100, 600


def cannot_continue(pipeline: Pipeline, learned: int, new: int, same_columns: bool) -> str | None:
    """Why this pipeline, which learned from so many rows, cannot go on with `new` ones; None where it can."""
    model = bare(pipeline.named_steps["model"])
    if not isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor | Ridge):
        return f"{type(model).__name__} cannot go on from where it is"
    if not same_columns:
        return "columns or classes are others than the champion's"
    if new < FEWEST_NEW_ROWS:
        return f"{new} new rows to go on with, at least {FEWEST_NEW_ROWS} are needed"
    if not isinstance(model, Ridge):
        most = min(MOST_ROUNDS, most_boosting_rounds(len(getattr(model, "classes_", ())), model.max_leaf_nodes))
        if model.n_iter_ + new_rounds(model.n_iter_, learned, new) > most:
            return f"{model.n_iter_} rounds of boosting are near the limit of {most}"
    return None


def new_rounds(rounds: int, learned: int, new: int) -> int:
    """As many as the new rows' share of those that `rounds` were fitted on, within bounds."""
    return max(FEWEST_ROUNDS, min(MOST_NEW_ROUNDS, math.ceil(rounds * new / max(1, learned))))


def continue_fit(pipeline: Pipeline, new: Dataset, learned: int) -> Pipeline:
    """The pipeline, gone on; it is changed in place. Raises ValueError for a class that it does not know."""
    model = bare(pipeline.named_steps["model"])
    x = pipeline.named_steps["encode"].transform(new.arrays)
    if isinstance(model, Ridge):
        _correct(model, x, new.target, new.weights)
    else:
        _boost(model, x, scale_of(model).learn(new.target), new.weights, new_rounds(model.n_iter_, learned, len(new)))
    return pipeline


def _boost(model: Any, x: Any, y: npt.NDArray[Any], weights: Any, more: int) -> None:
    """scikit-learn's warm start takes the rows for those of the first fit: it would look up the earlier trees' scores
    by the new rows' bins. They are given to it by value instead, from the trees' real thresholds."""
    if hasattr(model, "classes_") and not np.isin(model.classes_, y).all():
        raise ValueError("not every class is among the new rows")
    raw = model._raw_predict(np.asarray(x, dtype=np.float64))
    model.set_params(warm_start=True, max_iter=model.n_iter_ + more)
    model._raw_predict = lambda *_, **__: raw
    try:
        model.fit(x, y, sample_weight=weights)
    finally:
        del model._raw_predict
        model.set_params(warm_start=False)


def _correct(model: Ridge, x: Any, y: npt.NDArray[Any], weights: Any) -> None:
    change = Ridge(alpha=model.alpha, solver=model.solver, tol=model.tol, random_state=model.random_state)
    change.fit(x, y - model.predict(x), sample_weight=weights)
    model.coef_ = model.coef_ + change.coef_
    model.intercept_ = model.intercept_ + change.intercept_
