"""Watchers to test against: `python -m monitoring` as a process, and one that ticks in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from monitoring.__main__ import compose
from monitoring.watcher import Watcher
from record.record import Record
from record.settings import Settings
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]


@contextmanager
def watcher_process(
    settings: Settings, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Not waited for. Killed at the end, where it still runs, and its children with it: they hear their pipes close."""
    surroundings = os.environ | {"RINGSIDE_CONFIG": str(settings.path)} | dict(environment or {})
    with (settings.folder / "watcher.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "monitoring"], cwd=ROOT, env=surroundings, stderr=log)
    children: list[psutil.Process] = []
    try:
        yield process
    finally:
        if process.poll() is None:
            children = descendants(process.pid)
            process.kill()
        process.wait()
        wait_gone(children)


def descendants(pid: int, program: str = "") -> list[psutil.Process]:
    """What that process has started, and what that has; of a program, those that run it."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in found if not program or program in _command_line(child)]


def _command_line(process: psutil.Process) -> list[str]:
    """Nothing for one that has ended since it was found."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def wait_gone(processes: list[psutil.Process], timeout: float = 60.0) -> None:
    """Fails where one of them outlives its parent for that long; the left over are ended, so that none stays behind."""
    _, alive = psutil.wait_procs(processes, timeout=timeout)
    for process in alive:
        process.kill()
    assert alive == [], f"left behind: {alive}"


@contextmanager
def ticking(settings: Settings, record: Record) -> Iterator[Watcher]:
    """A leader in this process, composed as the watcher's process is: its runs and shadows are real children."""
    watcher = compose(settings, record)
    watcher.beat()
    try:
        yield watcher
    finally:
        watcher.stop()


def leads(record: Record, pid: int) -> bool:
    """Whether that process holds the lease, and has looked around as its holder."""
    held = record.leases.current("watcher")
    return held is not None and f":{pid}:" in held.holder and held.settled_until is not None


def wait_leads(record: Record, pid: int) -> None:
    wait_until(lambda: leads(record, pid), 120, f"process {pid} leads")


def stop_between_writes(record: Record, pid: int) -> None:
    """Stops the process while it cannot be writing: one that held the writers' lock would keep it until it goes on."""
    process = psutil.Process(pid)
    with record.database.write():
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: all(_stands(thread.id) for thread in process.threads()), 30, f"process {pid} stands still")


def _stands(thread: int) -> bool:
    return bool(psutil.Process(thread).status() == psutil.STATUS_STOPPED)
