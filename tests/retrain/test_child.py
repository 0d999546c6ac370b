"""A run in a process of its own: bounded, explained, never left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from record.clock import machine_now
from record.db.database import Database
from record.db.tables import runs
from record.errors import RunActive, SettingsError
from record.work.runs import MOST_RESUMES
from retrain.__main__ import NICE
from retrain.child import RetrainChild, run_for_command, run_supervised, tree_bytes
from retrain.job import run
from retrain.reproduction import reproduce
from retrain.trials.record import FILE, run_folder
from tests.retrain.problems import Project, make_project, write_settings
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


def alone(folder: Path) -> Path:
    """A folder for another project with the same data."""
    other = folder / "other"
    other.mkdir()
    return other


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


@pytest.mark.timeout(900)  # two runs and a reproduction, on a machine that others may keep busy
def test_a_run_that_is_short_of_memory_finishes_with_less(
    tmp_path: Path, sqlite_database: Database, started: list[RetrainChild]
) -> None:
    """The limit is below what the whole job takes; the run ends well, says what it gave up, and can be made again.

    Well below: how much was taken is looked at every tenth of a second, and on a busy machine less often.
    """
    rows, retrain = 60_000, {"trials": 2, "families": ["linear"], "processes": 1}
    project = make_project(tmp_path, sqlite_database, rows=rows, more={"retrain": retrain})
    whole, whole_id = start(project, started)
    assert whole.wait(400) == 0
    assert project.record.runs.get(whole_id).state == "succeeded"
    assert project.record.registry.version("v1").card["economies"] == []
    limit = {"retrain": {**retrain, "memory_limit": f"{int(0.85 * whole.peak_bytes / 1e6)}MB"}}
    store = {"store": {"database": sqlite_database.url}}
    settings = write_settings(tmp_path, "binary", "flights.parquet", {**store, **limit})
    less = Project(tmp_path, settings, project.record, project.clock)
    child, run_id = start(less, started)
    child.wait(400)
    ended = project.record.runs.get(run_id)
    assert (ended.state, ended.version) == ("succeeded", "v2"), ended.outcome
    assert child.peak_bytes < settings.retrain.memory_limit
    card = project.record.registry.version("v2").card
    assert card["economies"]
    assert card["rows"] < rows
    assert reproduce(settings, project.record, "v2").same


def test_a_killed_run_leaves_a_reason_and_no_process(endless: Project, started: list[RetrainChild]) -> None:
    """The whole group, and harmless when done twice."""
    child, run_id = start(endless, started)
    wait_until(lambda: searching(endless, run_id), 60)
    child.kill("the watcher stopped")
    child.kill("again")
    assert child.poll() == -signal.SIGKILL
    assert gone(child.pid)
    assert error_of(endless, run_id) == "the watcher stopped"


def kept_trials(project: Project, run_id: str) -> list[dict[str, Any]]:
    """What the run's process has written of its finished trials."""
    file = run_folder(project.settings.store.artifacts, run_id) / FILE
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line)["trial"] for line in lines[1:]]


def test_a_run_that_is_killed_in_the_middle_keeps_its_trials(
    tmp_path: Path, sqlite_database: Database, sqlite_template: Path, started: list[RetrainChild]
) -> None:
    """kill −9 loses the trials under way, at most; the run goes on in another process, and registers the same model
    as a run that was left alone."""
    more = {"retrain": {"trials": 16, "families": ["lightgbm", "linear"]}}
    project = make_project(tmp_path, sqlite_database, rows=1_500, more=more)
    child, run_id = start(project, started)
    first = child.pid
    wait_until(lambda: len(kept_trials(project, run_id)) >= 3, 60)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: child.pid != first or child.poll() is not None, 30)
    kept = kept_trials(project, run_id)
    assert len(kept) >= 3
    wait_until(lambda: child.poll() is not None, 120)
    ended = project.record.runs.get(run_id)
    assert (ended.state, ended.version) == ("succeeded", "v1")
    card = project.record.registry.version("v1").card
    assert [held for held in kept if held not in card["trials"]] == []  # with the seconds that each took then
    assert [held["number"] for held in card["trials"]] == list(range(16))
    resumed = project.record.events.latest("retrain_resumed")
    assert resumed is not None
    assert (resumed.data["run_id"], resumed.data["resumes"]) == (run_id, 1)
    assert not run_folder(project.settings.store.artifacts, run_id).exists()
    folder = alone(tmp_path)
    shutil.copyfile(sqlite_template, folder / "record.db")
    other = make_project(folder, Database(f"sqlite:///{folder / 'record.db'}"), rows=1_500, more=more)
    run(other.settings, other.record, other.request(), fence=None, progress=lambda _: None)
    models = [held.record.registry.directory("v1") / "model.onnx" for held in (project, other)]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_a_run_that_dies_again_and_again_is_given_up(endless: Project, started: list[RetrainChild]) -> None:
    """As when the system runs out of memory each time."""
    child, run_id = start(endless, started)
    for resumes in range(MOST_RESUMES + 1):
        pid = child.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: child.pid != pid or child.poll() is not None, 30)  # type: ignore[misc]
        assert (child.poll() is None) == (resumes < MOST_RESUMES)
    assert error_of(endless, run_id) == "its process was ended by SIGKILL"


