"""A bout's evidence, row by row: what the challenger said, and the pairs that have matured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from record.bouts.bout import ScoreCounts, ShadowScore
from record.canonical import plain
from record.clock import machine_now
from record.db.database import Database
from record.db.tables import SCHEMA, bouts, pairs, shadow_scores
from record.errors import RoleConflict
from record.failpoint import fail_point
from record.logged import Cursor
from record.work.leases import Fence, check_fence

_UPSERT = """
    INSERT INTO {}shadow_scores (bout, seq, outcome, prediction, probabilities, latency_micros) VALUES ({})
    ON CONFLICT (bout, seq) DO UPDATE SET outcome = excluded.outcome, prediction = excluded.prediction,
        probabilities = excluded.probabilities, latency_micros = excluded.latency_micros
"""
# By the driver's own statement: what SQLAlchemy adds to each row would be time within the lock.
UPSERT_SCORES = {
    "sqlite": _UPSERT.format("", "?, ?, ?, ?, ?, ?"),
    "postgresql": _UPSERT.format(f"{SCHEMA}.", "%s, %s, %s, %s, %s, %s"),
}
CHUNK_ROWS = 5000  # of values in one statement; SQLite takes 32,766


class BoutLedger:
    """Scores and pairs of open bouts. Rows of a bout that has ended are never written."""

    def __init__(self, database: Database, machine_clock: Callable[[], datetime] = machine_now) -> None:
        self._database = database
        self._machine_now = machine_clock

    def record_scores(
        self, bout: str, scores: Sequence[ShadowScore], cursor: Cursor, lease: Fence | None = None
    ) -> bool:
        """Writes what the challenger said, and how far it has come, in one transaction.

        A request scored twice keeps the later score. False, and nothing written, once the bout is no longer open.
        """
        said = [  # before the transaction: answers may wait for it
            (bout, score.seq, score.outcome, score.prediction, score.probabilities, score.latency_micros)
            for score in scores
        ]
        with self._database.write() as connection:
            check_fence(lease, connection)
            moved = sa.update(bouts).where(bouts.c.bout == bout, bouts.c.state == "open")
            moved = moved.values(cursor_xid=cursor.xid, cursor_seq=cursor.seq, heartbeat_at=self._machine_now())
            if connection.execute(moved).rowcount == 0:
                return False
            if said:
                connection.exec_driver_sql(UPSERT_SCORES[self._database.dialect], said)
            fail_point("bout.scored")
        return True

    def scores(self, bout: str, seqs: Sequence[int]) -> dict[int, ShadowScore]:
        """The scores of those requests that have one, by seq."""
        found: dict[int, ShadowScore] = {}
        columns = [c for c in shadow_scores.c if c.name != "bout"]
        with self._database.read() as connection:
            for start in range(0, len(seqs), CHUNK_ROWS):
                query = sa.select(*columns).where(
                    shadow_scores.c.bout == bout, shadow_scores.c.seq.in_(list(seqs[start : start + CHUNK_ROWS]))
                )
                found.update((row.seq, ShadowScore(**row._mapping)) for row in connection.execute(query))
        return found

    def said(self, bouts: Sequence[str], seq: int) -> dict[str, ShadowScore]:
        """What was said to one request in each of these bouts, where something was."""
        columns = [c for c in shadow_scores.c if c.name != "bout"]
        query = sa.select(shadow_scores.c.bout, *columns).where(
            shadow_scores.c.bout.in_(list(bouts)), shadow_scores.c.seq == seq
        )
        with self._database.read() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        return {row.pop("bout"): ShadowScore(**row) for row in rows}

    def enter_pairs(
        self,
        bout: str,
        differences: Sequence[tuple[int, float]],
        matured_until: datetime,
        look: Mapping[str, Any],
        lease: Fence | None = None,
    ) -> None:
        """Appends (seq, difference) pairs in the order given, and says up to which request time they are complete.

        Raises ValueError for a difference outside [−1, 1] or NaN, and RoleConflict once the bout is not open. A
        request can be entered once only: a second time is an IntegrityError, as entries are never rewritten.
        """
        for seq, difference in differences:
            if not -1.0 <= difference <= 1.0 or math.isnan(difference):
                raise ValueError(f"difference of request {seq} is {difference}; expected a number in [−1, 1]")
        with self._database.write() as connection:
            check_fence(lease, connection)
            seen = sa.update(bouts).where(bouts.c.bout == bout, bouts.c.state == "open")
            if connection.execute(seen.values(matured_until=matured_until, look=plain(look))).rowcount == 0:
                raise RoleConflict(f"bout {bout} is not open; its evidence stays as it was", field="bout")
            entered = connection.execute(sa.select(sa.func.max(pairs.c.entry)).where(pairs.c.bout == bout)).scalar()
            rows = [
                {"bout": bout, "seq": int(seq), "entry": entry, "difference": float(difference)}
                for entry, (seq, difference) in enumerate(differences, start=1 + (entered or 0))
            ]
            if rows:
                connection.execute(sa.insert(pairs), rows)
            fail_point("bout.paired")

    def pairs(self, bout: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The seqs and the differences, in the order of entering."""
        query = sa.select(pairs.c.seq, pairs.c.difference).where(pairs.c.bout == bout).order_by(pairs.c.entry)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return np.array([row.seq for row in rows], np.int64), np.array([row.difference for row in rows], np.float64)

    def counts(self, bout: str) -> ScoreCounts:
        query = (
            sa.select(shadow_scores.c.outcome, sa.func.count().label("rows"))
            .where(shadow_scores.c.bout == bout)
            .group_by(shadow_scores.c.outcome)
        )
        with self._database.read() as connection:
            rows = {row.outcome: row.rows for row in connection.execute(query)}
        return ScoreCounts(rows.get("scored", 0), rows.get("failed", 0), rows.get("sampled_out", 0))

    def beat(self, bout: str) -> None:
        """The shadow lives."""
        with self._database.write() as connection:
            connection.execute(sa.update(bouts).where(bouts.c.bout == bout).values(heartbeat_at=self._machine_now()))
