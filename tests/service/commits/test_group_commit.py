from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.clock import SystemClock
from record.db.database import Database
from record.errors import IdConflict, LogUnavailable, Overloaded
from record.prediction_log import Answer, Batch, LogEntry, Outcome, PredictionLog
from service.commits.group_commit import GroupCommit
from tests.waiting import wait_until

WINDOW = timedelta(days=30)


def batch(*ids: str, digest: bytes = b"same") -> Batch:
    entries = [LogEntry(id, digest, '{"x":1}', "1.5") for id in ids]
    return Batch(entries, "v1", client_ids=True)


def logged(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(sa.text("SELECT id FROM predictions")).scalars())


class GatedLog(PredictionLog):
    """Waits at the gate before it writes, and can be made to fail there."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, SystemClock(), WINDOW)
        self.gate = threading.Event()
        self.arrived = threading.Event()
        self.error: Exception | None = None

    def append_now(self, batches: Sequence[Batch]) -> None:
        """As if somebody else were writing: all is left to the thread."""

    def append(self, batches: Sequence[Batch]) -> list[Outcome]:
        self.arrived.set()
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return super().append(batches)


@pytest.fixture
def log(database: Database) -> PredictionLog:
    return PredictionLog(database, SystemClock(), WINDOW, patience_seconds=0.2)


@pytest.fixture
def commits(log: PredictionLog) -> Iterator[GroupCommit]:
    commits = GroupCommit(log)
    commits.start()
    yield commits
    commits.stop()


def submit(commits: GroupCommit, *batches: Batch) -> list[list[Answer] | BaseException]:
    """What became of each of them, submitted at the same time."""

    async def all_at_once() -> list[list[Answer] | BaseException]:
        return await asyncio.gather(*map(commits.submit, batches), return_exceptions=True)

    return asyncio.run(all_at_once())


def test_requests_that_wait_together_share_a_commit(sqlite_database: Database) -> None:
    log, rows = GatedLog(sqlite_database), list[int]()
    commits = GroupCommit(log, on_commit=lambda seconds, count: rows.append(count))
    commits.start()

    async def scene() -> None:
        first = asyncio.create_task(commits.submit(batch("first")))
        await asyncio.to_thread(log.arrived.wait, 10)
        others = [asyncio.create_task(commits.submit(batch(f"{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        assert commits.depth() == 21
        log.gate.set()
        answers = [await task for task in (first, *others)]
        assert len({answer.seq for [answer] in answers}) == 21

    asyncio.run(scene())
    commits.stop()
    assert rows == [1, 20]
    assert commits.depth() == 0


def test_where_nobody_else_writes_the_loop_commits(sqlite_database: Database) -> None:
    """No thread is woken for what takes less than waking it."""

    class ThreadlessLog(PredictionLog):
        def append(self, batches: Sequence[Batch]) -> list[Outcome]:
            raise AssertionError("the thread was asked")

    rows = list[int]()
    log = ThreadlessLog(sqlite_database, SystemClock(), WINDOW)
    commits = GroupCommit(log, on_commit=lambda seconds, count: rows.append(count))
    commits.start()
    outcomes = submit(commits, batch("a"), batch("b"), batch("a", digest=b"other"))
    commits.stop()
    assert [type(outcome) for outcome in outcomes] == [list, list, IdConflict]
    assert (rows, commits.depth()) == ([3], 0)
    assert logged(sqlite_database) == {"a", "b"}


def test_while_another_process_writes_the_thread_waits_for_it(sqlite_database: Database) -> None:
    commits = GroupCommit(PredictionLog(sqlite_database, SystemClock(), WINDOW))
    commits.start()
    other = Database(sqlite_database.url)  # a lock of its own, as another process has

    async def scene() -> None:
        with other.exclusive():
            waiting = asyncio.create_task(commits.submit(batch("a")))
            while commits.depth() == 0 or commits._pending or commits._since is None:
                await asyncio.sleep(0)
            assert not waiting.done()
        assert [answer.id for answer in await waiting] == ["a"]

    asyncio.run(scene())
    commits.stop()
    other.close()
    assert logged(sqlite_database) == {"a"}


class SlowDisk(PredictionLog):
    """Commits as ever, and waits at the gate for the disk."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, SystemClock(), WINDOW)
        self.gate = threading.Event()
        self.syncs = 0
        self.error: Exception | None = None

    @property
    def syncs_now(self) -> bool:
        return False

    def sync(self) -> None:
        assert self.gate.wait(10)
        self.syncs += 1
        if self.error is not None:
            raise self.error
        super().sync()


