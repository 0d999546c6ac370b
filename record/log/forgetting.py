"""Retention: the oldest requests leave the log, with everything that names a person in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from record.db.database import Database
from record.db.tables import LOGGED, labels, prediction_ids, predictions
from record.log.archive import ArchivedRow, LogArchive
from record.logged import LoggedRow

AT_ONCE = 1000  # rows in one transaction, so that requests never wait long behind it
PART_ROWS = 50_000  # read at one time, and in one part of the archive: 50 MB of records of 1 kB


def forget(database: Database, before: datetime, archive: LogArchive | None = None) -> int:
    """Deletes requests before that time with their ids and labels, and says how many.

    With an archive, labelled ones are on disk there before they leave. One that gets a label meanwhile stays until
    that label is archived, too.
    """
    forgotten = 0
    while True:
        with database.read() as connection:
            oldest = _oldest(connection, before)
        if not oldest:
            return forgotten
        came = _archived(database, oldest, archive) if archive is not None else None
        for start in range(0, len(oldest), AT_ONCE):
            with database.write() as connection:
                forgotten += _forget(connection, oldest[start : start + AT_ONCE], came)


def _oldest(connection: sa.Connection, before: datetime) -> list[tuple[int, str]]:
    query = (
        sa.select(predictions.c.seq, predictions.c.id)
        .where(predictions.c.requested_at < before)
        .order_by(predictions.c.requested_at, predictions.c.seq)
        .limit(PART_ROWS)
    )
    return [(seq, id) for seq, id in connection.execute(query)]


def _archived(database: Database, rows: Sequence[tuple[int, str]], archive: LogArchive) -> Mapping[int, int]:
    """Keeps the labelled ones among them, and says how many labels of each request are kept."""
    held: dict[int, list[tuple[datetime, str]]] = {}
    requests: list[LoggedRow] = []
    with database.read() as connection:
        for start in range(0, len(rows), AT_ONCE):
            seqs = [seq for seq, _ in rows[start : start + AT_ONCE]]
            came = sa.select(labels.c.seq, labels.c.received_at, labels.c.label).where(labels.c.seq.in_(seqs))
            for seq, at, label in connection.execute(came.order_by(labels.c.label_seq)):
                held.setdefault(seq, []).append((at, label))
            chosen = [seq for seq in seqs if seq in held]
            query = sa.select(*LOGGED).where(predictions.c.seq.in_(chosen))
            query = query.order_by(predictions.c.requested_at, predictions.c.seq)
            requests += [LoggedRow(*row) for row in connection.execute(query)]
    archive.keep([ArchivedRow(row, tuple(held[row.seq])) for row in requests])
    return {seq: len(came) for seq, came in held.items()}


def _forget(connection: sa.Connection, rows: Sequence[tuple[int, str]], came: Mapping[int, int] | None) -> int:
    """Deletes the requests; where `came` says how many labels of each are kept elsewhere, only those with no more."""
    if came is not None:
        counted = sa.select(labels.c.seq, sa.func.count()).where(labels.c.seq.in_([seq for seq, _ in rows]))
        now = {int(seq): int(count) for seq, count in connection.execute(counted.group_by(labels.c.seq))}
        rows = [(seq, id) for seq, id in rows if now.get(seq, 0) <= came.get(seq, 0)]
    seqs, ids = [seq for seq, _ in rows], [id for _, id in rows]
    # An id that was used again since means a later request, and stays.
    meant = sa.and_(prediction_ids.c.id.in_(ids), prediction_ids.c.seq.in_(seqs))
    if connection.dialect.name == "postgresql":  # in the one order in which everybody locks these rows
        order = prediction_ids.c.id.collate("C")
        connection.execute(sa.select(prediction_ids.c.id).where(meant).order_by(order).with_for_update())
    connection.execute(prediction_ids.delete().where(meant))
    connection.execute(labels.delete().where(labels.c.seq.in_(seqs)))
    return connection.execute(predictions.delete().where(predictions.c.seq.in_(seqs))).rowcount
