"""What a model may have learned from, as a place in the log and as a time: evidence lies behind both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from record.record import Record
from record.registry import ModelVersion


@dataclass(frozen=True, slots=True)
class KnownRows:
    """Requests up to `seq`, and rows of any time up to `until`, may have been read."""

    seq: int
    until: datetime | None

    @classmethod
    def of(cls, model: ModelVersion) -> KnownRows:
        """By the version's own account."""
        return cls(model.read_until_seq, model.data_until)

    def after(self, other: KnownRows) -> bool:
        """Whether rows later than the other's are known."""
        return self.until is not None and (other.until is None or self.until > other.until)


def known_to(record: Record, *models: ModelVersion) -> KnownRows:
    """What any of them may know: the log up to what they read, and every request up to their newest row's time."""
    known = [KnownRows.of(model) for model in models]
    until = max((rows.until for rows in known if rows.until is not None), default=None)
    seq = max(rows.seq for rows in known)
    return KnownRows(seq if until is None else max(seq, record.log.last_seq(until)), until)
