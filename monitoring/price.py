"""Whether a run pays: what staleness costs at least, against what the run costs. Pure.

As cost-aware retraining weighs it (Mahadevan and Mathioudakis, "Cost-aware retraining for machine learning", 2024),
but by the lower bound of the loss's rise: what is not certain yet is not spent on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from record.configuration.loop_sections import RetrainSettings


@dataclass(frozen=True, slots=True)
class Stakes:
    """`rise` is the lower bound of the loss on a request beyond the highest that was promised; 0 where none is.

    It is in the unit of `retrain.value_of_loss`: of a regression's absolute error the target's own, which no
    champion moves; of any other loss the loss itself, from 0 to 1.
    """

    rise: float
    requests_per_day: float

    @classmethod
    def of_check(cls, numbers: Mapping[str, Any]) -> Stakes:
        """From the numbers of a quality check: the larger of the observed and the estimated rise."""
        declines = numbers.get("declines") or {}
        rises = [float(held.get("lower") or 0.0) - float(held.get("highest") or 0.0) for held in declines.values()]
        unit = float(numbers.get("loss_unit") or 1.0)  # what a loss of 1 is, in that unit
        return cls(max(0.0, *rises) * unit if rises else 0.0, float(numbers.get("requests_per_day") or 0.0))


@dataclass(frozen=True, slots=True)
class Price:
    """Both in the user's money."""

    staleness: float
    cost: float

    @property
    def pays(self) -> bool:
        return self.staleness > self.cost


def price(stakes: Stakes | None, settings: RetrainSettings) -> Price | None:
    """Of going on without a run for `retrain.payback`; None where cost or value of loss is not set."""
    if settings.cost is None or settings.value_of_loss is None:
        return None
    held = stakes or Stakes(0.0, 0.0)
    requests = held.requests_per_day * (settings.payback / timedelta(days=1))
    return Price(held.rise * requests * settings.value_of_loss, settings.cost)
