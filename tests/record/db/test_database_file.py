"""A SQLite file and its write-ahead log: what belongs together is never refused, and what does not is."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.db.database import Database
from tests.waiting import wait_until

# Commits rows and moves the log into the file now and then, until it is killed.
WRITER = """
import random, sqlite3, sys, time
sys.path.insert(0, {root!r})
from record.db.database import Database
database = Database("sqlite:///" + sys.argv[1])
chance, connection = random.Random(int(sys.argv[2])), database.connect_raw(30)
while True:
    with database.exclusive():
        assert connection.current
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (text) VALUES (?)", (chance.randbytes(chance.randint(1, 3000)).hex(),))
        if chance.random() < 0.05:
            connection.execute("DELETE FROM rows WHERE number % 5 = 0")
        connection.execute("COMMIT")
    if chance.random() < 0.05:
        assert connection.current
        connection.execute(f"PRAGMA wal_checkpoint({{chance.choice(['PASSIVE', 'PASSIVE', 'RESTART', 'TRUNCATE'])}})")
    with database.read() as reading:
        print(reading.exec_driver_sql("SELECT count(*) FROM rows").scalar(), flush=True)
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "record.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, text)")
    file.with_name("record.db.lock").touch()
    return file


def add(database: Database, count: int) -> None:
    for _ in range(count):
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO rows (text) VALUES (hex(randomblob(300)))")


