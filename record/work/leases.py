"""Who leads, for how long, and a token by which whoever stopped leading is kept from writing.

A lease's token grows with every new holder. A process that slept through its lease still has the old one, and each
of its writes checks the token in its own transaction: after Kleppmann, "How to do distributed locking" (2016).
Leases run on the machine's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from record.clock import EPOCH, machine_now
from record.db.database import Database
from record.db.tables import leases
from record.db.upsert import insert, wrote
from record.errors import StaleLease
from record.work.unchanged import Unchanged


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write while nobody newer holds the lease. A plain value: a child process gets it as two words."""

    name: str
    token: int

    def check(self, connection: sa.Connection) -> None:
        """Raises StaleLease where the lease has passed on; else nobody can take it before the transaction ends."""
        query = sa.select(leases.c.token).where(leases.c.name == self.name).with_for_update(read=True)
        token = connection.execute(query).scalar_one_or_none()
        if token != self.token:
            raise StaleLease(f"the lease {self.name!r} has passed on: token {token}, this process holds {self.token}")


def check_fence(fence: Fence | None, connection: sa.Connection) -> None:
    """Checks the fence where there is one: an operator's commands have none."""
    if fence is not None:
        fence.check(connection)


@dataclass(frozen=True, slots=True)
class Lease:
    """`settled_until` is the watcher's: all due jobs and their consequences are finished up to there."""

    name: str
    holder: str
    token: int
    expires_at: datetime
    settled_until: datetime | None


class Leases:
    """The way to the leases. Safe to share between threads."""

    def __init__(
        self,
        database: Database,
        machine_clock: Callable[[], datetime] = machine_now,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._now = machine_clock
        self._renewals = Unchanged(stopwatch)

    def acquire(self, name: str, holder: str, ttl: timedelta) -> Fence | None:
        """The right to lead until `ttl` from now; None while another holder's lease runs.

        A lease that this process has seen for `ttl` without a renewal does not run, whatever time it ends at: its
        holder may have died before the machine's clock was set back.

        `holder` names one process, its host and start included: the same holder gets the same token again.
        """
        with self._database.write() as connection:
            now = self._now()
            lease = self._read(connection, name)
            if lease is None:
                first = insert(connection, leases).values(name=name, holder=holder, token=1, expires_at=now + ttl)
                made = wrote(connection, first.on_conflict_do_nothing(index_elements=["name"]))
                return Fence(name, 1) if made else None
            idle_seconds = self._renewals.unchanged_seconds(name, (lease.token, lease.expires_at))
            running = lease.expires_at > now and idle_seconds < ttl.total_seconds()
            if running and lease.holder != holder:
                return None
            token = lease.token if running else lease.token + 1
            taken = sa.update(leases).where(leases.c.name == name, leases.c.token == lease.token)
            connection.execute(taken.values(holder=holder, token=token, expires_at=now + ttl))
            return Fence(name, token)

    def renew(self, fence: Fence, ttl: timedelta) -> bool:
        """Whether the lease still belongs to the fence; if so, it runs until `ttl` from now."""
        with self._database.write() as connection:
            renewed = sa.update(leases).where(leases.c.name == fence.name, leases.c.token == fence.token)
            return connection.execute(renewed.values(expires_at=self._now() + ttl)).rowcount == 1

    def release(self, fence: Fence) -> None:
        """Gives the lease back: another may take it at once, and the fence is stale."""
        with self._database.write() as connection:
            given = sa.update(leases).where(leases.c.name == fence.name, leases.c.token == fence.token)
            connection.execute(given.values(expires_at=EPOCH, token=leases.c.token + 1))

    def current(self, name: str) -> Lease | None:
        """The lease as it stands, running or expired."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(leases).where(leases.c.name == name)).one_or_none()
        return None if row is None else Lease(**row._mapping)

    def settle(self, fence: Fence, until: datetime, *, now: datetime | None = None) -> None:
        """Says that everything due up to `until` is finished. Raises StaleLease.

        Moves back only from what is later than `now`: a time that has not come yet was never finished.
        """
        with self._database.write() as connection:
            fence.check(connection)
            later = sa.or_(leases.c.settled_until.is_(None), leases.c.settled_until < until)
            if now is not None:
                later = sa.or_(later, leases.c.settled_until > now)
            settled = sa.update(leases).where(leases.c.name == fence.name, later)
            connection.execute(settled.values(settled_until=until))

    def _read(self, connection: sa.Connection, name: str) -> Lease | None:
        query = sa.select(leases).where(leases.c.name == name).with_for_update()
        row = connection.execute(query).one_or_none()
        return None if row is None else Lease(**row._mapping)
