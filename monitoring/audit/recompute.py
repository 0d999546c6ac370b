"""Makes every decision of the audit trail again from the record, and holds it against what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from monitoring.audit.bouts import bout_again, open_look_again, opening_again
from monitoring.audit.past import Past, all_events
from monitoring.audit.verdict import Unrepeatable, Verdict, judge, skipped
from monitoring.drifting.check import DriftCheck
from monitoring.facts import read_facts
from monitoring.quality.check import QualityCheck
from monitoring.trigger import RetrainDecision, TriggerFacts
from monitoring.trigger import decide as decide_retrain
from record.errors import RingsideError
from record.event_log import RecordedEvent
from record.events import (
    BoutDecided,
    BoutOpened,
    ConceptDriftDetected,
    DriftChecked,
    DriftDetected,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    QualityChecked,
    QualityDeclined,
    RetrainDeclined,
    RetrainRequested,
    RetrainSucceeded,
)
from record.record import Record
from record.registry import ModelVersion
from record.settings import Settings
from retrain.gate import decide_again

Remake = Callable[[RecordedEvent], tuple[Any, Any]]  # what was recorded, and what it is now


class Auditor:
    """Each decision by itself: it rests on the record as it stood before its event, under the settings of that time."""

    def __init__(self, record: Record, settings: Settings) -> None:
        self._record = record
        self._settings = settings
        self._past = Past(record, settings)
        self._remakes: Mapping[str, Remake] = {
            RetrainRequested.kind: self._trigger,
            RetrainDeclined.kind: self._trigger,
            RetrainSucceeded.kind: self._gate,
            DriftChecked.kind: self._drift,
            DriftDetected.kind: self._drift,
            QualityChecked.kind: self._quality,
            QualityDeclined.kind: self._quality,
            ConceptDriftDetected.kind: self._quality,
            BoutOpened.kind: self._opening,
            BoutDecided.kind: self._bout,
            ModelPromoted.kind: self._move,
            ModelRejected.kind: self._move,
            ModelRolledBack.kind: self._move,
        }

    def verdicts(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Verdict]:
        """One verdict for each decision, oldest first."""
        for event in all_events(self._record.events, tuple(self._remakes), since=since, until=until):
            yield self.verdict(event)
        if until is None:
            yield from self._open_looks()

    def verdict(self, event: RecordedEvent) -> Verdict:
        try:
            return judge(event, *self._remakes[event.kind](event))
        except Unrepeatable as reason:
            return skipped(event, str(reason))

    def _open_looks(self) -> Iterator[Verdict]:
        """The last look of every open bout: it is in the record, and not yet an event."""
        for bout in self._record.bouts.opened():
            if bout.look is None:
                continue
            opened = self._record.events.page(kind=BoutOpened.kind, model=bout.challenger, since=bout.opened_at)[0]
            event = next((each for each in reversed(opened) if each.data["bout"] == bout.bout), None)
            if event is None:
                continue
            look = replace(event, kind="bout_look", at=datetime.fromisoformat(bout.look["as_of"]))
            try:
                yield judge(look, *open_look_again(self._record, bout))
            except Unrepeatable as reason:
                yield skipped(look, str(reason))

    def _trigger(self, event: RecordedEvent) -> tuple[Any, Any]:
        """The facts from the record, and the decision from the facts."""
        held = event.data["numbers"].get("facts")
        if held is None:
            raise Unrepeatable("it was asked for by name, and not decided on")
        try:
            told = TriggerFacts.from_json(held)
        except ValueError as reason:
            raise Unrepeatable(str(reason)) from None
        past, settings = self._past.before(event.seq), self._past.settings(event.seq)
        facts = read_facts(past, settings, told.asks, told.as_of, run_active=told.run_active)
        facts = replace(facts, changed=told.changed)  # what source and code were then, nobody knows any more
        decision = decide_retrain(facts, settings.retrain)
        recorded = {"facts": held, "decision": _told_decision(event)}
        return recorded, {"facts": facts.to_json(), "decision": _made_decision(event, decision)}

    def _gate(self, event: RecordedEvent) -> tuple[Any, Any]:
        held = event.data["outcome"].get("gate")
        if held is None or not held.get("inputs"):
            raise Unrepeatable("the run has written no inputs of its gate")
        limit = self._past.settings(event.seq).retrain.max_latency_ms
        return held, decide_again(held["inputs"], limit).to_json()

    def _drift(self, event: RecordedEvent) -> tuple[Any, Any]:
        """All numbers of the decision; the scores of the window that is only shown are left out."""
        past, settings = self._past.before(event.seq), self._past.settings(event.seq)
        version = self._version(event)
        self._expect_rows(event, datetime.fromisoformat(event.data["as_of"]) - settings.drift.decide_every)
        found = DriftCheck(settings, past).evidence(version, datetime.fromisoformat(event.data["as_of"]))
        if found.decision is None:
            return {"decided": event.data["numbers"]["decided"]}, {"decided": False}
        recorded = event.data["numbers"]
        numbers = {name: recorded.get(name) for name in found.numbers}
        told = {"drifted": event.data["drifted"], "numbers": numbers}
        drifted = [name for _, name in found.decision.drifted] if found.decision.alarm else []
        return told, {"drifted": drifted, "numbers": found.numbers}

    def _quality(self, event: RecordedEvent) -> tuple[Any, Any]:
        """Recompute the champion's quality from its labels; how the shadows stood beside it is not kept."""
        as_of = datetime.fromisoformat(event.data["as_of"])
        checked = self._check_of(event)
        past, settings = self._past.before(checked.seq), self._past.settings(checked.seq)
        self._expect_rows(event, as_of - settings.quality.label_horizon - settings.quality.every)
        if "stretches" not in checked.data["state"]:
            raise Unrepeatable("an earlier release made it, whose estimates knew nothing of how far they were wrong")
        made = QualityCheck(settings, past).events(as_of)
        same = [each for each in made if each.kind == event.kind and _basis(each.data()) == _basis(event.data)]
        if not same:
            return {"said": event.kind}, {"said": None}
        return _of_champion(event.data), _of_champion(same[0].data())

    def _check_of(self, event: RecordedEvent) -> RecordedEvent:
        """The check that said it, in the same transaction: its event stands before it."""
        if event.kind == QualityChecked.kind:
            return event
        found = self._record.events.before(event.seq).latest(QualityChecked.kind, event.model_version)
        return event if found is None else found

    def _opening(self, event: RecordedEvent) -> tuple[Any, Any]:
        """The design is what the settings of that time make of it, and still what was hashed."""
        return opening_again(self._record, self._past.settings(event.seq), event)

    def _bout(self, event: RecordedEvent) -> tuple[Any, Any]:
        return bout_again(self._record, self._past, event)

    def _move(self, event: RecordedEvent) -> tuple[Any, Any]:
        """A move of the watcher's follows from the bout that was decided in the same transaction."""
        if event.data.get("bout") is None:
            raise Unrepeatable(f"{event.actor} did it by hand")
        decided = self._record.events.before(event.seq).latest(BoutDecided.kind)
        if decided is None or decided.data["bout"] != event.data["bout"]:
            return {"bout": event.data["bout"]}, {"bout": None if decided is None else decided.data["bout"]}
        moved = {ModelPromoted.kind: "promoted", ModelRejected.kind: "rejected", ModelRolledBack.kind: "rolled_back"}
        reason = "; ".join(decided.data["evidence"].get("reasons", ()))
        told = {"outcome": moved[event.kind], "reason": event.data["reason"]}
        return told, {"outcome": decided.data["outcome"], "reason": reason}

    def _version(self, event: RecordedEvent) -> ModelVersion:
        try:
            return self._record.registry.version(event.model_version or "")
        except RingsideError as error:
            raise Unrepeatable(error.message) from None

    def _expect_rows(self, event: RecordedEvent, since: datetime) -> None:
        """Raises Unrepeatable where retention has forgotten requests that the decision was made on."""
        kept = self._settings.log.retention
        if kept is not None and since < self._record.clock.now() - kept:
            raise Unrepeatable(f"requests before {since.isoformat()} are no longer in the log (log.retention)")


