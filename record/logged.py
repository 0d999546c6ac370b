"""What the prediction log holds, takes and gives back."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from record.errors import IdConflict, InvalidRecord


class LogEntry(msgspec.Struct, frozen=True):
    """One answered record, on its way into the log. A struct: made in a tenth of a frozen dataclass's time."""

    id: str
    digest: bytes  # of the decoded record, before redaction: what "the same record" means
    record: str  # JSON, redacted
    prediction: str  # JSON scalar
    probabilities: str | None = None  # JSON object class → probability
    marks: str | None = None  # JSON object column → "unseen" | "out_of_range"
    latency_micros: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One HTTP request's records: logged together or not at all."""

    entries: Sequence[LogEntry]
    model_version: str
    requested_at: datetime | None = None  # None: what the record's clock says
    client_ids: bool = False  # False: the ids come from `new_id`, and nobody can have used them before


class Answer(msgspec.Struct, frozen=True):
    """What goes out: this request's answer, or for a `repeated` id the one that was given first."""

    id: str
    model_version: str
    prediction: str
    probabilities: str | None
    seq: int  # 0 where durability is "async": the answer goes out before the log has numbered it
    repeated: bool


Outcome = list[Answer] | IdConflict | InvalidRecord


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader of the log has come. Opaque to readers; xid is 0 on SQLite."""

    xid: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True)
class LoggedRow:
    seq: int
    xid: int
    id: str
    requested_at: datetime
    model_version: str
    record: str
    prediction: str
    probabilities: str | None
    marks: str | None


@dataclass(frozen=True, slots=True)
class MaturedRow(LoggedRow):
    label: str | None  # JSON scalar; None: no label came in time
    label_received_at: datetime | None


@dataclass(frozen=True, slots=True)
class LabelGiven:
    id: str
    label: str  # JSON scalar, in the schema's canonical form
    correct: bool = False  # replace an earlier label of another value


@dataclass(frozen=True, slots=True)
class LabelOutcome:
    accepted: int
    duplicates: int
    conflicts: tuple[str, ...]
    unknown: tuple[str, ...]
    exhausted: tuple[str, ...] = ()  # of the conflicts: ids that were corrected as often as may be

    @classmethod
    def together(cls, parts: Sequence[LabelOutcome]) -> LabelOutcome:
        """Of one request that was stored in parts; each id is named once."""
        return cls(
            sum(part.accepted for part in parts),
            sum(part.duplicates for part in parts),
            tuple(dict.fromkeys(id for part in parts for id in part.conflicts)),
            tuple(dict.fromkeys(id for part in parts for id in part.unknown)),
            tuple(dict.fromkeys(id for part in parts for id in part.exhausted)),
        )


@dataclass(frozen=True, slots=True)
class LogCounts:
    predictions: int
    labels: int  # predictions that have a label; corrections do not count again
    pending: int  # answered, not yet labelled, and not yet mature


def new_id() -> str:
    """A UUID of version 7: ids sort by the time they were made, so that each one lands at the index's end."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """So many for one request, in their order, of one moment.

    RFC 9562: a finer fraction of time behind the milliseconds (method 3), then a counter (method 1), then 48 random
    bits, which tell apart what two processes make within the same quarter of a microsecond.
    """
    millis, nanos = divmod(time.time_ns(), 1_000_000)
    stamp = f"{millis:012x}"
    head = f"{stamp[:8]}-{stamp[8:]}-7{(nanos << 12) // 1_000_000:03x}"
    drawn = os.urandom(6 * count).hex()
    return [f"{head}-{0x8000 | n & 0x3FFF:x}-{drawn[12 * n : 12 * n + 12]}" for n in range(count)]
