"""The record's time.

Horizons, cooldowns and schedules come due by the record's clock; latencies, leases and budgets use the
machine's. The two are one unless `clock.source = "requests"`, where time is what the `Ringside-Time` header of
predict and label calls says, so that history can be replayed live.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# A time from outside that lies further ahead is a mistake, and would hold up all that comes due by it.
FURTHEST_AHEAD: Final = timedelta(days=365)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970, exact; `at` must know its time zone."""
    return (at - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def machine_now() -> datetime:
    return datetime.now(UTC)


def credible_until(*clocks: datetime | None) -> datetime:
    """The latest time that a caller or a data file may state: a year past the latest of the clocks that are known."""
    latest = max(clock for clock in clocks if clock is not None)
    return latest + min(FURTHEST_AHEAD, datetime.max.replace(tzinfo=UTC) - latest)


class Clock(Protocol):
    """Says what time it is in the record, as an aware UTC datetime."""

    def now(self) -> datetime: ...


class SystemClock:
    def now(self) -> datetime:
        return machine_now()


class ManualClock:
    """Stands where it is put: for tests, and for going over history."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def advance(self, by: timedelta) -> datetime:
        self.at += by
        return self.at
