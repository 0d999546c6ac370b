"""The record's time where `clock.source = "requests"`."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from record.clock import EPOCH, from_micros, to_micros
from record.db.database import Database

NOW = sa.text("SELECT at FROM clock WHERE id = 1")
ADVANCE = sa.text(
    "INSERT INTO clock (id, at) VALUES (1, :at) ON CONFLICT (id) "
    "DO UPDATE SET at = CASE WHEN excluded.at > clock.at THEN excluded.at ELSE clock.at END RETURNING at"
)


class RequestsClock:
    """Says what the latest `Ringside-Time` was, to every process; 1970 before there was one.

    The prediction log moves it, with the request that carries the time and in the same transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        with self._database.read() as connection:
            micros = connection.execute(NOW).scalar()
        return EPOCH if micros is None else from_micros(micros)

    def advance(self, to: datetime, connection: sa.Connection | None = None) -> datetime:
        """What time it is then: `to`, or where the clock stands when `to` is earlier."""
        with self._database.write(connection) as joined:
            return from_micros(joined.execute(ADVANCE, {"at": to_micros(to)}).scalar_one())
