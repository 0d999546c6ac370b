"""The record's time where `clock.source = "requests"`."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from record.clock import EPOCH
from record.db.database import Database
from record.db.tables import clock
from record.db.upsert import insert


class RequestsClock:
    """Says what the latest `Ringside-Time` was, to every process; 1970 before there was one.

    The prediction log moves it, with the request that carries the time and in the same transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        with self._database.read() as connection:
            at = connection.execute(sa.select(clock.c.at).where(clock.c.id == 1)).scalar()
        return EPOCH if at is None else at

    def advance(self, to: datetime, connection: sa.Connection | None = None) -> datetime:
        """What time it is then: `to`, or where the clock stands when `to` is earlier."""
        with self._database.write(connection) as joined:
            given = insert(joined, clock).values(id=1, at=to)
            later = sa.case((given.excluded.at > clock.c.at, given.excluded.at), else_=clock.c.at)
            moving = given.on_conflict_do_update(index_elements=["id"], set_={"at": later}).returning(clock.c.at)
            now: datetime = joined.execute(moving).scalar_one()
            return now
