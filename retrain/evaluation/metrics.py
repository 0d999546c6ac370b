"""How good a model is on rows it was not fitted on: metrics with intervals, and two models on the same rows.

Intervals are bootstrap percentiles (Efron 1979), 95 %: the same resampled rows for every metric and model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from record.contract.losses import LossName, bout_losses, brier_losses, log_losses
from record.contract.operating_point import OperatingPoint
from record.dependence import DAY_MICROS, standard_error
from record.entity import distinct
from retrain.models.threshold import MOST_PROBABLE, Rule

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Metrics = Mapping[str, "Interval"]

RESAMPLES = 200
FEWEST_DAYS = 8  # fewer say nothing about how days differ
# Beyond so many rows an interval is narrower than anybody acts on, and resampling takes seconds.
RESAMPLED_ROWS = 10_000
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "cost_per_1000", "mae", "rmse"})


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models' mean losses on the same rows, in the loss that bouts are fought with.

    `difference` is candidate − other, so above 0 is worse; None where there were too few rows to compare on.
    """

    other: str
    rows: int
    candidate_loss: float
    other_loss: float
    difference: Interval | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's scores on the holdout, and the metrics they give."""

    scores: Floats
    metrics: Metrics

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.scores).all())


def evaluate(
    scores: Floats,
    y: npt.NDArray[Any],
    classes: int,
    seed: int,
    rule: Rule = MOST_PROBABLE,
    entities: Integers | None = None,
) -> Scored:
    """Metrics with intervals; none where a score is not finite.

    Classification: log_loss, brier, accuracy, auc (of several classes the mean, each against the rest; left out
    where a class is absent), and cost_per_1000 where the `rule` of answering has costs. Regression: mae, rmse, r2.
    Rows of one of the `entities` are drawn together.
    """
    if len(y) == 0 or not np.isfinite(scores).all():
        return Scored(scores, {})
    chosen = np.arange(len(y))
    if len(y) > RESAMPLED_ROWS:
        chosen = np.random.default_rng(seed).choice(len(y), RESAMPLED_ROWS, replace=False)
    draws = _draws(len(chosen), seed, None if entities is None else entities[chosen])
    sampled = _measures(scores[chosen], y[chosen], classes, rule)
    narrower = math.sqrt(len(chosen) / len(y))  # a sample's interval is that much too wide for all rows
    metrics = {}
    for name, measure in _measures(scores, y, classes, rule).items():
        value = float(measure(np.ones((1, len(y))))[0])
        if name in sampled:
            low, middle, high = np.percentile(sampled[name](draws), [2.5, 50.0, 97.5])
            below, above = value + (low - middle) * narrower, value + (high - middle) * narrower
            metrics[name] = Interval(value, float(below), float(above))
    return Scored(scores, metrics)


def compare(
    other: str,
    candidate: Floats,
    opponent: Floats,
    y: npt.NDArray[Any],
    loss: LossName,
    scale: float,
    fewest_rows: int = 30,
    points: tuple[OperatingPoint | None, OperatingPoint | None] = (None, None),
    times: Integers | None = None,
    entities: Integers | None = None,
) -> Comparison:
    """Both models on the same rows, with the 95 % interval of the mean paired difference.

    `times` (microseconds since 1970, negative where unknown): rows of one day share its weather, and count by day;
    rows of one of the `entities` count by entity. Fewer than `fewest_rows` of these are compared with nobody.
    """
    ours, theirs = (
        bout_losses(loss, scores, y, scale, point) for scores, point in zip((candidate, opponent), points, strict=True)
    )
    independent = len(y) if entities is None else len(np.unique(distinct(entities)))
    if independent < max(2, fewest_rows):
        return Comparison(other, len(y), _mean(ours), _mean(theirs), None)
    return Comparison(other, len(y), _mean(ours), _mean(theirs), _paired_interval(ours - theirs, times, entities))


def _paired_interval(differences: Floats, times: Integers | None, entities: Integers | None) -> Interval:
    """Of the mean, 95 %: by entity where one comes again, by days where all rows are dated and over FEWEST_DAYS."""
    days = None if times is None or (times < 0).any() else times // DAY_MICROS
    if days is not None and len(np.unique(days)) < FEWEST_DAYS:
        days = None
    if days is None and entities is None:
        return normal_interval(differences)
    error, freedom = standard_error(differences, days, entities)
    mean, half = float(differences.mean()), float(stdtrit(freedom, 0.975)) * error
    return Interval(mean, mean - half, mean + half)


