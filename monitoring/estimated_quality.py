"""What quality to expect of answers whose labels have not come yet.

Classification: CBPE (confidence-based performance estimation, as NannyML describes it): were the probabilities right,
every metric would follow from them. They are recalibrated on matured rows where that made later ones more likely.
Regression: a second model, fitted on matured rows, foretells each answer's error from its features and itself.

Both are blind to a change in what follows from the features. What they said of requests whose labels came since is
therefore held against what those say: see `monitoring.decline`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from monitoring.cohort import UNSEEN, Cohort
from monitoring.error_model import ErrorModel, fit_error_model
from monitoring.loss import LOG_FLOOR, Loss
from monitoring.measures import Metric, said_yes, watched
from retrain.losses import SMALLEST

Floats = npt.NDArray[np.float64]

BAND = 1.96  # published intervals hold 95 %
# Six numbers are learned from them with two classes; fewer rows would be learned by heart.
FEWEST_ROWS = 300


class Estimator(Protocol):
    """Made from matured rows; says what to expect of others."""

    @property
    def recalibrated(self) -> bool:
        """Whether matured rows went into it."""
        ...

    def losses(self, cohort: Cohort) -> Floats:
        """The loss to expect of each row, in the bout's scale of 0 to 1."""
        ...

    def metrics(self, cohort: Cohort) -> dict[str, Metric]:
        """The metrics to expect of all rows together, each with the band in which chance leaves what is observed."""
        ...


def fit_estimator(matured: Cohort, loss: Loss, card: Mapping[str, Any], threshold: float | None) -> Estimator:
    """The estimator that labelled rows give; without enough of them, what the answers or the card say as they are."""
    known = matured.known()
    if matured.schema.problem.task == "regression":
        return _ErrorEstimator(fit_error_model(known, loss, card), loss)
    return _ConfidenceEstimator(_calibration(known), loss, threshold, _candour(card))


def _candour(card: Mapping[str, Any]) -> float:
    """The holdout's loss over what the answers expected of themselves there: how much too sure they were."""
    expected = float(card.get("reference_estimate") or 0.0)
    return float(card["reference_loss"]) / expected if expected > 0 and card.get("reference_loss") else 1.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Vector scaling (Guo et al. 2017): softmax(weights · log p + biases). `rows`: how many it was fitted on."""

    weights: Floats  # [K, K]
    biases: Floats  # [K]
    rows: int
    residual: float  # the variance of outcome minus probability

    def __call__(self, shares: Floats) -> Floats:
        scores = _logs(shares) @ self.weights.T + self.biases
        scores -= scores.max(axis=1, keepdims=True)
        held = np.exp(scores)
        return np.asarray(held / held.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _ConfidenceEstimator:
    calibration: Calibration | None
    loss: Loss
    threshold: float | None
    candour: float  # counts while there is no calibration

    @property
    def recalibrated(self) -> bool:
        return self.calibration is not None

    def chances(self, cohort: Cohort) -> Floats:
        """Each row's probabilities of the classes, as right as they are known."""
        shares = np.nan_to_num(cohort.shares)
        return shares if self.calibration is None else self.calibration(shares)

    def losses(self, cohort: Cohort) -> Floats:
        each = (self.chances(cohort) * _costs(cohort, self.loss.name)).sum(axis=1)
        return np.asarray(np.minimum(each * (1.0 if self.calibration else self.candour), 1.0), dtype=np.float64)

    def metrics(self, cohort: Cohort) -> dict[str, Metric]:
        cohort = cohort.take(cohort.said)
        if not len(cohort):
            return {}
        chances = self.chances(cohort)
        found = {name: self._mean(chances, _costs(cohort, name)) for name in ("log_loss", "brier", "accuracy")}
        found["loss"] = self._mean(chances, _costs(cohort, self.loss.name))
        if len(cohort.schema.classes) == 2:
            found |= self._of_two(cohort, chances[:, watched(cohort)])
        return found

    def _mean(self, chances: Floats, costs: Floats) -> Metric:
        each = (chances * costs).sum(axis=1)
        variance = (chances * costs**2).sum(axis=1) - each**2
        return self._metric(float(each.mean()), variance, float(costs.std()))

    def _of_two(self, cohort: Cohort, chance: Floats) -> dict[str, Metric]:
        """Metrics that are no means, with outcomes counted by their chance; each row's part in the spread is linear."""
        yes = said_yes(cohort, self.threshold).astype(np.float64)
        spread = chance * (1 - chance)
        found = {}
        hit, said, is_ = float((yes * chance).mean()), float(yes.mean()), float(chance.mean())
        for name, top, bottom, slope in (
            ("precision", hit, said, lambda value: yes / said),
            ("recall", hit, is_, lambda value: (yes - value) / is_),
            ("f1", 2 * hit, said + is_, lambda value: (2 * yes - value) / (said + is_)),
        ):
            if bottom > 0:
                value = top / bottom
                found[name] = self._metric(value, spread * slope(value) ** 2, 1.0)
        area = _soft_area(cohort.shares[:, watched(cohort)], chance)
        if area is not None:
            found["auc"] = self._metric(area[0], spread * area[1] ** 2, 1.0)
        return found

    def _metric(self, value: float, variance: Floats, scale: float) -> Metric:
        """The spread of the window's own outcomes, and that of the calibration's rows."""
        own = float(np.maximum(variance, 0.0).sum()) / len(variance) ** 2
        known = scale**2 * self.calibration.residual / self.calibration.rows if self.calibration else 0.0
        half = BAND * math.sqrt(own + known)
        return Metric(value, value - half, value + half)