def rows(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM rows").scalar_one())


def beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def checkpoint(database: Database, mode: str = "PASSIVE") -> None:
    with closing(database._open_sqlite(5)) as connection:
        connection.execute(f"PRAGMA wal_checkpoint({mode})")


class Killed:
    """A record that was written to, and whose processes were killed: file, log and index lie as they were left."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *modes: str, each: int = 30, at_end: int = 30, backup: Callable[[Path], None] | None = None) -> None:
        """In a child that ends itself without closing anything; the backup is made before its last rows."""
        pid = os.fork()
        if pid == 0:
            try:
                database = Database(f"sqlite:///{self.path}")
                for mode in modes:
                    add(database, each)
                    checkpoint(database, mode)
                if backup is not None:
                    add(database, 5)
                    backup(self.path)
                add(database, at_end)
                database.file.check()  # type: ignore[union-attr]
            except BaseException:  # noqa: BLE001 - a fork of pytest must not come back
                os._exit(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


@pytest.fixture
def killed(path: Path) -> Killed:
    return Killed(path)


def online_backup(path: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(beside(path, ".backup"))) as target:
        source.backup(target)


def plain_copy(path: Path) -> None:
    shutil.copyfile(path, beside(path, ".backup"))


def vacuum_into(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as source:
        source.execute(f"VACUUM INTO '{beside(path, '.backup')}'")


def cp(path: Path) -> None:
    subprocess.run(["cp", beside(path, ".backup"), path], check=True)


def mv_and_cp(path: Path) -> None:
    path.rename(beside(path, ".old"))
    cp(path)


def rm_and_cp(path: Path) -> None:
    path.unlink()
    cp(path)


def rename(path: Path) -> None:
    os.replace(beside(path, ".backup"), path)


def cp_with_times(path: Path) -> None:
    subprocess.run(["cp", "-p", beside(path, ".backup"), path], check=True)


HISTORIES = ((), ("PASSIVE",), ("PASSIVE", "PASSIVE"), ("RESTART",), ("PASSIVE", "RESTART"), ("RESTART", "PASSIVE"))


# A plain copy of a file that no checkpoint has written to, put back with its times, is what was there.
RESTORES = [
    (backup, restore, modes)
    for backup in (online_backup, plain_copy, vacuum_into)
    for restore in (cp, cp_with_times, mv_and_cp, rm_and_cp, rename)
    for modes in HISTORIES
    if modes or (backup, restore) != (plain_copy, cp_with_times)
]


@pytest.mark.parametrize(("backup", "restore", "modes"), RESTORES)
def test_a_backup_that_is_put_beside_an_old_log_is_refused_until_the_log_is_gone(
    killed: Killed, backup: Callable[[Path], None], restore: Callable[[Path], None], modes: tuple[str, ...]
) -> None:
    """After kill -9, in every way in which people restore."""
    killed.run(*modes, backup=backup)
    path, database = killed.path, Database(f"sqlite:///{killed.path}")
    with closing(sqlite3.connect(f"file:{beside(path, '.backup')}?immutable=1", uri=True)) as held:
        expected = held.execute("SELECT count(*) FROM rows").fetchone()[0]
    restore(path)
    with pytest.raises(sa.exc.OperationalError, match="was replaced") as refused:
        rows(database)
    assert "move record.db-wal and record.db-shm away" in str(refused.value)
    before = path.read_bytes()
    database.close()
    assert path.read_bytes() == before, "nothing was written to it"
    for end in ("-wal", "-shm"):
        beside(path, end).unlink()
    again = Database(f"sqlite:///{path}")
    assert rows(again) == expected
    add(again, 3)
    assert rows(again) == expected + 3
    again.close()


@pytest.mark.parametrize("modes", HISTORIES, ids="-".join)
def test_a_record_whose_processes_were_killed_is_opened(killed: Killed, modes: tuple[str, ...]) -> None:
    for _ in range(3):
        killed.run(*modes)
    database = Database(f"sqlite:///{killed.path}")
    assert rows(database) == 3 * (30 * len(modes) + 30)
    database.close()


@pytest.mark.parametrize("lost", [".lock", "-shm"])
def test_a_record_without_its_stamp_or_its_index_is_opened(killed: Killed, lost: str) -> None:
    """As after a copy of the file and its log alone, or a loss of power."""
    killed.run("PASSIVE")
    beside(killed.path, lost).unlink()
    database = Database(f"sqlite:///{killed.path}")
    assert rows(database) == 60
    database.close()


def test_a_whole_folder_that_is_copied_is_opened(killed: Killed, tmp_path: Path) -> None:
    killed.run("PASSIVE", "RESTART")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("record.db*"):
        shutil.copyfile(file, copy / file.name)
    database = Database(f"sqlite:///{copy / 'record.db'}")
    assert rows(database) == 90
    database.close()


def test_file_and_log_that_are_put_back_together_are_opened(killed: Killed, tmp_path: Path) -> None:
    """From a snapshot of both, over what was there, in place."""
    killed.run("PASSIVE")
    for end in ("", "-wal"):
        shutil.copyfile(beside(killed.path, end), tmp_path / f"snapshot{end}")
    expected = 60
    killed.run("RESTART", "PASSIVE")
    for end in ("", "-wal"):
        shutil.copyfile(tmp_path / f"snapshot{end}", beside(killed.path, end))
    database = Database(f"sqlite:///{killed.path}")
    assert rows(database) == expected
    database.close()


@pytest.mark.parametrize("restore", [cp, mv_and_cp, rename])
def test_an_open_record_that_is_replaced_is_neither_read_nor_written(
    path: Path, restore: Callable[[Path], None]
) -> None:
    """Nor does the close of its connections move the old log into the backup."""
    database = Database(f"sqlite:///{path}")
    add(database, 30)
    online_backup(path)
    add(database, 10)
    checkpoint(database)
    raw = database.connect_raw(1)
    backup = beside(path, ".backup").read_bytes()
    restore(path)
    assert not raw.current
    for _ in range(3):
        with pytest.raises(sa.exc.OperationalError, match="was replaced"):
            rows(database)
        with pytest.raises(sa.exc.OperationalError, match="was replaced"):
            add(database, 1)
    database.close()
    assert path.read_bytes() == backup


def test_a_record_that_is_moved_away_and_back_is_the_same(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    add(database, 10)
    path.rename(beside(path, ".away"))
    with pytest.raises(sa.exc.OperationalError, match="unable to open"):
        rows(database)
    beside(path, ".away").rename(path)
    assert rows(database) == 10
    add(database, 1)
    assert rows(database) == 11
    database.close()


@pytest.fixture
def writers(path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_processes_that_write_checkpoint_and_are_killed_are_never_refused(
    path: Path, writers: list[subprocess.Popen[str]]
) -> None:
    """Three at a time, one after the other killed and started again, at any moment of a commit or a checkpoint."""

    def start(seed: int) -> subprocess.Popen[str]:
        code = WRITER.format(root=str(ROOT))
        arguments = [sys.executable, "-c", code, str(path), str(seed)]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    writers += [start(seed) for seed in range(3)]
    for turn in range(12):
        process = writers[turn % 3]
        assert process.stdout is not None
        for _ in range(40):
            assert process.stdout.readline(), process.communicate()[1][-3000:]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        writers[turn % 3] = start(100 + turn)
    for process in writers:
        process.kill()
        _, error = process.communicate()
        assert not error, error[-3000:]
    wait_until(lambda: all(process.poll() is not None for process in writers), 10)
    database = Database(f"sqlite:///{path}")
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    database.close()
