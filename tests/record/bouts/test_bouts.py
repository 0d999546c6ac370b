"""Bouts: a design that cannot change, scores that can be repeated, pairs that are entered once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from record.bouts.bouts import Bout, ScoreCounts, ShadowScore
from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import bouts
from record.errors import NotFound, RoleConflict, StaleLease
from record.logged import Batch, Cursor, LogEntry
from record.record import Record
from record.work.leases import Fence
from tests.records import START, record_on, register_version

DESIGN = {"alpha": 0.05, "margin": 0.0, "loss": "brier"}
LATER = START + timedelta(days=1)


@pytest.fixture
def record(database: Database, tmp_path: Path) -> Record:
    clock = ManualClock(START)
    record = record_on(database, tmp_path / "artifacts", clock, clock.now)
    for _ in range(3):
        register_version(record)
    return record


@pytest.fixture
def bout(record: Record) -> Bout:
    return record.bouts.open("challenge", "v2", "v1", 1, DESIGN, 17)


def log_requests(record: Record, n: int) -> None:
    entries = [LogEntry(f"id-{i}", bytes(16), "{}", "true") for i in range(n)]
    record.log.append([Batch(entries, "v1")])


def test_opening(record: Record, bout: Bout) -> None:
    """A bout stands in the record and the trail as it was designed."""
    assert (bout.bout, bout.number, bout.state, bout.opened_at) == ("b1", 1, "open", START)
    assert record.bouts.get("b1") == bout
    assert record.bouts.opened() == record.bouts.all() == [bout]
    event = record.events.page(kind="bout_opened")[0][0]
    assert event.model_version == "v2"
    assert (event.data["design"], event.data["design_hash"]) == (DESIGN, bout.design_hash)
    with pytest.raises(NotFound):
        record.bouts.get("b2")


def test_a_changed_design_shows(record: Record, bout: Bout) -> None:
    """The design's hash covers the design, the bout and both versions."""
    assert bout.design_intact
    for change in ({"design": DESIGN | {"alpha": 0.5}}, {"challenger": "v3"}, {"champion": "v3"}):
        with record.database.write() as connection:
            connection.execute(sa.update(bouts).values(change))
        assert not record.bouts.get("b1").design_intact
    assert record.bouts.open("challenge", "v2", "v1", 1, DESIGN, 17).design_hash != bout.design_hash


def test_no_bout_against_a_champion_that_has_gone(record: Record, bout: Bout) -> None:
    """Wrong champion, old generation, or the same two again: refused."""
    with pytest.raises(RoleConflict, match="not the champion"):
        record.bouts.open("challenge", "v3", "v2", 1, DESIGN, 0)
    with pytest.raises(RoleConflict, match="generation 0"):
        record.bouts.open("challenge", "v3", "v1", 0, DESIGN, 0)
    with pytest.raises(RoleConflict, match="meets v1 in b1"):
        record.bouts.open("challenge", "v2", "v1", 1, DESIGN, 0)
    assert record.bouts.opened() == [bout]


def test_scores_and_cursor_move_together(record: Record, bout: Bout) -> None:
    """What is scored twice keeps the later score; the cursor is where the shadow said."""
    scores = [ShadowScore(18, "scored", "true", '{"true":0.7}', 90), ShadowScore(19, "failed")]
    assert record.bouts.record_scores("b1", scores, Cursor(5, 19))
    again = [ShadowScore(19, "scored", "false", None, 80), ShadowScore(20, "sampled_out")]
    assert record.bouts.record_scores("b1", again, Cursor(6, 20))
    assert record.bouts.scores("b1", range(17, 30)) == {18: scores[0], 19: again[0], 20: again[1]}
    assert record.bouts.scores("b1", [18]) == {18: scores[0]}
    assert record.bouts.scores("b2", [18]) == {}
    assert record.bouts.counts("b1") == ScoreCounts(scored=2, failed=0, sampled_out=1)
    after = record.bouts.get("b1")
    assert (after.cursor, after.heartbeat_at) == (Cursor(6, 20), START)
    assert record.bouts.record_scores("b1", [], Cursor(6, 25))
    assert record.bouts.get("b1").cursor == Cursor(6, 25)


def test_pairs_keep_their_order(record: Record, bout: Bout) -> None:
    """Pairs come back in the order of entering, with the look they led to."""
    record.bouts.enter_pairs("b1", [(30, 0.5), (20, -1.0)], START, {"e_value": np.float64(1.5)})
    record.bouts.enter_pairs("b1", [(25, 0.0)], LATER, {"e_value": float("inf")})
    record.bouts.enter_pairs("b1", [], LATER, {"e_value": 2})
    seqs, differences = record.bouts.pairs("b1")
    assert seqs.tolist() == [30, 20, 25]
    assert differences.tolist() == [0.5, -1.0, 0.0]
    after = record.bouts.get("b1")
    assert (after.matured_until, after.look) == (LATER, {"e_value": 2})
    assert [part.size for part in record.bouts.pairs("b2")] == [0, 0]


