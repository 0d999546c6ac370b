"""The shadow's child processes over a real record: they score, die, hang and are replaced, and never win by it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

import monitoring.bouts.shadow_pool as pools
from monitoring.bouts.shadow_codes import LEASE_LOST, UNLOADABLE
from monitoring.bouts.shadow_pool import ShadowPool, shadow_command
from monitoring.bouts.shadow_report import caught_up, report_shadow
from monitoring.bouts.shadow_scorer import ShadowScorer, sampled
from record.bouts.bout import Bout, ShadowScore
from record.bouts.bouts import Bouts
from record.clock import ManualClock
from record.db.database import Database
from record.db.tables import bouts
from record.event_log import EventLog
from record.logged import Batch, Cursor, LogEntry
from record.prediction_log import PredictionLog
from tests.monitoring.arena import START, Arena, logistic
from tests.waiting import wait_until
from tests.watching import stop_between_writes

LATER = START + timedelta(days=1)
PATIENCE = 60.0  # on a busy machine a child at idle priority takes its time


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    arena = Arena.build(tmp_path)
    arena.register(logistic(0.0))
    yield arena
    arena.record.close()


@pytest.fixture
def pool(arena: Arena) -> Iterator[ShadowPool]:
    pool = ShadowPool(arena.settings, arena.record)
    yield pool
    pool.stop()


def kept_up(arena: Arena, pool: ShadowPool, bout: Bout) -> None:
    def done() -> bool:
        pool.keep(arena.record.bouts.opened(), None)
        return pool.caught_up(bout, LATER)

    wait_until(done, PATIENCE, "the shadow has caught up")


def test_a_child_replays_what_was_logged_and_then_follows_live(arena: Arena, pool: ShadowPool) -> None:
    arena.register(logistic(1.0))
    arena.ask(600, START, every=timedelta(seconds=1))
    (bout,) = arena.open(START)
    arena.record.bouts.counts(bout.bout)
    assert bout.after_seq == 0
    kept_up(arena, pool, bout)
    arena.ask(5, START + timedelta(hours=1))
    assert not pool.caught_up(bout, LATER)
    assert pool.caught_up(bout, START + timedelta(minutes=30))
    kept_up(arena, pool, bout)
    report = report_shadow(arena.record.database, bout)
    assert (report.scored, report.failed, report.pending) == (605, 0, 0)
    scores = arena.record.bouts.scores(bout.bout, [1, 605])
    model, row = arena.model("v2"), arena.record.log.find("r1")
    assert row is not None
    assert scores[1].probabilities == ShadowScorer(model, "", 1.0).score([row])[0].probabilities


def test_a_child_ends_with_its_bout_and_with_its_pool(arena: Arena, pool: ShadowPool) -> None:
    bout = arena.challenge(1.0, START)
    pool.keep([bout], None)
    (pid,) = pool.pids().values()
    pool.keep([], None)
    assert not psutil.pid_exists(pid)
    pool.keep([bout], None)
    (pid,) = pool.pids().values()
    pool.stop()
    assert not psutil.pid_exists(pid)


def test_a_child_whose_parent_was_killed_ends_itself(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({shadow_command(bout.bout, None, 512)!r}, stdin=subprocess.PIPE, "
        "stdout=subprocess.PIPE)\n"
        "child.stdout.read(1)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = os.environ | {"RINGSIDE_CONFIG": str(arena.settings.path), "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    wait_until(lambda: not psutil.pid_exists(pid), PATIENCE, "the child has ended")


def test_the_challenger_runs_at_idle_priority_and_the_writer_does_not(arena: Arena, pool: ShadowPool) -> None:
    bout = arena.challenge(1.0, START)
    arena.ask(3, START)
    kept_up(arena, pool, bout)
    (pid,) = pool.pids().values()
    policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")}
    assert os.SCHED_IDLE in policies
    assert os.sched_getscheduler(pid) != os.SCHED_IDLE


def test_a_killed_child_is_replaced_and_no_request_is_scored_twice_or_lost(arena: Arena, pool: ShadowPool) -> None:
    bout = arena.challenge(1.0, START)
    arena.ask(50, START)
    kept_up(arena, pool, bout)
    (pid,) = pool.pids().values()
    os.kill(pid, signal.SIGKILL)
    arena.ask(50, START + timedelta(hours=1))
    kept_up(arena, pool, bout)
    report = report_shadow(arena.record.database, bout)
    assert (report.scored, report.failed, report.pending) == (100, 0, 0)
    assert pool.pids()[bout.bout] != pid


@pytest.mark.parametrize("step", ["shadow.scored", "bout.scored"])
def test_a_child_killed_within_a_step_leaves_it_undone(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    bout = arena.challenge(1.0, START)
    arena.ask(20, START)
    pool = ShadowPool(arena.settings, arena.record)
    try:
        monkeypatch.setenv("RINGSIDE_FAIL_AT", step)
        pool.keep([bout], None)
        (pid,) = pool.pids().values()
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, PATIENCE)
        monkeypatch.delenv("RINGSIDE_FAIL_AT")
        report = report_shadow(arena.record.database, bout)
        assert (report.scored, report.pending) == (0, 20)
        kept_up(arena, pool, bout)
        assert report_shadow(arena.record.database, bout).scored == 20
    finally:
        pool.stop()


def test_a_stopped_child_is_lag_and_then_it_is_replaced(arena: Arena, pool: ShadowPool) -> None:
    bout = arena.challenge(1.0, START)
    arena.ask(5, START)
    kept_up(arena, pool, bout)
    (pid,) = pool.pids().values()
    stop_between_writes(arena.record, pid)
    arena.ask(5, START + timedelta(hours=1))
    assert report_shadow(arena.record.database, bout).lag(START + timedelta(hours=3)) == timedelta(hours=2)
    kept_up(arena, pool, bout)
    assert pool.pids()[bout.bout] != pid
    assert report_shadow(arena.record.database, bout).lag(LATER) == timedelta(0)


def test_a_child_that_grows_too_large_is_killed(arena: Arena) -> None:
    bout = arena.challenge(1.0, START)
    small = arena.settings.model_copy(
        update={"retrain": arena.settings.retrain.model_copy(update={"memory_limit": 10_000_000})}
    )
    pool = ShadowPool(small, arena.record)
    try:
        pool.keep([bout], None)
        (first,) = pool.pids().values()

        def replaced() -> bool:
            pool.keep([bout], None)
            return first not in pool.pids().values()

        wait_until(replaced, PATIENCE)
        assert not psutil.pid_exists(first)
    finally:
        pool.stop()


DYING = """
import os, sys
sys.path.insert(0, {root!r})
import monitoring.shadow as shadow
from monitoring.bouts.shadow_scorer import ShadowScorer
inner = ShadowScorer._answers
def answers(self, rows):
    if any(row.seq {deadly} for row in rows):
        os.abort()
    return inner(self, rows)
