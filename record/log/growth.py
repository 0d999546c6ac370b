"""How fast the log grows, from its rows' own times: known at once, and after a restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from record.db.database import Database
from record.db.tables import SCHEMA, predictions

DAY: Final = timedelta(days=1)
LONGEST: Final = timedelta(days=7)  # so that a week's quiet days count as often as they come
NEWEST: Final = 1000  # rows whose length is measured
# A record without rows has about so much; a row's indexes and id beside its own text.
EMPTY_BYTES: Final = 400_000
ROW_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class LogGrowth:
    """`bytes` is the whole record's, with labels, scores and indexes; `rows` are predictions."""

    bytes: int
    rows: int
    rows_per_day: float
    bytes_per_day: float

    def days_left(self, free: int, retention: timedelta | None = None) -> float | None:
        """Days until `free` bytes are used up; None where the log does not grow, or stops before by its retention."""
        if self.bytes_per_day <= 0:
            return None
        days = free / self.bytes_per_day
        if retention is None:
            return days
        still = max(0.0, self.bytes_per_day * (retention / DAY) - self.bytes)
        return None if still < free else days


def log_growth(database: Database, machine: datetime) -> LogGrowth:
    """Over the last week, or the log's age where it is younger; what came within its first day counts as a day's.

    In milliseconds however much the log holds: rows are found by their numbers, which are given in the order of
    answering.
    """
    with database.read() as connection:
        lowest, highest = (connection.execute(sa.select(of(predictions.c.seq))).scalar() for of in _ENDS)
        held = _record_bytes(connection)
        if lowest is None or highest is None:
            return LogGrowth(held, 0, 0.0, 0.0)
        rows = highest - lowest + 1
        oldest = _answered_at(connection, lowest)
        span = LONGEST if oldest is None else min(LONGEST, max(DAY, machine - oldest))
        recent = highest - _first_since(connection, lowest, highest, machine - span) + 1
        row_bytes = max(_row_bytes(connection, highest), (held - EMPTY_BYTES) / rows)
    per_day = recent / (span / DAY)
    return LogGrowth(held, rows, per_day, per_day * row_bytes)


_ENDS: Final = (sa.func.min, sa.func.max)


def _answered_at(connection: sa.Connection, seq: int) -> datetime | None:
    """When the first row from that number on was answered; None where there is none."""
    query = sa.select(predictions.c.answered_at).where(predictions.c.seq >= seq).order_by(predictions.c.seq).limit(1)
    return connection.execute(query).scalar()


def _first_since(connection: sa.Connection, low: int, high: int, since: datetime) -> int:
    """The first number whose row was answered from then on; one beyond `high` where none was."""
    end = high + 1
    while low < end:
        middle = (low + end) // 2
        at = _answered_at(connection, middle)
        if at is not None and at < since:
            low = middle + 1
        else:
            end = middle
    return low


def _row_bytes(connection: sa.Connection, highest: int) -> float:
    texts = (predictions.c.record, predictions.c.prediction, predictions.c.probabilities, predictions.c.marks)
    length = sum((sa.func.coalesce(sa.func.length(text), 0) for text in texts), sa.literal(ROW_BYTES))
    query = sa.select(sa.func.avg(length)).where(predictions.c.seq > highest - NEWEST)
    return float(connection.execute(query).scalar() or ROW_BYTES)


def _record_bytes(connection: sa.Connection) -> int:
    """What rows and indexes take; free pages within a SQLite file are used again, and count for nothing."""
    if connection.dialect.name == "sqlite":
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
    query = sa.text(
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relkind = 'r'"
    )
    return int(connection.execute(query, {"schema": SCHEMA}).scalar_one())
