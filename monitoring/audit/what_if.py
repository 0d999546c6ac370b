"""Decides again under other settings: what would have been decided differently, each decision by itself.

What follows from another decision is not followed up: a challenger that would have won a week earlier would have been
another champion, whose requests nobody answered.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from monitoring.audit.bouts import decided, examinations, find_bout, first_request, last_scored, moments_of, redesigned
from monitoring.audit.past import SECTIONS, Past, all_events
from monitoring.audit.verdict import Unrepeatable
from monitoring.drifting.check import DriftCheck
from monitoring.quality.check import QualityCheck
from monitoring.trigger import TriggerFacts
from monitoring.trigger import decide as decide_retrain
from record.errors import SettingsError
from record.event_log import RecordedEvent
from record.events import (
    BoutDecided,
    DriftChecked,
    QualityChecked,
    QualityDeclined,
    RetrainDeclined,
    RetrainRequested,
    RetrainSucceeded,
)
from record.record import Record
from record.settings import Settings
from retrain.gate import decide_again


@dataclass(frozen=True, slots=True)
class Answer:
    """One decision: what it was, and what it would have been; `why` where that cannot be said."""

    seq: int
    at: datetime
    kind: str
    about: str
    was: str
    would: str | None
    why: str | None = None

    @property
    def differs(self) -> bool:
        return self.would is not None and self.would != self.was

    def to_json(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "at": self.at.isoformat(),
            "kind": self.kind,
            "about": self.about,
            "was": self.was,
            "would": self.would,
            "why": self.why,
            "differs": self.differs,
        }


def overlaid(settings: Settings, file: Path) -> Settings:
    """The settings with the file's keys over them; SettingsError for a key that no decision goes by."""
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None
    changes: dict[str, Any] = {}
    for name, keys in told.items():
        if name not in SECTIONS:
            continue  # a whole ringside.toml may be given: its other sections decide nothing
        held = getattr(settings, name)
        unknown = sorted(set(keys) - set(type(held).model_fields)) if isinstance(keys, dict) else [name]
        if unknown:
            raise SettingsError(f"{file}: {name}.{unknown[0]} is not a key; see ringside.toml", field=name)
        try:
            changes[name] = type(held).model_validate({**held.model_dump(mode="json"), **keys})
        except ValueError as error:
            raise SettingsError(f"{file}: [{name}]: {error}", field=name) from None
    if not changes:
        raise SettingsError(f"{file}: no key of {', '.join(f'[{name}]' for name in SECTIONS)}")
    return settings.model_copy(update=changes)