ShadowScorer._answers = answers
os.set_blocking(1, False)
sys.exit(shadow.main(sys.argv[1:]))
"""


def dying_pool(arena: Arena, folder: Path, deadly: str) -> ShadowPool:
    program = folder / "dying.py"
    program.write_text(DYING.format(root=os.getcwd(), deadly=deadly))
    return ShadowPool(
        arena.settings,
        arena.record,
        command=lambda bout, token, batch: [sys.executable, str(program), *shadow_command(bout, token, batch)[3:]],
    )


def test_one_request_that_kills_the_challenger_is_one_failure(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BATCHES", (512, 1))
    bout = arena.challenge(1.0, START)
    arena.ask(3, START)
    pool = dying_pool(arena, tmp_path, "== 2")
    try:
        kept_up(arena, pool, bout)
    finally:
        pool.stop()
    scores = arena.record.bouts.scores(bout.bout, [1, 2, 3])
    assert [scores[seq].outcome for seq in (1, 2, 3)] == ["scored", "failed", "scored"]


def test_a_challenger_that_dies_of_everything_is_rejected_and_stalls_nothing(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BATCHES", (1,))  # quicker to its end
    arena.challenge(1.0, START)
    arena.ask(7, START)
    pool = dying_pool(arena, tmp_path, "> 0")
    (bout,) = arena.record.bouts.opened()
    try:
        kept_up(arena, pool, bout)
    finally:
        pool.stop()
    assert report_shadow(arena.record.database, bout).failed == 7
    assert [decision.outcome for decision in arena.settle(LATER)] == ["reject"]


def test_a_challenger_whose_files_are_damaged_fails_every_request(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BATCHES", (1,))
    bout = arena.challenge(1.0, START)
    arena.ask(3, START)
    (arena.record.registry.directory("v2") / "model.onnx").write_bytes(b"else")
    pool = ShadowPool(arena.settings, arena.record)
    try:
        kept_up(arena, pool, bout)
    finally:
        pool.stop()
    assert report_shadow(arena.record.database, bout).failed == 3


def test_a_child_with_a_lost_lease_writes_nothing(arena: Arena) -> None:
    fence = arena.record.leases.acquire("watcher", "this", timedelta(seconds=30))
    assert fence is not None
    bout = arena.challenge(1.0, START)
    arena.ask(3, START)
    environment = os.environ | {"RINGSIDE_CONFIG": str(arena.settings.path), "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        shadow_command(bout.bout, fence.token + 1, 512),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        assert process.wait(PATIENCE) == LEASE_LOST
    assert report_shadow(arena.record.database, bout).pending == 3


def test_a_child_holds_the_challenger_to_the_memory_of_a_worker(arena: Arena) -> None:
    """By the setting, not by a bound of its own: what cannot answer here could not where it serves."""
    bout = arena.challenge(1.0, START)
    bound = {"RINGSIDE_SERVE__MODEL_MEMORY": "300"}
    environment = os.environ | {"RINGSIDE_CONFIG": str(arena.settings.path), "PYTHONPATH": os.getcwd()} | bound
    with subprocess.Popen(
        shadow_command(bout.bout, None, 512),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        assert process.wait(PATIENCE) == UNLOADABLE


def test_one_bad_request_in_a_batch_is_one_failure(arena: Arena) -> None:
    arena.register(logistic(1.0, undefined_above=3.0))
    arena.ask(600, START)
    rows, _ = arena.record.log.tail(Cursor(), 600)
    scores = ShadowScorer(arena.model("v2"), "", 1.0).score(rows)
    bad = {row.seq for row in rows if json.loads(row.record)["x"] > 3}
    assert bad
    assert {score.seq for score in scores if score.outcome == "failed"} == bad
    assert sum(score.latency_micros is not None for score in scores) == 400


def test_a_request_that_cannot_be_decoded_spoils_no_other(arena: Arena) -> None:
    arena.ask(500, START)
    rows, _ = arena.record.log.tail(Cursor(), 500)
    rows[450] = replace(rows[450], record='{"x": "no number"}')
    scores = ShadowScorer(arena.model("v1"), "", 1.0).score(rows)
    assert [score.seq for score in scores if score.outcome == "failed"] == [451]
    assert len(scores) == 500


def test_what_is_pending_is_told_on_each_database(database: Database) -> None:
    log = PredictionLog(database, ManualClock(START), timedelta(days=1))
    entries = [LogEntry(f"r{n}", b"", "{}", '"no"') for n in range(10)]
    log.append([Batch([entry], "v1", START + timedelta(minutes=n)) for n, entry in enumerate(entries)])
    rows, cursor = log.tail(Cursor(), 6)
    bout = Bout(
        "b1", 1, "challenge", "v2", "v1", 1, {}, "", START, rows[2].seq, "open", None, None, 0, 0, None, None, None
    )
    with database.write() as connection:
        connection.execute(sa.insert(bouts).values(asdict(bout)))
    assert report_shadow(database, bout).pending == 7
    moved = Bouts(database, EventLog(database, ManualClock(START)), ManualClock(START))
    moved.record_scores("b1", [ShadowScore(row.seq, "scored", '"no"', None, 5) for row in rows[3:]], cursor)
    report = report_shadow(database, bout)
    assert (report.scored, report.pending, report.oldest_pending_at) == (3, 4, START + timedelta(minutes=6))
    assert caught_up(database, bout, START + timedelta(minutes=5))
    assert not caught_up(database, bout, START + timedelta(minutes=6))
    log.close()


def test_sampling_goes_by_the_id_and_the_design() -> None:
    chosen = [sampled("a" * 64, f"id{n}", 0.3) for n in range(4000)]
    assert chosen == [sampled("a" * 64, f"id{n}", 0.3) for n in range(4000)]
    assert chosen != [sampled("b" * 64, f"id{n}", 0.3) for n in range(4000)]
    assert 0.27 < sum(chosen) / 4000 < 0.33
    assert all(sampled("a" * 64, f"id{n}", 1.0) for n in range(100))


def test_fifty_thousand_requests_are_a_matter_of_seconds(arena: Arena) -> None:
    """Measured here on 5,000, in this process: .3 s; the bound leaves room for a busy machine."""
    arena.ask(5000, START, every=timedelta(seconds=1))
    arena.register(logistic(1.0), read_until=0)
    (bout,) = arena.open(START)
    started = time.process_time()
    arena.shadow(bout)
    assert caught_up(arena.record.database, bout, LATER)
    assert time.process_time() - started < 3
