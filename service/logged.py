"""What the prediction log holds, takes and gives back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.errors import IdConflict, InvalidRecord


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One answered record, on its way into the log."""

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


@dataclass(frozen=True, slots=True)
class Answer:
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


@dataclass(frozen=True, slots=True)
class LogCounts:
    predictions: int
    labels: int  # predictions that have a label; corrections do not count again
    pending: int  # answered, not yet labelled, and not yet mature


def new_id() -> str:
    """A UUID of version 7: ids sort by the time they were made, so that each one lands at the index's end."""
    # RFC 9562, method 3: the twelve bits behind the milliseconds are a finer fraction of time.
    millis, nanos = divmod(time.time_ns(), 1_000_000)
    fraction = (nanos << 12) // 1_000_000
    value = millis << 80 | 0x7000 << 64 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
