"""What a model's card promises of its loss. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any


@dataclass(frozen=True, slots=True)
class Promise:
    """What a card promises of the loss, and from where on it is broken."""

    expected: float
    highest: float  # the upper bound of `expected`
    allowed: float
    needed: float  # evidence from which on it is a decline

    @classmethod
    def of(cls, card: Mapping[str, Any], tolerance: float, alpha: float) -> Promise | None:
        """None where the card promises nothing."""
        if card.get("reference_loss") is None:
            return None
        expected = float(card["reference_loss"])
        highest = expected + NormalDist().inv_cdf(1 - alpha / 2) * float(card.get("reference_loss_error") or 0.0)
        return cls(expected, highest, min(1.0, highest * (1 + tolerance)), 2 / alpha)

    @property
    def tolerated(self) -> float:
        """The loss that the tolerance allows, were what is expected known exactly."""
        return self.expected * self._factor

    @property
    def error(self) -> float:
        """The standard error of `tolerated`."""
        return (self.highest - self.expected) * self._factor / NormalDist().inv_cdf(1 - 1 / self.needed)

    @property
    def _factor(self) -> float:
        return self.allowed / self.highest if self.highest > 0 else 1.0
