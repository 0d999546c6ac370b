"""`python -m monitoring` as a process: it leads, stops in bounded time, and cannot write once it was taken for dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from record.record import Record
from record.work.leases import Lease
from tests.monitoring.arena import TOML
from tests.monitoring.watch_house import WatchHouse
from tests.waiting import wait_until
from tests.watching import stop_between_writes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WatchHouse]:
    house = WatchHouse(tmp_path, toml=TOML + '[watch]\nheartbeat = "200ms"\nlease = "2s"\n')
    yield house
    house.record.close()


@contextmanager
def watching(house: WatchHouse, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"RINGSIDE_CONFIG": str(house.settings.path)}
    log = house.settings.folder / "watcher.log"
    with log.open("ab") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitoring", *options], cwd=ROOT, env=environment, stderr=written
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lease(record: Record) -> Lease:
    held = record.leases.current("watcher")
    assert held is not None
    return held


def led_by(record: Record, pid: int) -> bool:
    held = record.leases.current("watcher")
    return held is not None and f":{pid}:" in held.holder and held.settled_until is not None


def test_it_leads_at_once_and_gives_the_lease_back_when_it_is_asked_to_stop(house: WatchHouse) -> None:
    """Within seconds, although Evidently takes seven to import; and a second one waits for its turn."""
    with watching(house) as first:
        wait_until(lambda: led_by(house.record, first.pid), 60)
        with watching(house, "--once") as second:
            assert second.wait(60) == 1
        begun = time.monotonic()
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0
        assert time.monotonic() - begun < 15
    assert lease(house.record).expires_at.year == 1970


def test_a_run_that_an_operator_asked_for_is_carried_out(house: WatchHouse) -> None:
    """It fails here, for want of data, and says so: the child, its end and its reason are real."""
    run = house.record.runs.request("operator", "ann", "because")
    with watching(house) as watcher:
        wait_until(lambda: house.record.runs.get(run.run_id).state == "failed", 120)
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(30) == 0
    ended = house.record.runs.get(run.run_id)
    assert ended.outcome is not None
    assert "rows" in ended.outcome["error"] or "data" in ended.outcome["error"], ended.outcome


def test_a_leader_that_was_stopped_for_longer_than_its_lease_follows_when_it_wakes(house: WatchHouse) -> None:
    """SIGSTOP, as a machine that sleeps: its successor leads, and its own writes are refused."""
    with watching(house) as sleeper:
        wait_until(lambda: led_by(house.record, sleeper.pid), 60)
        stop_between_writes(house.record, sleeper.pid)
        with watching(house) as successor:
            wait_until(lambda: led_by(house.record, successor.pid), 60)
            token = lease(house.record).token
            sleeper.send_signal(signal.SIGCONT)
            log = house.settings.folder / "watcher.log"
            wait_until(lambda: "lease lost" in log.read_text(), 30)
            assert led_by(house.record, successor.pid)
            assert lease(house.record).token == token
            for process in (sleeper, successor):
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0


def test_once_does_what_is_due_and_ends(house: WatchHouse) -> None:
    house.register(1.0)
    with watching(house, "--once") as watcher:
        assert watcher.wait(60) == 0
    assert [job.name for job in house.record.jobs.all()] != []
    assert house.samples()["ringside_audit_chain_valid", ()] == 1.0


def test_a_wrong_schedule_is_refused_at_the_start(house: WatchHouse) -> None:
    environment = os.environ | {
        "RINGSIDE_CONFIG": str(house.settings.path),
        "RINGSIDE_RETRAIN__SCHEDULE": "0 3 * * 9",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "monitoring"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "retrain.schedule: '0 3 * * 9' is no cron expression" in ended.stderr
