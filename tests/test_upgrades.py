"""Records of earlier releases under today's code: they upgrade, their chain verifies, and the loop goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from record.contract.schema import Schema
from record.db.tables import SCHEMA, metadata
from record.record import Record, open_record
from record.settings import Settings
from record.versions.model import ServedModel
from retrain.package import read_estimator
from tests.fixtures.unfreezing import RELEASES, Thawed, thaw_postgresql, thaw_sqlite
from tests.postgres import PostgresServer
from tests.replaying import Replay
from tests.service.serving import Client, running
from tests.watching import ticking

KINDS = [f"{release}-{database}" for release in RELEASES for database in ("sqlite", "postgresql")]


@pytest.fixture(params=KINDS)
def thawed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Thawed]:
    release, database = request.param.split("-")
    if database == "sqlite":
        yield thaw_sqlite(release, tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create(search_path='"$user", public')
    yield thaw_postgresql(release, tmp_path, server, name)
    server.drop(name)


def test_a_moved_record_is_found_by_qualified_names_alone(tmp_path: Path, postgres: PostgresServer) -> None:
    """Tables that an earlier release kept in `public` move once; then no session's search path matters."""
    name = postgres.create(search_path='"$user", public')
    thawed = thaw_postgresql("af4652c", tmp_path, postgres, name)
    with opened(thawed) as (_, record):
        names = sa.inspect(record.database.engine)
        assert names.get_table_names("public") == []
        assert set(names.get_table_names(SCHEMA)) == {*metadata.tables, "alembic_version"}
    postgres.set_search_path(name, "''")
    with opened(thawed) as (_, record):
        assert record.events.verify().valid
        assert record.log.last_seq() > 0
    postgres.drop(name)


@contextmanager
def opened(thawed: Thawed) -> Iterator[tuple[Settings, Record]]:
    settings = thawed.settings
    record = open_record(settings)
    try:
        yield settings, record
    finally:
        record.close()


def test_an_upgraded_record_tells_what_it_told(thawed: Thawed) -> None:
    """Its chain verifies up to the head that was seen, and champion, versions and bouts stand where they stood."""
    verified = thawed.facts["verified"]
    with opened(thawed) as (_, record):
        chain = record.events.verify()
        last = record.events.get(verified["events"])
        assert chain.valid
        assert last is not None
        assert last.digest == verified["head"]
        assert record.registry.roles().champion == thawed.facts["status"]["champion"]["version"]
        assert {version.version: version.digest for version in record.registry.versions()} == {
            model["version"]: model["digest"] for model in thawed.facts["models"]["models"]
        }
        assert {bout.bout for bout in record.bouts.opened()} == {
            challenger["bout"] for challenger in thawed.facts["status"]["challengers"]
        }


def test_its_versions_load(thawed: Thawed) -> None:
    """Model, estimator, schema and card of every one of them."""
    with opened(thawed) as (_, record):
        for version in record.registry.versions():
            files = record.registry.open(version.version)
            model = ServedModel.read(files, version.version)
            assert read_estimator(files.read("estimator.skops")).steps
            assert model.schema == Schema.from_json(model.schema.to_json())
            assert version.card["version"] == version.version


def test_what_left_its_log_is_still_learned_from(thawed: Thawed) -> None:
    with opened(thawed) as (_, record):
        rows = record.archive.read(datetime(2030, 1, 1, tzinfo=UTC))
        assert len(rows) >= 20
        assert all(row.label in ('"yes"', '"no"') for row in rows)


def test_its_loop_goes_on(thawed: Thawed) -> None:
    """Old ids mean what they meant, both open bouts take new evidence, and the run that was requested is done."""
    with opened(thawed) as (settings, record):
        before = {bout.bout: len(record.bouts.pairs(bout.bout)[0]) for bout in record.bouts.opened()}
        ended = _ended_runs(record)
        with running(settings) as (_, client), ticking(settings, record) as watcher:
            replay = Replay(client.request, meanwhile=watcher.tick)
            _expect_old_ids(client, thawed.facts["repeated"])
            at = record.clock.now() + timedelta(minutes=1)
            replay.begin(at)
            ids = _traffic(replay, at, 20)
            replay.to(at + timedelta(hours=8))
            after = {bout: len(record.bouts.pairs(bout)[0]) for bout in before}
            explained = client.get("/explain", params={"id": ids[0]})
        assert all(after[bout] >= before[bout] + 20 for bout in before), (before, after)
        assert explained.status_code == 200
        assert _ended_runs(record) == [*ended, "retrain_succeeded"]
        assert record.events.verify().valid


def _expect_old_ids(client: Client, repeated: dict[str, Any]) -> None:
    """The same record under an old id gets the old answer, another one is refused."""
    (again,) = client.post("/predict", repeated["body"]).json()["predictions"]
    (then,) = repeated["answer"]["predictions"]
    assert again == {**then, "model_version": repeated["answer"]["model_version"]}
    other = {**repeated["body"], "records": [{**repeated["body"]["records"][0], "x": 99.0}]}
    assert client.post("/predict", other).status_code == 409


def _traffic(replay: Replay, start: datetime, count: int) -> list[str]:
    ids = []
    for place in range(count):
        at = start + place * timedelta(minutes=5)
        record = {"x": (place - count / 2) / 5, "terminal": "AB"[place % 2], "who": "somebody"}
        replay.predict(at, {f"new-{place}": record})
        replay.label(at + timedelta(minutes=4), [{"id": f"new-{place}", "label": "yes" if place % 3 else "no"}])
        ids.append(f"new-{place}")
    return ids


def _ended_runs(record: Record) -> list[str]:
    return [event.kind for event in record.events.page(kind=["retrain_succeeded", "retrain_failed"], limit=1000)[0]]
