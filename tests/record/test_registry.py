"""Versions and roles: every move is one transaction, and one of two wins."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from record.clock import ManualClock
from record.db.database import Database
from record.errors import ArtifactError, RoleConflict, RunActive, StaleLease, UnknownVersion
from record.record import Record
from record.registry import Roles
from record.versions.artifact import verify
from record.work.leases import Fence
from tests.records import START, record_on, register_version, stage_version

TTL = timedelta(seconds=30)


@pytest.fixture
def record(database: Database, tmp_path: Path) -> Record:
    return record_on(database, tmp_path / "artifacts", ManualClock(START))


def kinds(record: Record) -> list[str]:
    return [event.kind for event in record.events.page()[0]]


def files(record: Record) -> list[str]:
    """Everything beneath the artifacts' folder but registered versions' directories."""
    known = {version.version for version in record.registry.versions()}
    staged = [path.name for path in (record.artifacts.root / ".staged").glob("*")]
    return staged + [p.name for p in record.artifacts.root.iterdir() if p.name not in known | {".staged"}]


def test_the_first_version_is_champion(record: Record) -> None:
    """Where there is no champion, a version registered as champion is it; the next is a challenger."""
    first, second = register_version(record), register_version(record)
    assert (first.version, second.version) == ("v1", "v2")
    assert record.registry.roles() == Roles("v1", None, 1, START)
    assert kinds(record) == ["model_registered", "model_promoted", "model_registered"]
    assert record.registry.versions() == [first, second]
    assert record.registry.version("v2") == second


def test_a_registered_version_verifies(record: Record) -> None:
    """Its directory holds what was staged and a card with its name, and its digest is the record's."""
    version = register_version(record)
    manifest = verify(record.registry.directory("v1"), version.digest)
    assert set(manifest.files) == {"schema.json", "report.html", "card.json"}
    assert json.loads(manifest.read("card.json")) == version.card == {"family": "linear", "version": "v1"}
    assert files(record) == []


def test_a_run_ends_with_its_registration(record: Record) -> None:
    """`finish` joins the transaction: when it fails there is no version, no directory and no event."""
    run = record.runs.request("operator", "ann", "why not")
    with pytest.raises(RunActive, match="requested"):
        register_version(record, finish=lambda c, v: record.runs.succeed(run.run_id, v, {}, c))
    assert record.registry.versions() == []
    assert files(record) == []
    assert kinds(record) == ["retrain_requested"]
    record.runs.start(run.run_id, START)
    register_version(record, finish=lambda c, v: record.runs.succeed(run.run_id, v, {}, c))
    assert record.runs.get(run.run_id).version == "v1"