@pytest.mark.parametrize("difference", [float("nan"), 1.01, -1.01])
def test_differences_are_losses_scaled(record: Record, bout: Bout, difference: float) -> None:
    """A difference that is no difference of scaled losses is refused before anything is written."""
    with pytest.raises(ValueError, match="request 31"):
        record.bouts.enter_pairs("b1", [(30, 0.1), (31, difference)], START, {})
    assert record.bouts.pairs("b1")[0].size == 0


def test_a_request_is_entered_once(record: Record, bout: Bout) -> None:
    """Entering a request again fails, and leaves the pairs as they were."""
    record.bouts.enter_pairs("b1", [(30, 0.5)], START, {"n": 1})
    with pytest.raises(sa.exc.IntegrityError):
        record.bouts.enter_pairs("b1", [(31, 0.5), (30, 0.4)], LATER, {"n": 3})
    assert record.bouts.pairs("b1")[0].tolist() == [30]
    assert record.bouts.get("b1").look == {"n": 1}


def test_what_is_decided_stays(record: Record, bout: Bout) -> None:
    """After the decision nothing of the bout is written any more."""
    ended = record.bouts.decide("b1", "promote", {"e_value": 21.5})
    assert (ended.state, ended.outcome, ended.decided_at) == ("decided", "promote", START)
    assert record.bouts.opened() == []
    event = record.events.page(kind="bout_decided")[0][0]
    assert (event.data["outcome"], event.data["evidence"]) == ("promote", {"e_value": 21.5})
    with pytest.raises(RoleConflict, match="decided already"):
        record.bouts.decide("b1", "reject", {})
    with pytest.raises(RoleConflict, match="decided already"):
        record.bouts.void("b1", "late")
    with pytest.raises(NotFound):
        record.bouts.void("b7", "who")
    with pytest.raises(RoleConflict, match="not open"):
        record.bouts.enter_pairs("b1", [(30, 0.5)], START, {})
    assert not record.bouts.record_scores("b1", [ShadowScore(30, "scored")], Cursor(0, 30))
    assert record.bouts.counts("b1") == ScoreCounts(0, 0, 0)
    assert record.bouts.get("b1") == ended


def test_a_bout_is_voided_with_its_reason(record: Record, bout: Bout) -> None:
    """A void bout has no outcome; the trail says why."""
    ended = record.bouts.void("b1", "the champion has changed")
    assert (ended.state, ended.outcome) == ("voided", None)
    assert record.events.page(kind="bout_voided")[0][0].data["reason"] == "the champion has changed"


def test_a_decision_and_its_promotion_are_one(record: Record, bout: Bout) -> None:
    """Where the promotion is refused, the bout is still open."""

    def decide_and_promote(version: str) -> None:
        with record.events.writing() as connection:
            record.bouts.decide("b1", "promote", {}, connection=connection)
            record.registry.promote(version, actor="watcher", reason="won", bout="b1", connection=connection)

    with pytest.raises(RoleConflict):
        decide_and_promote("v1")
    assert record.bouts.opened() == [bout]
    decide_and_promote("v2")
    assert record.bouts.opened() == []
    assert record.registry.roles().champion == "v2"
    assert record.events.verify().valid


def test_rejecting_a_version_decides_its_bouts(record: Record, bout: Bout) -> None:
    """A rejected challenger's bouts end in the same transaction; others go on."""
    other = record.bouts.open("challenge", "v3", "v1", 1, DESIGN, 17)
    record.registry.reject("v2", actor="ann", reason="no", bout="b1")
    assert record.bouts.opened() == [other]
    assert record.bouts.get("b1").outcome == "rejected"
    assert [e.kind for e in record.events.page()[0]][-2:] == ["bout_decided", "model_rejected"]


def test_who_stopped_leading_writes_no_evidence(record: Record, bout: Bout) -> None:
    """Scores, pairs, decisions and voiding check the lease in their own transaction."""
    clock = record.clock
    assert isinstance(clock, ManualClock)
    slept = record.leases.acquire("watcher", "first", timedelta(seconds=1))
    clock.advance(timedelta(seconds=1))
    assert record.leases.acquire("watcher", "second", timedelta(seconds=1)) is not None
    assert isinstance(slept, Fence)
    for write in (
        lambda: record.bouts.record_scores("b1", [ShadowScore(18, "scored")], Cursor(0, 18), slept),
        lambda: record.bouts.enter_pairs("b1", [(18, 0.1)], START, {}, slept),
        lambda: record.bouts.decide("b1", "promote", {}, lease=slept),
        lambda: record.bouts.void("b1", "r", lease=slept),
    ):
        with pytest.raises(StaleLease):
            write()
    assert record.bouts.get("b1") == bout


def test_the_cursor_begins_behind_the_design_s_request(record: Record) -> None:
    """A tail from a new bout's cursor meets every request behind `after_seq`."""
    log_requests(record, 5)
    first = record.log.last_seq() - 4
    opened = record.bouts.open("challenge", "v2", "v1", 1, DESIGN, first + 1)
    rows, _ = record.log.tail(opened.cursor, 100)
    assert {first + 2, first + 3, first + 4} <= {row.seq for row in rows}


def test_a_beat_shows(record: Record, bout: Bout) -> None:
    """The shadow's sign of life is on the machine's clock."""
    record.bouts.beat("b1")
    assert record.bouts.get("b1").heartbeat_at == START
