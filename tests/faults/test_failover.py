"""PostgreSQL fails over: a standby is promoted, and the old server stays up, read-only, with its connections."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from monitoring.leadership import HEARTBEAT
from record.clock import from_micros, machine_now
from record.db.database import Database
from record.db.tables import clock
from record.migrations.run import upgrade
from record.settings import Settings, load_settings
from tests import postgres as servers
from tests.faults.forwarding import Forwarder, forwarding
from tests.record.models import record_of, register_model
from tests.service.serving import Client, running
from tests.waiting import wait_until
from tests.watching import watcher_process

TOML = """
[problem]
name = "flights"
task = "classification"
target = "arrival"
positive_class = "late"
[watch]
heartbeat = "1s"
lease = "3s"
[store]
database = "{database}"
"""
TRIES = 3  # of a caller that comes again, as after any 503


def write_settings(folder: Path, database: str) -> Settings:
    file = folder / "ringside.toml"
    file.write_text(TOML.format(database=database))
    return load_settings(file)


def port_of(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.text("SELECT current_setting('port')")).scalar_one())


def test_everything_moves_to_the_promoted_standby(tmp_path: Path) -> None:
    """The watcher, predictions, labels, status, roles and events, each by itself, and none from the old server."""
    programs, user = servers.binaries(), servers.account()
    if programs is None or user is None:
        pytest.skip("PostgreSQL is not installed, or no account may run it")
    with (
        servers.running(programs, user) as old,
        servers.standby(programs, user, old) as new,
        forwarding(old.port) as address,
    ):
        name = old.create()
        settings = write_settings(tmp_path, behind(address, old, name))
        with running(settings) as (worker, client):
            register_model(worker.record, as_champion=True)
            worker.champion.refresh()
            body = {"records": [record_of()], "ids": ["before"]}
            assert client.post("/predict", body).status_code == 200
            assert client.get("/status").json()["log"]["predictions"] == 1
            with watcher_process(settings):
                wait_until(lambda: leader(client) is not None, 60, "a watcher leads", every=0.1)
                wait_until(lambda: logged(new, name) == 1, 60, "the standby has what the primary has")
                new.promote()
                old.refuse_writes()
                address.target = new.port
                began = machine_now()
                wait_until(lambda: beats_since(new, name, began), 120, "the watcher's heart beats on the new server")
                wait_until(lambda: leader(client) is not None, 60, "it leads there", every=0.1)
                asked = ask_for_a_retrain(client)
                # The run itself, in a child at the lowest priority, may take its time.
                took_up = "it takes up what is asked for there"
                wait_until(lambda: state_of(new, name, asked) != "requested", 60, took_up, every=0.1)
            labels = {"labels": [{"id": "before", "label": "late"}]}
            for path, sent in (("/labels", labels), ("/predict", {**body, "ids": ["after"]})):
                codes: list[int] = []
                while 200 not in codes and len(codes) < TRIES:
                    codes.append(client.post(path, sent).status_code)
                assert codes[-1] == 200, (path, codes)
            assert port_of(worker.record.database) == new.port
            assert client.get("/status").json()["log"] == {"predictions": 2, "labels": 1, "pending": 1}
            assert client.get("/events").status_code == 200
            register_model(worker.record)
            assert [version.version for version in worker.record.registry.versions()] == ["v1", "v2"]


def leader(client: Client) -> str | None:
    answered = client.get("/status")
    return answered.json()["watcher"]["leader"] if answered.status_code == 200 else None


def beats_since(server: servers.PostgresServer, name: str, began: datetime) -> bool:
    query = "SELECT value FROM ringside.samples WHERE name = %s"
    with psycopg.connect(server.url(name)) as connection:
        row = connection.execute(query, [HEARTBEAT]).fetchone()
    return row is not None and row[0] > began.timestamp() + 1


def state_of(server: servers.PostgresServer, name: str, run_id: str) -> str | None:
    with psycopg.connect(server.url(name)) as connection:
        row = connection.execute("SELECT state FROM ringside.runs WHERE run_id = %s", [run_id]).fetchone()
    return None if row is None else str(row[0])


def ask_for_a_retrain(client: Client) -> str:
    """As an operator who comes again after a 503."""
    for _ in range(TRIES):
        answered = client.post("/retrain", {"reason": "after the failover"})
        if answered.status_code == 202:
            return str(answered.json()["run_id"])
    raise AssertionError(answered.text)


def behind(address: Forwarder, server: servers.PostgresServer, name: str) -> str:
    return server.url(name).replace(f":{server.port}/", f":{address.port}/")


def logged(server: servers.PostgresServer, name: str) -> int:
    with psycopg.connect(server.url(name)) as connection:
        row = connection.execute("SELECT count(*) FROM ringside.predictions").fetchone()
    return 0 if row is None else int(row[0])


def test_who_only_reads_leaves_the_old_server_too(tmp_path: Path) -> None:
    """No write ever fails there; the pooled connection is asked as it is taken."""
    programs, user = servers.binaries(), servers.account()
    if programs is None or user is None:
        pytest.skip("PostgreSQL is not installed, or no account may run it")
    with (
        servers.running(programs, user) as old,
        servers.running(programs, user) as new,
        forwarding(old.port) as address,
    ):
        name = old.create()
        assert new.create() == name
        for server in (old, new):
            each = Database(server.url(name))
            upgrade(each)
            each.close()
        database = Database(behind(address, old, name))
        assert port_of(database) == old.port
        address.target = new.port
        assert port_of(database) == old.port
        old.refuse_writes()
        wait_until(lambda: port_of(database) == new.port, 30, "the pool leads to the new server")
        new.refuse_writes()
        assert port_of(database) == new.port  # still read from, where there is nothing better
        with pytest.raises(sa.exc.DBAPIError, match="read-only"), database.write() as connection:
            connection.execute(sa.insert(clock).values(id=1, at=from_micros(1)))
        database.close()
