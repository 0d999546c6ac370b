"""Quality metrics of labelled answers, each with its 95 % interval.

Every metric is computed together with its influence function: what each row adds to it beyond the mean (the delta
method; for the area under the curve the placements of DeLong et al. 1988). The interval's variance sums the
influences by day where there are several days, since the rows of one day share its weather, and by entity where one
asks again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from monitoring.quality.cohort import UNSEEN, Cohort
from monitoring.quality.loss import Loss
from record.contract.losses import SMALLEST
from record.dependence import INDEPENDENT, Clusters
from record.dependence import standard_error as clustered_error

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

LEVEL = 0.95
# Fewer days give no variance between days that is worth its name; rows then count as independent.
FEWEST_DAYS = 8
CALIBRATION_GROUPS = 10
UNIT_RANGE = (0.0, 1.0)
RANGES = {
    "log_loss": (0.0, math.inf),
    "mae": (0.0, math.inf),
    "rmse": (0.0, math.inf),
    "r2": (-math.inf, 1.0),
}
HIGHER_IS_BETTER = frozenset({"accuracy", "auc", "precision", "recall", "f1", "r2"})


def metric_range(name: str) -> tuple[float, float]:
    """The values that a metric can have; all but those of RANGES are shares, or between 0 and 1 like shares."""
    return RANGES.get(name, UNIT_RANGE)


@dataclass(frozen=True, slots=True)
class Metric:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def within(self, low: float, high: float) -> Metric:
        """The same value; an interval that does not leave `low` to `high`."""
        return Metric(self.value, max(low, self.low), min(high, self.high))

    def to_json(self) -> list[float]:
        return [self.low, self.value, self.high]


@dataclass(frozen=True, slots=True)
class Influenced:
    """A metric's value, and what each row adds to it: the metric moves by their mean."""

    value: float
    influence: Floats

    def metric(self, clusters: Clusters, low: float = -math.inf, high: float = math.inf) -> Metric:
        """With its interval, kept between `low` and `high`."""
        half = half_width(self.influence, clusters)
        return Metric(self.value, self.value - half, self.value + half).within(low, high)


def half_width(influence: Floats, clusters: Clusters = INDEPENDENT, level: float = LEVEL) -> float:
    """Half of the interval of a mean, by days where there are FEWEST_DAYS or more of them, and by entity."""
    error, freedom = standard_error(influence, clusters)
    return float(stdtrit(freedom, (1 + level) / 2)) * error if freedom else 0.0


def standard_error(influence: Floats, clusters: Clusters) -> tuple[float, float]:
    """The standard error of a mean, and its degrees of freedom (0: a single row says nothing).

    By days where there are FEWEST_DAYS of them, with what neighbouring days share counted in, and by entity
    (`record.dependence`).
    """
    if len(influence) < 2:
        return 0.0, 0
    days = clusters.days
    told = days if days is not None and len(np.unique(days)) >= FEWEST_DAYS else None
    return clustered_error(influence, told, clusters.entities)


def measure(cohort: Cohort, loss: Loss, threshold: float | None = None) -> dict[str, Metric]:
    """The metrics of labelled rows by name, the bout's `loss` in its scale of 0 to 1 among them; {} for no rows.

    With two classes, precision, recall and F1 are those of the watched class at `threshold`, else of the answers as
    they were given; with more they are means over the classes. An area is left out where a class is absent.
    """
    if not len(cohort):
        return {}
    clusters = cohort.clusters
    losses = mean(cohort.losses(loss)).metric(clusters, *metric_range("loss"))
    if cohort.schema.problem.task == "regression":
        return {"loss": losses} | _regression(cohort, clusters)
    return {"loss": losses} | _classification(cohort, clusters, threshold)


def mean(values: Floats) -> Influenced:
    value = float(values.mean())
    return Influenced(value, values - value)


def ratio(above: Floats, below: Floats) -> Influenced:
    """mean(above) / mean(below); 0 where that is nothing by nothing, as scikit-learn says it."""
    bottom = float(below.mean())
    if bottom == 0:
        return Influenced(0.0, np.zeros(len(above)))
    value = float(above.mean()) / bottom
    return Influenced(value, (above - value * below) / bottom)


def average(parts: Sequence[Influenced]) -> Influenced:
    return Influenced(
        float(np.mean([part.value for part in parts])), np.mean([part.influence for part in parts], axis=0)
    )


def auc(scores: Floats, positive: Flags) -> Influenced | None:
    """The area under the ROC curve, ties counting half. None where all rows are of one kind."""
    above, below = int(positive.sum()), int((~positive).sum())
    if not above or not below:
        return None
    place = np.empty(len(scores))
    place[positive] = (_midranks(scores)[positive] - _midranks(scores[positive])) / below
    place[~positive] = 1 - (_midranks(scores)[~positive] - _midranks(scores[~positive])) / above
    area = float(place[positive].mean())
    share = np.where(positive, above, below) / len(scores)
    return Influenced(area, (place - area) / share)


def watched(cohort: Cohort) -> int:
    """Of two classes, the one that is looked for."""
    name = cohort.schema.problem.positive_class
    return cohort.schema.classes.index(name) if name in cohort.schema.classes else 1


