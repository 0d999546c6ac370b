"""What turned out to be true of the requests of some time, without the requests themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from record.clock import MICROSECOND
from record.db.database import Database
from record.db.tables import labels, predictions


def matured_labels(
    database: Database, after: datetime, until: datetime, horizon: timedelta
) -> tuple[list[int], list[str]]:
    """The times (microseconds since 1970) and labels (JSON scalars) of requests with after < requested_at ≤ until.

    They are in request order. Of each request the latest label that came within `horizon` of it, so that late
    corrections change nothing; a request without one is left out. All of them are mature when `until` lies `horizon`
    back.
    """
    came = labels.alias("came")
    requested = sa.type_coerce(predictions.c.requested_at, sa.BigInteger)
    received = sa.type_coerce(came.c.received_at, sa.BigInteger)
    in_time = sa.and_(came.c.seq == predictions.c.seq, received <= requested + horizon // MICROSECOND)
    latest = sa.select(sa.func.max(came.c.label_seq)).where(in_time).scalar_subquery()
    query = (
        sa.select(requested.label("at"), labels.c.label)
        .select_from(predictions.join(labels, labels.c.label_seq == latest))
        .where(predictions.c.requested_at > after, predictions.c.requested_at <= until)
        .order_by(predictions.c.requested_at, predictions.c.seq)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [row.at for row in rows], [row.label for row in rows]
