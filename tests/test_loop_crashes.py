"""kill −9 at every step of a run, a bout and a promotion, as the processes of the loop do them; and two watchers.

After SQLite's method: die at step 1, 2, 3 … until one try is clean. After each death the record is whole, nothing is
left running and nothing half written; and what comes next ends as if nobody had died.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from record.clock import machine_now
from record.db.tables import requests
from record.errors import StaleLease
from record.record import Record, open_record
from record.settings import load_settings
from record.versions.artifact import verify
from record.versions.model import ServedModel
from record.work.leases import Fence
from tests import crashing
from tests.monitoring.arena import Arena, logistic
from tests.rings import RING
from tests.service.serving import running
from tests.terminals import HOUR, SELDOM, START, Airport, make_project
from tests.waiting import wait_until
from tests.watching import descendants, stop_between_writes, ticking, wait_gone, wait_leads

pytestmark = pytest.mark.timeout(900)

MOST_STEPS = 25
KILLED = -signal.SIGKILL
DUE = START + 6 * HOUR
SHORT_LEASE = '[watch]\nheartbeat = "200ms"\nlease = "3s"\n'
AT_ONCE = 'check_every = "6h"\nnew_rows = 100\ncooldown = "0s"'


# One template for all: copied for each death, as SQLite and artifacts are files in its folder.


@pytest.fixture(scope="module")
def airport(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1 is champion, trained by a run; since then, 160 flights of a new terminal were answered and labelled."""
    folder = tmp_path_factory.mktemp("airport")
    settings = make_project(folder, SHORT_LEASE)
    assert settings.path is not None
    text = settings.path.read_text().replace('check_every = "1d"\ncooldown = "2d"', AT_ONCE)
    settings.path.write_text(text)
    with opened(folder) as record:
        record.log.add_labels([], START)
        run = record.runs.request("operator", "ann", "there is no model yet")
        assert crashing.ended(crashing.start("retrain", settings.path, ["--run", run.run_id])) == 0
        with ticking(load_settings(settings.path), record) as watcher:
            watcher.tick()  # what is due when is planned
        flights = Airport(terminal="B", offset=SELDOM)
        with running(load_settings(settings.path)) as (_, client):
            records = flights.flights(160)
            for path, body in (
                ("/predict", {"records": list(records.values()), "ids": list(records)}),
                ("/labels", {"labels": flights.labels(records)}),
            ):
                client.post(path, body, headers={"Ringside-Time": (START + HOUR).isoformat()}).raise_for_status()
        record.log.add_labels([], DUE)
    return folder


