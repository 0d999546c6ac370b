"""PostgreSQL fails over: a standby is promoted, and the old server stays up, read-only, with its connections."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from record.clock import from_micros
from record.db.database import Database
from record.db.tables import clock
from record.migrations.run import upgrade
from tests import postgres as servers
from tests.faults.forwarding import Forwarder, forwarding
from tests.record.models import record_of, register_model
from tests.service.serving import make_settings, running
from tests.waiting import wait_until

TRIES = 3  # of a caller that comes again, as after any 503


def port_of(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.text("SELECT current_setting('port')")).scalar_one())


def test_everything_moves_to_the_promoted_standby(tmp_path: Path) -> None:
    """Predictions, labels, status, roles and events, each by itself, and none from the old server."""
    programs, user = servers.binaries(), servers.account()
    if programs is None or user is None:
        pytest.skip("PostgreSQL is not installed, or no account may run it")
    with (
        servers.running(programs, user) as old,
        servers.standby(programs, user, old) as new,
        forwarding(old.port) as address,
    ):
        name = old.create()
        settings = make_settings(tmp_path, {"store": {"database": behind(address, old, name)}})
        with running(settings) as (worker, client):
            register_model(worker.record, as_champion=True)
            worker.champion.refresh()
            body = {"records": [record_of()], "ids": ["before"]}
            assert client.post("/predict", body).status_code == 200
            assert client.get("/status").json()["log"]["predictions"] == 1
            wait_until(lambda: logged(new, name) == 1, 60, "the standby has what the primary has")
            new.promote()
            old.refuse_writes()
            address.target = new.port
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
