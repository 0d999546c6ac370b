"""Finding and ending processes by the mark that they carry in their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import psutil

# Workers leave their parent's process group and outlive its death, but what they were started with stays on them.
MARK = "RINGSIDE_PROGRAM"


def marked_processes(mark: str) -> list[psutil.Process]:
    """Every process of this user whose mark begins with `mark`, this process excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK, "").startswith(mark):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another user's, or gone meanwhile
    return found


def end_processes(processes: Sequence[psutil.Process], patience_seconds: float) -> int:
    """Asks with SIGTERM, then insists with SIGKILL; returns how many had to be killed."""
    send_signal(processes, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=patience_seconds)
    send_signal(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    return len(alive)


def send_signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue


def count_descendants(pid: int, mark: str) -> int:
    """How many living processes below `pid` have `mark` in their command line."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return 0
    count = 0
    for child in children:
        try:
            count += child.status() != psutil.STATUS_ZOMBIE and any(mark in part for part in child.cmdline())
        except psutil.Error:
            continue
    return count
