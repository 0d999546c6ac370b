"""The arrival time of a request as an input of models: written into the record, so that decoding stays stateless.

The log holds the record with it. Training, shadows, explanations and repeated scoring read the same input as the
champion did. The digest of an id is of the record as sent: a retry, which arrives later, finds its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from record.clock import Clock
from record.contract.schema import ProblemSchema
from record.errors import LogUnavailable


class ArrivalTime:
    """Reads a request's arrival time on the record's clock, and says which column takes it.

    `column` is the one that settings name, for a champion whose contract carries that column already: the log must
    hold arrival times before a challenger can be judged with them.
    """

    def __init__(self, clock: Clock, column: str | None) -> None:
        self._clock = clock
        self._column = column

    def column(self, problem: ProblemSchema) -> str | None:
        """The champion's arrival column, else the settings' one if the champion takes it as an optional time."""
        if problem.arrival_column is not None:
            return problem.arrival_column
        optional = {column.name for column in problem.columns if column.type == "time" and not column.required}
        return self._column if self._column in optional else None

    def read(self, at: datetime | None) -> str:
        """RFC 3339 to the millisecond. `at` is the request's own time; the record's clock does not go back to it."""
        try:
            now = self._clock.now()
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise LogUnavailable("the record's clock cannot be read just now", reason=str(error)) from error
        arrival = now if at is None else max(at, now)
        return arrival.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def fill(records: Sequence[dict[str, Any]], column: str, arrival: str) -> list[dict[str, Any]]:
    """The records with the arrival time where they have none: null is the same as absent."""
    return [record if record.get(column) is not None else {**record, column: arrival} for record in records]
