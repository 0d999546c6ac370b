"""When a job comes due: grids in the record's time, computed and never waited for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from record.clock import EPOCH


class Schedule(Protocol):
    """A grid of times. `str()` names it, so that a changed schedule can be told from a kept one."""

    def next_due(self, after: datetime) -> datetime:
        """The first time on the grid that is later than `after`."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """A grid of equal steps, counted from 1970: the same after a restart, and for every watcher."""

    period: timedelta

    def next_due(self, after: datetime) -> datetime:
        return EPOCH + ((after - EPOCH) // self.period + 1) * self.period

    def __str__(self) -> str:
        return f"every {self.period.total_seconds():g} s"
