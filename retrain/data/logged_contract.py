"""What a change of [columns] means for the requests that were logged under the champion's contract.

A challenger is judged on logged requests, and its contract is the service's once it is champion. So a change is done in
steps, each of which the log and the applications can follow; docs/retraining.md ("Changing columns") shows them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from record.contract.columns import Column
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema
from record.errors import DataError, InvalidRecord
from record.log_lines import log_line
from record.logged import LoggedRow
from record.record import Record

CHECKED_ROWS = 1_000  # the newest: a bout is fought on requests like them


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One change. `message` says what it means and what to do; `refused`: a challenger or requests would fail."""

    field: str  # the key of ringside.toml
    message: str
    refused: bool


def expect_readable_log(record: Record, before: ProblemSchema, now: ProblemSchema) -> None:
    """Raises DataError for the first change that a challenger would fail for, or applications once it is champion.

    Other changes are logged.
    """
    for change in column_changes(record, before, now):
        if change.refused:
            raise DataError(change.message, field=change.field)
        log_line("column changed", column=change.field, message_text=change.message)


def column_changes(record: Record, before: ProblemSchema, now: ProblemSchema) -> list[ColumnChange]:
    """The changes from the champion's contract to today's, what they mean for the newest logged requests first."""
    was = {column.name: column for column in before.columns}
    kept = {column.name: column for column in now.columns}
    if was == kept:
        return []
    rows = _newest(record)
    found = [_added(column, rows) for column in now.columns if column.name not in was]
    found += [_removed(column, rows) for column in before.columns if column.name not in kept]
    both = [(was[name], kept[name]) for name in kept if name in was and was[name] != kept[name]]
    found += [_changed(old, new, now, rows) for old, new in both]
    changes = [change for change in found if change is not None]
    return sorted(changes, key=lambda change: not change.refused)


def _added(column: Column, rows: Sequence[LoggedRow]) -> ColumnChange | None:
    field = f"columns.{column.name}"
    carrying = _carrying(column.name, rows)
    if column.role == "carried":
        step = "applications may send it once the version of this run is champion"
        if column.required and rows:
            message = (
                f"{field}: added as required; every request without it will be refused then. Expected required = false"
            )
            return ColumnChange(f"{field}.required", message, refused=True)
        return ColumnChange(field, f"{field}: added, carried: {step}", refused=False)
    if carrying == len(rows):
        return None
    send = "let the service fill it (arrival = true, and a restart)" if column.arrival else "let applications send it"
    message = (
        f"{field}: added as a feature, and {len(rows) - carrying} of the newest {len(rows)} logged requests do not "
        f'carry it: a challenger would be judged without it. Set role = "carried" and required = false; retrain, and '
        f"promote that version; {send}; when the log has it, set the role feature and retrain"
    )
    without = column.required and _sending(column.name, rows) < len(rows)
    return ColumnChange(f"{field}.role", message, refused=without or carrying == 0)


def _removed(column: Column, rows: Sequence[LoggedRow]) -> ColumnChange:
    field, sending = f"columns.{column.name}", _sending(column.name, rows)
    if sending == 0:
        return ColumnChange(field, f"{field}: removed, and no logged request carries it", refused=False)
    message = (
        f"{field}: removed, and {sending} of the newest {len(rows)} logged requests carry it: they would be refused "
        'once the new version is champion. Set role = "carried" and required = false; retrain; remove the section when '
        "applications no longer send it"
    )
    return ColumnChange(field, message, refused=True)


def _changed(was: Column, now: Column, problem: ProblemSchema, rows: Sequence[LoggedRow]) -> ColumnChange | None:
    field = f"columns.{now.name}"
    if was.type != now.type:
        unreadable = sum(not _reads(problem, now.name, row) for row in rows)
        if unreadable:
            message = (
                f'{field}.type: "{now.type}", and "{was.type}" for the champion: {unreadable} of the newest '
                f"{len(rows)} logged requests hold a value that is no {now.type}, and a challenger would fail on them. "
                f'Set type = "{was.type}" again; or give the new values a column of another name (required = false) '
                f"and drop {now.name} once a challenger that reads it has won"
            )
            return ColumnChange(f"{field}.type", message, refused=True)
    if was.arrival and not now.arrival and now.required and rows:
        message = (
            f"{field}.arrival: false now, and required: the service filled the column where requests lack it, and the "
            "log does not say which. Expected required = false until a version without arrival shows who sends it"
        )
        return ColumnChange(f"{field}.required", message, refused=True)
    if now.required and not was.required:
        lacking = len(rows) - _sending(now.name, rows)
        if lacking:
            message = (
                f"{field}.required: true now, and {lacking} of the newest {len(rows)} logged requests lack it: they "
                "would be refused once the new version is champion. Expected required = false until all of them send it"
            )
            return ColumnChange(f"{field}.required", message, refused=True)
    if was.role == "carried" and now.role == "feature":
        lacking = len(rows) - _carrying(now.name, rows)
        if rows and lacking == len(rows):
            sender = "the service to fill it" if now.arrival else "applications to send it"
            message = (
                f"{field}.role: a feature now, and none of the newest {len(rows)} logged requests holds a value: a "
                f"challenger would be judged without it. Expected {sender} first (and no log.redact)"
            )
            return ColumnChange(f"{field}.role", message, refused=True)
        return ColumnChange(f"{field}.role", f"{field}.role: a feature now; {lacking} logged requests lack it", False)
    return ColumnChange(field, f"{field}: {_kind(was)} before, {_kind(now)} now", refused=False)


def _kind(column: Column) -> str:
    return f"{column.role} {column.type}" + (" filled with the arrival time" if column.arrival else "")


def _sending(name: str, rows: Sequence[LoggedRow]) -> int:
    """The number of requests that send the column, null or not: null satisfies `required`, and a redacted value is null
    in the log.
    """
    return sum(name in json.loads(row.record) for row in rows)


def _carrying(name: str, rows: Sequence[LoggedRow]) -> int:
    """The number of requests that hold a value in that column."""
    return sum(json.loads(row.record).get(name) is not None for row in rows)


def _newest(record: Record) -> list[LoggedRow]:
    """The newest logged requests."""
    last = record.log.last_seq()
    return record.log.between(max(0, last - CHECKED_ROWS), last)


def _reads(problem: ProblemSchema, name: str, row: LoggedRow) -> bool:
    """Whether the row's value of that column is of its type; a redacted or missing one is."""
    held = json.loads(row.record)
    column = next(column for column in problem.columns if column.name == name)
    alone = ProblemSchema(problem.task, problem.target, (column,))
    try:
        Decoder(alone).decode([{name: held.get(name)}])
    except InvalidRecord:
        return False
    return True
