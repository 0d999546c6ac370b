"""What is predicted from what: as ringside.toml says, else as the champion was trained for, else as the data shows."""

from __future__ import annotations

from dataclasses import replace

from record.configuration.inspection import SAMPLE_ROWS, infer_columns
from record.contract.schema import ProblemSchema, Schema
from record.errors import DataError
from record.log_lines import log_line
from record.settings import Settings
from record.tables.table_sample import read_table_sample
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
    path = source_files(settings.data.source)[0]
    sample = read_table_sample(path, SAMPLE_ROWS, problem.target, settings.data.reading_rules())
    columns, findings = infer_columns(
        sample.frame,
        problem.target,
        task=problem.task,
        time_column=problem.time_column,
        id_column=problem.id_column,
        protected=problem.protected,
        time_features=problem.time_features,
    )
    for finding in findings:
        log_line("column inferred", column=finding.column, finding=finding.kind, message_text=finding.message)
    bare = ProblemSchema(problem.task, problem.target, columns, problem.positive_text())
    return replace(
        bare, time_column=problem.time_column, id_column=problem.id_column, protected=tuple(problem.protected)
    )
