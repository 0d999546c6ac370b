"""Bouts: how they are opened, decided and voided.

A bout's design is written and hashed when it opens, and no function here changes it. Rows of a bout that is no
longer open are never written either: what was decided stays as it was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from record.bouts.bout import Bout, BoutKind, ScoreCounts, ShadowScore, design_hash
from record.bouts.bout_ledger import BoutLedger
from record.canonical import plain
from record.clock import Clock, machine_now
from record.db.database import Database
from record.db.tables import bouts, predictions, roles
from record.errors import NotFound, RoleConflict
from record.event_log import EventLog
from record.events import BoutDecided, BoutOpened, BoutVoided
from record.failpoint import fail_point
from record.log.transactions import oldest_running
from record.logged import Cursor
from record.work.leases import Fence, check_fence

__all__ = ["Bout", "Bouts", "ScoreCounts", "ShadowScore"]


class Bouts(BoutLedger):
    """The way to the bouts. Safe to share between threads.

    Whatever takes a `lease` raises StaleLease, and changes nothing, once somebody else leads.
    """

    def __init__(
        self,
        database: Database,
        events: EventLog,
        clock: Clock,
        machine_clock: Callable[[], datetime] = machine_now,
    ) -> None:
        super().__init__(database, machine_clock)
        self._events = events
        self._clock = clock

    def open(
        self,
        kind: BoutKind,
        challenger: str,
        champion: str,
        generation: int,
        design: Mapping[str, Any],
        after_seq: int,
        at: datetime | None = None,
        lease: Fence | None = None,
        actor: str = "watcher",
    ) -> Bout:
        """A new open bout b1, b2, …; raises RoleConflict where the champion has moved, or the two meet already."""
        at = at or self._clock.now()
        with self._events.writing() as connection:
            check_fence(lease, connection)
            self._refuse_opening(connection, challenger, champion, generation)
            number = 1 + (connection.execute(sa.select(sa.func.max(bouts.c.number))).scalar() or 0)
            cursor = _cursor_behind(connection, after_seq)
            row = Bout(
                bout=f"b{number}",
                number=number,
                kind=kind,
                challenger=challenger,
                champion=champion,
                generation=generation,
                design=plain(design),
                design_hash=design_hash(design, f"b{number}", challenger, champion),
                opened_at=at,
                after_seq=after_seq,
                state="open",
                outcome=None,
                decided_at=None,
                cursor_xid=cursor.xid,
                cursor_seq=cursor.seq,
                matured_until=None,
                look=None,
                heartbeat_at=None,
                evidence=None,
            )
            connection.execute(sa.insert(bouts).values(asdict(row)))
            fail_point("bout.opened")
            event = BoutOpened(
                bout=row.bout,
                bout_kind=kind,
                challenger=challenger,
                champion=champion,
                generation=generation,
                after_seq=after_seq,
                design=row.design,
                design_hash=row.design_hash,
                model_version=challenger,
            )
            self._events.append(event, actor=actor, at=at, connection=connection)
        return row

    def opened(self) -> list[Bout]:
        """The open bouts, oldest first."""
        return self._select(bouts.c.state == "open")

    def all(self) -> list[Bout]:
        return self._select(sa.true())

    def get(self, bout: str) -> Bout:
        found = self._select(bouts.c.bout == bout)
        if not found:
            raise NotFound(f"no bout {bout!r}", field="bout")
        return found[0]

    def decide(
        self,
        bout: str,
        outcome: str,
        data: Mapping[str, Any],
        *,
        lease: Fence | None = None,
        actor: str = "watcher",
        at: datetime | None = None,
        connection: sa.Connection | None = None,
    ) -> Bout:
        """Ends an open bout with an outcome and its numbers; raises RoleConflict where it has ended already.

        With `connection`, from `EventLog.writing`, a role's move can stand or fall with it.
        """
        at = at or self._clock.now()
        with self._events.writing(connection) as joined:
            check_fence(lease, joined)
            ended = _end(joined, bout, "decided", outcome, at)
            fail_point("bout.decided")
            self._events.append(_decided(ended, data), actor=actor, at=at, connection=joined)
        return ended

    def void(
        self,
        bout: str,
        reason: str,
        *,
        lease: Fence | None = None,
        actor: str = "watcher",
        at: datetime | None = None,
        connection: sa.Connection | None = None,
    ) -> Bout:
        """Ends an open bout without an outcome, as when the champion has moved."""
        at = at or self._clock.now()
        with self._events.writing(connection) as joined:
            check_fence(lease, joined)
            ended = _end(joined, bout, "voided", None, at)
            event = BoutVoided(
                bout=ended.bout,
                bout_kind=ended.kind,
                challenger=ended.challenger,
                champion=ended.champion,
                reason=reason,
                model_version=ended.challenger,
            )
            self._events.append(event, actor=actor, at=at, connection=joined)
        return ended

    def _select(self, condition: sa.ColumnElement[bool]) -> list[Bout]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(bouts).where(condition).order_by(bouts.c.number))
            return [Bout(**row._mapping) for row in rows]

    def _refuse_opening(self, connection: sa.Connection, challenger: str, champion: str, generation: int) -> None:
        row = connection.execute(sa.select(roles).where(roles.c.role == "champion")).one_or_none()
        if row is None or (row.version, row.generation) != (champion, generation):
            raise RoleConflict(f"{champion} is not the champion of generation {generation}; no bout was opened")
        meeting = sa.select(bouts.c.bout).where(
            bouts.c.state == "open", bouts.c.challenger == challenger, bouts.c.champion == champion
        )
        if (held := connection.execute(meeting).scalar()) is not None:
            raise RoleConflict(f"{challenger} meets {champion} in {held} already")


def reject_open_bouts(
    connection: sa.Connection, events: EventLog, challenger: str, *, reason: str, actor: str, at: datetime
) -> None:
    """Decides a challenger's open bouts as "rejected", in the transaction of its rejection."""
    query = sa.select(bouts.c.bout).where(bouts.c.state == "open", bouts.c.challenger == challenger)
    for name in connection.execute(query.order_by(bouts.c.number)).scalars().all():
        ended = _end(connection, name, "decided", "rejected", at)
        events.append(_decided(ended, {"reason": reason}), actor=actor, at=at, connection=connection)


