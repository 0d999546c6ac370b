"""What the checks of one champion have accumulated: folded from their events, so that a restart loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitoring.quality.rise import DaySums, days_of, merge
from monitoring.quality.track_record import Stretches, newest, stretches_of
from record.event_log import EventLog
from record.events import QualityChecked

Days = dict[int, DaySums]


@dataclass(frozen=True, slots=True)
class QualityState:
    """`matured_until` and `answered_until` are the last request times that went in; None before the first check."""

    matured_until: datetime | None = None
    answered_until: datetime | None = None
    observed: Days = field(default_factory=dict)
    estimated: Days = field(default_factory=dict)
    gap: Days = field(default_factory=dict)
    stretches: Stretches = field(default_factory=dict)  # what estimates were worth
    delay_log_e: float = 0.0
    delay_highest: float = 0.0

    def then(self, held: Mapping[str, Any]) -> QualityState:
        """The state after a check whose event says `held`."""
        log_e = self.delay_log_e + float(held.get("delay_log_e", 0.0))
        return QualityState(
            _time(held["matured_until"]) or self.matured_until,
            _time(held["answered_until"]) or self.answered_until,
            merge([self.observed, days_of(held["observed"])]),
            merge([self.estimated, days_of(held["estimated"])]),
            merge([self.gap, days_of(held["gap"])]),
            newest(self.stretches, stretches_of(held.get("stretches", {}))),
            log_e,
            max(self.delay_highest, log_e),
        )


class QualityMemory:
    """The state by champion, read on from where it was read last. For one thread."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._version: tuple[str, str] | None = None
        self._cursor: str | None = None
        self._state = QualityState()

    def state(self, version: str, design: str) -> QualityState:
        """What all checks of `version` say whose bounds were `design`: evidence against another bound counts for none.

        A changed tolerance, loss or alpha begins anew, from the champion's first answer.
        """
        if self._version != (version, design):
            self._version, self._cursor, self._state = (version, design), None, QualityState()
        while True:
            page, following = self._events.page(
                kind=QualityChecked.kind, model=version, limit=1000, cursor=self._cursor
            )
            for event in page:
                if event.data["state"].get("design") == design:
                    self._state = self._state.then(event.data["state"])
            if page:
                self._cursor = str(page[-1].seq)
            if following is None:
                return self._state


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
