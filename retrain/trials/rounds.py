"""Families that learn in rounds: fitted as long as a round helps on later rows, and what they answer then."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from record.contract.losses import log_losses
from retrain.features.target_scale import learn_scaled, moments, scale_of
from retrain.models.bounds import least_step, most_boosting_rounds
from retrain.models.configuration import Configuration, Family
from retrain.models.families import MOST_EPOCHS
from retrain.models.fitting import dense, predict_encoded
from retrain.models.log_target import LogTarget

Floats = npt.NDArray[np.float64]

IN_ROUNDS: frozenset[Family] = frozenset({"gradient_boosting", "lightgbm", "perceptron"})
ROUNDS_OF_PATIENCE = 25
EPOCHS_OF_PATIENCE = 6


@dataclass(frozen=True, slots=True)
class Watched:
    """`curve`: the loss on the later rows after each round. `answers(n)`: what the model says of them after n, for any
    n, as often as one asks.
    """

    curve: Floats
    answers: Callable[[int], Floats]


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows to fit on, and later ones; targets are class codes, or values where `classes` is 0."""

    x: Any
    y: npt.NDArray[Any]
    weights: Floats | None
    later_x: Any
    later_y: npt.NDArray[Any]
    classes: int

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which later rows are of a class that is fitted on; no library can watch any other."""
        known = np.isin(self.later_y, self.y) if self.classes else np.ones(len(self.later_y), dtype=bool)
        if not known.any():
            raise ValueError("no class among the judged rows is among those fitted on")
        return known


def most_rounds(configuration: Configuration, classes: int) -> int:
    """Rounds that are tried: enough for the step size, within bounds."""
    if configuration.family == "perceptron":
        return MOST_EPOCHS
    most = most_boosting_rounds(classes, int(configuration.params.get("max_leaf_nodes", 31)))
    return min(most, max(60, round(40 / float(configuration.params["learning_rate"]))))


def with_enough_step(configuration: Configuration, classes: int) -> Configuration:
    """The configuration with a learning rate that its few rounds of many classes come somewhere with."""
    if configuration.family == "perceptron":
        return configuration
    least = least_step(most_boosting_rounds(classes, int(configuration.params.get("max_leaf_nodes", 31))))
    if float(configuration.params["learning_rate"]) >= least:
        return configuration
    return replace(configuration, params={**configuration.params, "learning_rate": least})


def watch(family: str, model: Any, rows: Rows) -> Watched:
    """The unfitted model, fitted in rounds and watched."""
    if isinstance(model, LogTarget):
        logs = model.learn(rows.y)
        later = np.log(np.maximum(rows.later_y + model.shift_, np.exp(model.low_)))
        watched = watch(family, model.model, replace(rows, y=logs, later_y=later))
        return Watched(watched.curve, lambda rounds: model.answers(watched.answers(rounds)))
    if family == "perceptron":
        return _perceptron(model, rows)
    boost = _light_boosting if family == "lightgbm" else _boosting
    if rows.classes:
        return boost(model, rows)
    learned = learn_scaled(model, rows.y)
    scale = scale_of(model)
    watched = boost(model, replace(rows, y=learned, later_y=scale.learn(rows.later_y)))
    return Watched(watched.curve * scale.spread, watched.answers)


def _boosting(model: Any, rows: Rows) -> Watched:
    known = rows.known
    model.set_params(early_stopping=True, scoring="loss", n_iter_no_change=ROUNDS_OF_PATIENCE, tol=0.0)
    model.fit(rows.x, rows.y, sample_weight=rows.weights, X_val=rows.later_x[known], y_val=rows.later_y[known])
    losses = -np.asarray(model.validation_score_[1:], dtype=np.float64)  # the first is of no round at all

    every = model._predictors

    def answers(rounds: int) -> Floats:
        model._predictors = every[:rounds]
        return predict_encoded(model, rows.later_x, rows.classes)

    return Watched(losses if rows.classes else np.sqrt(2.0 * losses), answers)  # half the mean square


def _light_boosting(model: Any, rows: Rows) -> Watched:
    known = rows.known
    curve = model.watch(rows.x, rows.y, rows.weights, (rows.later_x[known], rows.later_y[known]), ROUNDS_OF_PATIENCE)
    return Watched(curve, lambda rounds: predict_encoded(copy(model).cut(rounds), rows.later_x, rows.classes))


def _perceptron(model: Any, rows: Rows) -> Watched:
    """The answers of each epoch are kept: weights cannot be gone back on."""
    x, later_x = dense(model, rows.x), dense(model, rows.later_x)
    known, codes = rows.known, np.unique(rows.y)
    middle, scale = (0.0, 1.0) if rows.classes else moments(rows.y)
    scale = scale or 1.0
    held: list[Floats] = []
    curve: list[float] = []
    model.set_params(random_state=np.random.RandomState(model.random_state))  # each epoch mixes the rows anew
    for _ in range(model.max_iter):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if rows.classes:
                model.partial_fit(x, rows.y, classes=codes, sample_weight=rows.weights)
            else:
                model.partial_fit(x, (rows.y - middle) / scale, sample_weight=rows.weights)
        answers = predict_encoded(model, later_x, rows.classes)
        held.append(answers if rows.classes else middle + scale * answers)
        curve.append(_loss(held[-1][known], rows.later_y[known], rows.classes))
        if len(curve) - int(np.argmin(curve)) > EPOCHS_OF_PATIENCE:
            break
    return Watched(np.array(curve), lambda rounds: held[min(rounds, len(held)) - 1])


def _loss(answers: Floats, y: npt.NDArray[Any], classes: int) -> float:
    return float(log_losses(answers, y).mean()) if classes else float(np.sqrt(np.mean((answers - y) ** 2)))