def test_files_that_state_the_version_are_sealed_with_it(record: Record) -> None:
    """What the stage holds of that name is replaced; where they cannot be made, nothing is registered."""

    def report(version: str) -> dict[str, bytes]:
        return {"report.html": f"<title>{version}</title>".encode()}

    for name in ("v1", "v2"):
        version = register_version(record, named_files=report)
        manifest = record.registry.open(name)
        assert (version.version, manifest.read("report.html")) == (name, f"<title>{name}</title>".encode())
        assert set(manifest.files) == {"schema.json", "report.html", "card.json"}
    before = files(record)
    with pytest.raises(ZeroDivisionError):
        register_version(record, named_files=lambda version: {"report.html": bytes(1 // 0)})
    with pytest.raises(ArtifactError, match="no name of a version's file"):
        register_version(record, named_files=lambda version: {".hidden": b""})
    assert files(record) == before
    assert register_version(record).version == "v3"


def test_what_cannot_be_sealed_is_not_registered(record: Record, tmp_path: Path) -> None:
    """A link in the stage, or a folder from elsewhere, is refused and leaves nothing."""
    stage = stage_version(record)
    (stage / "golden.parquet").symlink_to("/etc/hostname")
    facts: dict[str, Any] = {
        "run_id": None,
        "parent": None,
        "card": {},
        "read_until_seq": 0,
        "data_until": None,
        "actor": "retrain",
    }
    with pytest.raises(ArtifactError, match=r"golden\.parquet"):
        record.registry.register(stage, **facts)
    with pytest.raises(ArtifactError, match="not staged"):
        record.registry.register(tmp_path, **facts)
    assert files(record) == []
    assert register_version(record).version == "v1"


def test_directories_that_the_record_does_not_know_are_left_alone(record: Record) -> None:
    """A folder of versions from another record is neither removed nor overwritten: numbers go on behind it."""
    foreign = record.artifacts.root / "v3"
    foreign.mkdir(parents=True)
    (foreign / "schema.json").write_text("{}")
    assert record.registry.artifact_orphans() == []
    assert register_version(record).version == "v4"
    assert foreign.is_dir()


def test_promotion_moves_both_roles(record: Record) -> None:
    """The old champion is the previous one, and the event says why."""
    register_version(record)
    register_version(record)
    roles = record.registry.promote("v2", actor="ann", reason="better", bout="b1")
    assert roles == record.registry.roles() == Roles("v2", "v1", 2, START)
    event = record.events.page(kind="model_promoted")[0][-1]
    assert (event.model_version, event.actor) == ("v2", "ann")
    assert event.data == {"reason": "better", "previous": "v1", "generation": 2, "bout": "b1"}


def test_rollback_bars_the_version(record: Record) -> None:
    """The previous champion is back, there is no previous one any more, and the other never comes again."""
    register_version(record)
    register_version(record)
    record.registry.promote("v2", actor="ann", reason="better")
    roles = record.registry.rollback(actor="bob", reason="it was not")
    assert roles == record.registry.roles() == Roles("v1", None, 3, START)
    assert record.registry.version("v2").standing == "rolled_back"
    with pytest.raises(RoleConflict, match="barred, rolled_back: it was not"):
        record.registry.promote("v2", actor="ann", reason="again")
    with pytest.raises(RoleConflict, match="no previous"):
        record.registry.rollback(actor="bob", reason="further")
    assert record.events.page(kind="model_rolled_back")[0][0].data["restored"] == "v1"


def test_rejection_bars_the_version(record: Record) -> None:
    """A rejected version is no champion to be; the champion itself cannot be rejected."""
    register_version(record)
    register_version(record)
    record.registry.reject("v2", actor="ann", reason="no")
    with pytest.raises(RoleConflict, match="barred"):
        record.registry.promote("v2", actor="ann", reason="yes")
    with pytest.raises(RoleConflict, match="barred"):
        record.registry.reject("v2", actor="ann", reason="no, no")
    with pytest.raises(RoleConflict, match="is the champion"):
        record.registry.reject("v1", actor="ann", reason="no")


def test_a_person_lifts_a_bar_and_says_why(record: Record) -> None:
    """The bar's own reason stands in the event; a version without a bar has none to lift."""
    register_version(record)
    register_version(record)
    with pytest.raises(RoleConflict, match="v2 is not barred"):
        record.registry.unbar("v2", actor="ann", reason="why not")
    with pytest.raises(UnknownVersion):
        record.registry.unbar("v9", actor="ann", reason="why not")
    record.registry.reject("v2", actor="ann", reason="judged on a broken feed")
    record.registry.unbar("v2", actor="bob", reason="the feed is mended")
    (event,) = record.events.page(kind="model_unbarred")[0]
    assert (event.model_version, event.actor) == ("v2", "bob")
    assert event.data == {
        "reason": "the feed is mended",
        "standing": "rejected",
        "because": "judged on a broken feed",
        "after_bout": 0,
        "after_seq": 0,
    }
    assert record.registry.version("v2").standing == "eligible"
    assert record.registry.version("v2").standing_reason is None
    assert [change.role for change in record.registry.history("v2")] == ["challenger", "rejected", "challenger"]
    assert record.registry.promote("v2", actor="bob", reason="convinced").champion == "v2"


def test_a_rejected_version_is_not_rolled_back_to(record: Record) -> None:
    """Where the previous champion was rejected meanwhile, a rollback has nowhere to go."""
    register_version(record)
    register_version(record)
    record.registry.promote("v2", actor="ann", reason="better")
    record.registry.reject("v1", actor="ann", reason="worse than thought")
    with pytest.raises(RoleConflict, match="v1 is barred"):
        record.registry.rollback(actor="bob", reason="hm")
    assert record.registry.roles().champion == "v2"
    assert record.registry.version("v2").standing == "eligible"


def test_moves_that_cannot_be(record: Record) -> None:
    """Unknown versions, the champion again, and an old generation are refused, and nothing moves."""
    register_version(record)
    register_version(record)
    with pytest.raises(UnknownVersion):
        record.registry.promote("v9", actor="ann", reason="who")
    with pytest.raises(UnknownVersion):
        record.registry.directory("../v1")
    with pytest.raises(UnknownVersion):
        record.registry.version("v1\x00\ud800")
    with pytest.raises(RoleConflict, match="already"):
        record.registry.promote("v1", actor="ann", reason="again")
    with pytest.raises(RoleConflict, match="has changed"):
        record.registry.promote("v2", actor="ann", reason="late", generation=0)
    assert record.registry.roles().generation == 1


def test_a_move_decided_on_an_old_generation_is_refused(record: Record) -> None:
    """Whoever judged the champion of then must not send back the one of now; the same holds for a promotion."""
    for _ in range(4):
        register_version(record)
    record.registry.promote("v2", actor="ann", reason="better")
    judged = record.registry.roles().generation
    record.registry.promote("v3", actor="ann", reason="better still")
    before = record.registry.roles()
    with pytest.raises(RoleConflict, match="has changed"):
        record.registry.rollback(actor="watcher", reason="v2 is worse", generation=judged)
    with pytest.raises(RoleConflict, match="has changed"):
        record.registry.promote("v4", actor="watcher", reason="v4 beats v2", generation=judged)
    assert record.registry.roles() == before
    assert {version.standing for version in record.registry.versions()} == {"eligible"}
    assert kinds(record)[-1] == "model_promoted"
    record.registry.rollback(actor="watcher", reason="v3 is worse", generation=before.generation)
    assert record.registry.roles().champion == "v2"


def test_a_second_rollback_needs_a_second_promotion(record: Record) -> None:
    """Crossed and back, and again: each rollback goes to the champion before, and bars the one that it sends back."""
    for _ in range(3):
        register_version(record)
    for version in ("v2", "v3"):
        record.registry.promote(version, actor="ann", reason="better")
        assert record.registry.rollback(actor="ann", reason="worse").champion == "v1"
        with pytest.raises(RoleConflict, match="no previous"):
            record.registry.rollback(actor="ann", reason="further")
    assert record.registry.roles() == Roles("v1", None, 5, START)
    assert [version.standing for version in record.registry.versions()] == ["eligible", "rolled_back", "rolled_back"]


class Interrupted(BaseException):
    """As Ctrl-C raises."""


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, Interrupted, OSError])
def test_a_registration_that_is_interrupted_leaves_nothing(record: Record, failure: type[BaseException]) -> None:
    """Neither stage, nor directory, nor marker: the next one gets the same number."""

    def interrupt(connection: sa.Connection, version: str) -> None:
        assert (record.artifacts.root / version).is_dir()
        raise failure

    with pytest.raises(failure):
        register_version(record, finish=interrupt)
    assert files(record) == []
    assert record.artifacts.half_published() == []
    assert register_version(record).version == "v1"


def test_a_crash_before_the_marker_was_taken_away_leaves_the_version(record: Record) -> None:
    """The record knows it: a start takes the marker away, once and for all, and nothing else."""
    settle, record.artifacts.settle = record.artifacts.settle, lambda version: None  # type: ignore[method-assign]
    version = register_version(record)
    record.artifacts.settle = settle  # type: ignore[method-assign]
    assert record.artifacts.half_published() == ["v1"]
    assert record.registry.artifact_orphans() == []
    assert record.artifacts.half_published() == []
    verify(record.registry.directory("v1"), version.digest)


def test_an_orphan_is_told_once(record: Record) -> None:
    """What a crash between publishing and recording left is taken away with its marker, and its number is free."""
    stage = stage_version(record)
    record.artifacts.seal(stage)
    record.artifacts.publish(stage, "v1")
    assert record.registry.artifact_orphans()[0] == "v1"
    assert record.registry.artifact_orphans() == []
    assert files(record) == []
    assert register_version(record).version == "v1"


def test_a_later_registration_takes_away_what_a_crash_left(record: Record) -> None:
    """Without waiting for a start; what others registered meanwhile is not touched."""
    register_version(record)
    stage = stage_version(record)
    record.artifacts.seal(stage)
    record.artifacts.publish(stage, "v2")
    assert register_version(record).version == "v2"
    assert [version.version for version in record.registry.versions()] == ["v1", "v2"]
    for version in record.registry.versions():
        verify(record.registry.directory(version.version), version.digest)
    assert record.artifacts.half_published() == []


@pytest.mark.parametrize("same_version", [True, False])
def test_one_of_twenty_wins(record: Record, same_version: bool) -> None:
    """Twenty who promote at once from one state: one wins, nineteen hear of it."""
    for _ in range(3 if same_version else 21):
        register_version(record)
    barrier = threading.Barrier(20)
    outcomes: list[str] = []

    def promote(number: int) -> None:
        barrier.wait()
        try:
            record.registry.promote(f"v{number}", actor=f"a{number}", reason="me", generation=1)
            outcomes.append("won")
        except RoleConflict:
            outcomes.append("lost")

    threads = [threading.Thread(target=promote, args=(2 if same_version else 2 + i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 19 + ["won"]
    assert record.registry.roles().generation == 2
    assert len(record.events.page(kind="model_promoted")[0]) == 2
    assert record.events.verify().valid


def test_whoever_waited_for_a_move_does_not_move_again_unseen(record: Record) -> None:
    """Without a generation, the one that stood when the call was made counts."""
    for _ in range(3):
        register_version(record)
    late: list[BaseException | None] = []

    def promote() -> None:
        try:
            record.registry.promote("v3", actor="late", reason="me too")
            late.append(None)
        except RoleConflict as conflict:
            late.append(conflict)

    seen = threading.Event()
    roles = record.registry.roles

    def roles_seen() -> Roles:
        standing = roles()
        seen.set()
        return standing

    record.registry.roles = roles_seen  # type: ignore[method-assign]
    with record.events.writing() as connection:
        record.registry.promote("v2", actor="ann", reason="first", connection=connection)
        thread = threading.Thread(target=promote)
        thread.start()
        assert seen.wait(10)
    thread.join()
    assert isinstance(late[0], RoleConflict)
    assert roles().champion == "v2"


Move = Callable[[Record, Fence], object]


@pytest.mark.parametrize(
    "move",
    [
        lambda record, fence: record.registry.promote("v3", actor="w", reason="r", lease=fence),
        lambda record, fence: record.registry.rollback(actor="w", reason="r", lease=fence),
        lambda record, fence: record.registry.reject("v3", actor="w", reason="r", lease=fence),
        lambda record, fence: register_version(record, lease=fence),
        lambda record, fence: record.runs.request("drift", "w", "r", lease=fence),
        lambda record, fence: record.bouts.open("challenge", "v3", "v2", 2, {}, 0, lease=fence),
    ],
    ids=["promote", "rollback", "reject", "register", "request", "open"],
)
def test_who_stopped_leading_writes_nothing(database: Database, tmp_path: Path, move: Move) -> None:
    """With a lease that has passed on, nothing moves and no event is written; with the new one it does."""
    clock = ManualClock(START)
    record = record_on(database, tmp_path / "artifacts", clock, clock.now)
    for _ in range(3):
        register_version(record)
    record.registry.promote("v2", actor="ann", reason="better")
    slept = record.leases.acquire("watcher", "first", TTL)
    clock.advance(TTL)
    leads = record.leases.acquire("watcher", "second", TTL)
    assert slept is not None
    assert leads is not None
    before = record.events.head(), record.registry.roles(), record.registry.versions()
    with pytest.raises(StaleLease):
        move(record, slept)
    assert (record.events.head(), record.registry.roles(), record.registry.versions()) == before
    assert files(record) == []
    move(record, leads)
    assert record.events.head() != before[0]


def test_a_version_s_history(record: Record) -> None:
    """The audit trail tells what became of each version."""
    for _ in range(3):
        register_version(record)
    record.registry.promote("v2", actor="ann", reason="better", bout="b1")
    record.registry.rollback(actor="bob", reason="worse")
    record.registry.reject("v3", actor="bob", reason="no")
    told = {
        v: [(change.role, change.actor) for change in history] for v, history in record.registry.histories().items()
    }
    assert told == {
        "v1": [("challenger", "retrain"), ("champion", "retrain"), ("previous", "ann"), ("champion", "bob")],
        "v2": [("challenger", "retrain"), ("champion", "ann"), ("rolled_back", "bob")],
        "v3": [("challenger", "retrain"), ("rejected", "bob")],
    }
    assert record.registry.history("v2")[1].bout == "b1"


def test_roles_can_be_read_by_plain_sql(record: Record) -> None:
    """What a dashboard's or an operator's own query sees is what the registry says."""
    register_version(record)
    with record.database.read() as connection:
        rows = connection.execute(sa.text("SELECT role, version, generation FROM roles ORDER BY role")).all()
    assert [tuple(row) for row in rows] == [("champion", "v1", 1), ("previous", None, 1)]
