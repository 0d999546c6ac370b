"""What `ringside up` promises about the processes below it, tried with small programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from monitoring.supervision.processes import count_descendants, marked_processes
from monitoring.supervision.supervisor import Program, Supervisor, pause_seconds
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
# An arbiter whose worker leaves its session, as BentoML's do.
ARBITER = (
    "import subprocess, sys, time; "
    f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}, 'the-worker'], start_new_session=True); time.sleep(600)"
)


def program(code: str, name: str = "one", workers: int = 0) -> Program:
    return Program(name, [sys.executable, "-c", code], dict(os.environ), ROOT, workers, "the-worker")


class Reports:
    def __init__(self) -> None:
        self.all: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, message: str, fields: Mapping[str, Any]) -> None:
        self.all.append((message, fields))

    def named(self, message: str) -> list[Mapping[str, Any]]:
        return [fields for said, fields in self.all if said == message]


def died(supervisor: Supervisor, now: float, reports: Reports) -> bool:
    supervisor.check(now)
    return bool(reports.named("program died"))


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def started(tmp_path: Path, reports: Reports, request: pytest.FixtureRequest) -> Iterator[Supervisor]:
    supervisor = Supervisor([request.param], tmp_path, reports, log_folder=tmp_path / "logs", patience_seconds=0.5)
    assert supervisor.start()
    supervisor.check(time.monotonic())
    yield supervisor
    supervisor.close()


def test_pauses_between_starts_grow_and_are_bounded() -> None:
    assert [pause_seconds(n) for n in (0, 1, 2, 3, 6, 50)] == [0.0, 1.0, 2.0, 4.0, 30.0, 30.0]


@pytest.mark.parametrize("started", [program(SLEEP)], indirect=True)
def test_a_program_that_dies_is_started_again(started: Supervisor, reports: Reports) -> None:
    first = started.pids()["one"]
    os.kill(first, signal.SIGKILL)
    now = time.monotonic()
    wait_until(lambda: died(started, now, reports))
    started.check(now + 0.9)
    assert not started.pids(), "its life was short, so that it waits a second"
    started.check(now + 1.1)
    assert started.pids()["one"] != first
    assert reports.named("program died")[0]["exit_code"] == -signal.SIGKILL


@pytest.mark.parametrize("started", [program(ARBITER, workers=1)], indirect=True)
def test_workers_orphaned_by_a_killed_program_are_ended(started: Supervisor, reports: Reports) -> None:
    pid = started.pids()["one"]
    wait_until(lambda: count_descendants(pid, "the-worker"))
    (worker,) = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: died(started, time.monotonic(), reports))
    assert reports.named("program died")[0]["orphans_ended"] == 1
    assert not worker.is_running()


@pytest.mark.parametrize("started", [program(SLEEP, workers=1)], indirect=True)
def test_a_program_that_misses_workers_is_restarted(started: Supervisor, reports: Reports) -> None:
    now = time.monotonic()
    started.check(now)
    started.check(now + 19)
    assert not reports.named("workers missing")
    started.check(now + 21)
    assert reports.named("workers missing")
    started.check(now + 21)
    assert reports.named("program died")


@pytest.mark.parametrize("started", [program(STUBBORN)], indirect=True)
def test_a_program_deaf_to_sigterm_is_killed_in_bounded_time(started: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "one.log"
    wait_until(lambda: "deaf" in log.read_text())
    process = psutil.Process(started.pids()["one"])
    began = time.monotonic()
    started.close()
    assert time.monotonic() - began < 8
    assert not process.is_running()


@pytest.mark.parametrize("started", [program(SLEEP)], indirect=True)
def test_a_second_supervisor_of_one_folder_is_refused(started: Supervisor, tmp_path: Path, reports: Reports) -> None:
    assert not Supervisor([], tmp_path, reports).start()


def test_killing_the_supervisor_leaves_nothing_running(tmp_path: Path, reports: Reports) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from monitoring.supervision.supervisor import Program, Supervisor
worker = Program("one", [sys.executable, "-c", {ARBITER!r}], dict(os.environ), Path({str(ROOT)!r}))
supervisor = Supervisor([worker], Path({str(tmp_path)!r}), lambda *_: None, patience_seconds=0.5)
assert supervisor.start()
supervisor.run(lambda: False, lambda: None)
"""
    instance = Supervisor([], tmp_path, reports).instance
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True) as parent:
        wait_until(lambda: len(marked_processes(instance)) == 2)
        parent.kill()
    wait_until(lambda: not marked_processes(instance))


def test_what_an_earlier_run_left_behind_is_ended_at_the_start(tmp_path: Path, reports: Reports) -> None:
    supervisor = Supervisor([], tmp_path, reports, patience_seconds=0.5)
    environment = {**os.environ, "RINGSIDE_PROGRAM": f"{supervisor.instance}/service"}
    with subprocess.Popen([sys.executable, "-c", SLEEP], env=environment) as orphan:
        wait_until(lambda: marked_processes(supervisor.instance))
        assert supervisor.start()
        assert orphan.wait(timeout=5) is not None
    supervisor.close()
