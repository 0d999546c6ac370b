"""A bout's evidence, row by row: what the challenger said, and the pairs that have matured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from record.bouts.bout import EnteredPair, PairColumns, ScoreCounts, ShadowScore
from record.canonical import plain
from record.clock import from_micros, machine_now, to_micros
from record.db.database import Database
from record.db.tables import SCHEMA, bout_entities, bouts, pairs, predictions, shadow_scores
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
        entered: Sequence[EnteredPair | tuple[int, float]],
        matured_until: datetime,
        look: Mapping[str, Any],
        lease: Fence | None = None,
        *,
        evidence: Mapping[str, Any] | None = None,
        entities: Sequence[int] = (),
    ) -> None:
        """Appends pairs in the order given, and says up to which request time they are complete.

        `evidence` are the sums with these pairs; `entities` have asked for the first time in this bout. Raises
        ValueError for a difference outside [−1, 1] or NaN and for a request that either model may have learned from,
        and RoleConflict once the bout is not open. A request can be entered once only: a second time is an
        IntegrityError, as entries are never rewritten.
        """
        added = [pair if isinstance(pair, EnteredPair) else EnteredPair(pair[0], pair[1], 0) for pair in entered]
        for pair in added:
            if not -1.0 <= pair.difference <= 1.0 or math.isnan(pair.difference):
                raise ValueError(f"difference of request {pair.seq} is {pair.difference}; expected a number in [−1, 1]")
        with self._database.write() as connection:
            check_fence(lease, connection)
            seen = sa.update(bouts).where(bouts.c.bout == bout, bouts.c.state == "open")
            values = {"matured_until": matured_until, "look": plain(look), "evidence": evidence}
            if connection.execute(seen.values(values)).rowcount == 0:
                raise RoleConflict(f"bout {bout} is not open; its evidence stays as it was", field="bout")
            self._refuse_known(connection, bout, added)
            last = connection.execute(sa.select(sa.func.max(pairs.c.entry)).where(pairs.c.bout == bout)).scalar()
            rows = [_row(bout, pair, entry) for entry, pair in enumerate(added, start=1 + (last or 0))]
            if rows:
                connection.execute(sa.insert(pairs), rows)
            if entities:
                new = [{"bout": bout, "entity": int(entity)} for entity in entities]
                connection.execute(sa.insert(bout_entities), new)
            fail_point("bout.paired")

    def _refuse_known(self, connection: sa.Connection, bout: str, added: Sequence[EnteredPair]) -> None:
        """A model is never judged on a request that it may have learned from: by the log's order, and by time."""
        query = sa.select(bouts.c.after_seq, bouts.c.design).where(bouts.c.bout == bout)
        row = connection.execute(query).one()
        known_until = (row.design or {}).get("known_until")
        latest = to_micros(datetime.fromisoformat(known_until)) if known_until is not None else None
        for pair in added:
            if pair.seq <= row.after_seq or (latest is not None and 0 < pair.micros <= latest):
                raise ValueError(f"request {pair.seq} is no evidence in {bout}: one of its models may have read it")

    def pairs(self, bout: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The seqs and the differences, in the order of entering."""
        columns = self.pair_columns(bout)
        return columns.seqs, columns.differences

    def pair_columns(self, bout: str) -> PairColumns:
        """The pairs in the order of entering; the time of one that was entered without it is the logged request's.

        Where that has left the log, it is the last one known before, or 0.
        """
        own = sa.select(
            pairs.c.seq,
            pairs.c.difference,
            sa.func.coalesce(_micros(pairs.c.requested_at), _micros(predictions.c.requested_at)),
            pairs.c.bound,
            pairs.c.counts,
        )
        joined = own.select_from(pairs.outerjoin(predictions, predictions.c.seq == pairs.c.seq))
        with self._database.read() as connection:
            rows = connection.execute(joined.where(pairs.c.bout == bout).order_by(pairs.c.entry)).all()
        micros = np.array([row[2] or 0 for row in rows], np.int64)
        return PairColumns(
            seqs=np.array([row[0] for row in rows], np.int64),
            differences=np.array([row[1] for row in rows], np.float64),
            micros=np.maximum.accumulate(micros) if len(micros) else micros,
            bounds=np.array([1.0 if row[3] is None else row[3] for row in rows], np.float64),
            counts=np.array([row[4] is None or bool(row[4]) for row in rows], bool),
        )

    def known_entities(self, bout: str, asked: Sequence[int]) -> set[int]:
        """Which of them have asked in this bout before."""
        found: set[int] = set()
        with self._database.read() as connection:
            for start in range(0, len(asked), CHUNK_ROWS):
                query = sa.select(bout_entities.c.entity).where(
                    bout_entities.c.bout == bout, bout_entities.c.entity.in_(list(asked[start : start + CHUNK_ROWS]))
                )
                found.update(connection.execute(query).scalars())
        return found

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


def _row(bout: str, pair: EnteredPair, entry: int) -> dict[str, Any]:
    return {
        "bout": bout,
        "seq": int(pair.seq),
        "entry": entry,
        "difference": float(pair.difference),
        "requested_at": from_micros(pair.micros) if pair.micros else None,
        "bound": float(pair.bound),
        "counts": bool(pair.counts),
    }


def _micros(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.type_coerce(column, sa.BigInteger)