class QuickDisk(PredictionLog):
    """Fails where it is told to, and must not be waited for by the thread."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, SystemClock(), WINDOW)
        self.synced: list[set[str]] = []  # what was in the log each time
        self.error: LogUnavailable | None = None
        self._own = database

    @property
    def syncs_now(self) -> bool:
        return True

    def sync_now(self) -> None:
        if self.error is not None:
            raise self.error
        super().sync_now()
        self.synced.append(logged(self._own))

    def sync(self) -> None:
        raise AssertionError("the loop waits for a quick disk itself")


class TestQuickDisk:
    """Under durability "fsync" the loop waits itself for a disk that has lately been quick."""

    def test_what_is_answered_was_synced(self, sqlite_database: Database) -> None:
        log = QuickDisk(sqlite_database)
        commits = GroupCommit(log, durability="fsync")
        commits.start()
        outcomes = submit(commits, *(batch(id) for id in "abc"))
        commits.stop()
        assert [outcome[0].id for outcome in outcomes if isinstance(outcome, list)] == ["a", "b", "c"]
        assert log.synced[-1] == {"a", "b", "c"}
        assert commits.depth() == 0

    def test_a_disk_that_fails_answers_nobody(self, sqlite_database: Database) -> None:
        log = QuickDisk(sqlite_database)
        log.error = LogUnavailable("the disk is gone")
        commits = GroupCommit(log, durability="fsync")
        commits.start()
        (outcome,) = submit(commits, batch("a"))
        assert isinstance(outcome, LogUnavailable)
        log.error = None
        ((again,),) = submit(commits, batch("a"))  # type: ignore[misc]
        commits.stop()
        assert again.repeated
        assert log.synced == [{"a"}]


class TestFsync:
    """Under durability "fsync" the loop commits, and the thread waits for a disk that takes its time."""

    def test_an_answer_waits_for_the_disk_and_others_commit_meanwhile(self, sqlite_database: Database) -> None:
        log = SlowDisk(sqlite_database)
        told: list[int] = []
        commits = GroupCommit(log, durability="fsync", on_commit=lambda _, rows: told.append(rows))

        async def work() -> None:
            first = asyncio.create_task(commits.submit(batch("a")))
            await _until(lambda: logged(sqlite_database) == {"a"})
            others = [asyncio.create_task(commits.submit(batch(id))) for id in "bcd"]
            await _until(lambda: logged(sqlite_database) == {"a", "b", "c", "d"})
            assert not any(task.done() for task in (first, *others))
            assert commits.depth() == 0
            log.gate.set()
            answers = await asyncio.gather(first, *others)
            assert [answer.id for (answer,) in answers] == ["a", "b", "c", "d"]

        commits.start()
        asyncio.run(work())
        commits.stop()
        assert log.syncs <= 2  # one for the first, one for all that came meanwhile
        assert sum(told) == 4  # each row once, though the loop wrote it and the thread waited for it

    def test_a_disk_that_fails_answers_nobody(self, sqlite_database: Database) -> None:
        log = SlowDisk(sqlite_database)
        log.error = LogUnavailable("the disk is gone")
        log.gate.set()
        commits = GroupCommit(log, durability="fsync")
        commits.start()
        (outcome,) = submit(commits, batch("a"))
        assert isinstance(outcome, LogUnavailable)
        log.error = None
        ((again,),) = submit(commits, batch("a"))  # type: ignore[misc]
        assert again.repeated
        commits.stop()

    def test_stopping_waits_for_the_disk(self, sqlite_database: Database) -> None:
        log = SlowDisk(sqlite_database)
        log.gate.set()
        commits = GroupCommit(log, durability="fsync")

        async def work() -> list[Answer]:
            commits.start()
            task = asyncio.create_task(commits.submit(batch("a")))
            await asyncio.sleep(0)
            await asyncio.to_thread(commits.stop)
            return await task

        assert [answer.id for answer in asyncio.run(work())] == ["a"]
        assert log.syncs == 1 or logged(sqlite_database) == {"a"}


async def _until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def test_a_conflict_is_its_own_requests_only(database: Database, commits: GroupCommit) -> None:
    submit(commits, batch("a"))
    taken, refused, repeated = submit(commits, batch("b"), batch("c", "a", digest=b"other"), batch("a"))
    assert isinstance(taken, list)
    assert isinstance(refused, IdConflict)
    assert isinstance(repeated, list)
    assert repeated[0].repeated
    assert logged(database) == {"a", "b"}


def test_more_than_the_queue_holds_is_refused_at_once(sqlite_database: Database) -> None:
    log = GatedLog(sqlite_database)
    commits = GroupCommit(log, queue_rows=5)
    commits.start()

    async def scene() -> None:
        waiting = [asyncio.create_task(commits.submit(batch(str(n), f"{n}b"))) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="4 rows wait for the prediction log; 2 more would be over 5"):
            await commits.submit(batch("x", "y"))
        log.gate.set()
        await asyncio.gather(*waiting)
        assert len(await commits.submit(batch(*map(str, range(10, 20))))) == 10  # alone it fits, however large

    asyncio.run(scene())
    commits.stop()


def test_a_cancelled_request_harms_no_other(sqlite_database: Database) -> None:
    log = GatedLog(sqlite_database)
    commits = GroupCommit(log)
    commits.start()

    async def scene() -> None:
        gone, other = (asyncio.create_task(commits.submit(batch(id))) for id in ("gone", "other"))
        await asyncio.sleep(0)
        gone.cancel()
        log.gate.set()
        assert [answer.id for answer in await other] == ["other"]

    asyncio.run(scene())
    commits.stop()


def test_stopping_commits_what_was_taken(sqlite_database: Database) -> None:
    log = GatedLog(sqlite_database)
    commits = GroupCommit(log)
    commits.start()

    async def scene() -> None:
        tasks = [asyncio.create_task(commits.submit(batch(str(n)))) for n in range(50)]
        await asyncio.sleep(0)
        log.gate.set()
        commits.stop()
        await asyncio.gather(*tasks)
        with pytest.raises(LogUnavailable, match="starting or stopping"):
            await commits.submit(batch("late"))

    asyncio.run(scene())
    assert len(logged(sqlite_database)) == 50


def test_an_error_of_our_own_does_not_end_the_writer(sqlite_database: Database) -> None:
    log = GatedLog(sqlite_database)
    log.gate.set()
    commits = GroupCommit(log)
    commits.start()
    log.error = ZeroDivisionError()
    assert isinstance(submit(commits, batch("a"))[0], LogUnavailable)
    log.error = None
    assert isinstance(submit(commits, batch("a"))[0], list)
    commits.stop()


class TestAsync:
    """Durability "async": answered when taken, written as soon as may be."""

    def test_it_answers_before_the_log_has_it_and_stopping_drains(self, sqlite_database: Database) -> None:
        log = GatedLog(sqlite_database)
        commits = GroupCommit(log, durability="async")
        commits.start()
        assert submit(commits, batch("a", "b")) == [
            [Answer("a", "v1", "1.5", None, 0, False), Answer("b", "v1", "1.5", None, 0, False)]
        ]
        assert logged(sqlite_database) == set()
        log.gate.set()
        commits.stop()
        assert logged(sqlite_database) == {"a", "b"}
        assert commits.lost_rows == 0

    def test_what_cannot_be_written_is_counted(self, sqlite_database: Database) -> None:
        commits = GroupCommit(PredictionLog(sqlite_database, SystemClock(), WINDOW), durability="async")
        commits.start()
        submit(commits, batch("a"), batch("a", "b", digest=b"other"))
        commits.stop()
        assert commits.lost_rows == 2

    def test_it_tries_again_while_the_log_is_away(self, sqlite_database: Database) -> None:
        log = GatedLog(sqlite_database)
        log.gate.set()
        log.error = LogUnavailable("away")
        commits = GroupCommit(log, durability="async")
        commits.start()
        submit(commits, batch("a"))
        assert log.arrived.wait(10)
        log.error = None
        wait_until(lambda: logged(sqlite_database) == {"a"}, 10, "the row is written after all")
        log.error = LogUnavailable("away")
        submit(commits, batch("b"))
        commits.stop()
        assert commits.lost_rows == 1


class TestRecovery:
    """A database that fails refuses the requests of that moment, and is used again as soon as it works."""

    @staticmethod
    def check(commits: GroupCommit, database: Database, mend: Callable[[], object], why: str) -> None:
        (outcome,) = submit(commits, batch("during"))
        assert isinstance(outcome, LogUnavailable)
        assert why in outcome.reason
        mend()
        assert isinstance(submit(commits, batch("after"))[0], list)
        assert logged(database) == {"before", "after"}

    @pytest.fixture(params=["commit", "fsync"])  # committed by the loop where it can, and always by the thread
    def commits(self, request: pytest.FixtureRequest, sqlite_database: Database) -> Iterator[GroupCommit]:
        log = PredictionLog(sqlite_database, SystemClock(), WINDOW, patience_seconds=0.2)
        commits = GroupCommit(log, durability=request.param)
        commits.start()
        submit(commits, batch("before"))
        yield commits
        commits.stop()

    def test_a_locked_database(self, sqlite_database: Database, commits: GroupCommit) -> None:
        assert sqlite_database.path is not None
        intruder = sqlite3.connect(sqlite_database.path, isolation_level=None)
        intruder.execute("BEGIN IMMEDIATE")  # without the file lock, as a person with the sqlite3 shell would
        self.check(commits, sqlite_database, lambda: intruder.execute("ROLLBACK"), "database is locked")
        intruder.close()

    def test_a_full_disk(self, sqlite_database: Database, commits: GroupCommit) -> None:
        log_file = Path(f"{sqlite_database.path}-wal")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log_file.stat().st_size, limits[1]))
        try:
            self.check(commits, sqlite_database, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits), "disk")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_a_file_that_is_gone(self, sqlite_database: Database, commits: GroupCommit) -> None:
        """Nothing is written to the file that nobody can find any more, and no empty one takes its place."""
        path = sqlite_database.path
        assert path is not None
        aside = path.with_name("aside")
        path.rename(aside)
        assert isinstance(submit(commits, batch("x"))[0], LogUnavailable)
        assert not path.exists()
        self.check(commits, sqlite_database, lambda: aside.rename(path), "unable to open database file")

    def test_a_file_that_was_replaced(self, sqlite_database: Database, commits: GroupCommit, tmp_path: Path) -> None:
        """As when a backup is put back under a running service: one group is refused at most, none is lost."""
        path = sqlite_database.path
        assert path is not None
        sqlite_database.engine.dispose()
        with sqlite3.connect(path) as source, sqlite3.connect(tmp_path / "backup.db") as target:
            source.backup(target)
        source.close()
        target.close()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        (tmp_path / "backup.db").rename(path)
        (outcome,) = submit(commits, batch("during"))
        assert isinstance(outcome, list) or "replaced" in str(getattr(outcome, "reason", ""))
        assert isinstance(submit(commits, batch("after"))[0], list)
        during = {"during"} if isinstance(outcome, list) else set()
        assert logged(sqlite_database) == {"before", "after"} | during

    def test_a_server_that_hangs_up(self, postgresql_database: Database) -> None:
        commits = GroupCommit(PredictionLog(postgresql_database, SystemClock(), WINDOW))
        commits.start()
        submit(commits, batch("before"))
        with postgresql_database.write() as connection:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        self.check(commits, postgresql_database, lambda: None, "terminating connection")
        commits.stop()


ENDLESS = """
import asyncio, itertools, sys
from datetime import timedelta
from record.clock import SystemClock
from record.db.database import Database
from service.commits.group_commit import GroupCommit
from record.prediction_log import Batch, LogEntry, PredictionLog, new_id

async def ask(commits):
    while True:
        id = new_id()
        await commits.submit(Batch([LogEntry(id, b"d", "{}", "1")], "v1"))
        print(id, flush=True)

async def main():
    commits = GroupCommit(PredictionLog(Database(sys.argv[1]), SystemClock(), timedelta(days=1)))
    commits.start()
    await asyncio.gather(*(ask(commits) for _ in range(8)))

asyncio.run(main())
"""


def test_what_was_answered_survives_kill_9(database: Database, tmp_path: Path) -> None:
    """Two processes at a time, killed in the middle of it, again and again."""
    url = database.url
    for attempt in range(3):
        outputs = [tmp_path / f"{attempt}-{n}" for n in range(2)]
        processes = []
        for output in outputs:
            with output.open("wb") as stdout:
                processes.append(subprocess.Popen([sys.executable, "-c", ENDLESS, url], stdout=stdout, cwd=os.getcwd()))
        for process, output in zip(processes, outputs, strict=True):
            wait_until(lambda output=output: output.stat().st_size > 37 * 200, 30, "200 answers")  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        answered = {line for output in outputs for line in output.read_text().splitlines() if len(line) == 36}
        assert len(answered) >= 400
        assert answered <= logged(database)
