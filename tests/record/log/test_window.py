"""A span of the log is found, counted and sampled by the database, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from record.clock import EPOCH
from record.db.database import Database
from record.db.tables import predictions
from record.log.window import CHUNK_ROWS, LogSpan, log_span, sample_span

AS_OF = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def fill(database: Database, times: list[datetime]) -> None:
    rows = [
        {"xid": 0, "id": f"r{place}", "requested_at": at, "answered_at": at, "model_version": "v1", "record": "{}",
         "prediction": "1.0", "latency_micros": 1}
        for place, at in enumerate(times)
    ]  # fmt: skip
    with database.write() as connection:
        connection.execute(sa.insert(predictions), rows)


def ids(database: Database, span: LogSpan, most: int = 10**9) -> list[str]:
    return [id for chunk in sample_span(database, span, most) for id in chunk.ids]


def test_a_span_with_enough_rows_is_taken_as_it_is(database: Database) -> None:
    """Its end belongs to it, its beginning does not."""
    fill(database, [AS_OF - HOUR * hours for hours in range(-1, 48)])
    span = log_span(database, AS_OF, DAY, 10)
    assert span == LogSpan(24, AS_OF - 23 * HOUR, AS_OF)
    assert span.age(AS_OF) == 23 * HOUR


def test_on_low_traffic_a_span_reaches_back_to_the_rows_it_needs(database: Database) -> None:
    fill(database, [AS_OF - DAY * days - HOUR for days in range(100)])
    assert log_span(database, AS_OF, DAY, 30) == LogSpan(30, AS_OF - 29 * DAY - HOUR, AS_OF - HOUR)


def test_requests_of_one_moment_are_not_torn_apart(database: Database) -> None:
    fill(database, [AS_OF - 3 * DAY] * 50)
    assert log_span(database, AS_OF, DAY, 30).rows == 50


def test_reaching_back_ends_at_the_logs_beginning(database: Database) -> None:
    assert log_span(database, AS_OF, DAY, 30) == LogSpan(0)
    assert ids(database, LogSpan(0)) == []
    fill(database, [EPOCH, AS_OF - HOUR])
    assert log_span(database, AS_OF, DAY, 30) == LogSpan(2, EPOCH, AS_OF - HOUR)


def test_rows_come_in_request_order_and_all_of_them(database: Database) -> None:
    """Whatever order they were logged in; a chunk never holds more than it may."""
    count = CHUNK_ROWS + 10
    fill(database, [AS_OF - timedelta(seconds=place * 7 % count) for place in range(count)])
    span = log_span(database, AS_OF, DAY, 1)
    chunks = list(sample_span(database, span, count))
    assert [len(chunk.ids) for chunk in chunks] == [CHUNK_ROWS, 10]
    times = [at for chunk in chunks for at in chunk.requested_at]
    assert times == sorted(times)
    assert len(set(ids(database, span))) == count


@pytest.mark.parametrize("count", [1200, 20_000])
def test_a_sample_is_even_large_enough_and_the_same_every_time(database: Database, count: int) -> None:
    fill(database, [AS_OF - timedelta(seconds=count - place) for place in range(count)])
    span = log_span(database, AS_OF, DAY, 1)
    drawn = ids(database, span, 1000)
    assert 1000 <= len(drawn) <= 1030
    assert ids(database, span, 1000) == drawn
    places = [int(id[1:]) for id in drawn]
    halves = sum(place < count / 2 for place in places)
    assert abs(halves - len(drawn) / 2) < 10
