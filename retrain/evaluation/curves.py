"""What a holdout's scores look like: ROC, precision and recall, calibration, confusion, residuals. Numbers only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Points = list[tuple[float, float]]

MOST_POINTS = 80  # of a curve: more are not seen
CALIBRATION_BINS = 10
SHOWN_CLASSES = 8  # of several, the most frequent have curves of their own
HISTOGRAM_BINS = 40


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Equally many rows, from the least likely up: what was said, and what was, with a 95 % interval."""

    said: float
    observed: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True, slots=True)
class ClassCurves:
    """One class against the rest. `error` is the expected calibration error: the mean distance of said and observed."""

    name: str
    share: float
    auc: float
    average_precision: float
    roc: Points
    precision: Points  # (recall, precision)
    calibration: tuple[CalibrationBin, ...]
    error: float


@dataclass(frozen=True, slots=True)
class Residuals:
    """Errors of a regression, prediction − target. `by_prediction`: bins of equally many rows, with quantiles."""

    mean: float
    sd: float
    quantiles: dict[str, float]  # of the error: 5 %, 25 %, 50 %, 75 %, 95 %
    by_prediction: tuple[dict[str, float], ...]  # prediction, target, low (5 %), middle, high (95 %), rows
    histogram: dict[str, list[float]]  # edges, counts


def class_curves(scores: Floats, y: npt.NDArray[Any], classes: tuple[str, ...], watched: int) -> list[ClassCurves]:
    """Of two classes the watched one; of several the most frequent, each against the rest. Absent ones are left out."""
    counts = np.bincount(y, minlength=len(classes))
    codes = [watched] if len(classes) == 2 else np.argsort(-counts, kind="stable")[:SHOWN_CLASSES].tolist()
    return [_curves(classes[code], scores[:, code], y == code) for code in codes if 0 < counts[code] < len(y)]


def confusion(said: npt.NDArray[np.intp], y: npt.NDArray[Any], classes: int) -> list[list[int]]:
    """Counts [true class][said class]."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (y, said), 1)
    held: list[list[int]] = counts.tolist()
    return held


def residuals(scores: Floats, y: Floats) -> Residuals:
    error = scores - y
    groups = [group for group in np.array_split(np.argsort(scores, kind="stable"), 12) if len(group)]
    marks = ((5, "low"), (50, "middle"), (95, "high"))
    by_prediction = tuple(
        {
            "prediction": float(scores[group].mean()),
            "target": float(y[group].mean()),
            **{name: float(np.percentile(error[group], share)) for share, name in marks},
            "rows": float(len(group)),
        }
        for group in groups
    )
    low, high = np.percentile(error, [0.5, 99.5])  # a few wild ones would make one column of all the others
    counts, edges = np.histogram(np.clip(error, low, high), bins=HISTOGRAM_BINS)
    return Residuals(
        float(error.mean()),
        float(error.std()),
        {str(share): float(np.percentile(error, share)) for share in (5, 25, 50, 75, 95)},
        by_prediction,
        {"edges": edges.tolist(), "counts": counts.astype(float).tolist()},
    )


def wilson(hits: float, rows: float) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); 0 to 1 where there are no rows."""
    if rows <= 0:
        return 0.0, 1.0
    z = 1.959964
    share, weight = hits / rows, z * z / rows
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / rows + weight / (4 * rows)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def to_json(held: ClassCurves | Residuals) -> dict[str, Any]:
    return asdict(held)


def _curves(name: str, scores: Floats, positive: Flags) -> ClassCurves:
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(-scores[order])), len(order) - 1)  # the last row of each threshold
    hits = np.cumsum(positive[order])[ends].astype(np.float64)
    misses = (ends + 1) - hits
    recall, fall_out = hits / hits[-1], misses / misses[-1]
    precision = hits / (ends + 1)
    bins = _calibration(scores, positive)
    return ClassCurves(
        name=name,
        share=float(positive.mean()),
        auc=float(np.trapezoid(np.append(0.0, recall), np.append(0.0, fall_out))),
        average_precision=float(np.sum(np.diff(np.append(0.0, recall)) * precision)),
        roc=[(0.0, 0.0), *_thinned(fall_out, recall)],
        precision=_thinned(recall, precision),
        calibration=bins,
        error=sum(each.rows * abs(each.said - each.observed) for each in bins) / len(scores),
    )


def _thinned(x: Floats, y: Floats) -> Points:
    """Evenly along the curve's own length, so that steep parts keep their shape."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    wanted = np.linspace(0.0, along[-1], min(MOST_POINTS, len(x)))
    places = np.unique(np.searchsorted(along, wanted).clip(0, len(x) - 1))
    return [(round(float(x[place]), 5), round(float(y[place]), 5)) for place in places]


def _calibration(scores: Floats, positive: Flags) -> tuple[CalibrationBin, ...]:
    order = np.argsort(scores, kind="stable")
    groups = [group for group in np.array_split(order, CALIBRATION_BINS) if len(group)]
    found = []
    for group in groups:
        hits = float(positive[group].sum())
        low, high = wilson(hits, len(group))
        found.append(CalibrationBin(float(scores[group].mean()), hits / len(group), low, high, len(group)))
    return tuple(found)
