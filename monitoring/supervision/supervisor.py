"""Keeps programs running and ends them together: what `ringside up` does with the service and the watcher."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from monitoring.supervision.identity import run_identity
from monitoring.supervision.log_files import LogFiles
from monitoring.supervision.processes import MARK, count_descendants, end_processes, marked_processes, send_signal
from record.ownership import give_descriptor_to_owner, make_folder

SHORTEST_LIFE_SECONDS = 10.0  # a program that lived for less is restarted later and later
LONGEST_PAUSE_SECONDS = 30.0
WORKERS_MISSING_SECONDS = 20.0  # BentoML puts a dead worker back in about a second; the first take up to ten to start

Report = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Program:
    """What is kept running. `workers` processes whose command line holds `worker_mark` belong to it (0: none)."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    workers: int = 0
    worker_mark: str = ""


def pause_seconds(failures: int) -> float:
    """How long to wait before the next start, after `failures` short lives in a row: 0, 1, 2, 4, … 30 seconds."""
    return 0.0 if failures == 0 else min(LONGEST_PAUSE_SECONDS, 2.0 ** (failures - 1))


@dataclass(slots=True)
class _Place:
    """Where a program runs: empty between its death and its next start."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    missing_since: float | None = None


class Supervisor:
    """Starts the programs, restarts what dies, and ends everything within `patience_seconds` plus a moment.

    One supervisor per folder, by a file lock that its death releases; what an earlier one left behind is ended at
    the start. A guard process, told by a closed pipe, does the same the moment that this process is killed.
    Programs write to `log_folder`/NAME.log, or to `output` where it is None: two file descriptors, for standard output
    and standard error, else this process's own.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        folder: Path,
        report: Report,
        *,
        log_folder: Path | None = None,
        output: tuple[int, int] | None = None,
        patience_seconds: float = 15.0,
    ) -> None:
        self.instance = run_identity(folder)
        self._places = [_Place(program) for program in programs]
        self._folder = folder
        self._report = report
        self._logs = LogFiles(log_folder) if log_folder is not None else None
        self._shared_output = output
        self._patience = patience_seconds
        self._lock: IO[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def start(self) -> bool:
        """False where another supervisor holds this folder."""
        make_folder(self._folder)
        self._lock = (self._folder / "up.lock").open("ab")
        give_descriptor_to_owner(self._lock.fileno(), self._folder)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            return False
        if left := marked_processes(self.instance):
            killed = end_processes(left, self._patience)
            self._report("processes of an earlier run ended", {"count": len(left), "killed": killed})
        self._start_guard()
        return True

    def run(self, ready: Callable[[], bool], on_ready: Callable[[], None], interval_seconds: float = 0.5) -> None:
        """Keeps the programs running until `stop`; calls `on_ready` once, when `ready` first says so."""
        announced = False
        while not self._stopping:
            self.check(time.monotonic())
            if not announced and ready():
                announced = True
                on_ready()
            time.sleep(interval_seconds)

    def stop(self) -> None:
        """Asks `run` to return; safe to call from a signal handler."""
        self._stopping = True

    def hurry(self) -> None:
        """Kills what `close` is still waiting for; safe to call from a signal handler."""
        send_signal(marked_processes(self.instance), signal.SIGKILL)

    def check(self, now: float) -> None:
        """One look at every program: start what is due, note what has died, count workers. `now` is monotonic."""
        if self._guard is not None and self._guard.poll() is not None:
            self._start_guard()
        for place in self._places:
            if self._logs is not None:
                self._logs.rotate(place.program.name)
            if place.process is None:
                if now >= place.next_start:
                    self._start(place, now)
            elif (code := place.process.poll()) is not None:
                self._died(place, code, now)
            elif place.program.workers:
                self._count_workers(place, now)

    def close(self) -> None:
        """Ends every program and all that they started."""
        self._stopping = True
        programs = [psutil.Process(place.process.pid) for place in self._places if place.process and _alive(place)]
        send_signal(programs, signal.SIGTERM)  # the programs themselves first: they know how to drain
        psutil.wait_procs(programs, timeout=self._patience)
        killed = end_processes(marked_processes(self.instance), patience_seconds=1.0)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(timeout=self._patience + 10)
        for place in self._places:
            if place.process is not None:
                place.process.wait(timeout=10)
                place.process = None
        if self._lock is not None:
            self._lock.close()
        self._report("stopped", {"killed": killed})

    def pids(self) -> dict[str, int]:
        return {place.program.name: place.process.pid for place in self._places if place.process is not None}

    def _start(self, place: _Place, now: float) -> None:
        program = place.program
        log = self._logs.open(program.name) if self._logs is not None else None
        output = (log, log) if log is not None else self._shared_output or (None, None)
        try:
            place.process = subprocess.Popen(
                list(program.command),
                env={**program.environment, MARK: f"{self.instance}/{program.name}"},
                cwd=program.folder,
                stdin=subprocess.DEVNULL,
                stdout=output[0],
                stderr=output[1],
                start_new_session=True,  # Ctrl-C in the terminal is this process's to handle
            )
        finally:
            if log is not None:
                log.close()
        place.started, place.missing_since = now, None
        self._report("program started", {"program": program.name, "pid": place.process.pid})

    def _died(self, place: _Place, code: int, now: float) -> None:
        lived = now - place.started
        place.failures = place.failures + 1 if lived < SHORTEST_LIFE_SECONDS else 0
        place.next_start = now + pause_seconds(place.failures)
        place.process = None
        orphans = marked_processes(f"{self.instance}/{place.program.name}")
        end_processes(orphans, patience_seconds=2.0)  # they still serve, and hold the port
        facts = {"exit_code": code, "lived_seconds": round(lived, 1), "orphans_ended": len(orphans)}
        self._report("program died", {"program": place.program.name, **facts})

    def _count_workers(self, place: _Place, now: float) -> None:
        assert place.process is not None
        program = place.program
        if count_descendants(place.process.pid, program.worker_mark) >= program.workers:
            place.missing_since = None
        elif place.missing_since is None:
            place.missing_since = now
        elif now - place.missing_since > WORKERS_MISSING_SECONDS:
            self._report("workers missing", {"program": program.name, "expected": program.workers})
            place.missing_since = None
            end_processes([psutil.Process(place.process.pid)], self._patience)

    def _start_guard(self) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "monitoring.supervision.guard", self.instance, str(self._patience)],
            env={name: value for name, value in os.environ.items() if name != MARK},
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


def _alive(place: _Place) -> bool:
    return place.process is not None and place.process.poll() is None