def said_yes(cohort: Cohort, threshold: float | None) -> Flags:
    """Of two classes, which rows were taken for the watched one."""
    if threshold is None:
        return np.asarray(cohort.answers == watched(cohort), dtype=np.bool_)
    return np.asarray(cohort.shares[:, watched(cohort)] >= threshold, dtype=np.bool_)


def calibration_error(scores: Floats, hit: Flags) -> Metric:
    """The mean distance of what was said from what came, over ten groups of equal size (ECE).

    Chance alone gives it a value above 0: the interval reaches down to 0 where that is all there is.
    """
    order = np.argsort(scores, kind="stable")
    group = np.empty(len(scores), dtype=np.int64)
    group[order] = np.arange(len(scores)) * CALIBRATION_GROUPS // len(scores)
    rows = np.bincount(group, minlength=CALIBRATION_GROUPS)
    gap = np.bincount(group, weights=scores - hit, minlength=CALIBRATION_GROUPS)
    noise = np.sqrt(np.bincount(group, weights=scores * (1 - scores), minlength=CALIBRATION_GROUPS))
    value = float(np.abs(gap).sum() / len(scores))
    chance = float(noise.sum() / len(scores)) * math.sqrt(2 / math.pi)  # the mean of |normal|
    half = half_width(np.sign(gap)[group] * (scores - hit - (gap / np.maximum(rows, 1))[group]))
    return Metric(value, max(0.0, value - chance - half), min(1.0, value + half))


def _classification(cohort: Cohort, clusters: Clusters, threshold: float | None) -> dict[str, Metric]:
    codes, shares = cohort.codes, np.nan_to_num(cohort.shares)
    seen = codes != UNSEEN
    given = np.where(seen, shares[np.arange(len(codes)), codes], 0.0)
    square = (shares**2).sum(axis=1) - given**2 + (1 - given) ** 2
    yes = _taken(cohort, threshold)
    right = np.asarray((yes == codes) & seen, dtype=np.float64)
    found = {
        "log_loss": mean(-np.log(np.clip(given, SMALLEST, 1.0))).metric(clusters, *metric_range("log_loss")),
        "brier": mean(square / 2).metric(clusters, *metric_range("brier")),
        "accuracy": mean(right).metric(clusters, *metric_range("accuracy")),
    }
    area = _area(cohort, codes, shares)
    if area is not None:
        found["auc"] = area.metric(clusters, *metric_range("auc"))
    if len(cohort.schema.classes) == 2:
        found["calibration_error"] = calibration_error(shares[:, watched(cohort)], codes == watched(cohort))
        kinds: Sequence[int] = [watched(cohort)]
    else:
        top = shares.argmax(axis=1)
        found["calibration_error"] = calibration_error(shares.max(axis=1), np.asarray(top == codes))
        kinds = [kind for kind in range(len(cohort.schema.classes)) if (yes == kind).any() or (codes == kind).any()]
    for name, value in _at_threshold(yes, codes, kinds).items():
        found[name] = value.metric(clusters, *metric_range(name))
    return found


def _taken(cohort: Cohort, threshold: float | None) -> Integers:
    """The class that each row was taken for."""
    if len(cohort.schema.classes) != 2 or threshold is None:
        return np.asarray(cohort.answers, dtype=np.int64)
    own = watched(cohort)
    return np.where(said_yes(cohort, threshold), own, 1 - own)


def _at_threshold(yes: Integers, codes: Integers, kinds: Sequence[int]) -> dict[str, Influenced]:
    precision, recall, f1 = [], [], []
    for kind in kinds:
        said, is_ = (yes == kind).astype(np.float64), (codes == kind).astype(np.float64)
        precision.append(ratio(said * is_, said))
        recall.append(ratio(said * is_, is_))
        f1.append(ratio(2 * said * is_, said + is_))
    parts = {"precision": precision, "recall": recall, "f1": f1}
    return {name: average(held) for name, held in parts.items() if held}


def _area(cohort: Cohort, codes: Integers, shares: Floats) -> Influenced | None:
    """Two classes: that of the watched one. More: the mean of each class against the rest, where both occur."""
    if len(cohort.schema.classes) == 2:
        return auc(shares[:, watched(cohort)], codes == watched(cohort))
    areas = [auc(shares[:, kind], codes == kind) for kind in range(len(cohort.schema.classes))]
    known = [area for area in areas if area is not None]
    return average(known) if known else None


def _regression(cohort: Cohort, clusters: Clusters) -> dict[str, Metric]:
    labels = np.asarray(cohort.labels, dtype=np.float64)
    error = np.nan_to_num(cohort.answers) - labels
    square = error**2
    mse = float(square.mean())
    root = math.sqrt(mse)
    influence = (square - mse) / (2 * root) if root else square
    found = {
        "mae": mean(np.abs(error)).metric(clusters, *metric_range("mae")),
        "rmse": Influenced(root, influence).metric(clusters, *metric_range("rmse")),
    }
    spread = (labels - labels.mean()) ** 2
    variance = float(spread.mean())
    if variance > 0:
        influence = -(square - mse) / variance + mse / variance**2 * (spread - variance)
        found["r2"] = Influenced(1 - mse / variance, influence).metric(clusters, *metric_range("r2"))
    return found


def _midranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)
