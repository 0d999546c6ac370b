"""What was answered under durability "fsync" survives the loss of power; under "commit" it may not, and is not torn."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from record.clock import SystemClock
from record.db.database import Database
from record.logged import Batch, LogEntry
from record.prediction_log import PredictionLog
from service.commits import checkpoint
from service.commits.checkpoint import Checkpointer
from tests.record.power_loss import Disk, ForgettingDatabase

COMMITS = 400
OUTAGES = 8


@pytest.fixture
def disk(sqlite_database: Database) -> Iterator[Disk]:
    sqlite_database.engine.dispose()  # nobody else has the file open, and its log is folded into it
    disk = Disk()
    yield disk
    disk.unregister()


Way = Callable[[PredictionLog, list[Batch]], object]


def waiting(log: PredictionLog, batches: list[Batch]) -> None:
    """As the commits' thread logs."""
    log.append(batches)


def at_once(log: PredictionLog, batches: list[Batch]) -> None:
    """As the event loop logs, and the thread behind it."""
    assert log.append_now(batches) is not None
    log.sync()


def alone(log: PredictionLog, batches: list[Batch]) -> None:
    """As the event loop logs where the disk is quick."""
    assert log.append_now(batches) is not None
    log.sync_now()


def unsynced(log: PredictionLog, batches: list[Batch]) -> None:
    """As nobody may log under "fsync"."""
    assert log.append_now(batches) is not None


def answer(log: PredictionLog, n: int, way: Way) -> str:
    """Logs a batch of three and gives the id of its first, once it may be answered."""
    entries = [LogEntry(f"{n}-{place}", b"digest", '{"x": "' + "x" * 300 + '"}', '"late"') for place in range(3)]
    way(log, [Batch(entries, "v1", client_ids=True)])
    return entries[0].id


def found_after_power_loss(disk: Disk, folder: Path, chance: random.Random | None) -> set[str]:
    """The ids that are left, in a database that is whole: nothing half, and no row without its id."""
    disk.after_power_loss(folder, chance)
    with sqlite3.connect(folder / "record.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ids = {id for (id,) in connection.execute("SELECT id FROM predictions")}
        assert ids == {id for (id,) in connection.execute("SELECT id FROM prediction_ids")}
    connection.close()
    batches: dict[str, int] = {}
    for id in ids:
        batches[id.partition("-")[0]] = batches.get(id.partition("-")[0], 0) + 1
    assert set(batches.values()) <= {3}, "half a batch was logged"
    return ids


def outages(
    sqlite_database: Database, disk: Disk, folder: Path, durability: Literal["commit", "fsync"], way: Way = waiting
) -> Iterator[tuple[set[str], set[str]]]:
    """What was answered and what is found, when the power fails at moments that chance picks."""
    database = ForgettingDatabase(sqlite_database.url, durability=durability)
    database.disk = disk
    checkpointer = Checkpointer(database)
    log = PredictionLog(database, SystemClock(), timedelta(days=30))
    chance, answered = random.Random(5), set[str]()
    moments = {*chance.sample(range(COMMITS), OUTAGES - 1), COMMITS - 1}
    for n in range(COMMITS):
        answered.add(answer(log, n, way))
        if durability == "fsync" and n % 60 == 59:  # the log is begun anew several times
            checkpointer.run(n)
        if n in moments:
            for place, luck in enumerate((None, chance)):  # nothing unsynced reached the disk; or some of it did
                yield set(answered), found_after_power_loss(disk, folder / f"{n}-{place}", luck)
    log.close()
    database.close()


@pytest.mark.parametrize("way", [waiting, at_once, alone])
def test_fsync_loses_no_answer(
    sqlite_database: Database, disk: Disk, tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "LONG_FRAMES", 100)
    for answered, found in outages(sqlite_database, disk, tmp_path, "fsync", way):
        assert answered <= found
    assert disk.syncs >= COMMITS


def test_what_is_not_synced_yet_may_be_lost(
    sqlite_database: Database, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: so an answer waits for the sync."""
    monkeypatch.setattr(checkpoint, "LONG_FRAMES", 100)
    lost = [answered - found for answered, found in outages(sqlite_database, disk, tmp_path, "fsync", unsynced)]
    assert any(lost)


def test_commit_may_lose_answers_but_stays_whole(sqlite_database: Database, disk: Disk, tmp_path: Path) -> None:
    """The control: under the same layer the same test fails without fsync, and so can fail."""
    lost = [answered - found for answered, found in outages(sqlite_database, disk, tmp_path, "commit")]
    assert all(lost[::2]), "with nothing unsynced on the disk, the answers since the last checkpoint are gone"
    assert disk.syncs < COMMITS / 10
