"""The decision on a bout at one look, with its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["promote", "reject", "inconclusive", "wait", "awaiting_approval", "roll_back", "passed", "unjudged"]


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    outcome: Outcome
    reasons: tuple[str, ...]
