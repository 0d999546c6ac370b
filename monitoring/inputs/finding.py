"""What a look at the data found: the checks there are, single findings, and all of one window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Check = Literal[
    "missing", "out_of_range", "unseen_category", "type_failure", "constant", "duplicates", "unit_slip", "column_swap"
]
Severity = Literal["error", "warning"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning")
CHECKS: tuple[Check, ...] = (
    "missing", "out_of_range", "unseen_category", "type_failure", "constant", "duplicates", "unit_slip", "column_swap",
)  # fmt: skip

WHOLE_ROW = "*"  # the column of a finding about whole rows


@dataclass(frozen=True, slots=True)
class Example:
    """One offending value, as it would stand in JSON, and the request that brought it."""

    id: str
    value: str


@dataclass(frozen=True, slots=True)
class DataFinding:
    """`numbers` are counts and shares only; examples may be personal, and belong on pages, not in events."""

    check: Check
    column: str
    severity: Severity
    message: str
    numbers: Mapping[str, Any]
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class DataQualityReport:
    """What one look at a window found, the gravest first. `rows` were looked at, of `window_rows`."""

    rows: int
    window_rows: int
    findings: tuple[DataFinding, ...] = field(default=())

    @property
    def errors(self) -> tuple[DataFinding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def columns_by_check(self) -> dict[tuple[Check, Severity], int]:
        """How many columns each check found something in, by how bad that is; 0 where it found nothing."""
        counts = Counter((finding.check, finding.severity) for finding in self.findings)
        return {(check, severity): counts[check, severity] for check in CHECKS for severity in SEVERITIES}

    def facts(self) -> list[dict[str, Any]]:
        """The findings as an event keeps them: columns and numbers, no values."""
        return [
            {"check": f.check, "column": f.column, "severity": f.severity, **f.numbers} for f in self.findings
        ]  # fmt: skip
