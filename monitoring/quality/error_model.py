"""A regression's errors, foretold from the features and the answer itself (direct loss estimation).

What the models say in all is scaled by what matured rows say in all, each weighted by its likeness to the rows that
wait: a model that is wrong by region, and a weight that is wrong by row, make up for each other (doubly robust
estimation; Dudík, Langford and Li 2011).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.quality.cohort import Cohort
from monitoring.quality.cohort_matrix import MatrixCoder
from monitoring.quality.cross_fitting import CrossFitted, cross_fit_best
from monitoring.quality.likeness import effective_rows, likeness
from monitoring.quality.loss import WORST, Loss
from monitoring.quality.measures import Metric
from record.contract.losses import bout_losses

Floats = npt.NDArray[np.float64]

FEWEST_ROWS = 300
FITTED_ROWS = 20_000  # the newest; more change a foretold mean by less than its band, and a check by seconds
# Weights to this power (Shimodaira 2000). Simulated, with smooth models full power costs more rows than the bias it
# removes is worth (MAE 1.54 of the noise, 1.41 without weights); with trees it is worth it (1.58, without 1.68).
FLATTENED = 0.25
BAND = 1.96  # published intervals hold 95 %


@dataclass(frozen=True, slots=True)
class Matured:
    """What the estimate rests on: rows as `MatrixCoder` makes them, their errors, and the models of these."""

    coder: MatrixCoder
    inputs: Floats
    errors: Mapping[str, Floats]  # "loss", "mae" and "square" of each row
    models: Mapping[str, CrossFitted]


@dataclass(frozen=True, slots=True)
class Expected:
    """A value for each row, and the standard error of their mean as it will be observed."""

    each: Floats
    error: float


@dataclass(frozen=True, slots=True)
class ErrorEstimator:
    """Expected loss, absolute and squared error. Without matured rows they are the card's, the same for all."""

    constants: Mapping[str, float]
    matured: Matured | None = None

    @property
    def recalibrated(self) -> bool:
        return self.matured is not None

    def losses(self, cohort: Cohort) -> Floats:
        return np.where(cohort.said, self._expect(cohort, ["loss"])["loss"].each, WORST)

    def metrics(self, cohort: Cohort) -> dict[str, Metric]:
        said = cohort.take(cohort.said)
        if not len(said):
            return {}
        expected = self._expect(said, ["loss", "mae", "square"])
        found = {name: _metric(expected[name]) for name in ("loss", "mae")}
        square = _metric(expected["square"])
        found["rmse"] = Metric(*(math.sqrt(max(0.0, part)) for part in (square.value, square.low, square.high)))
        return found | {"loss": with_unsaid(found["loss"], cohort)}

    def _expect(self, cohort: Cohort, names: list[str]) -> dict[str, Expected]:
        if self.matured is None:
            constant = {name: np.full(len(cohort), self.constants[name]) for name in names}
            # Without a model: errors scatter about as widely as they are large.
            return {name: Expected(each, _error(each, 1.0, math.inf)) for name, each in constant.items()}
        if not len(cohort):
            return {name: Expected(np.empty(0), 0.0) for name in names}
        inputs = self.matured.coder.matrix(cohort)
        weights = likeness(self.matured.inputs, inputs, FLATTENED)
        return {name: _scaled(self.matured, name, inputs, weights) for name in names}


def fit_error_model(known: Cohort, loss: Loss, card: Mapping[str, Any]) -> ErrorEstimator:
    """The estimator that labelled rows give; of the card's own numbers where they are fewer than FEWEST_ROWS."""
    known = known.take(known.said & np.isfinite(known.labels.astype(np.float64)))
    constants = _promised(card, loss)
    if len(known) < FEWEST_ROWS:
        return ErrorEstimator(constants)
    known = known.take(np.arange(max(0, len(known) - FITTED_ROWS), len(known)))
    labels = known.labels.astype(np.float64)
    error = np.abs(known.answers - labels)
    errors = {
        "loss": bout_losses("absolute", known.answers, labels, loss.scale),
        "mae": error,
        "square": error**2,
    }
    coder = MatrixCoder.of(known)
    inputs = coder.matrix(known)
    models = {name: cross_fit_best(inputs, errors[name]) for name in ("loss", "mae")}
    # A square is ruled by its few largest: its shape is that of the error itself, and only its level its own.
    models["square"] = models["mae"]
    return ErrorEstimator(constants, Matured(coder, inputs, errors, models))


def with_unsaid(loss: Metric, cohort: Cohort) -> Metric:
    """The loss of all rows: those whose answer has no number are the worst."""
    share = float(cohort.said.mean())
    return Metric(*(share * part + (1 - share) * WORST for part in (loss.value, loss.low, loss.high)))


def _scaled(matured: Matured, name: str, inputs: Floats, weights: Floats) -> Expected:
    model, observed = matured.models[name], matured.errors[name]
    least = float(matured.errors["mae" if name == "square" else name].mean()) / 20  # a model may foretell less than 0
    power = 2 if name == "square" else 1
    foretold = np.maximum(model.foretold, least) ** power
    below = float((weights * foretold).sum())
    level = float((weights * observed).sum()) / below if below > 0 else 1.0
    each = np.maximum(model(inputs), least) ** power * level
    if name == "loss":
        each = np.minimum(each, WORST)
    square = float((weights * (foretold * level) ** 2).sum())
    scatter = float((weights * (observed - foretold * level) ** 2).sum()) / square if square > 0 else 1.0
    return Expected(each, _error(each, scatter, effective_rows(weights)))


def _error(each: Floats, scatter: float, rows: float) -> float:
    """The standard error of the mean of rows whose variance is `scatter` times the square of what is expected."""
    own = scatter * float((each**2).sum()) / max(1, len(each)) ** 2
    known = scatter * float((each**2).mean()) / rows if len(each) else 0.0
    return math.sqrt(own + known)


def _metric(expected: Expected) -> Metric:
    value, half = float(expected.each.mean()), BAND * expected.error
    return Metric(value, value - half, value + half)


def _promised(card: Mapping[str, Any], loss: Loss) -> dict[str, float]:
    metrics = card.get("metrics") or {}
    mae = float((metrics.get("mae") or {}).get("value") or loss.scale / 3)
    root = float((metrics.get("rmse") or {}).get("value") or 1.25 * mae)
    return {"loss": float(card.get("reference_loss") or min(1.0, mae / loss.scale)), "mae": mae, "square": root**2}
