"""A classification's quality as its probabilities expect it (CBPE, as NannyML describes it).

Were the probabilities right, every metric would follow from them. They are made right on matured rows, by region of
the features and then in all, where each matured row counts by its likeness to the rows that wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.quality.cohort import UNSEEN, Cohort
from monitoring.quality.cohort_matrix import MatrixCoder
from monitoring.quality.error_model import BAND, FEWEST_ROWS, FITTED_ROWS, with_unsaid
from monitoring.quality.likeness import effective_rows, likeness
from monitoring.quality.loss import LOG_FLOOR, WORST, Loss
from monitoring.quality.measures import Metric, said_yes, watched
from monitoring.quality.recalibration import RegionalResiduals, Scaling
from record.contract.losses import SMALLEST

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matured:
    """What the recalibration rests on."""

    coder: MatrixCoder
    inputs: Floats
    shares: Floats  # as regions put them right, each row's by models that did not see it
    codes: Integers
    sureness: Scaling  # what was put right first: how sure the answers are in all
    regions: RegionalResiduals | None


@dataclass(frozen=True, slots=True)
class Chances:
    """Each row's probabilities of the classes, as right as they are known; `unsure` is the variance that a mean over
    rows has because they were learned, for costs that differ by 1."""

    each: Floats  # [n, K]
    unsure: float


@dataclass(frozen=True, slots=True)
class ConfidenceEstimator:
    """Without matured rows, `candour` is how much too sure the answers were on the holdout."""

    loss: Loss
    threshold: float | None
    candour: float
    matured: Matured | None = None

    @property
    def recalibrated(self) -> bool:
        return self.matured is not None

    def losses(self, cohort: Cohort) -> Floats:
        if not len(cohort):
            return np.empty(0)
        each = (self.chances(cohort).each * _costs(cohort, self.loss.name)).sum(axis=1)
        each = np.minimum(each * (self.candour if self.matured is None else 1.0), WORST)
        return np.where(cohort.said, each, WORST)

    def metrics(self, cohort: Cohort) -> dict[str, Metric]:
        said = cohort.take(cohort.said)
        if not len(said):
            return {}
        chances = self.chances(said)
        found = {name: _mean(chances, _costs(said, name)) for name in ("log_loss", "brier")}
        found["accuracy"] = _mean(chances, _hits(said, self.threshold))
        found["loss"] = with_unsaid(self._candid(_mean(chances, _costs(said, self.loss.name))), cohort)
        if len(said.schema.classes) == 2:
            found |= _of_two(said, chances, self.threshold)
        return found

    def _candid(self, loss: Metric) -> Metric:
        """As `losses` says it."""
        if self.matured is not None:
            return loss
        return Metric(*(min(part * self.candour, WORST) for part in (loss.value, loss.low, loss.high)))

    def chances(self, cohort: Cohort) -> Chances:
        shares = np.nan_to_num(cohort.shares)
        held = self.matured
        if held is None:
            return Chances(shares, 0.0)
        inputs = held.coder.matrix(cohort)
        shares = held.sureness(shares)
        if held.regions is not None:
            shares = held.regions(inputs, shares)
        weights = likeness(held.inputs, inputs)
        scaling = Scaling.fit(held.shares, held.codes, weights)
        given = scaling(held.shares)[np.arange(len(held.codes)), held.codes]
        residual = float((weights * (1 - given) ** 2).mean())
        return Chances(scaling(shares), residual / effective_rows(weights))


def fit_confidence(known: Cohort, loss: Loss, threshold: float | None, candour: float) -> ConfidenceEstimator:
    """The estimator that labelled rows give; of fewer than FEWEST_ROWS it learns nothing."""
    fit = known.take((known.codes != UNSEEN) & known.said)
    if len(fit) < FEWEST_ROWS:
        return ConfidenceEstimator(loss, threshold, candour)
    fit = fit.take(np.arange(max(0, len(fit) - FITTED_ROWS), len(fit)))
    coder = MatrixCoder.of(fit)
    inputs = coder.matrix(fit)
    codes = fit.codes
    sureness = Scaling.fit(fit.shares, codes, np.ones(len(fit)))
    regions, shares = RegionalResiduals.fit(inputs, sureness(fit.shares), codes)
    return ConfidenceEstimator(loss, threshold, candour, Matured(coder, inputs, shares, codes, sureness, regions))


def _mean(chances: Chances, costs: Floats) -> Metric:
    each = (chances.each * costs).sum(axis=1)
    variance = (chances.each * costs**2).sum(axis=1) - each**2
    return _metric(float(each.mean()), variance, float(costs.std()) ** 2 * chances.unsure)


def _of_two(cohort: Cohort, chances: Chances, threshold: float | None) -> dict[str, Metric]:
    """Metrics that are no means, with outcomes counted by their chance; each row's part in the spread is linear."""
    chance = chances.each[:, watched(cohort)]
    yes = said_yes(cohort, threshold).astype(np.float64)
    spread = chance * (1 - chance)
    found = {}
    hit, said, is_ = float((yes * chance).mean()), float(yes.mean()), float(chance.mean())
    slopes: tuple[tuple[str, float, float, Callable[[float], Floats]], ...] = (
        ("precision", hit, said, lambda value: yes / said),
        ("recall", hit, is_, lambda value: (yes - value) / is_),
        ("f1", 2 * hit, said + is_, lambda value: (2 * yes - value) / (said + is_)),
    )
    for name, top, bottom, slope in slopes:
        if bottom > 0:
            value = top / bottom
            found[name] = _metric(value, spread * slope(value) ** 2, chances.unsure)
    area = soft_area(cohort.shares[:, watched(cohort)], chance)
    if area is not None:
        found["auc"] = _metric(area[0], spread * area[1] ** 2, chances.unsure)
    return found


def _metric(value: float, variance: Floats, unsure: float) -> Metric:
    """The spread of the window's own outcomes, and that of what was learned."""
    half = BAND * math.sqrt(float(np.maximum(variance, 0.0).sum()) / len(variance) ** 2 + unsure)
    return Metric(value, value - half, value + half)


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
    return 1.0 - _hits(cohort, None)


def _hits(cohort: Cohort, threshold: float | None) -> Floats:
    """1 where each row was taken for class k: [n, K]; at `threshold` where there are two classes."""
    answers = cohort.answers
    if threshold is not None and len(cohort.schema.classes) == 2:
        answers = np.where(said_yes(cohort, threshold), watched(cohort), 1 - watched(cohort))
    return np.asarray(answers[:, np.newaxis] == np.arange(cohort.shares.shape[1]), dtype=np.float64)


def soft_area(scores: Floats, chance: Floats) -> tuple[float, Floats] | None:
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
