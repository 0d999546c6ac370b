"""How the candidate's recipe does with fewer rows: whether more data would still help."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from retrain.data.dataset import Dataset
from retrain.evaluation.metrics import LOWER_IS_BETTER, Interval, Scored, evaluate
from retrain.models.pipeline import predict

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7)
FEWEST_ROWS = 100
MOST_HOLDOUT_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class LearningPoint:
    rows: int
    metric: Interval

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """`skipped` sizes would have taken longer than there was time."""

    metric: str
    points: tuple[LearningPoint, ...]
    skipped: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def learning_curve(
    make: Callable[[Dataset], Pipeline],
    learn: Dataset,
    holdout: Dataset,
    whole: Scored,
    seed: int,
    seconds: float,
    monotonic: Callable[[], float] = time.monotonic,
    fit_seconds: float = 0.0,
) -> LearningCurve:
    """The recipe fitted on the newest 5, 10, 20, 40 and 70 % of the rows, and judged on the holdout.

    A size is fitted only where the time per row so far says that it ends within what is left of `seconds`. `whole` is
    the candidate itself, the last point, which took `fit_seconds` to fit.
    """
    metric = "rmse" if not holdout.classes else "log_loss"
    started, spent, before = monotonic(), fit_seconds, len(learn)
    places = np.sort(np.random.default_rng(seed).permutation(len(holdout))[:MOST_HOLDOUT_ROWS])
    judged = holdout if len(holdout) <= MOST_HOLDOUT_ROWS else holdout.take(places)
    points: list[LearningPoint] = []
    skipped = 0
    for size in (round(share * len(learn)) for share in SHARES):
        if size < FEWEST_ROWS:
            continue
        left = seconds - (monotonic() - started)
        if left <= 0 or spent * size / before > left:
            skipped += 1
            continue
        rows = learn.rows(len(learn) - size)
        if holdout.classes and len(np.unique(rows.target)) < holdout.classes:
            continue  # a class that is not there cannot be learned
        began = monotonic()
        scores = predict(make(rows), judged.arrays, holdout.classes)
        spent, before = monotonic() - began, size
        found = evaluate(scores, judged.target, holdout.classes, seed, entities=judged.entities).metrics.get(metric)
        if found is not None and math.isfinite(found.value):
            points.append(LearningPoint(size, found))
    last = whole.metrics.get(metric)
    if last is not None:
        points.append(LearningPoint(len(learn), last))
    assert metric in LOWER_IS_BETTER
    return LearningCurve(metric, tuple(points), skipped)
