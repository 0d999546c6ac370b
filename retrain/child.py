"""A run in a process of its own: bounded in time and memory, and never left behind.

The process leads a group, and everything it starts is in it. It holds the reading end of a pipe whose other end
only its parent has: when the parent is gone, however it went, the pipe closes and the group ends itself.

A process that is killed by somebody else is started again, and goes on from the trials that it had finished.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Self

import psutil

from record.clock import machine_now
from record.errors import RingsideError, SettingsError
from record.log_lines import log_line
from record.process import NO_TELEMETRY
from record.record import Record
from record.settings import Settings
from record.signals import handle_signals
from record.work.leases import Fence
from record.work.run import Run

WATCH_SECONDS = 0.1
ACTOR = "supervisor"
# One thread in every library: see retrain.job. The variables have to be there before the libraries are.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class RetrainChild:
    """A running run's process, watched by a thread. `poll` and `kill` may be called from any thread."""

    def __init__(self, settings: Settings, record: Record, run: Run, fence: Fence | None):
        self._settings = settings
        self._record = record
        self._run_id = run.run_id
        self._fence = fence
        self._limit_bytes = settings.retrain.memory_limit
        self._deadline_seconds = deadline(settings).total_seconds()
        self._deadline = time.monotonic() + self._deadline_seconds - _seconds_since_start(run)
        self._killed = threading.Event()
        # Asked for instead of the thread: a signal during its `join` makes Python 3.11 take it for ended.
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"retrain {run.run_id}", daemon=True)
        self.peak_bytes = 0
        self._process, self._pipe = self._spawn()

    @classmethod
    def start(cls, settings: Settings, record: Record, run: Run, fence: Fence | None) -> Self:
        """Starts the process of a run that is running in the record. Raises OSError, SettingsError."""
        child = cls(settings, record, run, fence)
        record.runs.attach(run.run_id, child.pid)
        child._watcher.start()
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """None while it runs; then the exit code, and the run has ended in the record."""
        return self._process.returncode if self._over.is_set() else None

    def wait(self, seconds: float | None = None) -> int | None:
        """As `poll`, after at most so many seconds."""
        self._over.wait(seconds)
        return self.poll()

    def kill(self, reason: str = "its supervisor stopped") -> None:
        """Ends the process group at once, and the run as failed. Harmless when it has ended."""
        if not self._over.is_set():
            self._reason = reason
            self._killed.set()
            self._over.wait()

    _reason = ""

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        """A process of the run, and the writing end of its pipe."""
        if self._settings.path is None:
            raise SettingsError("a run's process reads the settings from their file; these have none")
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "retrain", "--config", str(self._settings.path), "--run", self._run_id]
        command += ["--parent-pipe", str(reading)]
        if self._fence is not None:
            command += ["--lease-name", self._fence.name, "--lease-token", str(self._fence.token)]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(reading,),
                start_new_session=True,
                cwd=Path(__file__).resolve().parent.parent,
                env={**os.environ, **NO_TELEMETRY, **THREADS},
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        return process, writing

    def _watch(self) -> None:
        try:
            self._supervise()
        finally:
            self._over.set()

    def _supervise(self) -> None:
        error = self._until_ended()
        self._bury()
        while error is None and self._goes_on():
            error = self._until_ended()
            self._bury()
        try:
            # A run that ended by itself stays as it is: the first word is the true one.
            self._record.runs.fail(self._run_id, error or self._unexplained(), actor=ACTOR)
        except Exception as failure:  # noqa: BLE001 - the run is then reaped, for want of a sign of life
            log_line("run not ended", run_id=self._run_id, error=str(failure))

    def _bury(self) -> None:
        end_group(self._process.pid)
        self._process.wait()
        os.close(self._pipe)

    def _goes_on(self) -> bool:
        """Starts another process where the last one was killed, and the run is not over and may go on."""
        if self._process.returncode >= 0:
            return False
        reason = self._unexplained()
        try:
            if not self._record.runs.resume(self._run_id, reason, actor=ACTOR, lease=self._fence):
                return False
            self._process, self._pipe = self._spawn()
            self._record.runs.attach(self._run_id, self._process.pid)
        except (OSError, RingsideError) as error:  # it has ended, or somebody else leads
            log_line("run not resumed", run_id=self._run_id, error=str(error))
            return False
        log_line("run resumed", run_id=self._run_id, reason=reason)
        return True

    def _until_ended(self) -> str | None:
        """Why the process has to be ended; None when it has ended by itself."""
        while not _ended(self._process.pid):
            if self._killed.wait(WATCH_SECONDS):
                return self._reason
            if time.monotonic() > self._deadline:
                return f"not finished by its deadline of {self._deadline_seconds:g} s (retrain.deadline)"
            used = tree_bytes(self._process.pid)
            self.peak_bytes = max(self.peak_bytes, used)
            if used > self._limit_bytes:
                return f"used {used / 1e6:,.0f} MB; retrain.memory_limit is {self._limit_bytes / 1e6:,.0f} MB"
        return None

    def _unexplained(self) -> str:
        code = self._process.returncode
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code} and without a word"


