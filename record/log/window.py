"""A span of the prediction log, counted and sampled by the database: a million rows are never all brought here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from record.clock import from_micros
from record.db.database import Database
from record.db.tables import predictions

CHUNK_ROWS = 5_000  # 200 columns of JSON in each are 15 MB

# Row numbers times the golden ratio, modulo a prime, fall evenly over the span and never in step with a period of
# the traffic: the ratio is the hardest of all to approximate by fractions. The product stays below 2^62.
_PRIME = 2_147_483_647
_GOLDEN = 1_327_217_884  # prime / 1.618…


@dataclass(frozen=True, slots=True)
class LogSpan:
    """Requests between two times, both included. `since` and `until` are those of its first and last request."""

    rows: int
    since: datetime | None = None
    until: datetime | None = None

    def age(self, as_of: datetime) -> timedelta:
        """How old its oldest request is."""
        return as_of - self.since if self.since is not None else timedelta(0)


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Consecutive rows of a sample, as columns."""

    ids: tuple[str, ...]
    requested_at: tuple[int, ...]  # microseconds since 1970
    model_versions: tuple[str, ...]
    records: tuple[str, ...]  # JSON
    predictions: tuple[str, ...]  # JSON scalars
    probabilities: tuple[str | None, ...]  # JSON objects class → probability


def log_span(database: Database, as_of: datetime, length: timedelta, min_rows: int) -> LogSpan:
    """The requests of the last `length`; where these are fewer than `min_rows`, the last `min_rows` before `as_of`.

    On low traffic the span so reaches back, at the furthest to the log's beginning. Requests of one moment belong
    together: all of them are in it or none.
    """
    at = predictions.c.requested_at
    with database.read() as connection:
        span = _measure(connection, sa.and_(at > as_of - length, at <= as_of))
        if span.rows >= min_rows:
            return span
        last = sa.select(at).where(at <= as_of).order_by(at.desc()).limit(min_rows).subquery()
        oldest = connection.execute(sa.select(sa.func.min(_micros(last.c.requested_at)))).scalar()
        if oldest is None:
            return LogSpan(0)
        return _measure(connection, sa.and_(at >= from_micros(oldest), at <= as_of))


def sample_span(database: Database, span: LogSpan, most: int) -> Iterator[LogChunk]:
    """The span's rows in request order; of more than `most` an even sample of at least `most`, the same every time.

    The database chooses by row number, so that rows which are left out are never read.
    """
    if not span.rows:
        return
    at = predictions.c.requested_at
    query = sa.select(
        predictions.c.id,
        _micros(at),
        predictions.c.model_version,
        predictions.c.record,
        predictions.c.prediction,
        predictions.c.probabilities,
    ).where(at >= span.since, at <= span.until)
    if span.rows > most:
        # One in a hundred more: the golden ratio is even, not exact.
        query = query.where(even_share(1.01 * most / span.rows))
    query = query.order_by(at, predictions.c.seq)
    with database.read() as connection:
        result = connection.execution_options(stream_results=True).execute(query)
        for rows in result.partitions(CHUNK_ROWS):
            yield LogChunk(*zip(*rows, strict=True))


def even_share(share: float) -> sa.ColumnElement[bool]:
    """True of about that share of the logged rows, evenly over any span of them, and of the same ones every time."""
    place = (predictions.c.seq % _PRIME) * _GOLDEN % _PRIME
    return place < int(_PRIME * min(1.0, share))


def _measure(connection: sa.Connection, chosen: sa.ColumnElement[bool]) -> LogSpan:
    at = predictions.c.requested_at
    query = sa.select(sa.func.count(), sa.func.min(_micros(at)), sa.func.max(_micros(at))).where(chosen)
    rows, since, until = connection.execute(query).one()
    return LogSpan(rows, from_micros(since), from_micros(until)) if rows else LogSpan(0)


def _micros(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.type_coerce(column, sa.BigInteger)
