"""How long this process has seen a value unchanged: a measure of time that no clock's correction touches."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Lock


class Unchanged:
    """Remembers one value for each name, and since when. Safe to share between threads."""

    def __init__(self, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._stopwatch = stopwatch
        self._seen: dict[str, tuple[Hashable, float]] = {}
        self._lock = Lock()

    def unchanged_seconds(self, name: str, value: Hashable) -> float:
        """Return for how long the name has had this value at each look; 0 at the first look at a value."""
        now = self._stopwatch()
        with self._lock:
            held = self._seen.get(name)
            if held is None or held[0] != value:
                self._seen[name] = (value, now)
                return 0.0
            return now - held[1]
