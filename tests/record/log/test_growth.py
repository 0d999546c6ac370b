"""How fast the log grows, and how long there is room for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.clock import ManualClock, machine_now
from record.db.database import Database
from record.db.tables import predictions
from record.log.growth import LogGrowth, log_growth
from tests.records import record_on

START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(database: Database, times: list[datetime], text: str) -> None:
    rows = [
        {
            "xid": 0, "id": f"r{place}", "requested_at": at, "answered_at": at, "model_version": "v1",
            "record": json.dumps({"note": text}), "prediction": '"late"', "latency_micros": 5,
        }
        for place, at in enumerate(times)
    ]  # fmt: skip
    with database.write() as connection:
        for start in range(0, len(rows), 1000):
            connection.execute(sa.insert(predictions), rows[start : start + 1000])


def test_a_log_without_rows_does_not_grow(database: Database) -> None:
    growth = log_growth(database, START)
    assert (growth.rows, growth.bytes_per_day, growth.days_left(10**9)) == (0, 0, None)
    assert growth.bytes > 0


@pytest.mark.parametrize(("days", "per_day"), [(0.25, 4000), (1, 4000), (4, 1000), (20, 200)])
def test_growth_is_the_last_weeks_and_a_young_logs_is_a_days(database: Database, days: float, per_day: int) -> None:
    step = timedelta(days=days) / 4000
    now = START + timedelta(days=days)
    fill(database, [START + step * place for place in range(4000)], "x" * 2000)
    growth = log_growth(database, now)
    assert growth.rows == 4000
    assert growth.rows_per_day == pytest.approx(per_day, rel=0.01)
    # A row has its text and some hundred bytes besides; of this length SQLite has one on a page.
    assert 2000 < growth.bytes_per_day / growth.rows_per_day < 4500


def test_what_came_long_ago_is_no_growth(database: Database) -> None:
    fill(database, [START] * 2000, "x")
    growth = log_growth(database, START + timedelta(days=30))
    assert (growth.rows, growth.rows_per_day, growth.days_left(10**9)) == (2000, 0, None)


def test_forgotten_rows_leave_numbers_out_and_nothing_else(database: Database) -> None:
    now = START + timedelta(days=8)
    fill(database, [START + timedelta(days=8) * place / 4000 for place in range(4000)], "x" * 500)
    with database.write() as connection:
        connection.execute(sa.delete(predictions).where(predictions.c.seq % 1000 < 400, predictions.c.seq > 1000))
    assert log_growth(database, now).rows_per_day == pytest.approx(500, rel=0.15)


def test_days_left() -> None:
    growth = LogGrowth(bytes=10_000, rows=100, rows_per_day=10, bytes_per_day=1000)
    assert growth.days_left(50_000) == 50
    assert growth.days_left(50_000, timedelta(days=365)) == 50
    assert growth.days_left(50_000, timedelta(days=30)) is None  # it ends at 30,000 bytes


def test_a_real_logs_growth_is_near_its_files(sqlite_database: Database, tmp_path: Path) -> None:
    """Rows of a hundred letters, told as a day's by the file's own growth."""
    now = machine_now()
    fill(sqlite_database, [now - timedelta(hours=1)] * 20_000, "x" * 100)
    record = record_on(sqlite_database, tmp_path, ManualClock(now))
    growth = log_growth(record.database, now)
    assert growth.bytes_per_day == pytest.approx(growth.bytes - 400_000, rel=0.3)