@dataclass(frozen=True, slots=True)
class _ErrorEstimator:
    model: ErrorModel
    loss: Loss

    @property
    def recalibrated(self) -> bool:
        return self.model.rows > 0

    def losses(self, cohort: Cohort) -> Floats:
        return self.model.expect("loss", cohort)

    def metrics(self, cohort: Cohort) -> dict[str, Metric]:
        if not len(cohort):
            return {}
        found = {name: self._metric(name, cohort) for name in ("loss", "mae")}
        square = self._metric("square", cohort)
        found["rmse"] = Metric(*(math.sqrt(max(0.0, part)) for part in (square.value, square.low, square.high)))
        return found

    def _metric(self, name: str, cohort: Cohort) -> Metric:
        each = self.model.expect(name, cohort)
        half = BAND * self.model.error(name, each)
        return Metric(float(each.mean()), float(each.mean()) - half, float(each.mean()) + half)


def _calibration(known: Cohort) -> Calibration | None:
    """Fitted on the older half of the rows, and kept (then of all) where it makes the newer half more likely."""
    codes = known.codes
    fit = known.take((codes != UNSEEN) & known.said)
    if len(fit) < FEWEST_ROWS:
        return None
    codes, shares = fit.codes, fit.shares
    half = len(fit) // 2
    older = _fit_scaling(shares[:half], codes[:half])
    if older is None:
        return None
    newer = np.arange(len(fit) - half)
    gain = np.log(np.maximum(older(shares[half:])[newer, codes[half:]], SMALLEST)) - np.log(
        np.maximum(shares[half:][newer, codes[half:]], SMALLEST)
    )
    # By more than its own standard error: a gain that chance explains would only add noise.
    if gain.mean() <= gain.std() / math.sqrt(len(gain)):
        return None
    return _fit_scaling(shares, codes)


def _fit_scaling(shares: Floats, codes: npt.NDArray[np.int64]) -> Calibration | None:
    from sklearn.linear_model import LogisticRegression  # takes a second to import, and regressions do without

    classes = shares.shape[1]
    if len(np.unique(codes)) < classes:
        return None
    # A weak penalty: with one class all but certain, the weights would run away.
    fitted = LogisticRegression(C=100.0, max_iter=1000).fit(_logs(shares), codes)
    weights, biases = fitted.coef_, fitted.intercept_
    if classes == 2:
        weights, biases = np.vstack([np.zeros(2), weights]), np.array([0.0, biases[0]])
    held = Calibration(np.asarray(weights), np.asarray(biases), len(codes), 0.0)
    given = held(shares)[np.arange(len(codes)), codes]
    return Calibration(held.weights, held.biases, len(codes), float(np.mean((1 - given) ** 2)))


def _logs(shares: Floats) -> Floats:
    return np.log(np.clip(shares, LOG_FLOOR / 10, 1.0))


def _costs(cohort: Cohort, name: str) -> Floats:
    """What each row's answer would cost if class k were true: [n, K]."""
    shares = np.nan_to_num(cohort.shares)
    if name == "brier":
        square = (shares**2).sum(axis=1, keepdims=True)
        return np.asarray(np.clip((square - shares**2 + (1 - shares) ** 2) / 2, 0.0, 1.0))
    if name == "log_loss":
        return -np.log(np.clip(shares, SMALLEST, 1.0))
    if name == "log":
        return np.asarray(np.log(np.clip(shares, LOG_FLOOR, 1.0)) / math.log(LOG_FLOOR))
    hit = cohort.answers[:, np.newaxis] == np.arange(shares.shape[1])
    return np.asarray(hit if name == "accuracy" else ~hit, dtype=np.float64)


def _soft_area(scores: Floats, chance: Floats) -> tuple[float, Floats] | None:
    """The area under the curve to expect, and how it moves with each row's outcome."""
    above, below = float(chance.sum()), float((1 - chance).sum())
    if above <= 0 or below <= 0:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    up = np.bincount(place, weights=chance, minlength=len(counts))
    down = np.bincount(place, weights=1 - chance, minlength=len(counts))
    beneath = (np.cumsum(down) - down / 2)[place] / below  # the share of the others' kind below a row of the watched
    over = 1 - (np.cumsum(up) - up / 2)[place] / above
    value = float((chance * beneath).sum() / above)
    rows = len(scores)
    return value, (beneath - value) * rows / above - (over - value) * rows / below
