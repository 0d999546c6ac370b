"""What a guard found in the data of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Check = Literal[
    "leakage",
    "duplicates",
    "constant",
    "identifier",
    "label_noise",
    "class_size",
    "target_drift",
    "representation",
    "broken_feed",
]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`column` is None for what concerns whole rows.

    Message and numbers name columns, classes and configured groups, counts and shares, never a record's values: they
    stand in events.
    """

    check: Check
    column: str | None
    severity: Severity
    message: str  # what was found, and what was expected
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "column": self.column,
            "severity": self.severity,
            "message": self.message,
            "numbers": dict(self.numbers),
        }

    def __str__(self) -> str:
        return (
            f"{self.check}: {self.message}" if self.column is None else f"{self.check}: {self.column}: {self.message}"
        )
