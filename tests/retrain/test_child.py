"""A run in a process of its own: bounded, explained, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from retrain.child import RetrainChild, run_supervised, tree_bytes
from service.database import Database
from service.errors import SettingsError
from tests.retrain.problems import Project, make_project
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
# So many trials that a run never ends by itself while a test looks on.
ENDLESS: Mapping[str, Mapping[str, Any]] = {"retrain": {"trials": 100_000}}


@pytest.fixture
def endless(tmp_path: Path, sqlite_database: Database) -> Project:
    return make_project(tmp_path, sqlite_database, rows=3_000, more=ENDLESS)


@pytest.fixture
def started() -> Iterator[list[RetrainChild]]:
    children: list[RetrainChild] = []
    yield children
    for child in children:
        child.kill()


def start(project: Project, children: list[RetrainChild]) -> tuple[RetrainChild, str]:
    run_id = project.request()
    child = RetrainChild.start(project.settings, project.record, project.record.runs.get(run_id), None)
    children.append(child)
    return child, run_id


def searching(project: Project, run_id: str) -> bool:
    progress = project.record.runs.get(run_id).progress
    return progress is not None and progress["stage"] == "search" and progress["done"] > 0


def error_of(project: Project, run_id: str) -> str:
    run = project.record.runs.get(run_id)
    assert run.state == "failed"
    assert run.outcome is not None
    return str(run.outcome["error"])


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_requested_run_is_carried_out_and_told_about(tmp_path: Path, sqlite_database: Database) -> None:
    """As `ringside train` does it."""
    project = make_project(tmp_path, sqlite_database, rows=200, more={"retrain": {"trials": 2, "families": ["linear"]}})
    run_id = project.record.runs.request("command", "ann", "a test").run_id
    told: list[Mapping[str, Any]] = []
    ended = run_supervised(project.settings, project.record, run_id, told.append)
    assert (ended.state, ended.version) == ("succeeded", "v1")
    assert all({"stage", "done", "total", "best", "seconds_left"} <= set(held) for held in told)


def test_data_that_cannot_be_used_fails_the_run_with_its_reason(tmp_path: Path, sqlite_database: Database) -> None:
    """In the words of the error, and no traceback."""
    project = make_project(tmp_path, sqlite_database)
    (tmp_path / "flights.parquet").unlink()
    run_id = project.record.runs.request("command", "ann", "a test").run_id
    assert run_supervised(project.settings, project.record, run_id, lambda _: None).state == "failed"
    assert error_of(project, run_id).startswith("data.source: no file")


def test_a_run_past_its_deadline_is_ended(tmp_path: Path, sqlite_database: Database) -> None:
    """retrain.deadline is named."""
    project = make_project(
        tmp_path, sqlite_database, more={"retrain": {"trials": 100_000, "budget": "1s", "deadline": "2s"}}
    )
    run_id = project.record.runs.request("command", "ann", "a test").run_id
    run_supervised(project.settings, project.record, run_id, lambda _: None)
    assert error_of(project, run_id) == "not finished by its deadline of 2 s (retrain.deadline)"


def test_a_run_that_takes_too_much_memory_is_ended(
    tmp_path: Path, sqlite_database: Database, started: list[RetrainChild]
) -> None:
    """What it really uses counts, not the addresses that libraries reserve."""
    project = make_project(tmp_path, sqlite_database, more={"retrain": {"trials": 100_000, "memory_limit": "60MB"}})
    child, run_id = start(project, started)
    wait_until(lambda: child.poll() is not None, 60)
    assert "retrain.memory_limit is 60 MB" in error_of(project, run_id)
    assert gone(child.pid)


def test_a_killed_run_leaves_a_reason_and_no_process(endless: Project, started: list[RetrainChild]) -> None:
    """The whole group, and harmless when done twice."""
    child, run_id = start(endless, started)
    wait_until(lambda: searching(endless, run_id), 60)
    child.kill("the watcher stopped")
    child.kill("again")
    assert child.poll() == -signal.SIGKILL
    assert gone(child.pid)
    assert error_of(endless, run_id) == "the watcher stopped"


def test_a_run_that_dies_by_itself_is_explained(endless: Project, started: list[RetrainChild]) -> None:
    """As when the system runs out of memory."""
    child, run_id = start(endless, started)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child.poll() is not None, 30)
    assert error_of(endless, run_id) == "its process was ended by SIGKILL"


def test_a_run_that_was_ended_elsewhere_stops(endless: Project, started: list[RetrainChild]) -> None:
    """Nothing that it would write can count."""
    child, run_id = start(endless, started)
    wait_until(lambda: searching(endless, run_id), 60)
    endless.record.runs.fail(run_id, "reaped")
    wait_until(lambda: child.poll() is not None, 30)
    assert error_of(endless, run_id) == "reaped"


def test_a_run_does_not_outlive_its_parent(endless: Project) -> None:
    """However the parent went: here by kill −9."""
    run_id = endless.request()
    program = f"""
        from pathlib import Path
        from retrain.child import RetrainChild
        from service.record import open_record
        from service.settings import load_settings
        settings = load_settings(Path({str(endless.settings.path)!r}))
        record = open_record(settings)
        child = RetrainChild.start(settings, record, record.runs.get({run_id!r}), None)
        print(child.pid, flush=True)
        child.wait()
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        wait_until(lambda: searching(endless, run_id), 60)
        assert not gone(pid)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    wait_until(lambda: gone(pid), 10)


def test_a_run_needs_settings_that_its_process_can_read(endless: Project) -> None:
    """Settings made in memory have no file."""
    run = endless.record.runs.get(endless.request())
    with pytest.raises(SettingsError, match="from their file"):
        RetrainChild.start(endless.settings.model_copy(update={"path": None}), endless.record, run, None)


def test_memory_is_counted_over_the_tree() -> None:
    """A process that is gone counts nothing."""
    assert tree_bytes(os.getpid()) > 1e7
    assert tree_bytes(2**22 + 1) == 0


def test_the_command_line_explains_itself() -> None:
    """With an example and the exit codes."""
    done = subprocess.run(
        [sys.executable, "-m", "retrain", "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert "example:" in done.stdout
    assert "exit code 0" in done.stdout


def test_exit_codes_tell_done_from_no_from_misuse(tmp_path: Path, sqlite_database: Database) -> None:
    """0 registered, 1 refused or failed, 2 bad usage or settings."""
    project = make_project(tmp_path, sqlite_database, rows=200, more={"retrain": {"trials": 1, "families": ["linear"]}})
    command = [sys.executable, "-m", "retrain", "--config", str(project.settings.path)]
    assert subprocess.run(command, capture_output=True, cwd=ROOT, check=False).returncode == 0
    (tmp_path / "flights.parquet").unlink()
    failed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert failed.returncode == 1
    assert "no file" in failed.stdout
    for misuse in (["--config", str(tmp_path / "absent.toml")], ["--no-such-option"], ["--run", "run-unknown"]):
        done = subprocess.run([*command, *misuse], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert "error:" in done.stderr
