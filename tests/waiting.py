"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object], timeout: float = 10.0, message: str = "", *, every: float = 0.01
) -> None:
    """Returns as soon as `condition()` is true; fails the test when `timeout` seconds pass before that.

    It is asked again `every` so many seconds: rarely, where asking takes time from what is waited for.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {message or 'the condition'}")
        time.sleep(every)
