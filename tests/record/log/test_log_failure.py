"""The prediction log away: locked, full, gone, hanging. What callers get, by log.on_failure, and what comes after."""

from __future__ import annotations

import fcntl
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from record.db.database import Database
from record.record import open_record
from record.settings import Settings
from service.worker import Worker
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until

PATIENCE_SECONDS = 0.4
Breaks = Callable[[Path], Any]  # a context manager: broken inside, mended behind


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """By somebody who does not know of the file lock, as with the sqlite3 shell."""
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        intruder.execute("ROLLBACK")
        intruder.close()


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """By a process of our own that was stopped with the file lock in its hands."""
    with path.with_name(path.name + ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No file of this process can grow, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{path}-wal").stat().st_size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def gone(path: Path) -> Iterator[None]:
    aside = path.with_name("aside")
    path.rename(aside)
    try:
        yield
        assert not path.exists(), "an empty database took the place of the one that is gone"
    finally:
        aside.rename(path)


BREAKS = pytest.mark.parametrize("broken", [locked, hanging, full, gone])


def settings_with(folder: Path, serve: dict[str, Any] | None = None, **log: Any) -> Settings:
    return make_settings(
        folder,
        {
            "serve": serve or {},
            "store": {"database": f"sqlite:///{folder}/record.db", "artifacts": str(folder / "artifacts")},
            "log": {"patience": f"{round(1000 * PATIENCE_SECONDS)}ms", **log},
        },
    )


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[Worker, Client]]:
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with running(settings) as (worker, client):
        assert ask(client, "before").status_code == 200
        yield worker, client


def ask(client: Client, *ids: str) -> httpx.Response:
    return client.post("/predict", {"records": [record_of()] * len(ids), "ids": ids})


def ask_at_once(client: Client, ids: list[str]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(ids)) as threads:
        return list(threads.map(lambda id: ask(client, id), ids))


def logged(settings: Settings) -> set[str]:
    database = Database(settings.store.database)
    with database.read() as connection:
        ids = set(connection.execute(sa.text("SELECT id FROM predictions")).scalars())
    database.close()
    return ids


def unlogged(worker: Worker) -> float:
    return worker.metrics.unlogged._value.get()  # type: ignore[no-any-return]


def wait_logged(client: Client, id: str) -> None:
    """Asks until the log has it: the same id each time, as a client would."""

    def answered() -> bool:
        answer = ask(client, id)
        return answer.status_code == 200 and "ringside-logged" not in answer.headers

    wait_until(answered, 10, "the log is used again")


@BREAKS
def test_refused_with_503_and_served_again_without_a_restart(tmp_path: Path, broken: Breaks) -> None:
    settings = settings_with(tmp_path)
    with serving(settings) as (worker, client):
        with broken(tmp_path / "record.db"):
            for n in range(3):
                began = time.monotonic()
                answer = ask(client, f"during-{n}")
                assert time.monotonic() - began < 2 * PATIENCE_SECONDS + 2
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]["code"] == "log_unavailable"
                assert "sqlite" not in answer.text.lower()
                assert str(tmp_path) not in answer.text
        wait_logged(client, "after")
        assert unlogged(worker) == 0
    assert {"before", "after"} <= logged(settings)


@BREAKS
def test_served_and_counted_where_the_settings_say_so(tmp_path: Path, broken: Breaks) -> None:
    settings = settings_with(tmp_path, on_failure="serve")
    with serving(settings) as (worker, client):
        with broken(tmp_path / "record.db"):
            for n in range(3):
                answer = ask(client, f"during-{n}", f"during-{n}b")
                assert answer.status_code == 200
                assert answer.headers["ringside-logged"] == "no"
                told = answer.json()["predictions"]
                assert [one["id"] for one in told] == [f"during-{n}", f"during-{n}b"]
                assert told[0]["prediction"] == "late"
            assert unlogged(worker) == 6
            assert "ringside_unlogged_predictions_total 6.0" in client.get("/metrics").text
        wait_logged(client, "after")
    assert {"before", "after"} <= logged(settings)


@pytest.mark.parametrize("broken", [locked, hanging])
def test_only_the_first_wait_for_a_log_that_hangs(tmp_path: Path, broken: Breaks) -> None:
    """Requests that wait at once are refused together, and later ones at once."""
    settings = settings_with(tmp_path)
    with serving(settings) as (worker, client):
        with broken(tmp_path / "record.db"):
            began = time.monotonic()
            first = ask_at_once(client, [f"first-{n}" for n in range(50)])
            assert {answer.status_code for answer in first} == {503}
            assert time.monotonic() - began < 2 * PATIENCE_SECONDS + 3
            began = time.monotonic()
            for n in range(5):
                assert ask(client, f"later-{n}").status_code == 503
            assert time.monotonic() - began < 3 * PATIENCE_SECONDS, "each of them waited"
            assert worker.commits.depth() <= 50
            if broken is locked:  # the writer has given up, and nothing is left in its hands
                commits = worker.commits
                wait_until(lambda: commits._away and commits._since is None)
        wait_logged(client, "after")
    assert "after" in logged(settings)


