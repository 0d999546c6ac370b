"""Stepping back: what works for the challenger never gets a processor that an answer wants."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


def yield_thread() -> None:
    """The calling thread, and those that it starts, run when nobody else of their session or container wants to.

    On Linux; elsewhere nothing. `yield_session` is what holds against other sessions.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError):
        os.nice(19)
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def lower_thread(nice: int) -> None:
    """The calling thread, and those that it starts, are so much nicer than the process; on Linux alone.

    For work that has to get on beside whatever else the machine does: an idle thread (`yield_thread`) gets nothing
    while anybody computes, however nicely: beside a dozen neighbours at nice 19 it ran 1.4 of 83 seconds.
    """
    if sys.platform.startswith("linux"):  # there, niceness is a thread's own
        with suppress(OSError):
            os.nice(nice)


def yield_session(nice: int) -> None:
    """The calling process's whole session gives way to other sessions, as `nice` would among its own.

    Where Linux groups tasks by session (sched(7), "The autogroup feature"; outside of containers and of systemd's
    units), each session gets the same share of a busy processor, however nice or idle its threads are: a shadow in
    a session of its own took a third of a busy machine. For a process that leads its session.
    """
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
