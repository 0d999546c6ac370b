"""What quality to expect of answers whose labels have not come yet.

Classification: what the probabilities expect of themselves, recalibrated (`monitoring.quality.confidence`).
Regression: models, fitted on matured rows, foretell each answer's error (`monitoring.quality.error_model`).

Both are blind to a change in what follows from the features. What they said of requests whose labels came since is
therefore held against what those say: see `monitoring.quality.decline`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from monitoring.quality.cohort import Cohort
from monitoring.quality.confidence import fit_confidence
from monitoring.quality.error_model import fit_error_model
from monitoring.quality.loss import Loss
from monitoring.quality.measures import Metric

Floats = npt.NDArray[np.float64]


class Estimator(Protocol):
    """Made from matured rows; says what to expect of others, from what all of these together look like.

    Of one cohort it says the same every time.
    """

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
        return fit_error_model(known, loss, card)
    return fit_confidence(known, loss, threshold, _candour(card))


def _candour(card: Mapping[str, Any]) -> float:
    """The holdout's loss over what the answers expected of themselves there: how much too sure they were."""
    expected = float(card.get("reference_estimate") or 0.0)
    return float(card["reference_loss"]) / expected if expected > 0 and card.get("reference_loss") else 1.0
