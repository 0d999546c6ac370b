"""How good one version's mature answers were, where labels came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitoring.quality.cohort import Cohort
from monitoring.quality.loss import Loss
from monitoring.quality.measures import Metric, measure
from record.settings import Settings
from record.versions.model_version import ModelVersion


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What one version's mature answers were worth. Without labels, `metrics` is empty."""

    as_of: datetime
    version: str
    mature: int
    labelled: int
    metrics: Mapping[str, Metric]

    @property
    def coverage(self) -> float:
        """The share of mature requests whose label came in time."""
        return self.labelled / self.mature if self.mature else 0.0


def observed_quality(
    cohort: Cohort, loss: Loss, *, version: str, as_of: datetime, threshold: float | None = None
) -> QualityReport:
    """The metrics of mature rows, all answered by `version`, where a label came."""
    known = cohort.known()
    return QualityReport(as_of, version, len(cohort), len(known), measure(known, loss, threshold))


def loss_of(version: ModelVersion, settings: Settings) -> Loss:
    """The loss of the card's `reference_loss`; of no scale but its own where the card has none."""
    scale = version.card.get("loss_scale") or version.card.get("target_sd") or 1.0
    name = settings.promotion.scoring
    return Loss(name, float(scale) if name == "absolute" else 1.0)


def operating_threshold(card: Mapping[str, Any]) -> float | None:
    """The probability from which the watched class is said, where the card names one; else answers count as given."""
    named = card.get("operating_threshold")
    return None if named is None else float(named)