@pytest.fixture(scope="module")
def duel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1 knows nothing, v2 all there is to know; their bout is scored, labelled and mature, and a look is due."""
    folder = tmp_path_factory.mktemp("duel")
    arena = Arena.build(folder, toml=RING.replace('every = "1h"', 'every = "3650d"') + SHORT_LEASE, every="6h")
    arena.register(logistic(0.0))
    arena.record.log.add_labels([], START)
    with ticking(arena.settings, arena.record) as watcher:
        watcher.tick()
    arena.register(logistic(1.0))
    arena.label(arena.ask(400, START + HOUR))
    (bout,) = arena.open(START + 2 * HOUR)
    arena.shadow(bout)
    arena.record.log.add_labels([], DUE)
    arena.record.close()
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[Record]:
    record = open_record(load_settings(folder / "ringside.toml"))
    yield record
    record.close()


def copied(template: Path, folder: Path) -> Path:
    return Path(shutil.copytree(template, folder))


def check_whole(record: Record) -> None:
    """What holds as soon as a start has cleared up behind a crash: one champion that can be loaded, nothing half done.

    Children hear of their parent's end by themselves, within seconds: `check_alone` waits for that.
    """
    record.registry.artifact_orphans()
    roles, versions = record.registry.roles(), record.registry.versions()
    for version in versions:
        verify(record.registry.directory(version.version), version.digest)
    assert roles.champion is not None
    champion = record.registry.version(roles.champion)
    ServedModel.load(record.registry.directory(champion.version), champion.version, champion.digest)
    root = record.artifacts.root
    beside = {".staged", ".runs", "reports", "record.key"}
    assert {path.name for path in root.iterdir()} - beside == {held.version for held in versions}
    assert list((root / ".staged").glob("*")) == []
    moves = record.events.page(kind=("model_promoted", "model_rolled_back"))[0]
    assert (roles.generation, roles.champion) == (len(moves), moves[-1].model_version)
    assert sum(run.active is not None for run in record.runs.recent(100)) <= 1
    assert record.events.verify().valid


def check_alone(folder: Path) -> None:
    """Whatever was started for a record in or below this folder has ended."""
    for config in folder.rglob("ringside.toml"):
        wait_gone(crashing.left_running(config))


def let_the_lease_run_out(record: Record) -> None:
    """A watcher that was killed gives nothing back: its time has to pass, and does so here at once."""
    held = record.leases.current("watcher")
    if held is not None:
        record.leases.release(Fence(held.name, held.token))


def watch_once(folder: Path, fail_at: int | str | None = None) -> int:
    return crashing.ended(crashing.start("monitoring", folder / "ringside.toml", ["--once"], fail_at))


def told(record: Record) -> list[tuple[str, str | None]]:
    return [(event.kind, event.model_version) for event in record.events.page(limit=1000)[0]]


def test_a_run_that_dies_at_any_step_leaves_nothing_and_the_next_makes_the_same_model(
    airport: Path, tmp_path: Path
) -> None:
    """Bit for bit: the same rows, seed and settings."""
    models: list[bytes] = []
    for step in range(1, MOST_STEPS):
        folder = copied(airport, tmp_path / str(step))
        with opened(folder) as record:
            run = record.runs.request("operator", "ann", "new flights")
            code = retrain(folder, run.run_id, step)
            assert code in (0, KILLED)
            check_whole(record)
            if code == KILLED:
                assert [held.version for held in record.registry.versions()] == ["v1"]
                retrain_again(folder, record, run.run_id)
                check_whole(record)
            assert record.registry.version("v2").read_until_seq == 160
            assert told(record).count(("retrain_succeeded", "v2")) == 1
            models.append((record.registry.directory("v2") / "model.onnx").read_bytes())
        if code == 0:
            break
    assert code == 0
    assert step > 8
    assert len(set(models)) == 1


def retrain(folder: Path, run_id: str, fail_at: int | None) -> int:
    process = crashing.start("retrain", folder / "ringside.toml", ["--run", run_id], fail_at)
    return crashing.ended(process)


def retrain_again(folder: Path, record: Record, run_id: str) -> None:
    """The run that had not begun begins; one that had is failed for want of a sign of life, and asked for anew."""
    if record.runs.get(run_id).state == "running":
        (reaped,) = record.runs.reap(machine_now() + HOUR, HOUR / 2)
        assert reaped.run_id == run_id
        run_id = record.runs.request("operator", "ann", "once more").run_id
    assert retrain(folder, run_id, None) == 0


def test_a_watcher_that_dies_at_any_step_of_a_promotion_is_taken_up_by_the_next(duel: Path, tmp_path: Path) -> None:
    """The same events in the same order, the same pairs, the same numbers as without a crash."""
    endings: list[Any] = []
    for step in range(1, MOST_STEPS):
        folder = copied(duel, tmp_path / str(step))
        with opened(folder) as record:
            code = watch_once(folder, step)
            assert code in (0, KILLED)
            check_whole(record)
            if code == KILLED:
                let_the_lease_run_out(record)
                assert watch_once(folder) == 0
                check_whole(record)
            bout = record.bouts.get("b1")
            seqs, differences = record.bouts.pairs("b1")
            assert record.registry.roles().champion == "v2"
            endings.append(
                (told(record), bout.outcome, bout.look, seqs.tolist(), differences.tolist(), record.registry.roles())
            )
        if code == 0:
            break
    assert code == 0
    assert step > 9
    for ending in endings:
        assert ending == endings[-1]
    check_alone(tmp_path)


def test_a_retrain_of_its_own_accord_survives_its_watchers(airport: Path, tmp_path: Path) -> None:
    """One after the other dies: having asked for the run, having begun it, before the bout, before the job is done.

    There is one run all the same, one version and one bout.
    """
    folder = copied(airport, tmp_path / "airport")
    with opened(folder) as record:
        for step in ("watcher.requested", "run.started", "bout.opened", "watcher.retrain"):
            assert watch_once(folder, step) == KILLED, step
            check_whole(record)
            let_the_lease_run_out(record)
        assert watch_once(folder) == 0
        check_whole(record)
        kinds = [kind for kind, _ in told(record)]
        for kind in ("retrain_started", "retrain_succeeded", "model_registered"):
            assert kinds.count(kind) == 2, kind  # the first champion's, and this one's
        assert kinds.count("retrain_requested") == 2
        assert kinds.count("retrain_failed") == kinds.count("retrain_declined") == 0
        (bout,) = record.bouts.all()
        assert (bout.challenger, bout.champion, bout.state) == ("v2", "v1", "open")
        run = record.runs.get(str(record.registry.version("v2").run_id))
        assert (run.trigger, run.as_of) == ("new_rows", DUE)
        lease = record.leases.current("watcher")
        assert lease is not None
        assert lease.settled_until == DUE
    check_alone(folder)


def test_a_watcher_killed_while_its_run_works_takes_the_run_s_process_along(airport: Path, tmp_path: Path) -> None:
    """The next watcher goes on with the run, once it is silent: one run, one version, one bout."""
    folder = copied(airport, tmp_path / "airport")
    with opened(folder) as record:
        watcher = crashing.start("monitoring", folder / "ringside.toml", ["--once"])
        wait_until(lambda: (run := record.runs.active()) is not None and run.progress, 240, "the run works")
        working = record.runs.active()
        assert working is not None
        assert watcher.pid is not None
        children = descendants(watcher.pid)
        assert working.pid in [child.pid for child in children]
        os.kill(watcher.pid, signal.SIGKILL)
        assert crashing.ended(watcher) == KILLED
        wait_gone(children)
        check_whole(record)
        let_the_lease_run_out(record)
        assert watch_once(folder) == 0
        ended = record.runs.get(working.run_id)
        assert (ended.state, ended.version) == ("succeeded", "v2")
        kinds = [kind for kind, _ in told(record)]
        assert (kinds.count("retrain_resumed"), kinds.count("retrain_failed")) == (1, 0)
        (bout,) = record.bouts.opened()
        assert (bout.challenger, bout.after_seq) == ("v2", 160)
        check_whole(record)
    check_alone(folder)


def test_an_alert_whose_watcher_dies_is_answered_once(airport: Path, tmp_path: Path) -> None:
    """With the run that was asked for on its account: the next watcher does not refuse it for that run's sake."""
    folder = copied(airport, tmp_path / "airport")
    with opened(folder) as record:
        record.requests.add("alert", "alertmanager", "the board is red", {}, key="one")
        assert watch_once(folder, "watcher.requested") == KILLED
        run = record.runs.active()
        assert run is not None
        assert (run.state, run.trigger) == ("requested", "alert")
        let_the_lease_run_out(record)
        watcher = crashing.start("monitoring", folder / "ringside.toml", ["--once"])
        try:
            wait_until(lambda: record.runs.get(run.run_id).pid and not record.requests.pending(), 120, "it is heard")
        finally:
            os.kill(watcher.pid or 0, signal.SIGKILL)
            assert crashing.ended(watcher) == KILLED
        assert "retrain_declined" not in [kind for kind, _ in told(record)]
        assert decided(record) == [run.run_id]
        check_whole(record)
    check_alone(folder)


