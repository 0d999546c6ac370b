"""What a run says of itself while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from retrain.search import SearchReport

Progress = Callable[[Mapping[str, Any]], None]


class Teller:
    """Says what the run is doing: at every new stage, and within the search at most twice a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last = 0.0

    def __call__(self, stage: str, found: SearchReport | None = None) -> None:
        best = found.best.loss if found else None
        done = len(found.trials) if found else 0
        self._progress({"stage": stage, "done": done, "total": done or None, "best": best, "seconds_left": None})

    def trial(self, done: int, total: int | None, best: float | None, left: float | None) -> None:
        now = time.monotonic()
        if now - self._last < 0.5 and done not in (0, total):
            return
        self._last = now
        seconds = None if left is None else round(left, 1)
        self._progress({"stage": "search", "done": done, "total": total, "best": best, "seconds_left": seconds})
