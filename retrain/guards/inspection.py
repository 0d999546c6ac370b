"""Guards between reading and searching: what is wrong with the data, as findings.

What is certain to spoil a model stops the run; what only looks so is shown, logged and kept. `[guards]` may make of
every finding an error, a warning, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from record.configuration.loop_sections import GuardSettings
from record.errors import DataError
from retrain.data.dataset import Dataset
from retrain.data.variable import variables
from retrain.guards.finding import Finding
from retrain.guards.idle_columns import find_constants, find_identifiers
from retrain.guards.label_signs import find_label_signs
from retrain.guards.leakage import find_leaks
from retrain.guards.representation import Population, find_unrepresented
from retrain.guards.target import find_small_classes, find_target_drift
from retrain.guards.twins import find_disputes, find_duplicates, read_rows


@dataclass(frozen=True, slots=True)
class GuardContext:
    """What the rows do not say themselves."""

    settings: GuardSettings
    held: int  # the newest rows, held out to judge by
    populations: Mapping[str, Population] = field(default_factory=dict)  # column → its groups' shares


class DataRefused(DataError):
    """Findings that stop a run; `findings` are all of it, warnings too."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [finding for finding in findings if finding.severity == "error"]
        super().__init__("; ".join(map(str, errors)))
        self.findings = tuple(findings)


def inspect_data(data: Dataset, context: GuardContext) -> tuple[Finding, ...]:
    """Findings, errors first. Pure, the same every time: 50,000 rows of 20 columns take about two seconds."""
    levels: Mapping[str, str] = context.settings.levels()
    found = [_graded(finding, levels[finding.check]) for finding in _look(data, context, levels)]
    return tuple(sorted((finding for finding in found if finding is not None), key=lambda finding: finding.severity))


def refuse(findings: Sequence[Finding]) -> None:
    """Raises DataRefused where one of them is an error."""
    if any(finding.severity == "error" for finding in findings):
        raise DataRefused(findings)


def _graded(finding: Finding, level: str) -> Finding | None:
    if level == "off":
        return None
    if level == "certain":
        return finding
    return replace(finding, severity="error" if level == "error" else "warning")


def _look(data: Dataset, context: GuardContext, levels: Mapping[str, str]) -> Iterator[Finding]:
    held = context.held
    if levels["leakage"] != "off":
        yield from find_leaks(data, held)
    rows = read_rows(data)
    yield from find_duplicates(rows, held)
    features = variables(data)
    yield from find_constants(data, features)
    yield from find_identifiers(data, features)
    if levels["label_noise"] != "off":
        yield from find_disputes(data, rows)
        yield from find_label_signs(data, features)
    yield from find_small_classes(data, held)
    yield from find_target_drift(data, held)
    yield from find_unrepresented(data, context.populations)
