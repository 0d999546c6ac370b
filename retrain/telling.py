"""What a run says of itself while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from record.contract.schema import Task
from retrain.search import SearchReport

Progress = Callable[[Mapping[str, Any]], None]

# What trials are compared by; see `retrain.trials.validation`.
METRICS: Mapping[Task, str] = {"classification": "log_loss", "regression": "rmse"}


class Teller:
    """Says what the run is doing: at every new stage, and within the search at most twice a second.

    `best` is the best trial's `metric`; `seconds_left` are those of the search: by its budget, or, where it is a
    number of trials, by what those of this process have taken.
    """

    def __init__(self, progress: Progress, task: Task) -> None:
        self._progress = progress
        self._metric = METRICS[task]
        self._last = 0.0
        self._first: tuple[int, float] | None = None  # trials there were, and when

    def __call__(self, stage: str, found: SearchReport | None = None) -> None:
        done = len(found.trials) if found else 0
        self._tell(stage, done, done or None, found.best.loss if found else None, None)

    def trial(self, done: int, total: int | None, best: float | None, left: float | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        if now - self._last < 0.5 and done not in (0, total):
            return
        self._last = now
        seconds = left if total is None else self._seconds_of(done, total, now)
        self._tell("search", done, total, best, None if seconds is None else round(seconds, 1))

    def _seconds_of(self, done: int, total: int, now: float) -> float | None:
        assert self._first is not None
        before, since = self._first
        return (now - since) / (done - before) * (total - done) if done > before else None

    def _tell(self, stage: str, done: int, total: int | None, best: float | None, seconds: float | None) -> None:
        held = {"stage": stage, "done": done, "total": total, "metric": self._metric, "best": best}
        self._progress(held | {"seconds_left": seconds})
