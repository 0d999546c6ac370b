"""Protected groups side by side: who is selected, and who is wronged how often, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.quality.cohort import Cohort
from monitoring.quality.loss import Loss
from monitoring.quality.measures import Metric, mean, ratio, said_yes, watched
from record.contract.column_slices import column_slices

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Group:
    """One group of a protected column. Two classes: selection rate, TPR, FPR and loss; else mean answer and loss."""

    column: str
    name: str
    rows: int
    metrics: dict[str, Metric]

    def to_json(self) -> dict[str, Any]:
        held = {name: metric.to_json() for name, metric in self.metrics.items()}
        return {"column": self.column, "group": self.name, "rows": self.rows, "metrics": held}


def protected_groups(cohort: Cohort, loss: Loss, min_rows: int, threshold: float | None = None) -> list[Group]:
    """The groups of every protected column, those of fewer than `min_rows` labelled rows left out.

    `cohort` is labelled rows. A redacted column has no values, and one group, the missing.
    """
    found = []
    for column in cohort.schema.problem.protected:
        values = cohort.carried.get(column)
        for name, rows in column_slices(column, values if values is not None else cohort.features.get(column)):
            if rows.sum() >= min_rows:
                found.append(Group(column, name, int(rows.sum()), _measured(cohort.take(rows), loss, threshold)))
    return found


def _measured(cohort: Cohort, loss: Loss, threshold: float | None) -> dict[str, Metric]:
    clusters = cohort.clusters
    found = {"loss": mean(cohort.losses(loss)).metric(clusters, 0.0, 1.0)}
    if cohort.schema.problem.task == "regression":
        return found | {"mean_answer": mean(np.nan_to_num(cohort.answers)).metric(clusters)}
    if len(cohort.schema.classes) != 2:
        right = (cohort.answers == cohort.codes).astype(np.float64)
        return found | {"accuracy": mean(right).metric(clusters, 0.0, 1.0)}
    yes = said_yes(cohort, threshold).astype(np.float64)
    is_ = (cohort.codes == watched(cohort)).astype(np.float64)
    found["selection_rate"] = mean(yes).metric(clusters, 0.0, 1.0)
    if is_.any():
        found["true_positive_rate"] = ratio(yes * is_, is_).metric(clusters, 0.0, 1.0)
    if (is_ == 0).any():
        found["false_positive_rate"] = ratio(yes * (1 - is_), 1 - is_).metric(clusters, 0.0, 1.0)
    return found
