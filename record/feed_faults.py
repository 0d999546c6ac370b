"""Broken feeds: which requests the data check has called an error, folded from the audit trail.

Such requests are set aside: they are no evidence for or against a version, and nothing is learned from them. A fault
is one column and check since a request time; it ends when the check finds it no longer, or has lasted so long that it
is how the data are now.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from record.clock import MICROSECOND
from record.event_log import EventLog, RecordedEvent
from record.events import FeedBroken, FeedMended
from record.logged import LoggedRow

Rule = Literal["every", "missing", "outside", "unusable"]
Row = TypeVar("Row", bound=LoggedRow)


@dataclass(frozen=True, slots=True)
class FeedFault:
    """Requests from `since` to `until` (still going on: None) whose `column` is as the `rule` says.

    every: all of them. missing: without a value. outside: a number beyond `low` or `high`. unusable: no number.
    """

    check: str
    column: str
    rule: Rule
    since: datetime
    until: datetime | None = None
    low: float | None = None
    high: float | None = None
    longest: timedelta = timedelta.max
    mended: bool = False  # the check found it no longer

    @property
    def lasts(self) -> bool:
        """Whether it goes on beyond the longest time, and sets nothing more aside."""
        return self.until is not None and not self.mended

    def holds(self, at: datetime, record: str) -> bool:
        """Whether a request of that time and record (JSON) belongs to the fault."""
        if at < self.since or (self.until is not None and at > self.until):
            return False
        return self.rule == "every" or self._is_wrong(json.loads(record).get(self.column))

    def _is_wrong(self, value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.rule == "missing":
            return value is None
        if self.rule == "unusable":
            return value is not None and not number
        low, high = self.low, self.high
        return number and ((low is not None and value < low) or (high is not None and value > high))


@dataclass(frozen=True, slots=True)
class FeedFaults:
    """All faults that the trail tells of."""

    faults: tuple[FeedFault, ...] = ()

    @property
    def open(self) -> tuple[FeedFault, ...]:
        return tuple(fault for fault in self.faults if fault.until is None)

    @property
    def lasting(self) -> tuple[FeedFault, ...]:
        """Those that have become how the data are: they set nothing more aside, and begin anew once mended."""
        return tuple(fault for fault in self.faults if fault.lasts)

    def sets_aside(self, row: LoggedRow) -> bool:
        return any(fault.holds(row.requested_at, row.record) for fault in self.faults)

    def sound(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that no fault sets aside."""
        return [row for row in rows if not self.sets_aside(row)] if self.faults else list(rows)

    def count(self, rows: Sequence[LoggedRow]) -> dict[tuple[str, str], int]:
        """How many rows each check and column sets aside; a row that several do counts for each."""
        found = Counter(
            pair
            for row in rows
            for pair in {(one.check, one.column) for one in self.faults if one.holds(row.requested_at, row.record)}
        )
        return dict(sorted(found.items()))


def read_feed_faults(events: EventLog, as_of: datetime) -> FeedFaults:
    """The faults as the trail tells of them up to `as_of`; one that lasts too long sets nothing more aside."""
    told = [*_all(events, FeedBroken.kind, as_of), *_all(events, FeedMended.kind, as_of)]
    faults: list[FeedFault] = []
    for event in sorted(told, key=lambda event: event.seq):
        data = event.data
        if event.kind == FeedBroken.kind:
            faults.append(_fault(data))
            continue
        until = datetime.fromisoformat(data["until"])
        faults = [
            _ended(fault, until) if (fault.check, fault.column) == (data["check"], data["column"]) else fault
            for fault in faults
        ]
    return FeedFaults(tuple(_cut(fault, as_of) for fault in faults))


def _all(events: EventLog, kind: str, as_of: datetime) -> Iterator[RecordedEvent]:
    cursor: str | None = None
    while True:
        page, cursor = events.page(kind=kind, until=as_of + MICROSECOND, limit=1000, cursor=cursor)
        yield from page
        if cursor is None:
            return


def _fault(data: Any) -> FeedFault:
    since, longest = datetime.fromisoformat(data["since"]), timedelta(seconds=data["longest_seconds"])
    return FeedFault(data["check"], data["column"], data["rule"], since, None, data["low"], data["high"], longest)


def _ended(fault: FeedFault, until: datetime) -> FeedFault:
    return fault if fault.mended else replace(fault, until=max(until, fault.since), mended=True)


def _cut(fault: FeedFault, as_of: datetime) -> FeedFault:
    """A fault that goes on for too long is how the data are now, whether or not it has ended since."""
    if (fault.until or as_of) - fault.since > fault.longest:
        return replace(fault, until=fault.since + fault.longest)
    return fault
