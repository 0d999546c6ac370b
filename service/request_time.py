"""The times that callers state: read, and refused where they lie further ahead than any clock can be wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from record.clock import Clock, credible_until, machine_now
from record.errors import InvalidRecord, LogUnavailable


class TimeLimit:
    """How far ahead a caller's time may lie: a year past the machine's clock and past the record's.

    The record's clock follows what callers say and never goes back: one year 9999, and it would stand there for ever.
    It is asked only for times that the machine's clock does not allow, since a replay's are in the past.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: datetime | None = None  # what the record's clock said at last

    def read(self, text: str, field: str) -> datetime:
        """The time; InvalidRecord, naming the field, for what is none and for one that lies too far ahead."""
        at = read_time(text, field)
        machine = machine_now()
        if at <= credible_until(machine, self._latest):
            return at
        try:
            self._latest = self._clock.now()
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise LogUnavailable("the record's clock cannot be read just now", reason=str(error)) from error
        if at > (end := credible_until(machine, self._latest)):
            raise InvalidRecord(
                f"{field}: {at.isoformat()} is more than a year past the machine's clock ({_shown(machine)}) and the "
                f"record's ({_shown(self._latest)}); expected a time up to {_shown(end)}",
                field=field,
            )
        return at


def _shown(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


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