def test_what_waits_is_bounded_while_the_log_is_slow(tmp_path: Path) -> None:
    """Beyond serve.max_concurrency it is 503 at once, and nothing piles up; the probes are answered all the same."""
    settings = settings_with(tmp_path, {"max_concurrency": 5}, patience="30s")
    with serving(settings) as (worker, client), ThreadPoolExecutor(20) as threads:
        with hanging(tmp_path / "record.db"):
            first = [threads.submit(ask, client, f"first-{n}") for n in range(5)]
            wait_until(lambda: worker.commits.depth() == 5)
            for answer in threads.map(lambda n: ask(client, f"more-{n}"), range(15)):
                assert answer.status_code == 503
                assert answer.json()["error"]["code"] == "overloaded"
                assert answer.headers["retry-after"] == "1"
            assert worker.commits.depth() == 5
            assert client.get("/livez").status_code == 200
            assert client.get("/readyz").status_code == 200
        assert {answer.result().status_code for answer in first} == {200}


def test_rows_that_wait_are_bounded_too(tmp_path: Path) -> None:
    """Two of the longest requests and no more, whatever the number of requests under way."""
    settings = settings_with(tmp_path, patience="30s")
    with serving(settings) as (worker, client), ThreadPoolExecutor(8) as threads:
        with hanging(tmp_path / "record.db"):
            body = {"records": [record_of()] * 9_000}
            asked = [threads.submit(client.post, "/predict", body) for _ in range(6)]
            wait_until(lambda: sum(one.done() for one in asked) == 4, 30)
            assert worker.commits.depth() == 18_000
            refused = [one.result() for one in asked if one.done()]
            assert {answer.json()["error"]["code"] for answer in refused} == {"overloaded"}
        assert sorted(one.result().status_code for one in asked) == [200] * 2 + [503] * 4


def test_without_waiting_what_was_lost_is_counted(tmp_path: Path) -> None:
    """Durability "async": answered before the log has it, so that all one can do is count."""
    settings = settings_with(tmp_path, durability="async")
    with serving(settings) as (worker, client):
        wait_until(lambda: worker.commits.depth() == 0)
        with gone(tmp_path / "record.db"):
            assert ask(client, "during", "during-b").status_code == 200
            worker.commits.stop()
        assert unlogged(worker) == 2


@BREAKS
def test_labels_meanwhile_are_refused_and_may_be_sent_again(tmp_path: Path, broken: Breaks) -> None:
    settings = settings_with(tmp_path, {"request_timeout": "600ms"})
    label = {"labels": [{"id": "before", "label": "late"}]}
    with serving(settings) as (_, client):
        with broken(tmp_path / "record.db"):
            answer = client.post("/labels", label)
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"] == "1"
            assert str(tmp_path) not in answer.text
        answer = client.post("/labels", label)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["accepted"] + told["duplicates"] == 1


class TestPostgres:
    """The same with a server: gone, and locked by another session."""

    @pytest.fixture
    def settings(self, postgresql_database: Database, tmp_path: Path) -> Settings:
        store = {"database": postgresql_database.url, "artifacts": str(tmp_path / "artifacts")}
        return make_settings(tmp_path, {"store": store, "log": {"patience": "1s"}})

    def test_a_database_that_lets_nobody_in(self, settings: Settings, postgresql_database: Database) -> None:
        name = postgresql_database.engine.url.database
        assert name is not None
        address = postgresql_database.engine.url.set(database="postgres").render_as_string(hide_password=False)
        elsewhere = Database(address)
        postgresql_database.engine.dispose()

        def admit(allowed: bool) -> None:
            with elsewhere.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}'))
                others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                connection.execute(sa.text(others), {"name": name})

        with serving(settings) as (_, client):
            admit(False)
            for n in range(2):
                answer = ask(client, f"during-{n}")
                assert answer.status_code == 503
                assert name not in answer.text
            admit(True)
            wait_logged(client, "after")
        elsewhere.close()
        assert {"before", "after"} <= logged(settings)

    def test_a_locked_table(self, settings: Settings, postgresql_database: Database) -> None:
        with serving(settings) as (_, client):
            with postgresql_database.engine.connect() as intruder:
                intruder.execute(sa.text("LOCK TABLE predictions IN EXCLUSIVE MODE"))
                assert ask(client, "during").status_code == 503
                began = time.monotonic()
                assert ask(client, "during-b").status_code == 503
                assert time.monotonic() - began < 0.5, "it waited for what is known to hang"
            wait_logged(client, "after")
        assert {"before", "after"} <= logged(settings)
