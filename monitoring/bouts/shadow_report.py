"""How far a bout's shadow has come, and how it did so far: what needs no labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from record.bouts.bout import Bout
from record.db.database import Database
from record.db.tables import bouts, predictions, shadow_scores
from record.logged import Cursor

NO_LAG = timedelta(0)


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Of one snapshot: scored + failed + sampled_out + pending is what was logged behind the bout's `after_seq`."""

    failures: NDArray[np.bool_]  # one for each request that the challenger was asked, in the log's order
    latencies_micros: NDArray[np.int64]  # of those that were scored alone, and so could be timed
    sampled_out: int
    pending: int
    oldest_pending_at: datetime | None  # by request time

    @property
    def failed(self) -> int:
        return int(self.failures.sum())

    @property
    def scored(self) -> int:
        return len(self.failures) - self.failed

    def lag(self, as_of: datetime) -> timedelta:
        """How long the oldest request that still has no score has been waiting."""
        return NO_LAG if self.oldest_pending_at is None else max(as_of - self.oldest_pending_at, NO_LAG)


def report_shadow(database: Database, bout: Bout) -> ShadowReport:
    asked = (
        sa.select(shadow_scores.c.outcome, shadow_scores.c.latency_micros)
        .where(shadow_scores.c.bout == bout.bout, shadow_scores.c.outcome != "sampled_out")
        .order_by(shadow_scores.c.seq)
    )
    left_out = sa.select(sa.func.count()).where(
        shadow_scores.c.bout == bout.bout, shadow_scores.c.outcome == "sampled_out"
    )
    with database.read() as connection:
        # By the rows, not by the cursor: a cursor that stands in the wrong place shows here.
        scored = sa.exists().where(shadow_scores.c.bout == bout.bout, shadow_scores.c.seq == predictions.c.seq)
        pending = sa.select(sa.func.count(), sa.func.min(predictions.c.requested_at))
        count, oldest = connection.execute(pending.where(predictions.c.seq > bout.after_seq, ~scored)).one()
        rows = connection.execute(asked).all()
        sampled_out = connection.execute(left_out).scalar_one()
    return ShadowReport(
        failures=np.array([row.outcome == "failed" for row in rows], bool),
        latencies_micros=np.array([row.latency_micros for row in rows if row.latency_micros is not None], np.int64),
        sampled_out=sampled_out,
        pending=count,
        oldest_pending_at=oldest,
    )


def caught_up(database: Database, bout: Bout, until: datetime) -> bool:
    """Whether every request logged so far, with a time not later than `until`, has its score."""
    with database.read() as connection:
        unscored = sa.select(predictions.c.seq).where(
            _behind(connection, _cursor(connection, bout), bout.after_seq), predictions.c.requested_at <= until
        )
        return connection.execute(unscored.limit(1)).first() is None


def _cursor(connection: sa.Connection, bout: Bout) -> Cursor:
    """As it stands in this snapshot; the bout at hand may have been read before the shadow's last step."""
    query = sa.select(bouts.c.cursor_xid, bouts.c.cursor_seq).where(bouts.c.bout == bout.bout)
    row = connection.execute(query).one()
    return Cursor(row.cursor_xid, row.cursor_seq)


def _behind(connection: sa.Connection, cursor: Cursor, after_seq: int) -> sa.ColumnElement[bool]:
    """The logged requests that a tail from the cursor still has to meet."""
    if connection.dialect.name == "postgresql":
        place = sa.tuple_(predictions.c.xid, predictions.c.seq)
        return sa.and_(place > sa.tuple_(cursor.xid, cursor.seq), predictions.c.seq > after_seq)
    return predictions.c.seq > max(cursor.seq, after_seq)