def run_for_command(settings: Settings, record: Record, actor: str, reason: str) -> Run:
    """The run that a command carries out: one that lost its process, as when the last command was killed, else anew.

    RunActive where another is requested, or running with signs of life.
    """
    lost = record.runs.silent(machine_now(), settings.watch.lease)
    return lost[0] if lost else record.runs.request("command", actor, reason)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP end the program as Ctrl-C does: what it supervises is ended, and said so.

    Not those that were ignored when it was started, as SIGHUP is below `nohup`.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = handle_signals((signal.SIGTERM, signal.SIGHUP), end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_supervised(
    settings: Settings, record: Record, run_id: str, on_progress: Callable[[Mapping[str, Any]], None]
) -> Run:
    """Carries out a requested run in a child process, or goes on with a running one that has lost its process.

    Waits for its end, which may be a failure; the run as ended.

    An exception in the caller, Ctrl-C too, ends the child.
    """
    run = record.runs.get(run_id)
    if run.state == "running":
        if not record.runs.resume(run_id, "a command took it up", actor="command"):
            return record.runs.fail(run_id, "its processes ended again and again", actor=ACTOR)
    else:
        run = record.runs.start(run_id, record.clock.now(), actor="command")
    try:
        child = RetrainChild.start(settings, record, run, None)
    except (OSError, RingsideError) as error:
        record.runs.fail(run_id, f"its process could not be started: {error}", actor=ACTOR)
        raise
    try:
        seen: Mapping[str, Any] | None = None
        while child.wait(0.2) is None:
            progress = record.runs.get(run_id).progress
            if progress and progress != seen:
                on_progress(progress)
                seen = progress
    except BaseException:
        child.kill("the command was interrupted")
        raise
    return record.runs.get(run_id)


def _seconds_since_start(run: Run) -> float:
    """What a run that goes on has had of its deadline."""
    if run.machine_started_at is None:
        return 0.0
    return max(0.0, (machine_now() - run.machine_started_at).total_seconds())


def deadline(settings: Settings) -> timedelta:
    """How long a run may take altogether."""
    return settings.retrain.deadline or 3 * settings.retrain.budget + timedelta(minutes=10)


def end_with_parent(pipe: int) -> None:
    """In the child: ends its whole process group when the pipe's other end closes."""

    def wait() -> None:
        try:
            while os.read(pipe, 1):
                pass
        finally:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait, name="parent's pipe", daemon=True).start()


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants; those that end meanwhile count nothing.

    Reserved addresses do not count (RLIMIT_AS would count them: libraries reserve gigabytes that they never touch).
    What several of them share, as workers do with the run that they are forks of, counts once.
    """
    total = 0
    try:
        process = psutil.Process(pid)
        members = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in members:
        try:
            total += _resident(member, shares=len(members) > 1)
        except psutil.Error:
            continue
    return total


def _resident(process: psutil.Process, shares: bool) -> int:
    """Resident memory; what it shares with others is divided among them, where the system tells."""
    if shares:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:  # it has ended, or there is no such file on this system
            lines = []
        for line in lines:
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return int(process.memory_info().rss)


def end_group(pid: int) -> None:
    """Kills what is left of the group that `pid` leads. Its number is nobody else's until `pid` is waited for."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left, or only what is a zombie already
        return


def _ended(pid: int) -> bool:
    """Whether it has ended; it is left to be waited for, so that its number stays its own."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
