"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

# However crowded the machine is: waiting longer costs a test nothing that passes.
LEAST_PATIENCE = 150.0


def wait_until(
    condition: Callable[[], object], timeout: float = 10.0, message: str = "", *, every: float = 0.01
) -> None:
    """Return as soon as `condition()` is true; fail after `timeout` seconds, or LEAST_PATIENCE if that is longer.

    It is asked again `every` so many seconds: rarely, where asking takes time from what is waited for.
    """
    timeout = max(timeout, LEAST_PATIENCE)
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {message or 'the condition'}")
        time.sleep(every)
