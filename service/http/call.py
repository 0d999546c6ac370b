"""One request, as the endpoints see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from record.errors import InvalidRecord


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked and let through."""

    actor: str
    body: Any = None  # of a POST, as JSON
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None  # the request's own time, where the clock follows requests


def read_time(text: str, field: str) -> datetime:
    """An RFC 3339 time; InvalidRecord names the field. Without an offset it is read as UTC."""
    try:
        at = datetime.fromisoformat(text.strip().replace(" ", "+", 1) if "T" in text else text.strip())
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRecord(
            f'{field}: {text[:40]!r} is no time; expected RFC 3339, such as "2024-05-01T13:45:00Z"', field=field
        ) from None
