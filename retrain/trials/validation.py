"""How well a configuration does on rows that its model was not fitted on.

Rows in order of time are judged on later rows only: on the newest slice when there are many, on three in a row
when there are few. Mixed rows are judged in turn (cross-validation) when there are few, on one slice when there are
many. Encoded columns are kept, since trials share them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.losses import log_losses
from retrain.data.dataset import Dataset
from retrain.data.entity_split import InseparableEntities, keep_apart
from retrain.models.configuration import Configuration
from retrain.models.families import FORESTS, encoder, estimator
from retrain.models.fitting import fit_estimator, predict_encoded
from retrain.trials.cost import Workload
from retrain.trials.rounds import IN_ROUNDS, Rows, Watched, most_rounds, watch, with_enough_step
from retrain.trials.stopping import hopeless

Floats = npt.NDArray[np.float64]

ONE_SLICE_ROWS = 8_000
VALIDATION_SHARE = 0.25
# A forest's rank among forests shows with fewer trees than the packaged one gets.
TRIAL_TREES = 40
KEPT_ENCODINGS = 12


@dataclass(frozen=True, slots=True)
class Judged:
    """The mean loss on held-out rows, and the configuration with what validation settled (boosting's rounds).

    `answers` are the models' own on the judged rows, in the order of `Validation.judged`; None where the trial was
    `stopped` after so many folds, and its loss is what these make one expect.
    """

    configuration: Configuration
    loss: float
    answers: Floats | None = field(repr=False)
    spared_seconds: float = 0.0  # that encoding would have taken, had it not been done for an earlier trial
    stopped: int | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    fit: npt.NDArray[np.int64]
    judge: npt.NDArray[np.int64]


def folds(
    rows: int,
    ordered: bool,
    entities: npt.NDArray[np.int64] | None = None,
    classes: npt.NDArray[np.int64] | None = None,
) -> list[Fold]:
    """Which rows are fitted on and which are judged, the latter always later where rows are ordered.

    No entity stands on both sides of a fold. A fold whose entities cannot be kept apart is left out; raises
    InseparableEntities where none can. `classes` are the rows' class codes, of a classification.
    """
    whole = _folds(rows, ordered)
    if entities is None:
        return whole
    separable = [fold for fold in (_apart(fold, entities, classes) for fold in whole) if fold is not None]
    if not separable:
        raise InseparableEntities(entities)
    return separable


def _apart(fold: Fold, entities: npt.NDArray[np.int64], classes: npt.NDArray[np.int64] | None) -> Fold | None:
    try:
        kept = keep_apart(entities[fold.fit], entities[fold.judge], None if classes is None else classes[fold.fit])
    except InseparableEntities:
        return None
    return fold if kept is None else Fold(fold.fit[kept[0]], fold.judge[kept[1]])


def _folds(rows: int, ordered: bool) -> list[Fold]:
    places = np.arange(rows)
    if rows >= ONE_SLICE_ROWS:
        cut = rows - round(rows * VALIDATION_SHARE)
        return [Fold(places[:cut], places[cut:])]
    if ordered:
        edges = np.linspace(rows * 0.4, rows, 4).round().astype(np.int64)
        return [Fold(places[:a], places[a:b]) for a, b in pairwise(edges)]
    count = 5 if rows < 3_000 else 3
    edges = np.linspace(0, rows, count + 1).round().astype(np.int64)
    return [Fold(np.concatenate([places[:a], places[b:]]), places[a:b]) for a, b in pairwise(edges)]


class Validation:
    """The rows that all trials are judged on, the newest `most_rows`. For one thread."""

    def __init__(self, data: Dataset, seed: int, most_rows: int, wall: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._data = data.rows(max(0, len(data) - most_rows))
        self._seed = seed
        self._weights = self._data.weights
        classes = self._data.target if self._data.classes else None
        self._folds = folds(len(self._data), data.ordered, self._data.entities, classes)
        self._encoded: dict[tuple[Any, ...], tuple[Any, Any, float]] = {}
        self._spared = 0.0

    @property
    def rows(self) -> int:
        return len(self._data)

    @property
    def judged(self) -> npt.NDArray[Any]:
        """The targets of the judged rows, fold after fold."""
        return np.concatenate([self._data.target[fold.judge] for fold in self._folds])

    @property
    def fitted_rows(self) -> int:
        """How many rows a trial's models are fitted on, all folds together."""
        return sum(len(fold.fit) for fold in self._folds)

    @property
    def workload(self) -> Workload:
        """What a trial's models are fitted on, fold by fold."""
        return Workload.of(self._data, tuple(len(fold.fit) for fold in self._folds), TRIAL_TREES)

    def forget(self) -> None:
        """Gives up the encoded columns that are kept for later trials."""
        self._encoded.clear()

    @property
    def in_turn(self) -> bool:
        """Whether there are several folds, one after another."""
        return len(self._folds) > 1

    def judge(
        self,
        configuration: Configuration,
        cancelled: Callable[[], bool] = lambda: False,
        best: Floats | None = None,
    ) -> Judged:
        """Raises TimeoutError between folds once `cancelled` says so; stops between them where the trial is hopeless
        beside the `best` one, whose answers these are.
        """
        self._spared = 0.0
        if configuration.family in IN_ROUNDS:
            return self._judge_rounds(configuration, cancelled, best)
        tried = configuration
        if configuration.family in FORESTS:
            tried = replace(configuration, params={**configuration.params, "n_estimators": TRIAL_TREES})
        answers: list[Floats] = []
        for number in range(len(self._folds)):
            if answers and cancelled():
                raise TimeoutError("the budget ended between two folds")
            model, x = self._fitted(tried, number)
            answers.append(predict_encoded(model, x, self._data.classes))
            stopped = self._stopped(configuration, answers, best)
            if stopped is not None:
                return stopped
        return self._judged(configuration, answers)

    def _judged(self, configuration: Configuration, answers: list[Floats]) -> Judged:
        configuration, answers = self._scaled(configuration, answers)
        losses = [self._loss(number, held) for number, held in enumerate(answers)]
        return Judged(configuration, _mean(losses), np.concatenate(answers), self._spared)

    def _scaled(self, configuration: Configuration, answers: list[Floats]) -> tuple[Configuration, list[Floats]]:
        """With the factor that answers of a log target are settled to have."""
        if configuration.params.get("target") != "log":
            return configuration, answers
        targets = np.concatenate([self._data.target[fold.judge] for fold in self._folds[: len(answers)]])
        factor = _factor(np.concatenate(answers), targets)
        settled = replace(configuration, params={**configuration.params, "factor": factor})
        return settled, [factor * held for held in answers]

    def _stopped(self, configuration: Configuration, answers: list[Floats], best: Floats | None) -> Judged | None:
        """The trial with the loss to expect of it, where it need not go on; None where it shall."""
        done = len(answers)
        if best is None or done == len(self._folds):
            return None
        configuration, answers = self._scaled(configuration, answers)
        edges = np.cumsum([0, *(len(fold.judge) for fold in self._folds)])
        theirs = [best[start:end] for start, end in pairwise(edges.tolist())]
        own, other, constant = (
            np.concatenate([self._row_losses(number, held) for number, held in enumerate(said)])
            for said in (answers, theirs[:done], [self._constant(number) for number in range(done)])
        )
        if not hopeless(own, other, constant):
            return None
        losses = [self._loss(number, held) for number, held in enumerate(theirs)]
        behind = [self._loss(number, held) - losses[number] for number, held in enumerate(answers)]
        return Judged(configuration, _mean(losses) + _mean(behind), None, self._spared, done)

    def _row_losses(self, number: int, scores: Floats) -> Floats:
        y = self._data.target[self._folds[number].judge]
        return log_losses(scores, y) if self._data.classes else np.asarray((scores - y) ** 2)

    def _constant(self, number: int) -> Floats:
        """What one answers who knows the target only: the classes' shares, or the mean."""
        fold, y = self._folds[number], self._data.target
        if not self._data.classes:
            return np.full(len(fold.judge), y[fold.fit].mean())
        share = np.bincount(y[fold.fit], minlength=self._data.classes) / len(fold.fit)
        return np.tile(share, (len(fold.judge), 1))

    def _judge_rounds(self, configuration: Configuration, cancelled: Callable[[], bool], best: Floats | None) -> Judged:
        """Fits rounds as long as they help, and settles on the number that did best."""
        configuration = with_enough_step(configuration, self._data.classes)
        seen: list[Watched] = []
        for number in range(len(self._folds)):
            if seen and cancelled():
                raise TimeoutError("the budget ended between two folds")
            seen.append(self._watched(configuration, number))
            if best is not None and number + 1 < len(self._folds):
                stopped = self._stopped(*self._settled(configuration, seen), best)
                if stopped is not None:
                    return stopped
        return self._judged(*self._settled(configuration, seen))

    def _settled(self, configuration: Configuration, seen: list[Watched]) -> tuple[Configuration, list[Floats]]:
        """With the number of rounds that did best so far, and what is answered after them."""
        longest = max(len(held.curve) for held in seen)
        curve = np.mean([np.pad(held.curve, (0, longest - len(held.curve)), mode="edge") for held in seen], axis=0)
        rounds = int(np.nanargmin(curve)) + 1 if np.isfinite(curve).any() else 1
        settled = replace(configuration, params={**configuration.params, "max_iter": rounds})
        return settled, [held.answers(rounds) for held in seen]

    def _watched(self, configuration: Configuration, number: int) -> Watched:
        most = {**configuration.params, "max_iter": most_rounds(configuration, self._data.classes)}
        tried = replace(configuration, params=most)
        x, later_x = self._encode(tried, number)
        fold, y = self._folds[number], self._data.target
        rows = Rows(x, y[fold.fit], self._weights_of(fold), later_x, y[fold.judge], self._data.classes)
        return watch(tried.family, estimator(tried, self._data.schema.problem.task, self._seed), rows)

    def _fitted(self, configuration: Configuration, number: int) -> tuple[Any, Any]:
        """The estimator fitted on the fold's rows, and the encoded rows to judge it by."""
        x, later = self._encode(configuration, number)
        fold = self._folds[number]
        model = estimator(configuration, self._data.schema.problem.task, self._seed)
        return fit_estimator(model, x, self._data.target[fold.fit], self._weights_of(fold)), later

    def _weights_of(self, fold: Fold) -> Floats | None:
        return None if self._weights is None else self._weights[fold.fit]

    def _encode(self, configuration: Configuration, number: int) -> tuple[Any, Any]:
        chosen = encoder(configuration)
        key = (type(chosen).__name__, *chosen.get_params().values(), number)
        if key in self._encoded:
            self._spared += self._encoded[key][2]
        else:
            while len(self._encoded) >= max(KEPT_ENCODINGS, len(self._folds)):
                self._encoded.pop(next(iter(self._encoded)))
            fold = self._folds[number]
            started = self._wall()
            learned = chosen.fit_transform(self._data.arrays.take(fold.fit), self._data.target[fold.fit])
            later = chosen.transform(self._data.arrays.take(fold.judge))
            self._encoded[key] = (learned, later, self._wall() - started)
        return self._encoded[key][:2]

    def _loss(self, number: int, scores: Floats) -> float:
        """Log loss of classes, root mean squared error of values."""
        y = self._data.target[self._folds[number].judge]
        if self._data.classes:
            return float(log_losses(scores, y).mean())
        return math.sqrt(float(np.mean((scores - y) ** 2)))


def _factor(answers: Floats, y: Floats) -> float:
    """What to multiply the answers with for the least squared error; six digits, so that a card can be read."""
    squares = float((answers**2).sum())
    factor = float((answers * y).sum()) / squares if squares > 0 else 1.0
    return float(f"{min(2.0, max(0.5, factor)):.6g}") if math.isfinite(factor) else 1.0


def _mean(losses: list[float]) -> float:
    mean = float(np.mean(losses))
    if not math.isfinite(mean):
        raise ValueError("the loss is not finite")
    return mean
