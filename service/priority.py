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


def yield_session(nice: int) -> None:
    """The calling process's whole session gives way to other sessions, as `nice` would among its own.

    Where Linux groups tasks by session (sched(7), "The autogroup feature"; outside of containers and of systemd's
    units), each session gets the same share of a busy processor, however nice or idle its threads are: a shadow in
    a session of its own took a third of a busy machine. For a process that leads its session.
    """
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
