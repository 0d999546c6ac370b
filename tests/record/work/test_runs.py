"""Retrain runs and what is asked for: one active run, each change with its event, nothing taken twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from record.clock import ManualClock
from record.db.database import Database
from record.errors import NotFound, RunActive
from record.events import AlertReceived
from record.record import Record
from record.work.run import Run
from tests.records import START, record_on

MINUTE = timedelta(minutes=1)


@pytest.fixture
def machine() -> ManualClock:
    return ManualClock(START + timedelta(days=4000))


@pytest.fixture
def record(database: Database, tmp_path: Path, machine: ManualClock) -> Record:
    return record_on(database, tmp_path / "artifacts", ManualClock(START), machine.now)


def told(record: Record) -> list[str]:
    return [event.kind for event in record.events.page()[0]]


def running(record: Record) -> Run:
    run = record.runs.request("operator", "ann", "fresh data")
    return record.runs.start(run.run_id, START, 4242)


def test_each_stage_of_a_run_is_an_event(record: Record) -> None:
    """Once, however often its progress is told; none for a run that has ended."""
    run_id = running(record).run_id
    for stage, done in (("read", 0), ("search", 0), ("search", 1), ("search", 2), ("judge", 2)):
        held = {"stage": stage, "done": done, "metric": "log_loss", "best": 0.5 if done else None}
        assert record.runs.progress(run_id, held)
    told = [event.data for event in record.events.page(kind="retrain_progressed")[0]]
    assert [(data["stage"], data["trials"], data["best"]) for data in told] == [
        ("read", 0, None),
        ("search", 0, None),
        ("judge", 2, 0.5),
    ]
    record.runs.fail(run_id, "reaped")
    assert not record.runs.progress(run_id, {"stage": "refit"})
    assert len(record.events.page(kind="retrain_progressed")[0]) == 3


def test_a_run_from_request_to_success(record: Record, machine: ManualClock) -> None:
    """Each step changes the state, keeps both clocks' times, and is told."""
    run = record.runs.request("drift", "watcher", "wind has drifted", numbers={"score": 0.3})
    assert (run.state, run.requested_at, run.started_at) == ("requested", START, None)
    assert record.runs.active() == run
    run = record.runs.start(run.run_id, START, 4242)
    assert (run.state, run.as_of, run.pid, run.heartbeat_at) == ("running", START, 4242, machine.at)
    machine.advance(MINUTE)
    assert record.runs.progress(run.run_id, {"step": "search", "best": float("nan")})
    run = record.runs.get(run.run_id)
    assert (run.progress, run.heartbeat_at) == ({"step": "search", "best": None}, machine.at)
    run = record.runs.succeed(run.run_id, "v2", {"gate": {"passed": True}})
    assert (run.state, run.version, run.seconds, run.finished_at) == ("succeeded", "v2", 60.0, START)
    assert run.progress is None  # it is past
    assert record.runs.active() is None
    assert record.runs.recent() == [run]
    assert told(record) == ["retrain_requested", "retrain_started", "retrain_succeeded"]
    assert record.events.page(kind="retrain_requested")[0][0].data["numbers"] == {"score": 0.3}
    assert record.events.page(kind="retrain_succeeded")[0][0].model_version == "v2"


def test_one_run_at_a_time(record: Record) -> None:
    """While one is requested or running, another is refused, and the refusal says which."""
    run = record.runs.request("operator", "ann", "now")
    with pytest.raises(RunActive, match=f"{run.run_id} is requested, asked for by ann"):
        record.runs.request("drift", "watcher", "wind")
    record.runs.start(run.run_id, START)
    with pytest.raises(RunActive, match="is running"):
        record.runs.request("drift", "watcher", "wind")
    record.runs.fail(run.run_id, "out of memory")
    assert record.runs.request("drift", "watcher", "wind", run_id="run-1").run_id == "run-1"
    record.runs.decline("run-1", "not now")
    with pytest.raises(RunActive, match="run-1 already"):
        record.runs.request("drift", "watcher", "wind", run_id="run-1")
    assert told(record).count("retrain_requested") == 2


def test_the_constraint_holds_without_this_code(record: Record) -> None:
    """Two active runs cannot be in the table, whoever writes it."""
    record.runs.request("operator", "ann", "now")
    with pytest.raises(sa.exc.IntegrityError), record.database.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO runs (run_id, state, active, trigger, actor, reason, requested_at) "
                "VALUES ('x', 'running', 1, 't', 'a', 'r', 0)"
            )
        )


def test_one_of_ten_requests_wins(record: Record) -> None:
    """Ten who ask at once get one run."""
    barrier = threading.Barrier(10)
    outcomes: list[str] = []

    def ask() -> None:
        barrier.wait()
        try:
            record.runs.request("operator", "ann", "now")
            outcomes.append("asked")
        except RunActive:
            outcomes.append("refused")

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["asked"] + ["refused"] * 9
    assert told(record) == ["retrain_requested"]


