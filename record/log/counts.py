"""How much the log holds, in milliseconds however much that is.

Up to COUNTED rows are counted. Beyond that rows are told by their numbers, which are given one after the other: a
number that was given and not used (PostgreSQL, after a failed write) or whose row was forgotten counts, too.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from record.db.tables import labels, predictions
from record.logged import LogCounts

COUNTED = 100_000  # tens of milliseconds; a million took .7 s


def count_log(connection: sa.Connection, as_of: datetime, horizon: timedelta) -> LogCounts:
    """Over the whole log; only `pending` depends on the time."""
    rows = _rows(connection, predictions.c.seq)
    told = _rows(connection, labels.c.label_seq)
    return LogCounts(rows, told - _corrections(connection), _pending(connection, as_of - horizon))


def _rows(connection: sa.Connection, number: sa.Column[Any], since: int = 0) -> int:
    """How many rows of the number's table there are, from the number `since` on."""
    # One by one: SQLite reads the whole table where one query asks for both.
    lowest = connection.execute(sa.select(sa.func.min(number)).where(number >= since)).scalar()
    highest = connection.execute(sa.select(sa.func.max(number))).scalar()
    if lowest is None:
        return 0
    if highest - lowest >= COUNTED:
        return int(highest - lowest + 1)
    query = sa.select(sa.func.count()).select_from(number.table).where(number >= lowest)
    return int(connection.execute(query).scalar_one())


def _corrections(connection: sa.Connection, since: int = 0) -> int:
    # In the words of the index `labels_corrections`: SQLite uses it for no others.
    query = sa.select(sa.func.count()).select_from(labels).where(sa.text("correction"), labels.c.seq >= since)
    return int(connection.execute(query).scalar_one())


def _pending(connection: sa.Connection, cutoff: datetime) -> int:
    first = connection.execute(
        sa.select(predictions.c.seq)
        .where(predictions.c.requested_at > cutoff)
        .order_by(predictions.c.requested_at)
        .limit(1)
    ).scalar()
    if first is None:
        return 0
    immature = _rows(connection, predictions.c.seq, first)
    if immature > COUNTED:
        labelled = sa.select(sa.func.count()).select_from(labels).where(labels.c.seq >= first)
        return max(0, immature - int(connection.execute(labelled).scalar_one()) + _corrections(connection, first))
    waiting = sa.select(sa.func.count()).select_from(predictions)
    waiting = waiting.where(predictions.c.requested_at > cutoff, ~sa.exists().where(labels.c.seq == predictions.c.seq))
    return int(connection.execute(waiting).scalar_one())