def decided(record: Record) -> list[str | None]:
    """Which run each request led to."""
    with record.database.read() as connection:
        return list(connection.execute(sa.select(requests.c.run_id)).scalars())


def test_a_stopped_leader_loses_its_lease_and_whatever_it_would_have_written(duel: Path, tmp_path: Path) -> None:
    """The follower decides the bout, once; the leader that wakes ends its shadow, writes nothing, and follows."""
    folder = copied(duel, tmp_path / "duel")
    config = folder / "ringside.toml"
    with opened(folder) as record:
        with record.database.write() as connection:
            connection.exec_driver_sql("UPDATE jobs SET due_at = due_at + 3600000000 WHERE name = 'bouts'")
        first = crashing.start("monitoring", config, [])
        assert first.pid is not None
        wait_leads(record, first.pid)
        wait_until(lambda: descendants(first.pid or 0), 60, "its shadow is at work")
        stale = record.leases.current("watcher")
        assert stale is not None
        second = crashing.start("monitoring", config, [])
        assert second.pid is not None
        shadows = descendants(first.pid)
        stop_between_writes(record, first.pid)
        wait_leads(record, second.pid)
        os.kill(first.pid, signal.SIGCONT)
        record.log.add_labels([], DUE + HOUR)
        wait_until(lambda: record.registry.roles().champion == "v2", 120, "the bout is decided")
        wait_gone(shadows)
        log = folder / "monitoring.log"
        wait_until(lambda: "lease lost" in log.read_text(), 60, "the first hears of it")
        for process in (first, second):
            assert process.is_alive()
            os.kill(process.pid or 0, signal.SIGTERM)
            assert crashing.ended(process) == 0
        check_whole(record)
        kinds = [kind for kind, _ in told(record)]
        assert (kinds.count("bout_decided"), kinds.count("model_promoted")) == (1, 2)
        check_refused(record, Fence(stale.name, stale.token))
    check_alone(folder)


def check_refused(record: Record, fence: Fence) -> None:
    """Everything that a watcher writes asks for its token first."""
    head = record.events.head()
    (probation,) = record.bouts.opened()
    with pytest.raises(StaleLease):
        record.registry.rollback(actor="watcher", reason="too late", lease=fence)
    with pytest.raises(StaleLease):
        record.registry.promote("v1", actor="watcher", reason="too late", lease=fence)
    with pytest.raises(StaleLease):
        record.bouts.decide(probation.bout, "passed", {}, lease=fence)
    with pytest.raises(StaleLease):
        record.bouts.enter_pairs(probation.bout, [], DUE, {}, fence)
    with pytest.raises(StaleLease):
        record.runs.request("drift", "watcher", "too late", lease=fence)
    with pytest.raises(StaleLease):
        record.leases.settle(fence, DUE + 9 * HOUR)
    with pytest.raises(StaleLease):
        record.jobs.finished("bouts", DUE, DUE + HOUR, lease=fence)
    assert record.events.head() == head
