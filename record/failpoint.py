"""Named steps at which a crash test may kill the process."""

from __future__ import annotations

import os
import signal

_passed = 0


def fail_point(step: str) -> None:
    """Kills this process with SIGKILL where RINGSIDE_FAIL_AT says `step`, or its running number in this process.

    Does nothing without that variable. After SQLite's method: fail at step 1, 2, 3 … until one run is clean.
    """
    global _passed
    wanted = os.environ.get("RINGSIDE_FAIL_AT")
    if wanted is None:
        return
    _passed += 1
    if wanted in (step, str(_passed)):
        os.kill(os.getpid(), signal.SIGKILL)
