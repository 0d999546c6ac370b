"""Retention: the oldest requests leave the log, with everything that names a person in it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from service.store.tables import labels, prediction_ids, predictions


def forget_some(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Deletes up to `limit` of the oldest requests before that time, with their ids and labels."""
    oldest = (
        sa.select(predictions.c.seq, predictions.c.id)
        .where(predictions.c.requested_at < before)
        .order_by(predictions.c.requested_at, predictions.c.seq)
        .limit(limit)
    )
    rows = connection.execute(oldest).all()
    seqs, ids = [seq for seq, _ in rows], [id for _, id in rows]
    # An id that was used again since means a later request, and stays.
    meant = sa.and_(prediction_ids.c.id.in_(ids), prediction_ids.c.seq.in_(seqs))
    if connection.dialect.name == "postgresql":  # in the one order in which everybody locks these rows
        order = prediction_ids.c.id.collate("C")
        connection.execute(sa.select(prediction_ids.c.id).where(meant).order_by(order).with_for_update())
    connection.execute(prediction_ids.delete().where(meant))
    connection.execute(labels.delete().where(labels.c.seq.in_(seqs)))
    return connection.execute(predictions.delete().where(predictions.c.seq.in_(seqs))).rowcount
