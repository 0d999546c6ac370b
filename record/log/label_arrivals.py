"""When labels came, counted by the database: millions of them are some thousand minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from record.clock import from_micros
from record.db.database import Database
from record.db.tables import labels, predictions

MINUTE_MICROS = 60_000_000


@dataclass(frozen=True, slots=True)
class LabelArrivals:
    """First labels (not corrections) by the minute in which they came, oldest first, and how many in each."""

    minutes: tuple[datetime, ...]
    counts: tuple[int, ...]
    last: datetime | None  # of all labels, however long ago


def label_arrivals(database: Database, after: datetime, until: datetime) -> LabelArrivals:
    """Of labels with after < received ≤ until, by the record's clock."""
    at = sa.type_coerce(labels.c.received_at, sa.BigInteger)
    minute = (at - at % MINUTE_MICROS).label("minute")
    query = sa.select(minute, sa.func.count()).where(~labels.c.correction, labels.c.received_at <= until)
    last = sa.select(sa.func.max(at)).where(labels.c.received_at <= until)
    with database.read() as connection:
        rows = connection.execute(query.where(labels.c.received_at > after).group_by(minute).order_by(minute)).all()
        newest = connection.execute(last).scalar()
    times = tuple(from_micros(int(row[0])) for row in rows)
    return LabelArrivals(
        times, tuple(int(row[1]) for row in rows), None if newest is None else from_micros(int(newest))
    )


def requests_between(database: Database, after: datetime, until: datetime) -> int:
    """Requests with after < time ≤ until."""
    at: sa.ColumnElement[Any] = predictions.c.requested_at
    query = sa.select(sa.func.count()).select_from(predictions).where(at > after, at <= until)
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())
