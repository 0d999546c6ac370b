"""What the record holds for a drift decision: rows that none has seen, and the evidence of those before.

Everything is read as of a time, so that a decision can be computed again from the record, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np

from monitoring.drifting.alarm import (
    SPANS,
    AlarmDecision,
    AlarmState,
    Line,
    decide,
    decisions_per_alarm,
    line_name,
    line_of,
    line_weights,
    uses,
)
from monitoring.drifting.chance import Chance, Found, Quiet, Statistic
from monitoring.drifting.evidently import DriftMeter
from monitoring.windows import TARGET, Numbers, Texts, Window, current_window, is_text, with_targets
from record.clock import MICROSECOND
from record.contract.schema import Schema
from record.event_log import RecordedEvent
from record.events import DriftChecked
from record.log.label_window import matured_labels
from record.log.window import LogSpan, log_span
from record.record import Record
from record.registry import ModelVersion
from record.settings import Settings

Source = Literal["requests", "labels"]

# Of so many decisions the quiet ones widen the law of chance, and the last one's evidence is taken up. What is older
# was a season ago, and is forgotten.
REMEMBERED = 120


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows of one source that a decision rests on: after `since`, up to `until`."""

    since: datetime
    until: datetime
    rows: int

    def to_json(self) -> dict[str, Any]:
        return {"since": self.since.isoformat(), "until": self.until.isoformat(), "rows": self.rows}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A decision and all it rests on. None where no span has rows enough: `waiting` says how many there are."""

    decision: AlarmDecision | None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0  # requests that no decision had seen
    waiting: int = 0


@dataclass
class _Gathered:
    readings: dict[str, Reading] = field(default_factory=dict)
    p_values: dict[int, dict[Line, list[float]]] = field(default_factory=dict)
    judged: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)


class DriftEvidence:
    """Reads one champion's evidence. Its laws of chance are worked out once."""

    def __init__(self, settings: Settings, record: Record, version: ModelVersion, schema: Schema, meter: DriftMeter):
        self._settings = settings
        self._record = record
        self._version = version
        self._schema = schema
        self._meter = meter
        every = settings.drift.decide_every
        shortest = Chance(meter.reference, every)
        longer = {span: Chance(meter.reference, span * every, (shortest, span)) for span in SPANS if span > 1}
        self._chances = {1: shortest} | longer
        self._weights = _weights(meter.reference, version)
        features = [name for kind, name in self._weights if kind == "feature"]
        self._uses = uses(features, _importances(version), _constant(meter.reference))

    def at(self, as_of: datetime) -> Evidence:
        """The decision as of then, from events before and rows up to it. Writes nothing."""
        past = self._past(as_of)
        held = _Gathered()
        waiting = 0
        for span in SPANS:
            waiting = max(waiting, self._requests(held, span, past, as_of))
            self._labels(held, span, past, as_of)
        if not held.p_values:
            return Evidence(None, waiting=waiting)
        drift = self._settings.drift
        needed = decisions_per_alarm(drift.false_alarms_per_quarter, drift.decide_every)
        before = AlarmState.from_numbers(past[-1].data["numbers"]["state"]) if past else AlarmState()
        decision = decide(before, held.p_values, self._weights, needed)
        read = held.readings.get(_place("requests", 1))
        return Evidence(decision, self._numbers(held, past, decision), 0 if read is None else read.rows)

    def _past(self, as_of: datetime) -> Sequence[RecordedEvent]:
        """The decisions about this champion before `as_of`, the last one at the end."""
        since = as_of - REMEMBERED * self._settings.drift.decide_every
        found: list[RecordedEvent] = []
        cursor = None
        while True:
            page, cursor = self._record.events.page(
                kind=DriftChecked.kind, model=self._version.version, since=since, until=as_of, limit=1000, cursor=cursor
            )
            found += [event for event in page if event.data["numbers"].get("state")]
            if cursor is None:
                return found

    def _requests(self, held: _Gathered, span: int, past: Sequence[RecordedEvent], as_of: datetime) -> int:
        """Measures the requests since the last window of this span; how many there are, if that is too few."""
        drift, database = self._settings.drift, self._record.database
        read = _last_reading(past, "requests", span)
        first = _first_start(past) if span > 1 else None  # a long window begins where the first short one did
        if read is None and first is None:
            found = log_span(database, as_of, drift.decide_every, drift.min_rows) if span == 1 else LogSpan(0)
        else:
            found = log_span(database, as_of, as_of - (read.until if read else first or as_of), 0)
        if found.rows < drift.min_rows or found.since is None:
            return found.rows
        # The first short window is as long as others, or reaches back to its oldest row.
        since = read.until if read else first or min(as_of - drift.decide_every, found.since - MICROSECOND)
        if span > 1 and as_of - since < span * drift.decide_every - MICROSECOND:
            return found.rows
        window = current_window(database, found, self._schema, self._version.version)
        held.readings[_place("requests", span)] = Reading(since, as_of, found.rows)
        self._judge(held, span, window, past, contiguous=read is not None and self._follows(read, as_of, span))
        return found.rows

    def _labels(self, held: _Gathered, span: int, past: Sequence[RecordedEvent], as_of: datetime) -> None:
        """As `_requests`, of matured labels."""
        if ("output", TARGET) not in self._weights:
            return
        drift, horizon = self._settings.drift, self._settings.quality.label_horizon
        until = as_of - horizon
        read = _last_reading(past, "labels", span)
        since = read.until if read is not None else until - span * drift.decide_every
        if until - since < span * drift.decide_every - MICROSECOND:
            return
        times, told = matured_labels(self._record.database, since, until, horizon)
        if len(told) < drift.min_rows:
            return
        window = with_targets(Window(since, until, len(told), {}, {}), times, told, self._schema)
        held.readings[_place("labels", span)] = Reading(since, until, len(told))
        self._judge(held, span, window, past, contiguous=read is not None and self._follows(read, until, span))

    def _follows(self, read: Reading, until: datetime, span: int) -> bool:
        """Whether the window is as long as usual; behind a gap, what carried over is not known."""
        return until - read.until < 1.5 * span * self._settings.drift.decide_every

    def _judge(
        self, held: _Gathered, span: int, window: Window, past: Sequence[RecordedEvent], *, contiguous: bool
    ) -> None:
        def quiet(statistic: Statistic) -> Quiet:
            return _quiet(past, span, statistic, contiguous=contiguous)

        for found in self._chances[span].judge_window(window, quiet, self._uses):
            key, method = found.statistic
            line = line_of(key)
            if line not in self._weights:
                continue
            # The numbers are used as the event tells them, so that they can be used again.
            told = _told(found)
            held.p_values.setdefault(span, {}).setdefault(line, []).append(told["p"])
            held.judged.setdefault(str(span), {}).setdefault(line_name(key), {})[method] = told

    def _numbers(self, held: _Gathered, past: Sequence[RecordedEvent], decision: AlarmDecision) -> Mapping[str, Any]:
        """What an event keeps of it, so that the next decision can be made, and this one made again."""
        readings = dict(past[-1].data["numbers"]["readings"]) if past else {}
        readings |= {place: reading.to_json() for place, reading in held.readings.items()}
        return {
            "readings": readings,
            "judged": held.judged,
            "weights": {line_name(line): round(weight, 6) for line, weight in self._weights.items()},
            "needed": decision.needed,
            "evidence": {line_name(line): _short(value) for line, value in decision.evidence.items()},
            "system_evidence": _short(decision.system),
            "reasons": list(decision.reasons),
            "state": decision.state.to_numbers(),
        }


