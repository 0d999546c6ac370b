from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from record.clock import SystemClock
from record.db.database import Database
from record.migrations.run import upgrade
from record.prediction_log import Batch, LogEntry, PredictionLog, new_ids
from service.commits import checkpoint
from service.commits.checkpoint import COMMITS, Checkpointer, commits_worth


@pytest.fixture
def embedded(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path}/record.db")
    upgrade(database)
    return database


def _write(connection: sqlite3.Connection, rows: int) -> None:
    for number in range(rows):
        connection.execute("INSERT INTO clock (id, at) VALUES (?, 0)", (number + 2,))


def _in_database_file(database: Database) -> int:
    """The rows that the file alone holds, without its write-ahead log."""
    assert database.path is not None
    alone = database.path.with_name("alone.db")
    alone.write_bytes(database.path.read_bytes())
    with sqlite3.connect(alone) as connection:
        return int(connection.execute("SELECT count(*) FROM clock").fetchone()[0])


def test_a_round_moves_what_was_committed_into_the_database_file(embedded: Database) -> None:
    writer = embedded.connect_raw(1)
    Checkpointer(embedded).run(0)
    before = _in_database_file(embedded)
    _write(writer, 2000)  # 8 MB of log, which SQLite by itself would have begun to move
    assert _in_database_file(embedded) == before
    Checkpointer(embedded).run(2000)
    assert _in_database_file(embedded) == before + 2000


def test_a_long_log_is_begun_anew(embedded: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while another connection goes on writing: the file stays as long as it is."""
    monkeypatch.setattr(checkpoint, "LONG_FRAMES", 500)
    assert embedded.path is not None
    log = embedded.path.with_name(embedded.path.name + "-wal")
    writer, checkpointer = embedded.connect_raw(1), Checkpointer(embedded)
    sizes = []
    for start in range(4):
        for number in range(600):
            writer.execute("INSERT INTO clock (id, at) VALUES (?, 0)", (start * 600 + number + 2,))
        checkpointer.run(600 * (start + 1))
        sizes.append(log.stat().st_size)
    assert sizes[-1] <= sizes[0] * 1.1


def test_a_reader_holds_nobody_up(embedded: Database) -> None:
    writer, reader = embedded.connect_raw(1), embedded.connect_raw(1)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM clock").fetchone()
    _write(writer, 100)
    Checkpointer(embedded).run(100)
    assert reader.execute("SELECT count(*) FROM clock").fetchone()[0] == 0
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM clock").fetchone()[0] == 100


def test_a_round_is_due_after_enough_commits(embedded: Database) -> None:
    checkpointer = Checkpointer(embedded)
    assert not checkpointer.due(0)
    assert not checkpointer.due(COMMITS - 1)
    assert checkpointer.due(COMMITS)
    checkpointer.run(COMMITS)
    assert not checkpointer.due(COMMITS + 1)


@pytest.mark.parametrize("rows", [100, 1000])
def test_a_batch_counts_as_the_commits_whose_log_it_fills(embedded: Database, rows: int) -> None:
    """Else a client of large batches would fill the log between two rounds, and SQLite move it within a commit."""
    log = PredictionLog(embedded, SystemClock(), timedelta(days=1))
    single = _log_bytes(embedded, log, rows=1, commits=50)
    batch = _log_bytes(embedded, log, rows=rows, commits=5)
    assert 0.5 < batch / single / commits_worth(rows) < 2


def _log_bytes(database: Database, log: PredictionLog, rows: int, commits: int) -> float:
    """What one commit of so many predictions adds to the write-ahead log."""
    assert database.path is not None
    record = '{"carrier":"UA","distance":2475.0,"note":"' + "x" * 200 + '"}'
    connection = database.connect_raw(1)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(commits):
        entries = [LogEntry(id, b"d" * 16, record, '"late"', None, None, 3) for id in new_ids(rows)]
        log.append([Batch(entries, "v1", None, False)])
    size = database.path.with_name(database.path.name + "-wal").stat().st_size
    database.disconnect_raw(connection)
    return size / commits


def test_a_round_that_fails_leaves_the_next_one_a_new_connection(
    embedded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    connect = embedded.connect_raw

    def connected(seconds: float) -> sqlite3.Connection:
        opened.append(connect(seconds))
        return opened[-1]

    monkeypatch.setattr(embedded, "connect_raw", connected)
    checkpointer = Checkpointer(embedded)
    checkpointer.run(0)
    opened[0].close()  # as after an error of the disk, behind which it is of no use
    with pytest.raises(sqlite3.Error):
        checkpointer.run(COMMITS)
    checkpointer.run(2 * COMMITS)
    assert len(opened) == 2