@pytest.mark.parametrize(
    "change",
    [
        lambda record, run: record.runs.start(run, START),
        lambda record, run: record.runs.succeed(run, None, {}),
        lambda record, run: record.runs.decline(run, "no"),
    ],
    ids=["start", "succeed", "decline"],
)
def test_an_ended_run_stays_as_it_is(record: Record, change: Callable[[Record, str], object]) -> None:
    """What has failed neither starts nor succeeds later, and failing again keeps the first reason."""
    run = running(record)
    record.runs.fail(run.run_id, "killed")
    head = record.events.head()
    with pytest.raises(RunActive, match="is failed"):
        change(record, run.run_id)
    assert record.runs.fail(run.run_id, "later").outcome == {"error": "killed"}
    assert not record.runs.progress(run.run_id, {})
    assert not record.runs.beat(run.run_id)
    assert record.events.head() == head


def test_unknown_runs(record: Record) -> None:
    """A run that never was is not found, in reading and in changing."""
    for change in (record.runs.get, lambda run: record.runs.fail(run, "x"), lambda run: record.runs.decline(run, "x")):
        with pytest.raises(NotFound, match="no run 'run-x'"):
            change("run-x")


def test_silent_runs_are_reaped(record: Record, machine: ManualClock) -> None:
    """A run whose process has shown no sign of life is failed, and says so; one that beats is spared."""
    run = running(record)
    machine.advance(MINUTE)
    record.runs.beat(run.run_id)
    machine.advance(MINUTE)
    assert record.runs.reap(machine.at, MINUTE) == []
    machine.advance(timedelta(seconds=1))
    reaped = record.runs.reap(machine.at, MINUTE)
    assert [(r.run_id, r.state) for r in reaped] == [(run.run_id, "failed")]
    assert "no sign of life for 60 s" in record.events.page(kind="retrain_failed")[0][0].data["error"]
    assert record.runs.active() is None


def test_a_sign_of_life_from_the_future_counts_until_it_has_stood_still(record: Record, machine: ManualClock) -> None:
    """The clock was set back: a run that lives beats again; one that was killed does not."""
    run = running(record)
    machine.advance(-timedelta(hours=1))
    assert record.runs.silent(machine.at, MINUTE) == []
    assert record.runs.silent(machine.at, timedelta(0)) == [record.runs.get(run.run_id)]
    record.runs.beat(run.run_id)
    assert record.runs.silent(machine.at, timedelta(0)) == []


def test_a_run_of_a_time_that_has_not_come_is_not_the_latest(record: Record, machine: ManualClock) -> None:
    """A clock that was years ahead has stamped it; cooldowns would wait for that time."""
    run = running(record)
    as_of = record.runs.get(run.run_id).as_of
    assert as_of is not None
    assert record.runs.latest(until=as_of) == record.runs.get(run.run_id)
    assert record.runs.latest(until=as_of - timedelta(seconds=1)) is None
    assert record.runs.begun_between(as_of - MINUTE, as_of) == 1
    assert record.runs.begun_between(as_of - MINUTE, as_of - timedelta(seconds=1)) == 0


def test_a_requested_run_waits_as_long_as_it_must(record: Record, machine: ManualClock) -> None:
    """Nobody has to beat for a run that has not started."""
    record.runs.request("operator", "ann", "now")
    machine.advance(timedelta(days=1))
    assert record.runs.reap(machine.at, MINUTE) == []


def test_what_arrives_twice_is_taken_once(record: Record) -> None:
    """An alert's key is taken once, and its event told once."""
    event = AlertReceived(alert="Drift", status="firing", fingerprint="f", starts_at="t", action="retrain")
    first = record.requests.add("alert", "am", "Drift", {"a": 1}, key="f/t", event=event)
    again = record.requests.add("alert", "am", "Drift", {"a": 2}, key="f/t", event=event)
    other = record.requests.add("alert", "am", "Drift", {"a": 3}, key="f/u")
    unkeyed = [record.requests.add("retrain", "ann", "why\x00", {}) for _ in range(2)]
    assert (first, again, other, unkeyed) == (True, False, True, [True, True])
    assert [request.data for request in record.requests.pending()] == [{"a": 1}, {"a": 3}, {}, {}]
    assert told(record) == ["alert_received"]


def test_a_request_is_decided_once(record: Record) -> None:
    """Deciding takes it off the queue, with the run that came of it."""
    record.requests.add("retrain", "ann", "why", {})
    (request,) = record.requests.pending()
    assert record.requests.decide(request.request, "run-1")
    assert not record.requests.decide(request.request, "run-2")
    assert record.requests.pending() == []
    record.requests.add("alert", "am", "resolved", {}, key="k", pending=False)
    assert record.requests.pending() == []
