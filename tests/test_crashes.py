"""kill −9 at every named step of a registration, a role's move, a bout and a run.

After SQLite's method: die at step 1, 2, 3 … until one try is clean. After each death the record is as it was before
the step's transaction or as after it, never in between; and the same work, done again, comes to its end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.bouts.bouts import ShadowScore
from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import metadata
from record.logged import Cursor
from record.migrations.run import upgrade
from record.record import Record
from record.versions.artifact import verify
from tests.records import START, record_on, register_version

MOST_STEPS = 20
Work = Callable[[Record], None]


def register_first(record: Record) -> None:
    if not record.registry.versions():
        register_version(record)


def register_next(record: Record) -> None:
    if len(record.registry.versions()) == 1:
        register_version(record)


def two_versions(record: Record) -> None:
    register_version(record)
    register_version(record)


def promoted(record: Record) -> None:
    two_versions(record)
    record.registry.promote("v2", actor="ann", reason="better")


def promote(record: Record) -> None:
    if record.registry.roles().champion == "v1":
        record.registry.promote("v2", actor="ann", reason="better")


def roll_back(record: Record) -> None:
    if record.registry.roles().champion == "v2":
        record.registry.rollback(actor="ann", reason="worse")


def reject(record: Record) -> None:
    if record.registry.version("v2").standing == "eligible":
        record.registry.reject("v2", actor="ann", reason="no")


def fight(record: Record) -> None:
    """A bout from its opening to the promotion that it decides, picked up wherever it was left."""
    if not record.bouts.all():
        record.bouts.open("challenge", "v2", "v1", 1, {"alpha": 0.05}, 0)
    for bout in record.bouts.opened():
        if bout.cursor_seq < 9:
            record.bouts.record_scores(bout.bout, [ShadowScore(9, "scored", "true")], Cursor(bout.cursor_xid, 9))
        if bout.matured_until is None:
            record.bouts.enter_pairs(bout.bout, [(9, 0.5)], START, {"pairs": 1})
        with record.events.writing() as connection:
            record.bouts.decide(bout.bout, "promote", {"e_value": 20.0}, connection=connection)
            record.registry.promote("v2", actor="watcher", reason="won", bout=bout.bout, connection=connection)


def retrain(record: Record) -> None:
    """A run that registers v2; one that died is failed, as the watcher does, and another is run."""
    active = record.runs.active()
    if active is not None and active.state == "running":
        record.runs.fail(active.run_id, "killed")
        active = None
    if len(record.registry.versions()) == 1:
        run = active or record.runs.request("operator", "ann", "now")
        record.runs.start(run.run_id, START, os.getpid())

        def finish(connection: sa.Connection, version: str) -> None:
            record.runs.succeed(run.run_id, version, {"gate": True}, connection)

        register_version(record, run_id=run.run_id, finish=finish)


def work_in_child(database: Database, root: Path, work: Work, fail_at: int | None) -> int | None:
    """The exit code of a process that does the work, and dies at the step of that number."""

    def run() -> None:
        if fail_at is not None:
            os.environ["RINGSIDE_FAIL_AT"] = str(fail_at)
        work(record_on(Database(database.url), root, ManualClock(START)))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    return process.exitcode


def check_whole(record: Record) -> None:
    """What holds at every moment, once a start has cleared up behind a crash."""
    record.registry.artifact_orphans()
    roles, versions = record.registry.roles(), record.registry.versions()
    names = [version.version for version in versions]
    assert record.events.verify().valid
    assert roles.champion in [None, *names]
    moves = record.events.page(kind=("model_promoted", "model_rolled_back"))[0]
    assert roles.generation == len(moves)
    if moves:
        last = moves[-1]
        assert roles.champion == (last.model_version if last.kind == "model_promoted" else last.data["restored"])
    for version in versions:
        verify(record.registry.directory(version.version), version.digest)
    root = record.artifacts.root
    assert sorted(path.name for path in root.glob("*") if path.name != ".staged") == sorted(names)
    assert list((root / ".staged").glob("*")) == []
    told = [event.kind for event in record.events.page()[0]]
    assert told.count("model_registered") == len(names)
    assert told.count("bout_opened") == len(record.bouts.all())
    assert told.count("bout_decided") == sum(bout.state == "decided" for bout in record.bouts.all())
    for run in record.runs.recent():
        assert (run.state == "succeeded") == (run.version in names and run.version is not None)
        assert told.count("retrain_succeeded") <= len(names)


SCENES: dict[str, tuple[Work, Work, int, Callable[[Record], object]]] = {
    "register the first": (lambda record: None, register_first, 5, lambda r: r.registry.roles().champion == "v1"),
    "register another": (register_first, register_next, 3, lambda r: r.registry.version("v2")),
    "promote": (two_versions, promote, 2, lambda r: r.registry.roles().champion == "v2"),
    "roll back": (promoted, roll_back, 2, lambda r: r.registry.roles().champion == "v1"),
    "reject": (two_versions, reject, 1, lambda r: r.registry.version("v2").standing == "rejected"),
    "bout": (two_versions, fight, 6, lambda r: r.bouts.get("b1").outcome == "promote"),
    "run": (register_first, retrain, 5, lambda r: r.registry.version("v2").run_id),
}


@pytest.mark.parametrize("scene", SCENES)
def test_death_at_every_step(database: Database, tmp_path: Path, scene: str) -> None:
    """Wherever the process is killed, what is left is whole, and the work can be done again to its end."""
    prepare, work, least_steps, finished = SCENES[scene]
    for step in range(1, MOST_STEPS):
        another = fresh(database, tmp_path / f"{step}.db")
        record = record_on(another, tmp_path / f"artifacts-{step}", ManualClock(START))
        try:
            prepare(record)
            clean = die_and_recover(record, work, step)
            assert finished(record)
        finally:
            record.close()
        if clean:
            break
    assert clean
    assert step > least_steps


def die_and_recover(record: Record, work: Work, step: int) -> bool:
    """Whether there was no such step to die at; the work is done in either case."""
    before = record.events.head(), record.registry.roles()
    code = work_in_child(record.database, record.artifacts.root, work, step)
    assert code in (0, -signal.SIGKILL)
    check_whole(record)
    if code == 0:
        return True
    if record.events.head() == before[0]:
        assert record.registry.roles() == before[1]
    assert work_in_child(record.database, record.artifacts.root, work, None) == 0
    check_whole(record)
    return False


def fresh(database: Database, path: Path) -> Database:
    """An empty record on the same kind of database."""
    if database.dialect == "sqlite":
        another = Database(f"sqlite:///{path}")
        upgrade(another)
        return another
    with database.write() as connection:
        for table in metadata.tables.values():
            connection.execute(table.delete())
    return Database(database.url)