def _weights(reference: Window, version: ModelVersion) -> dict[Line, float]:
    lines = list(dict.fromkeys(line_of(key) for key in reference.columns))
    features = [name for kind, name in lines if kind == "feature"]
    weights = line_weights(features, _importances(version), [name for kind, name in lines if kind == "output"])
    # As the event tells them: what is computed again from it is the same.
    return {line: round(weight, 6) for line, weight in weights.items()}


def _constant(reference: Window) -> set[str]:
    """The features of which training saw one value, or none."""
    columns = {name: values for (kind, name), values in reference.columns.items() if kind == "feature"}
    return {name for name, values in columns.items() if _distinct(values) < 2}


def _distinct(values: Numbers | Texts) -> int:
    if is_text(values):
        return len(set(values.tolist()) - {None})
    numbers = values.astype(np.float64)
    return len(np.unique(numbers[~np.isnan(numbers)]))


def _importances(version: ModelVersion) -> Mapping[str, float]:
    """By column, as retrain measured them; none on a card of another making."""
    return version.card.get("importances") or {}


def _quiet(past: Sequence[RecordedEvent], span: int, statistic: Statistic, *, contiguous: bool) -> Quiet:
    """What the service's own days say: all squares of quiet decisions, and the last one's effect."""
    squares: list[float] = []
    last: float | None = None
    key, method = statistic
    name = line_name(key)
    for event in past:
        numbers = event.data["numbers"]
        kept = numbers["judged"].get(str(span), {}).get(name, {}).get(method)
        if kept is None:
            continue
        last = float(kept["square"])
        if not numbers["state"]["alarm"]:
            squares.append(last)
    carried = max(last, 0.0) ** 0.5 if contiguous and last is not None else None
    return Quiet(tuple(squares), carried)


def _place(source: Source, span: int) -> str:
    return f"{source}:{span}"


def _last_reading(past: Sequence[RecordedEvent], source: Source, span: int) -> Reading | None:
    held = past[-1].data["numbers"]["readings"].get(_place(source, span)) if past else None
    return None if held is None else _reading(held)


def _first_start(past: Sequence[RecordedEvent]) -> datetime | None:
    return _reading(past[0].data["numbers"]["readings"][_place("requests", 1)]).since if past else None


def _reading(held: Mapping[str, Any]) -> Reading:
    return Reading(datetime.fromisoformat(held["since"]), datetime.fromisoformat(held["until"]), int(held["rows"]))


def _told(found: Found) -> dict[str, float]:
    return {"score": _short(found.score), "p": _short(found.judged.p), "square": _short(found.judged.square)}


def _short(value: float) -> float:
    return float(f"{value:.6g}")
