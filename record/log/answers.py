"""When a version answered: what the watcher asks before it reads a version's cohorts."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from record.clock import from_micros
from record.db.database import Database
from record.db.tables import predictions


def first_answer(database: Database, version: str) -> datetime | None:
    """The time of the first request that `version` answered and the log still holds; None where there is none."""
    query = sa.select(sa.func.min(sa.type_coerce(predictions.c.requested_at, sa.BigInteger)))
    with database.read() as connection:
        found = connection.execute(query.where(predictions.c.model_version == version)).scalar()
    return None if found is None else from_micros(int(found))
