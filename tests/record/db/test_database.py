from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from record.canonical import canonical_json
from record.clock import EPOCH, MICROSECOND, from_micros, to_micros
from record.db.database import Database
from record.db.file_lock import FileLock
from record.db.tables import clock, samples
from record.errors import SettingsError
from tests.waiting import wait_until

NOON = datetime(2024, 5, 1, 12, 0, 0, 123457, tzinfo=UTC)
ADD = "INSERT INTO clock (id, at) VALUES (:id, 0)"
COUNT = "SELECT count(*) FROM clock"


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.text(COUNT)).scalar_one())


def test_an_instant_comes_back_exactly_in_utc(database: Database) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-5)))
    with database.write() as connection:
        connection.execute(samples.insert(), {"name": "a", "labels": "{}", "value": 0.1, "at": elsewhere})
    with database.read() as connection:
        row = connection.execute(sa.select(samples)).one()
    assert (row.at, row.at.tzinfo, row.value) == (NOON, UTC, 0.1)


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_lose_nothing(at: datetime) -> None:
    assert from_micros(to_micros(at)) == at


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json({"b": 1.0, "a": ["ü", None]}) == '{"a":["ü",null],"b":1.0}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    def write_and_raise() -> None:
        with database.write() as connection:
            connection.execute(sa.text(ADD), {"id": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_raise()
    assert count(database) == 0
    with database.write() as connection:  # and the lock is free again
        connection.execute(sa.text(ADD), {"id": 1})
    assert count(database) == 1


def test_a_joined_write_commits_with_the_outer_one(database: Database) -> None:
    with database.write() as outer:
        with database.write(outer) as inner:
            inner.execute(sa.text(ADD), {"id": 1})
        assert count(database) == 0
    assert count(database) == 1


def test_a_read_sees_one_moment(database: Database) -> None:
    with database.read() as reader:
        assert reader.execute(sa.text(COUNT)).scalar() == 0
        with database.write() as writer:
            writer.execute(sa.text(ADD), {"id": 1})
        assert reader.execute(sa.text(COUNT)).scalar() == 0
    assert count(database) == 1


def test_writers_of_many_threads_queue(database: Database) -> None:
    """Read, add one, write back: not one of them is lost."""
    with database.write() as connection:
        connection.execute(sa.text(ADD), {"id": 1})

    def add_one() -> None:
        for _ in range(20):
            with database.write() as connection:
                row = sa.select(clock.c.at).where(clock.c.id == 1).with_for_update()
                connection.execute(clock.update().values(at=connection.execute(row).scalar_one() + MICROSECOND))

    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with database.read() as connection:
        assert connection.execute(sa.select(clock.c.at)).scalar() == EPOCH + 80 * MICROSECOND


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("what?", "is no database URL; expected sqlite:////absolute/path.db"),
        ("sqlite://", "lives in memory only"),
        ("mysql://localhost/x", "'mysql' is not supported; expected sqlite or postgresql"),
    ],
)
def test_an_unusable_url_is_refused_with_what_was_expected(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        Database(url)
    assert refused.value.field == "store.database"


@pytest.mark.parametrize(("durability", "synchronous"), [("commit", 1), ("fsync", 2), ("async", 1)])
def test_sqlite_syncs_as_asked(tmp_path: Path, durability: str, synchronous: int) -> None:
    (tmp_path / "record.db").touch()
    database = Database(f"sqlite:///{tmp_path}/record.db", durability=durability)  # type: ignore[arg-type]
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert database.connect_raw(1).execute("PRAGMA synchronous").fetchone() == (synchronous,)
    database.close()


def test_a_raw_connection_makes_no_new_record(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/record.db")
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        database.connect_raw(1)
    with pytest.raises(sa.exc.OperationalError, match="unable to open database file"), database.read():
        pass
    assert not (tmp_path / "record.db").exists()


def test_a_raw_connection_ends_with_the_database(database: Database) -> None:
    mine, other = database.connect_raw(1), database.connect_raw(1)
    assert mine.execute("SELECT 1").fetchone() == (1,)
    database.disconnect_raw(other)
    database.close()
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        mine.execute("SELECT 1")


def test_a_file_lock_is_released_by_the_death_of_its_holder(tmp_path: Path) -> None:
    """And until then nobody else of any process gets it."""
    path, held, taken = tmp_path / "lock", tmp_path / "held", threading.Event()
    code = (
        "import sys, time; from pathlib import Path; from record.db.file_lock import FileLock\n"
        "with FileLock(Path(sys.argv[1])): Path(sys.argv[2]).touch(); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, path, held], stdin=subprocess.PIPE, cwd=os.getcwd())
    wait_until(held.exists, 20, "the other process holds the lock")

    def take() -> None:
        with FileLock(path):
            taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not taken.wait(0.1)
    holder.kill()
    holder.communicate()
    assert taken.wait(10)
    thread.join(10)
