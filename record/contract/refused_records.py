"""Records that were refused, by column: counted in a worker, told as one event a minute at most.

A record that is refused is in no log, and the feed that sends it is broken all the same: this is how the watcher
hears of it. Values are never told, and only names of the problem's own columns are.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from record.contract.schema import ProblemSchema
from record.errors import InvalidRecord

WHOLE_RECORD = "*"  # what is wrong with a record as a whole: no object, or a column that nobody knows


class RefusedRecords:
    """Counts requests by the first column and reason they were refused for. Safe to share between threads."""

    EVERY_SECONDS = 60.0

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._counts: Counter[str] = Counter()
        self._told = -self.EVERY_SECONDS
        self._lock = Lock()

    def add(self, error: InvalidRecord, problem: ProblemSchema) -> None:
        _, _, name = (error.field or "").partition("].")
        column = name if any(column.name == name for column in problem.columns) else WHOLE_RECORD
        with self._lock:
            self._counts[f"{column}:{error.reason}"] += 1

    def due(self, all_of_them: bool = False) -> dict[str, int]:
        """What may be told now, by "column:reason", and is taken as told; empty where there is nothing."""
        with self._lock:
            now = self._monotonic()
            if not self._counts or not (all_of_them or now - self._told >= self.EVERY_SECONDS):
                return {}
            counts, self._counts, self._told = dict(sorted(self._counts.items())), Counter(), now
            return counts

    def put_back(self, counts: Mapping[str, int]) -> None:
        """What could not be told after all: it waits for the next minute."""
        with self._lock:
            self._counts.update(counts)


def refused_by_column(told: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The requests refused for each column, whatever the reason."""
    total: Counter[str] = Counter()
    for counts in told:
        for key, count in counts.items():
            total[key.rpartition(":")[0]] += count
    return dict(total)