def test_a_command_goes_on_with_a_run_that_lost_its_process(tmp_path: Path, sqlite_database: Database) -> None:
    """`python -m retrain --run`: where no watcher is there to do it."""
    project = make_project(tmp_path, sqlite_database, rows=200, more={"retrain": {"trials": 2, "families": ["linear"]}})
    run_id = project.request()
    with project.record.events.writing() as connection:
        connection.execute(sa.update(runs).values(heartbeat_at=machine_now() - timedelta(minutes=1)))
    command = [sys.executable, "-m", "retrain", "--config", str(project.settings.path), "--run", run_id]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, json.loads(done.stdout)["version"]) == (0, "v1")
    assert project.record.events.latest("retrain_resumed") is not None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere niceness is the whole process's")
def test_a_run_gives_way_to_answers_and_writes_like_anybody(endless: Project, started: list[RetrainChild]) -> None:
    """What computes is nice, with the threads that it starts; what holds the record's lock is not."""
    child, run_id = start(endless, started)
    wait_until(lambda: endless.record.runs.get(run_id).progress is not None, 200)  # its libraries are there
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    threads = [int(path.name) for path in Path(f"/proc/{child.pid}/task").iterdir()]
    levels = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
    assert min(19, usual + NICE) in levels
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == usual  # the main thread, and so those that write
    if usual < 19 - NICE:
        assert levels.count(usual) >= 3  # main, beat, writer


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
        from record.record import open_record
        from record.settings import load_settings
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


def test_the_next_training_goes_on_with_a_run_whose_command_was_killed(endless: Project) -> None:
    """Where no watcher is there to see it: a killed command would otherwise forbid every later one."""
    first = run_for_command(endless.settings, endless.record, "ann", "the first")
    endless.record.runs.start(first.run_id, endless.record.clock.now())
    with pytest.raises(RunActive):
        run_for_command(endless.settings, endless.record, "ann", "beside one that lives")
    long_ago = machine_now() - 2 * endless.settings.watch.lease
    with endless.record.database.write() as connection:
        connection.execute(sa.update(runs).values(heartbeat_at=long_ago))
    assert run_for_command(endless.settings, endless.record, "ann", "the second").run_id == first.run_id


def test_a_run_that_was_killed_too_often_fails_instead_of_going_on(endless: Project) -> None:
    run_id = run_for_command(endless.settings, endless.record, "ann", "fatal").run_id
    endless.record.runs.start(run_id, endless.record.clock.now())
    for _ in range(MOST_RESUMES):
        assert endless.record.runs.resume(run_id, "killed")
    assert run_supervised(endless.settings, endless.record, run_id, lambda _: None).state == "failed"
    assert error_of(endless, run_id) == "its processes ended again and again"


def test_a_command_that_is_told_to_end_ends_its_run(endless: Project) -> None:
    """SIGTERM, as from a service manager or a closed terminal's SIGHUP: the run does not stay "running" for ever."""
    command = [sys.executable, "-m", "ringside", "train", "--config", str(endless.settings.path)]
    train = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: (run := endless.record.runs.active()) and searching(endless, run.run_id), 200)
        active = endless.record.runs.active()
        assert active is not None
        train.terminate()
        assert train.wait(60) == 128 + signal.SIGTERM
    finally:
        train.kill()
        train.communicate()
    assert error_of(endless, active.run_id) == "the command was interrupted"
