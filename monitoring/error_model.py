"""A regression's errors, foretold from the features and the answer itself (direct loss estimation)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.cohort import Cohort
from monitoring.loss import Loss
from retrain.losses import bout_losses

Floats = npt.NDArray[np.float64]

FEWEST_ROWS = 300
FITTED_ROWS = 20_000  # the newest; more change a foretold mean by less than its band
LEVELS = 100  # of a category have a number of their own
KEPT = 0.75  # of the rows, the oldest, are fitted on; the others say how far off it is


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """Expected loss, absolute and squared error of each row. Without `models` they are the card's, the same for all."""

    constants: Mapping[str, float]
    models: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    scatter: Mapping[str, float] = field(
        default_factory=dict
    )  # variance of a row about what is foretold, by its square
    bias: Mapping[str, float] = field(default_factory=dict)  # observed over foretold, on rows that were kept aside
    rows: int = 0

    def expect(self, name: str, cohort: Cohort) -> Floats:
        """Of "loss", "mae" or "square", one for each row."""
        if name not in self.models:
            return np.full(len(cohort), self.constants[name])
        found = np.maximum(self.models[name].predict(_inputs(cohort, self.levels)), 0.0) * self.bias[name]
        return np.minimum(found, 1.0) if name == "loss" else np.asarray(found, dtype=np.float64)

    def error(self, name: str, expected: Floats) -> float:
        """The standard error of the mean of rows that are expected to be such, as they will be observed."""
        scatter = self.scatter.get(name, 1.0)  # without a model: errors scatter about as widely as they are large
        own = scatter * float((expected**2).sum()) / len(expected) ** 2
        known = scatter * float((expected**2).mean()) / self.rows if self.rows else 0.0
        return math.sqrt(own + known)


def fit_error_model(known: Cohort, loss: Loss, card: Mapping[str, Any]) -> ErrorModel:
    """The model that labelled rows give; the card's own numbers where they are fewer than FEWEST_ROWS."""
    known = known.take(known.said)
    constants = _promised(card, loss)
    if len(known) < FEWEST_ROWS:
        return ErrorModel(constants)
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes a second to import
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    known = known.take(np.arange(max(0, len(known) - FITTED_ROWS), len(known)))
    error = np.abs(known.answers - known.labels.astype(np.float64))
    targets = {
        "loss": bout_losses("absolute", known.answers, known.labels.astype(np.float64), loss.scale),
        "mae": error,
        "square": error**2,
    }
    levels = _levels(known)
    inputs = _inputs(known, levels)
    kept = int(len(known) * KEPT)
    models, scatter, bias = {}, {}, {}
    for name, target in targets.items():
        # Shallow and few: what is wanted is the mean of many rows, not the error of one.
        model = HistGradientBoostingRegressor(
            max_iter=60, max_leaf_nodes=8, min_samples_leaf=50, learning_rate=0.1, random_state=0, early_stopping=False
        )
        with threadpool_limits(limits=1):  # beside the service, and with sums in one order
            model.fit(inputs[:kept], target[:kept])
        foretold, aside = np.maximum(model.predict(inputs[kept:]), 0.0), target[kept:]
        models[name] = model
        # On rows that it was fitted on a model is too sure of itself; the rows kept aside correct its level.
        bias[name] = _ratio(float(aside.mean()), float(foretold.mean()))
        level = foretold * bias[name]
        scatter[name] = _ratio(float(((aside - level) ** 2).mean()), float((level**2).mean()))
    return ErrorModel(constants, models, levels, scatter, bias, len(known))


def _promised(card: Mapping[str, Any], loss: Loss) -> dict[str, float]:
    metrics = card.get("metrics") or {}
    mae = float((metrics.get("mae") or {}).get("value") or loss.scale / 3)
    root = float((metrics.get("rmse") or {}).get("value") or 1.25 * mae)
    return {"loss": float(card.get("reference_loss") or min(1.0, mae / loss.scale)), "mae": mae, "square": root**2}


def _levels(cohort: Cohort) -> dict[str, dict[str, int]]:
    """The most frequent values of each category, each with a number; all others share the last."""
    found = {}
    for column in cohort.schema.problem.features:
        if column.type == "category":
            values = [value for value in cohort.features[column.name].tolist() if value is not None]
            names, counts = np.unique(np.array(values, dtype=object).astype(str), return_counts=True)
            frequent = names[np.argsort(-counts, kind="stable")][:LEVELS]
            found[column.name] = {str(name): place for place, name in enumerate(frequent)}
    return found


def _inputs(cohort: Cohort, levels: Mapping[str, Mapping[str, int]]) -> Floats:
    columns = [np.nan_to_num(cohort.answers)[:, np.newaxis]]
    for column in cohort.schema.problem.features:
        values = cohort.features[column.name]
        if column.type == "category":
            known = levels.get(column.name, {})
            coded = [np.nan if value is None else known.get(str(value), len(known)) for value in values.tolist()]
            columns.append(np.array(coded, dtype=np.float64)[:, np.newaxis])
        else:
            columns.append(np.asarray(values, dtype=np.float64).reshape(len(cohort), -1))
    held = np.hstack(columns)
    held[:, np.isnan(held).all(axis=0)] = 0.0  # scikit-learn has no bins for a column that is missing throughout
    return held


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else 1.0
