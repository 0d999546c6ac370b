"""What is predicted from what: as ringside.toml says, else as the champion was trained for, else as the data shows."""

from __future__ import annotations

from dataclasses import replace

from record.configuration.inspection import infer_columns, read_sample
from record.contract.schema import ProblemSchema, Schema, canonical_class
from record.errors import DataError
from record.log_lines import log_line
from record.settings import Settings
from retrain.data.source import source_files


def problem_schema(settings: Settings, champion: Schema | None) -> ProblemSchema:
    """Raises DataError where no column is named anywhere and there is no file to look at."""
    written = settings.problem_schema()
    if written is not None:
        return written
    if champion is not None:
        return champion.problem
    if settings.data.source is None or "://" in settings.data.source:
        raise DataError(
            "no columns: ringside.toml names none, and only a file as data.source can be looked at; "
            "expected [columns.NAME] sections",
            field="columns",
        )
    problem = settings.problem
    sample = read_sample(source_files(settings.data.source)[0], 200_000)
    columns, findings = infer_columns(
        sample,
        problem.target,
        task=problem.task,
        time_column=problem.time_column,
        id_column=problem.id_column,
        protected=problem.protected,
        time_features=problem.time_features,
    )
    for finding in findings:
        log_line("column inferred", column=finding.column, finding=finding.kind, message_text=finding.message)
    positive = problem.positive_class
    bare = ProblemSchema(problem.task, problem.target, columns, None if positive is None else canonical_class(positive))
    return replace(
        bare, time_column=problem.time_column, id_column=problem.id_column, protected=tuple(problem.protected)
    )
