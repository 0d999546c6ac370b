"""What was asked for and decided is let go after a time, and never while it still comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import requests
from record.events import Event
from record.record import Record
from record.work.requests import Asked, Requests
from tests.records import record_on

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def record(database: Database, tmp_path: Path, clock: ManualClock) -> Record:
    return record_on(database, tmp_path, clock)


def nothing(_: Sequence[Asked]) -> Sequence[Event]:
    return ()


def send(held: Requests, *keys: str, pending: bool = False) -> int:
    asked = [Asked(key, "an alert", {}, pending) for key in keys]
    return len(held.add_all("alert", asked, "alertmanager", nothing))


def keys(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(sa.select(requests.c.key)).scalars())


def test_what_was_decided_long_ago_is_forgotten(record: Record, clock: ManualClock) -> None:
    held = record.requests
    assert send(held, "old") == 1
    assert send(held, "waits", pending=True) == 1
    clock.advance(60 * DAY)
    assert send(held, "new") == 1
    clock.advance(40 * DAY)
    assert held.forget_decided(clock.now() - 90 * DAY) == 1
    assert keys(record.database) == {"waits", "new"}
    assert send(held, "old") == 1  # it is new again


def test_an_alert_that_fires_for_months_is_one_request(record: Record, clock: ManualClock) -> None:
    """It comes again and again with the time at which it began, and is taken once."""
    held = record.requests
    assert send(held, "fires", "fired once", pending=True) == 2
    assert held.decide_until(held.pending()[-1].request) == 2
    for _ in range(200):
        clock.advance(DAY)
        assert send(held, "fires") == 0
        held.forget_decided(clock.now() - 90 * DAY)
    assert keys(record.database) == {"fires"}


def test_a_storm_is_forgotten_in_several_transactions(record: Record, clock: ManualClock) -> None:
    for start in range(0, 2500, 500):
        assert send(record.requests, *(f"a{start + n}" for n in range(500))) == 500
    clock.advance(91 * DAY)
    assert record.requests.forget_decided(clock.now() - 90 * DAY) == 2500
    assert keys(record.database) == set()
