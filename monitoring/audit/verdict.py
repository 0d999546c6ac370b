"""The verdict on a recomputed decision: the same to the last byte, or where it differs first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from record.canonical import canonical_json, plain
from record.event_log import RecordedEvent

State = Literal["same", "differs", "skipped"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two JSON values differ, as a path such as `evidence.lead.mean`."""

    path: str
    recorded: Any
    recomputed: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision of the audit trail, made again."""

    seq: int
    at: datetime
    kind: str
    model_version: str | None
    state: State
    difference: Difference | None = None
    why: str | None = None  # it was skipped

    def to_json(self) -> dict[str, Any]:
        held = self.difference
        told = {"seq": self.seq, "at": self.at.isoformat(), "kind": self.kind, "model_version": self.model_version}
        if held is not None:
            told |= {"path": held.path, "recorded": held.recorded, "recomputed": held.recomputed}
        return {**told, "state": self.state, "why": self.why}


class Unrepeatable(Exception):
    """The record no longer has, or never had, what the decision rests on; the message says what."""


def judge(event: RecordedEvent, recorded: Any, recomputed: Any) -> Verdict:
    """Holds the two against each other byte by byte, as the record writes them."""
    about = event.seq, event.at, event.kind, event.model_version
    made = plain(recomputed)
    if canonical_json(recorded) == canonical_json(made):
        return Verdict(*about, "same")
    return Verdict(*about, "differs", first_difference(recorded, made))


def skipped(event: RecordedEvent, why: str) -> Verdict:
    return Verdict(event.seq, event.at, event.kind, event.model_version, "skipped", why=why)


def first_difference(recorded: Any, recomputed: Any, path: str = "") -> Difference:
    """Walks both values in the order of their keys to the first place where they differ."""
    if isinstance(recorded, Mapping) and isinstance(recomputed, Mapping):
        for key in sorted({*recorded, *recomputed}):
            here = f"{path}.{key}" if path else str(key)
            if key not in recorded or key not in recomputed:
                return Difference(here, recorded.get(key), recomputed.get(key))
            if canonical_json(recorded[key]) != canonical_json(recomputed[key]):
                return first_difference(recorded[key], recomputed[key], here)
    if isinstance(recorded, list) and isinstance(recomputed, list):
        for place, (one, other) in enumerate(zip(recorded, recomputed, strict=False)):
            if canonical_json(one) != canonical_json(other):
                return first_difference(one, other, f"{path}[{place}]")
    return Difference(path or "the whole", recorded, recomputed)
