"""The record as it stood before an event, for reading: its events, roles, runs, and the settings of that time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from record.event_log import EventLog, RecordedEvent
from record.events import (
    ModelPromoted,
    ModelRolledBack,
    RetrainFailed,
    RetrainStarted,
    RetrainSucceeded,
    SettingsChanged,
)
from record.record import Record
from record.registry import Registry
from record.samples import Samples
from record.settings import Settings
from record.versions.roles import Roles
from record.work.run import Run, RunState
from record.work.runs import Runs

# The sections that decisions go by; the others say where things are and who may call.
SECTIONS = ("drift", "quality", "retrain", "promotion")


class Past:
    """Reads the trail's moves once; `before` gives the record as of any event."""

    def __init__(self, record: Record, settings: Settings) -> None:
        self._record = record
        self._settings = settings
        self._roles = [(event.seq, _roles(event)) for event in all_events(record.events, _MOVES)]
        self._changes = all_events(record.events, (SettingsChanged.kind,))
        self._runs = all_events(record.events, (RetrainStarted.kind, RetrainSucceeded.kind, RetrainFailed.kind))

    def before(self, seq: int) -> Record:
        """A record whose readers see what stood there before the event of that number. It cannot be written."""
        events = self._record.events.before(seq)
        return replace(
            self._record,
            events=events,
            registry=_PastRegistry(self._record, events, self.roles(seq)),
            runs=_PastRuns(self._record, [event for event in self._runs if event.seq < seq]),
            samples=_NoSamples(self._record.database),
        )

    def roles(self, seq: int) -> Roles:
        """Return the roles just before that event."""
        place = bisect_left(self._roles, seq, key=lambda held: held[0])
        return self._roles[place - 1][1] if place else Roles(None, None, 0, None)

    def settings(self, seq: int) -> Settings:
        """Today's settings with the sections that decisions go by as the trail says they were then."""
        chosen: dict[str, Any] = {}
        for event in self._changes:
            if event.seq < seq:
                chosen |= {key: after for key, (_, after) in event.data["changed"].items()}
        if not any(event.seq < seq for event in self._changes):
            return self._settings  # nobody has said what they were
        return with_sections(self._settings, {key: value for key, value in chosen.items() if value is not None})


def with_sections(settings: Settings, chosen: Mapping[str, Any]) -> Settings:
    """The settings with SECTIONS at their defaults but for what was chosen, as "section.key"."""
    sections: dict[str, Any] = {}
    for name in SECTIONS:
        held = {key.partition(".")[2]: value for key, value in chosen.items() if key.partition(".")[0] == name}
        if name == "promotion" and settings.problem.task == "regression":
            held.setdefault("loss", "absolute")
        sections[name] = type(getattr(settings, name)).model_validate(held)
    if sections["retrain"].deadline is None:
        sections["retrain"] = sections["retrain"].model_copy(update={"deadline": settings.retrain.deadline})
    return settings.model_copy(update=sections)


def all_events(events: EventLog, kinds: tuple[str, ...], **chosen: Any) -> list[RecordedEvent]:
    """Every event of these kinds, oldest first."""
    found: list[RecordedEvent] = []
    cursor: str | None = None
    while True:
        page, cursor = events.page(kind=kinds, limit=1000, cursor=cursor, **chosen)
        found += page
        if cursor is None:
            return found


_MOVES = (ModelPromoted.kind, ModelRolledBack.kind)


def _roles(event: RecordedEvent) -> Roles:
    """The roles after a move."""
    generation = event.data["generation"]
    if event.kind == ModelPromoted.kind:
        return Roles(event.model_version, event.data["previous"], generation, event.at)
    return Roles(event.data["restored"], None, generation, event.at)


class _PastRegistry(Registry):
    def __init__(self, record: Record, events: EventLog, roles: Roles) -> None:
        super().__init__(record.database, record.artifacts, events, record.clock)
        self._past_roles = roles

    def roles(self) -> Roles:
        return self._past_roles


class _PastRuns(Runs):
    def __init__(self, record: Record, told: list[RecordedEvent]) -> None:
        super().__init__(record.database, record.events, record.clock)
        self._told = told

    def latest(self, state: RunState | None = None, *, until: datetime | None = None) -> Run | None:
        ended = {"succeeded": RetrainSucceeded.kind, "failed": RetrainFailed.kind}
        kind = RetrainStarted.kind if state is None else ended.get(state, "")
        runs = [self.get(event.data["run_id"]) for event in self._told if event.kind == kind]
        began = [run for run in runs if run.as_of is not None and (until is None or run.as_of <= until)]
        return max(began, key=lambda run: (run.as_of, run.requested_at), default=None)

    def begun_after(self, at: datetime) -> int:
        began = [event for event in self._told if event.kind == RetrainStarted.kind]
        return sum(datetime.fromisoformat(event.data["as_of"]) > at for event in began)


class _NoSamples(Samples):
    """Takes what it is given nowhere: the past shows nothing to Prometheus."""

    def put(self, *_: Any, **__: Any) -> None:
        """Nothing is written."""

    def replace(self, *_: Any, **__: Any) -> None:
        """Nothing is written."""