class WhatIf:
    """Every decision that can be made again under the other settings."""

    def __init__(self, record: Record, settings: Settings, other: Settings) -> None:
        self._record = record
        self._other = other
        self._past = Past(record, settings)
        self._again: Mapping[str, Callable[[RecordedEvent], tuple[str, str, str]]] = {
            RetrainRequested.kind: self._trigger,
            RetrainDeclined.kind: self._trigger,
            RetrainSucceeded.kind: self._gate,
            DriftChecked.kind: self._drift,
            QualityChecked.kind: self._quality,
            BoutDecided.kind: self._bout,
        }

    def answers(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Answer]:
        for event in all_events(self._record.events, tuple(self._again), since=since, until=until):
            try:
                about, was, would = self._again[event.kind](event)
                yield Answer(event.seq, event.at, event.kind, about, was, would)
            except Unrepeatable as reason:
                yield Answer(event.seq, event.at, event.kind, event.model_version or "", "-", None, str(reason))

    def _trigger(self, event: RecordedEvent) -> tuple[str, str, str]:
        held = event.data["numbers"].get("facts")
        if held is None:
            raise Unrepeatable("it was asked for by name, and not decided on")
        try:
            facts = TriggerFacts.from_json(held)
        except ValueError as reason:
            raise Unrepeatable(str(reason)) from None
        facts = replace(
            facts,
            drift_triggers=self._other.drift.triggers_retrain,
            quality_triggers=self._other.quality.triggers_retrain,
            estimated_triggers=self._other.quality.estimated_triggers_retrain,
        )
        decision = decide_retrain(facts, self._other.retrain)
        was = "retrain" if event.kind == RetrainRequested.kind else "no retrain"
        would = "retrain" if decision.retrain else "no retrain"
        return f"retrain ({event.data['trigger']})", was, would

    def _gate(self, event: RecordedEvent) -> tuple[str, str, str]:
        gate = event.data["outcome"].get("gate")
        if gate is None or not gate.get("inputs"):
            raise Unrepeatable("the run has written no inputs of its gate")
        again = decide_again(gate["inputs"], self._other.retrain.max_latency_ms)
        return f"gate of {event.data['run_id'][:8]}", _gate_words(gate["passed"]), _gate_words(again.passed)

    def _drift(self, event: RecordedEvent) -> tuple[str, str, str]:
        version = self._record.registry.version(event.model_version or "")
        past = self._past.before(event.seq)
        found = DriftCheck(self._other, past).evidence(version, datetime.fromisoformat(event.data["as_of"]))
        drifted = [name for _, name in found.decision.drifted] if found.decision and found.decision.alarm else []
        return f"drift of {version.version}", _drift_words(event.data["drifted"]), _drift_words(drifted)

    def _quality(self, event: RecordedEvent) -> tuple[str, str, str]:
        """The check again with the bounds that the other settings make, over the champion's whole life."""
        recorded = event.data["numbers"].get("declines")
        if recorded is None:
            raise Unrepeatable("the check has written no numbers of its declines")
        was = [basis for basis, told in recorded.items() if told["declined"]]
        as_of = datetime.fromisoformat(event.data["as_of"])
        made = QualityCheck(self._other, self._past.before(event.seq)).events(as_of)
        would = [told.basis for told in made if isinstance(told, QualityDeclined)]
        return f"quality of {event.model_version}", _decline_words(was), _decline_words(would)

    def _bout(self, event: RecordedEvent) -> tuple[str, str, str]:
        """The whole bout again, by a design that the other settings make, looked at a hundred times."""
        evidence = event.data["evidence"]
        if "pairs" not in evidence:
            raise Unrepeatable(f"{event.actor} decided it by hand")
        bout = find_bout(self._record, event.data["bout"])
        design = redesigned(self._record, self._other.promotion, bout)
        if self._other.promotion.loss in ("brier", "zero_one", "log") and design.loss != "absolute":
            design = replace(design, loss=self._other.promotion.loss, costs=None)
        first = first_request(self._record, bout)
        if first is None:
            raise Unrepeatable(f"the requests of {bout.bout} are no longer in the log (log.retention)")
        end = max(
            datetime.fromisoformat(evidence["as_of"]), (last_scored(self._record, bout) or first) + design.horizon
        )
        would = f"undecided at {end:%Y-%m-%d %H:%M}, where the shadow's answers end"
        for made in examinations(self._record, bout, design, moments_of(bout, design, end, first)):
            decision = decided(self._record, self._other, bout, design, made.look, ())
            if decision.outcome != "wait":
                would = f"{PAST_WORDS.get(decision.outcome, decision.outcome)} after {made.look.pairs} pairs"
                break
        was = f"{event.data['outcome'].replace('_', ' ')} after {evidence['pairs']} pairs"
        return f"bout {bout.bout}", was, was if _same(was, would) else would


PAST_WORDS: Mapping[str, str] = {
    "promote": "promoted",
    "reject": "rejected",
    "roll_back": "rolled back",
    "awaiting_approval": "awaiting approval",
}


def _same(was: str, would: str) -> bool:
    """Return whether both ended alike with about as many pairs: a hundred looks may miss the one that decided."""
    one, other = was.split(" after "), would.split(" after ")
    if len(other) < 2 or one[0] != other[0]:
        return False
    pairs, others = int(one[1].split()[0]), int(other[1].split()[0])
    return abs(pairs - others) <= max(1, 0.02 * pairs)


def _gate_words(passed: bool) -> str:
    return "passed" if passed else "refused"


def _decline_words(bases: Sequence[str]) -> str:
    return f"declined ({', '.join(bases)})" if bases else "no decline"


def _drift_words(drifted: list[str]) -> str:
    return f"alarm: {', '.join(drifted)}" if drifted else "no alarm"
