"""What is due when. A job's time is the record's; what runs it is the watcher's own affair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from record.canonical import clean_text
from record.clock import machine_now
from record.db.database import Database
from record.db.tables import jobs
from record.db.upsert import insert
from record.work.leases import Fence, check_fence


@dataclass(frozen=True, slots=True)
class Job:
    """`last_finished_at` is on the machine's clock, the other times on the record's."""

    name: str
    schedule: str
    due_at: datetime
    last_as_of: datetime | None
    last_finished_at: datetime | None
    last_error: str | None


def due(jobs: Sequence[Job], as_of: datetime) -> list[Job]:
    """The jobs whose time has come, earliest first, and by name where they come together."""
    return sorted((job for job in jobs if job.due_at <= as_of), key=lambda job: (job.due_at, job.name))


class Jobs:
    """The way to the jobs. Safe to share between threads."""

    def __init__(self, database: Database, machine_clock: Callable[[], datetime] = machine_now) -> None:
        self._database = database
        self._machine_now = machine_clock

    def plan(self, name: str, schedule: str, first_due: datetime, *, latest: datetime | None = None) -> None:
        """Makes the job known. A known one keeps its due time across restarts, unless its schedule has changed.

        A due time later than `latest` is brought back to `first_due`: it was set while the clock was ahead.
        """
        with self._database.write() as connection:
            planned = insert(connection, jobs).values(name=name, schedule=schedule, due_at=first_due)
            changed = planned.on_conflict_do_update(
                index_elements=["name"],
                set_={"schedule": schedule, "due_at": first_due},
                where=jobs.c.schedule != schedule
                if latest is None
                else sa.or_(jobs.c.schedule != schedule, jobs.c.due_at > latest),
            )
            connection.execute(changed)

    def drop(self, name: str) -> None:
        """Forgets a job that is not configured any more."""
        with self._database.write() as connection:
            connection.execute(sa.delete(jobs).where(jobs.c.name == name))

    def all(self) -> list[Job]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(jobs).order_by(jobs.c.due_at, jobs.c.name))
            return [Job(**row._mapping) for row in rows]

    def finished(
        self, name: str, as_of: datetime, next_due: datetime, error: str | None = None, *, lease: Fence | None = None
    ) -> None:
        """The job has run on the record as of `as_of`, well or with an error, and is due again at `next_due`."""
        values = {
            "last_as_of": as_of,
            "due_at": next_due,
            "last_finished_at": self._machine_now(),
            "last_error": None if error is None else clean_text(error),
        }
        with self._database.write() as connection:
            check_fence(lease, connection)
            connection.execute(sa.update(jobs).where(jobs.c.name == name).values(values))
