"""One target of `ringside prove`: what is measured, the bound that it has to keep, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Relation = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True)
class Target:
    """`value` is None where it was not measured; `skipped` then says why.

    `group` is the row of the table, `runs` how many simulated runs or days `value` rests on.
    """

    name: str
    group: str
    title: str
    value: float | None
    bound: float
    relation: Relation = "at most"
    unit: Literal["share", "labels", "alarms", "days", "count", "evidence"] = "share"
    runs: int = 0
    skipped: str | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the bound is kept; None where nothing was measured. A value that is not a number never holds."""
        if self.value is None:
            return None
        return self.value <= self.bound if self.relation == "at most" else self.value >= self.bound

    def to_json(self) -> dict[str, Any]:
        value = self.value if self.value is None or math.isfinite(self.value) else None
        told: dict[str, Any] = {
            "value": value,
            "bound": self.bound,
            "holds": self.holds,
            "relation": self.relation,
            "unit": self.unit,
            "runs": self.runs,
            "title": self.title,
            "group": self.group,
        }
        return told if self.skipped is None else {**told, "skipped": self.skipped}


def with_errors(share: float, runs: int, errors: float = 3.0) -> float:
    """The share, and so many standard errors of a share of that size in `runs` runs."""
    return share + errors * math.sqrt(share * (1 - share) / max(runs, 1))


def median_or(values: Sequence[int | None], missing: float) -> float:
    """The median, where None counts as `missing`: runs that never ended are the longest of all."""
    ordered = sorted(missing if value is None else float(value) for value in values)
    if not ordered:
        return missing
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
