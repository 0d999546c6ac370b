"""How long the disk has lately taken to sync, and whether that is worth handing to a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# What handing a wait to a thread and back takes of the processor, for a group of three or four requests.
QUICK_SECONDS: Final = 0.0005
# How much the latest sync counts: behind one stall of the disk the next dozen are the thread's.
WEIGHT: Final = 1 / 8
# A slow disk is tried so often, to see whether it still is.
TRY_SECONDS: Final = 1.0


class DiskPace:
    """The smoothed time of a sync (an exponentially weighted mean, as TCP's of its round trips, RFC 6298).

    For one thread, which measures its own waits: another's would have its wait for the interpreter in them.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._seconds = 0.0
        self._tried_at = now()

    @property
    def quick(self) -> bool:
        """Whether to wait for it costs less than handing the wait to a thread, or is to be tried again."""
        return self._seconds < QUICK_SECONDS or self._now() - self._tried_at > TRY_SECONDS

    def measure(self, sync: Callable[[], None]) -> None:
        started = self._now()
        try:
            sync()
        finally:
            self._tried_at = self._now()
            self._seconds += WEIGHT * (self._tried_at - started - self._seconds)
