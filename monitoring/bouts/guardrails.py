"""Label-free guardrails as running counts: what has been counted is never read again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from monitoring.bouts.evidence_look import Guardrail
from monitoring.evidence import BETS, LARGEST_LOG

CHUNK_ROWS = 5_000


@dataclass(slots=True)
class GuardrailRun:
    """How often something went wrong, and the highest evidence there ever was about its rate, both ways.

    The evidence is that of `monitoring.evidence.rate_e_values`; a bet's capital depends on the two counts alone.
    """

    requests: int = 0
    wrong: int = 0
    cleared: float = 0.0  # logarithms
    failed: float = 0.0

    def add(self, wrong: NDArray[np.bool_], rate: float) -> None:
        """One entry for each request, in the log's order."""
        for start in range(0, len(wrong), CHUNK_ROWS):
            part = wrong[start : start + CHUNK_ROWS]
            bad = self.wrong + np.cumsum(part)
            good = self.requests + np.arange(1, len(part) + 1) - bad
            self.cleared = max(self.cleared, _highest(bad, good, -1.0, rate / (1 - rate)))
            self.failed = max(self.failed, _highest(bad, good, (1 - rate) / rate, -1.0))
            self.requests += len(part)
            self.wrong = int(bad[-1])

    def guardrail(self, needed: float) -> Guardrail:
        state: Literal["open", "cleared", "failed"] = "open"
        cleared, failed = (math.exp(min(log, LARGEST_LOG)) for log in (self.cleared, self.failed))
        if failed >= needed:
            state = "failed"
        elif cleared >= needed:
            state = "cleared"
        return Guardrail(state, self.requests, self.wrong, cleared, failed)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> GuardrailRun:
        return cls(**held)


def _highest(bad: NDArray[np.int64], good: NDArray[np.int64], if_bad: float, if_good: float) -> float:
    logs = np.multiply.outer(np.log1p(BETS * if_bad), bad) + np.multiply.outer(np.log1p(BETS * if_good), good)
    top = logs.max(axis=0)
    return float((top + np.log(np.exp(logs - top).mean(axis=0))).max())
