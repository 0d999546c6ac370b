"""What is worth knowing of a candidate beyond its metrics: how it errs, where, for whom, by what, and whether more
rows would help. Numbers only; the report's sections draw them, and the card holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from record.contract.losses import bout_losses
from retrain.data.dataset import Dataset
from retrain.evaluation.costs import CostReport, cost_report
from retrain.evaluation.curves import ClassCurves, Residuals, class_curves, confusion, residuals, to_json
from retrain.evaluation.dependence import Dependence, dependences
from retrain.evaluation.examination import Examination
from retrain.evaluation.fairness import Group, protected_groups
from retrain.evaluation.learning_curve import LearningCurve, learning_curve
from retrain.evaluation.slices import HoldoutSlice, holdout_slices
from retrain.models.pipeline import predict
from retrain.timetable import Timetable

Floats = npt.NDArray[np.float64]

# Of a run's budget, for all that is computed here: within the tenth that a run may take beyond its budget.
SHARE = 0.03
LEAST_SECONDS = 2.0
MOST_SECONDS = 60.0  # nobody learns more from a finer learning curve
LEARNING_SHARE = 0.6  # of that time, for refits; the rest is enough for the other parts
SHOWN_FEATURES = 6  # the most important, whose dependence is drawn
SHOWN_POINTS = 500  # of a regression's scatter


@dataclass(frozen=True, slots=True)
class Insight:
    """`curves` and `confusion` are a classification's, `residuals` and `points` (prediction, target) a regression's."""

    watched: str | None  # of two classes the one whose probability is told
    curves: tuple[ClassCurves, ...]
    confusion: list[list[int]]
    residuals: Residuals | None
    points: list[tuple[float, float]]
    slices: tuple[HoldoutSlice, ...]
    groups: tuple[Group, ...]
    dependences: tuple[Dependence, ...]
    learning: LearningCurve
    seconds: float
    costs: CostReport | None = None  # where wrong answers cost differently

    def to_json(self) -> dict[str, Any]:
        """For the card: without what is only drawn."""
        return {
            "watched": self.watched,
            "curves": [to_json(curve) for curve in self.curves],
            "confusion": self.confusion,
            "residuals": None if self.residuals is None else to_json(self.residuals),
            "slices": [each.to_json() for each in self.slices],
            "groups": [group.to_json() for group in self.groups],
            "dependences": [each.to_json() for each in self.dependences],
            "learning_curve": self.learning.to_json(),
            "seconds": round(self.seconds, 3),
        }


def insight_seconds(budget_seconds: float) -> float:
    """How long a run of that budget may look into its candidate."""
    return min(MOST_SECONDS, max(LEAST_SECONDS, SHARE * budget_seconds))


def look_into(
    make: Callable[[Dataset], Pipeline],
    pipeline: Pipeline,
    learn: Dataset,
    holdout: Dataset,
    judged: Examination,
    seed: int,
    seconds: float,
    fit_seconds: float = 0.0,
    timetable: Timetable | None = None,
) -> Insight:
    """`pipeline` was fitted on `learn` by `make`, in `fit_seconds`. Takes about `seconds`, at most one prediction of
    the holdout more.
    """
    timetable = timetable or Timetable(None)
    monotonic = timetable.clocks.wall
    started = monotonic()
    scores, y, classes = judged.candidate.scores, holdout.target, holdout.classes
    watched, point = holdout.schema.watched, judged.rule.point
    losses = bout_losses(judged.loss, scores, y, judged.loss_scale, point)
    slices = holdout_slices(holdout, losses)
    groups = protected_groups(holdout, scores, watched, losses, point)
    learning = learning_curve(
        make, learn, holdout, judged.candidate, seed, LEARNING_SHARE * seconds - (monotonic() - started),
        monotonic, fit_seconds,
    )  # fmt: skip
    told = [name for name, rise in judged.importances.items() if rise.value > 0][:SHOWN_FEATURES]
    found = dependences(
        lambda arrays: predict(pipeline, arrays, classes),
        holdout,
        told,
        watched,
        seed,
        lambda: monotonic() - started > seconds,
    )
    if learning.skipped:
        timetable.left_out.append(f"{learning.skipped} of the learning curve's sizes")
    if told and not found:
        timetable.left_out.append("how answers depend on features")
    shown = np.linspace(0, len(y) - 1, min(len(y), SHOWN_POINTS)).round().astype(int)
    return Insight(
        watched=None if watched is None else holdout.schema.classes[watched],
        curves=tuple(class_curves(scores, y, holdout.schema.classes, watched or 0)) if classes else (),
        confusion=confusion(judged.rule.said(scores), y, classes) if classes else [],
        costs=cost_report(scores, y, judged.rule, seed),
        residuals=None if classes else residuals(scores, y),
        points=[] if classes else list(zip(scores[shown].tolist(), y[shown].tolist(), strict=True)),
        slices=tuple(slices),
        groups=tuple(groups),
        dependences=tuple(found),
        learning=learning,
        seconds=monotonic() - started,
    )
