"""How far a bout's shadow has come, and how it did so far: what needs no labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa

from monitoring.bouts.design import Design
from monitoring.bouts.evidence_look import Guardrail
from monitoring.bouts.guardrails import CHUNK_ROWS, GuardrailRun
from record.bouts.bout import Bout
from record.db.database import Database
from record.db.tables import bouts, predictions, shadow_scores
from record.logged import Cursor

NO_LAG = timedelta(0)
NO_RATE, NO_LIMIT = 0.5, math.inf  # of a bout without a design: what is counted decides nothing


@dataclass(slots=True)
class ShadowRun:
    """What has been counted of the challenger's scores, up to a place in the log behind which none is missing."""

    through_seq: int = 0
    scored: int = 0
    failed: int = 0
    sampled_out: int = 0
    failure: GuardrailRun = field(default_factory=GuardrailRun)
    latency: GuardrailRun = field(default_factory=GuardrailRun)

    def add(
        self, outcomes: Sequence[str], latencies_micros: Sequence[int | None], rate: float, limit_ms: float
    ) -> None:
        """Scores in the log's order. Only rows that were scored alone have a latency."""
        asked = [n for n, outcome in enumerate(outcomes) if outcome != "sampled_out"]
        failures = np.array([outcomes[n] == "failed" for n in asked], bool)
        timed = np.array([latencies_micros[n] for n in asked if latencies_micros[n] is not None], np.int64)
        self.failure.add(failures, rate)
        self.latency.add(timed > limit_ms * 1000, rate)
        self.sampled_out += len(outcomes) - len(asked)
        self.failed += int(failures.sum())
        self.scored += len(asked) - int(failures.sum())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> ShadowRun:
        values = dict(held)
        for name in ("failure", "latency"):
            if name in values:
                values[name] = GuardrailRun.from_json(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Of one snapshot: scored + failed + sampled_out + pending is what was logged behind the bout's `after_seq`."""

    run: ShadowRun
    scored: int
    failed: int
    sampled_out: int
    pending: int
    oldest_pending_at: datetime | None  # by request time

    def lag(self, as_of: datetime) -> timedelta:
        """How long the oldest request that still has no score has been waiting."""
        return NO_LAG if self.oldest_pending_at is None else max(as_of - self.oldest_pending_at, NO_LAG)

    def guardrails(self, design: Design) -> dict[Literal["failure", "latency"], Guardrail]:
        """From the first request on: no label is waited for."""
        needed = design.needed_for_harm
        return {"failure": self.run.failure.guardrail(needed), "latency": self.run.latency.guardrail(needed)}


def report_shadow(database: Database, bout: Bout, run: ShadowRun | None = None) -> ShadowReport:
    """Goes on counting from where `run` stands, and changes it; without one from the first score."""
    run = run or ShadowRun()
    rate, limit = bout.design.get("max_failure_rate", NO_RATE), bout.design.get("latency_limit_ms", NO_LIMIT)
    own = shadow_scores.c.bout == bout.bout
    with database.read() as connection:
        # By the rows, not by the cursor: a cursor that stands in the wrong place shows here. Behind what has been
        # counted none is left to score.
        begin = max(bout.after_seq, run.through_seq)
        unscored = ~sa.exists().where(own, shadow_scores.c.seq == predictions.c.seq)
        waiting = sa.select(sa.func.count(), sa.func.min(predictions.c.requested_at), sa.func.min(predictions.c.seq))
        waiting = waiting.where(predictions.c.seq > begin, unscored)
        pending, oldest, first = connection.execute(waiting).one()
        # What lies behind a request that is still to be scored may yet be scored again: it is not final.
        final = sa.true() if first is None else shadow_scores.c.seq < first
        columns = (shadow_scores.c.seq, shadow_scores.c.outcome, shadow_scores.c.latency_micros)
        while True:
            new = sa.select(*columns).where(own, shadow_scores.c.seq > run.through_seq, final)
            rows = connection.execute(new.order_by(shadow_scores.c.seq).limit(CHUNK_ROWS)).all()
            if rows:
                run.add([row.outcome for row in rows], [row.latency_micros for row in rows], rate, limit)
                run.through_seq = rows[-1].seq
            if len(rows) < CHUNK_ROWS:
                break
        rest = (
            sa.select(shadow_scores.c.outcome, sa.func.count())
            .where(own, shadow_scores.c.seq > run.through_seq)
            .group_by(shadow_scores.c.outcome)
        )
        beyond = {outcome: int(count) for outcome, count in connection.execute(rest)}
    return ShadowReport(
        run=run,
        scored=run.scored + beyond.get("scored", 0),
        failed=run.failed + beyond.get("failed", 0),
        sampled_out=run.sampled_out + beyond.get("sampled_out", 0),
        pending=pending,
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
