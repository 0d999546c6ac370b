"""Whether a challenger of today's contract could answer the requests that were logged under the champion's."""

from __future__ import annotations

import json

from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema
from record.errors import DataError, InvalidRecord
from record.logged import LoggedRow
from record.record import Record

CHECKED_ROWS = 1_000  # the newest: a bout is fought on requests like them


def expect_readable_log(record: Record, before: ProblemSchema, now: ProblemSchema) -> None:
    """Raises DataError where a column has another type than the champion's, and the logged values are not of it.

    A challenger is judged on logged requests. It would fail on them, and be rejected for it.
    """
    was = {column.name: column.type for column in before.columns}
    changed = {c.name: c.type for c in now.columns if c.name in was and was[c.name] != c.type}
    if not changed:
        return
    rows = _newest(record)
    for name, type in changed.items():
        unreadable = sum(not _reads(now, name, row) for row in rows)
        if unreadable:
            raise DataError(
                f'columns.{name}.type: "{type}", and "{was[name]}" for the champion: {unreadable} of the newest '
                f"{len(rows)} logged requests hold a value that is no {type}, and a challenger would fail on them. Set "
                f'type = "{was[name]}" again; or give the new values a column of another name (required = false) and '
                f"drop {name} once a challenger that reads it has won",
                field=f"columns.{name}.type",
            )


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