def normal_interval(values: Floats) -> Interval:
    """Of the mean, 95 %; of two values at least."""
    mean = float(values.mean())
    half = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def loss_scale(scores: Floats, y: npt.NDArray[Any], target_sd: float) -> float:
    """Three times the median error: where the absolute loss of a regression is clipped."""
    scale = 3.0 * float(np.median(np.abs(scores - y)))
    # A model that is right to the digit would make every other one infinitely worse.
    return max(scale, 1e-6 * target_sd) or 1.0


def permutation_importance(
    score: Callable[[str], Floats], names: list[str], base: Floats, y: npt.NDArray[Any], classes: int
) -> dict[str, Interval]:
    """How much the loss rises when a feature's values are mixed among the rows, 95 %; the largest first.

    `score(name)` gives the scores with that feature mixed. Log loss, or squared error over the target's variance. The
    interval is the normal one of the rise from row to row (Breiman 2001 divides by the same error).
    """
    before = _row_losses(base, y, classes)
    unit = 1.0 if classes else float(np.var(y)) or 1.0
    rises = {name: normal_interval((_row_losses(score(name), y, classes) - before) / unit) for name in names}
    return dict(sorted(rises.items(), key=lambda item: (-item[1].value, item[0])))


def _row_losses(scores: Floats, y: npt.NDArray[Any], classes: int) -> Floats:
    return log_losses(scores, y) if classes else (scores - y) ** 2


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


Measure = Callable[[Floats], Floats]  # weights of the rows [draws, n] → the metric of each draw


def _draws(rows: int, seed: int, entities: Integers | None = None) -> Floats:
    """How often each row is drawn in each resample; rows of one entity together, as often as it is."""
    if entities is not None:
        own = distinct(entities)
        return np.asarray(_draws(int(own.max()) + 1, seed)[:, own])
    generator = np.random.default_rng(seed)
    drawn = [np.bincount(generator.integers(0, rows, rows), minlength=rows) for _ in range(RESAMPLES)]
    return np.array(drawn, dtype=np.float64)


def _measures(scores: Floats, y: npt.NDArray[Any], classes: int, rule: Rule) -> dict[str, Measure]:
    if not classes:
        error = scores - y
        squared = _mean_of(error**2)
        return {
            "mae": _mean_of(np.abs(error)),
            "rmse": lambda weights: np.sqrt(squared(weights)),
            "r2": lambda weights: 1.0 - squared(weights) / _variance(y, weights),
        }
    held: dict[str, Measure] = {
        "log_loss": _mean_of(log_losses(scores, y)),
        "brier": _mean_of(brier_losses(scores, y)),
        "accuracy": _mean_of(np.asarray(rule.said(scores) == y, dtype=np.float64)),
    }
    if rule.costs is not None:
        held["cost_per_1000"] = _mean_of(1000 * rule.cost(scores, y))
    if len(np.unique(y)) == classes:
        watched = [1] if classes == 2 else range(classes)
        areas = [_Auc(scores[:, code], y == code) for code in watched]
        held["auc"] = lambda weights: np.mean([area(weights) for area in areas], axis=0)
    return held


def _mean_of(values: Floats) -> Measure:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _variance(y: Floats, weights: Floats) -> Floats:
    centred = y - y.mean()  # large targets would lose their digits in the difference of squares
    mean = weights @ centred / weights.sum(axis=1)
    variance = weights @ centred**2 / weights.sum(axis=1) - mean**2
    return np.asarray(np.maximum(variance, np.finfo(np.float64).tiny), dtype=np.float64)


class _Auc:
    """The area under the ROC curve of weighted rows, ties counting half; sorted once for all draws."""

    def __init__(self, scores: Floats, positive: npt.NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ranked = scores[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        self._positive = positive[self._order]

    def __call__(self, weights: Floats) -> Floats:
        ranked = weights[:, self._order]
        hits = np.add.reduceat(ranked * self._positive, self._starts, axis=1)
        misses = np.add.reduceat(ranked * ~self._positive, self._starts, axis=1)
        below = np.cumsum(misses, axis=1) - misses
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        won = (hits * (below + misses / 2.0)).sum(axis=1)
        # A draw without one of the two kinds says nothing: a half.
        return np.asarray(np.where(pairs > 0, won / np.maximum(pairs, 1.0), 0.5), dtype=np.float64)