def _told_decision(event: RecordedEvent) -> dict[str, Any]:
    numbers = {name: value for name, value in event.data["numbers"].items() if name not in _AROUND}
    return {"trigger": event.data["trigger"], "reason": event.data["reason"], "numbers": numbers}


def _made_decision(event: RecordedEvent, decision: RetrainDecision) -> dict[str, Any]:
    numbers = {name: value for name, value in decision.numbers.items() if name not in _AROUND}
    asked = event.kind == RetrainRequested.kind
    reason = "; ".join(decision.reasons) if decision.retrain == asked else f"retrain is {decision.retrain}"
    if event.kind == RetrainDeclined.kind and "obstacles" in event.data["numbers"]:
        numbers["obstacles"] = list(decision.obstacles)
    return {"trigger": decision.trigger, "reason": reason, "numbers": numbers}


def _basis(data: Mapping[str, Any]) -> Any:
    return data.get("basis")


def _of_champion(data: Mapping[str, Any]) -> dict[str, Any]:
    """An event of a quality check without its page, who asked for it, and the shadows beside it."""
    held = {name: value for name, value in data.items() if name != "report"}
    if "metrics" in held:
        held["metrics"] = {"champion": held["metrics"].get("champion", held["metrics"])}
    if "numbers" in held:
        held["numbers"] = {name: value for name, value in held["numbers"].items() if name != "because"}
    return held


# What stands in a trigger's event beside its decision: what it rests on, and how many before it were not said.
_AROUND = frozenset({"facts", "origin", "held_back"})