def _end(
    connection: sa.Connection, bout: str, state: Literal["decided", "voided"], outcome: str | None, at: datetime
) -> Bout:
    ending = sa.update(bouts).where(bouts.c.bout == bout, bouts.c.state == "open")
    ended = connection.execute(ending.values(state=state, outcome=outcome, decided_at=at)).rowcount
    row = connection.execute(sa.select(bouts).where(bouts.c.bout == bout)).one_or_none()
    if row is None:
        raise NotFound(f"no bout {bout!r}", field="bout")
    if ended == 0:
        raise RoleConflict(f"bout {bout} is {row.state} already", field="bout")
    return Bout(**row._mapping)


def _decided(bout: Bout, data: Mapping[str, Any]) -> BoutDecided:
    return BoutDecided(
        bout=bout.bout,
        bout_kind=bout.kind,
        challenger=bout.challenger,
        champion=bout.champion,
        outcome=bout.outcome or "",
        evidence=plain(data),
        model_version=bout.challenger,
    )


def _cursor_behind(connection: sa.Connection, after_seq: int) -> Cursor:
    """Where a tail has to begin to meet every request behind `after_seq`, committed or still on its way."""
    if connection.dialect.name != "postgresql":
        return Cursor(0, after_seq)
    logged = sa.select(sa.func.min(predictions.c.xid)).where(predictions.c.seq > after_seq)
    oldest = connection.execute(sa.select(oldest_running())).scalar_one()
    return Cursor(min(connection.execute(logged).scalar() or oldest, oldest), 0)
