"""How good the answers were where labels came, and how good they say they are where none came yet."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from monitoring.loss import Loss
from service.logged import LoggedRow, MaturedRow
from service.schema import Schema, canonical_class

Floats = npt.NDArray[np.float64]

BAND = 1.96  # published intervals hold 95 %
# A decline is looked for again with every check, for ever; at 99.5 % on one side, a quiet year of daily checks on
# windows of 30 days, which overlap, raises about one false one with tolerance 0, and none to speak of with .05.
DECLINE = 2.58
LOG_FLOOR = 1e-15  # what scikit-learn's log_loss clips at, in double precision
RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Metric:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def mean_of(cls, values: Floats) -> Metric:
        mean = float(values.mean())
        half = BAND * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        return cls(mean, mean - half, mean + half)


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What one version's mature answers were worth. Without labels, `metrics` is empty and the loss NaN."""

    as_of: datetime
    version: str
    mature: int
    labelled: int
    metrics: Mapping[str, Metric]
    loss_mean: float  # of promotion.loss, in its scale of 0 to 1
    loss_deviation: float

    @property
    def coverage(self) -> float:
        """The share of mature requests whose label came in time."""
        return self.labelled / self.mature if self.mature else 0.0


@dataclass(frozen=True, slots=True)
class DeclineDecision:
    """Whether the loss rose beyond what the champion's card promised, by its lower bound."""

    declined: bool
    observed: float
    expected: float
    lower: float  # of the observed loss
    allowed: float  # the loss from which it is a decline
    labels: int
    reasons: tuple[str, ...]


def observed_quality(
    rows: Sequence[MaturedRow], schema: Schema, loss: Loss, *, version: str, as_of: datetime
) -> QualityReport:
    """The metrics of `rows`, all answered by `version`, where a label came."""
    labelled = [row for row in rows if row.label is not None]
    if not labelled:
        return QualityReport(as_of, version, len(rows), 0, {}, math.nan, math.nan)
    losses = np.array([loss(row.label or "", row.prediction, row.probabilities) for row in labelled])
    measure = _regression if schema.problem.task == "regression" else _classification
    deviation = float(losses.std(ddof=1)) if len(losses) > 1 else 0.0
    return QualityReport(
        as_of, version, len(rows), len(labelled), measure(labelled, schema), float(losses.mean()), deviation
    )


def estimated_quality(rows: Sequence[LoggedRow], schema: Schema) -> dict[str, Metric]:
    """What the answers expect of themselves, were their probabilities right (CBPE: no label is needed, none is used).

    Blind to a change in what follows from the features: that is what the gap to the observed values shows. Empty
    for a regression, whose answers say nothing about their errors, and for no rows.
    """
    shares = _shares(rows, schema) if schema.problem.task == "classification" else np.empty((0, 0))
    if not len(shares):
        return {}
    square = (shares**2).sum(axis=1)
    # E[Σ(p − y)²]/2 over y drawn from p is (1 − Σp²)/2; with two classes that is p(1 − p).
    return {
        "log_loss": Metric.mean_of(-(shares * np.log(np.maximum(shares, LOG_FLOOR))).sum(axis=1)),
        "brier": Metric.mean_of((1 - square) / 2),
        "accuracy": Metric.mean_of(shares.max(axis=1)),
    }


def decide_decline(report: QualityReport, expected: float, *, min_labels: int, tolerance: float) -> DeclineDecision:
    """Declined where even the lower bound of the recent loss exceeds `expected` by more than the tolerance.

    `expected` is the loss on the holdout of the champion's own training (`reference_loss` of its card).
    """
    allowed = expected * (1 + tolerance)
    error = report.loss_deviation / math.sqrt(report.labelled) if report.labelled else math.nan
    lower = report.loss_mean - DECLINE * error
    if report.labelled < min_labels:
        reasons: tuple[str, ...] = (f"{report.labelled} labels, at least {min_labels} are needed",)
        return DeclineDecision(False, report.loss_mean, expected, lower, allowed, report.labelled, reasons)
    declined = lower > allowed
    compared = (
        f"loss {report.loss_mean:.4f}, at least {lower:.4f}; {expected:.4f} was promised, {allowed:.4f} is allowed"
    )
    return DeclineDecision(declined, report.loss_mean, expected, lower, allowed, report.labelled, (compared,))


def auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> Metric | None:
    """The area under the ROC curve, ties half, with Hanley and McNeil's (1982) interval. None for one class."""
    above, below = int(positive.sum()), int((~positive).sum())
    if not above or not below:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    area = float((ranks[positive].sum() - above * (above + 1) / 2) / (above * below))
    first, second = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (above - 1) * (first - area * area) + (below - 1) * (second - area * area)
    half = BAND * math.sqrt(max(variance, 0.0) / (above * below))
    return Metric(area, max(0.0, area - half), min(1.0, area + half))


def _classification(rows: Sequence[MaturedRow], schema: Schema) -> dict[str, Metric]:
    shares = _shares(rows, schema)
    place = {name: index for index, name in enumerate(schema.classes)}
    labels = [canonical_class(json.loads(row.label or "")) for row in rows]
    hits = np.array([place.get(label, -1) for label in labels])  # −1: a class that training never saw
    given = np.where(hits >= 0, shares[np.arange(len(hits)), hits], 0.0)
    square = (shares**2).sum(axis=1) - given**2 + (1 - given) ** 2
    right = np.array(
        [canonical_class(json.loads(row.prediction)) == label for row, label in zip(rows, labels, strict=True)]
    )
    found = {
        "log_loss": Metric.mean_of(-np.log(np.clip(given, LOG_FLOOR, 1.0))),
        "brier": Metric.mean_of(square / 2),
        "accuracy": Metric.mean_of(right.astype(np.float64)),
    }
    area = _area(shares, hits, schema)
    return found if area is None else found | {"auc": area}


def _area(shares: Floats, hits: npt.NDArray[np.int64], schema: Schema) -> Metric | None:
    """Two classes: that of the watched one. More: the mean of each class against the rest, where both occur."""
    if len(schema.classes) == 2:
        watched = schema.classes.index(schema.problem.positive_class or schema.classes[1])
        return auc(shares[:, watched], hits == watched)
    areas = [auc(shares[:, place], hits == place) for place in range(len(schema.classes))]
    known = [area for area in areas if area is not None]
    if not known:
        return None
    value, low, high = (float(np.mean([getattr(area, part) for area in known])) for part in ("value", "low", "high"))
    return Metric(value, low, high)


def _regression(rows: Sequence[MaturedRow], schema: Schema) -> dict[str, Metric]:
    labels = np.array([float(json.loads(row.label or "")) for row in rows])
    errors = np.array([float(json.loads(row.prediction)) for row in rows]) - labels
    found = {"mae": Metric.mean_of(np.abs(errors)), "rmse": _resampled(_rmse, errors, labels)}
    return found | {"r2": _resampled(_r2, errors, labels)} if len(rows) > 1 and labels.std() > 0 else found


def _rmse(errors: Floats, labels: Floats) -> float:
    return math.sqrt(float((errors**2).mean()))


def _r2(errors: Floats, labels: Floats) -> float:
    spread = float(((labels - labels.mean()) ** 2).mean())
    return 1 - float((errors**2).mean()) / spread if spread > 0 else math.nan


def _resampled(statistic: Callable[[Floats, Floats], float], errors: Floats, labels: Floats) -> Metric:
    """The statistic with its percentile bootstrap; the seed is fixed, so that the same rows say the same."""
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(errors), len(errors)) for _ in range(RESAMPLES))
    low, high = np.nanquantile([statistic(errors[draw], labels[draw]) for draw in draws], [0.025, 0.975])
    return Metric(statistic(errors, labels), float(low), float(high))


def _shares(rows: Sequence[LoggedRow], schema: Schema) -> Floats:
    """Each row's probabilities in the order of the schema's classes; a class that was not named had none."""
    said = [json.loads(row.probabilities or "{}") for row in rows]
    found = [[share.get(name, 0.0) for name in schema.classes] for share in said]
    return np.array(found, dtype=np.float64).reshape(len(rows), len(schema.classes))
