"""Retrain runs: one active at a time, and each change of state is one transaction with its event."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from record.canonical import clean_text, plain
from record.clock import Clock, machine_now
from record.db.database import Database
from record.db.tables import events, runs
from record.db.upsert import insert, wrote
from record.errors import NotFound, RunActive
from record.event_log import EventLog
from record.events import (
    RetrainDeclined,
    RetrainFailed,
    RetrainProgressed,
    RetrainRequested,
    RetrainResumed,
    RetrainStarted,
    RetrainSucceeded,
)
from record.failpoint import fail_point
from record.redaction import redact
from record.work.leases import Fence, check_fence
from record.work.run import Run, RunState
from record.work.unchanged import Unchanged

# A process that is killed again and again, as where the system is out of memory, is not started for ever.
MOST_RESUMES = 3


class Runs:
    """The way to the runs. Safe to share between threads.

    A change that does not fit the run's state raises RunActive, which names the state, and changes nothing.
    """

    def __init__(
        self,
        database: Database,
        events: EventLog,
        clock: Clock,
        machine_clock: Callable[[], datetime] = machine_now,
    ) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._machine_now = machine_clock
        self._beats = Unchanged()
        self._stage: tuple[str, str] | None = None  # the run and its stage that were told last

    def request(
        self,
        trigger: str,
        actor: str,
        reason: str,
        run_id: str | None = None,
        *,
        numbers: Mapping[str, Any] | None = None,
        lease: Fence | None = None,
        connection: sa.Connection | None = None,
    ) -> Run:
        """A run in state requested; RunActive while another is requested or running."""
        at = self._clock.now()
        run_id = run_id or f"run-{at:%Y%m%d}-{secrets.token_hex(4)}"
        row = {
            "run_id": run_id,
            "state": "requested",
            "active": 1,
            "trigger": trigger,
            "actor": clean_text(actor),
            "reason": clean_text(redact(reason)),
            "requested_at": at,
        }
        with self._events.writing(connection) as joined:
            check_fence(lease, joined)
            if not wrote(joined, insert(joined, runs).values(row).on_conflict_do_nothing()):
                raise RunActive(_whose_turn(joined, run_id))
            event = RetrainRequested(run_id=run_id, trigger=trigger, reason=clean_text(reason), numbers=numbers or {})
            self._events.append(event, actor=actor, at=at, connection=joined)
            return _read(joined, run_id)

    def start(
        self,
        run_id: str,
        as_of: datetime,
        pid: int | None = None,
        *,
        actor: str = "watcher",
        lease: Fence | None = None,
    ) -> Run:
        """requested → running."""
        at, now = self._clock.now(), self._machine_now()
        with self._events.writing() as connection:
            check_fence(lease, connection)
            values = {
                "state": "running",
                "as_of": as_of,
                "started_at": at,
                "machine_started_at": now,
                "heartbeat_at": now,
                "host": socket.gethostname(),
                "pid": pid,
            }
            run = _change(connection, run_id, ("requested",), values)
            event = RetrainStarted(run_id=run_id, trigger=run.trigger, as_of=as_of)
            self._events.append(event, actor=actor, at=at, connection=connection)
            fail_point("run.started")
        return run

    def resume(self, run_id: str, reason: str, *, actor: str = "watcher", lease: Fence | None = None) -> bool:
        """Says that a running run, its process gone, goes on in another; False once it did so MOST_RESUMES times."""
        at = self._clock.now()
        with self._events.writing() as connection:
            check_fence(lease, connection)
            run = _read(connection, run_id)
            before = _resumes(connection, run_id)
            if before >= MOST_RESUMES:
                return False
            _change(connection, run_id, ("running",), {"heartbeat_at": self._machine_now(), "pid": None})
            event = RetrainResumed(run_id=run_id, trigger=run.trigger, resumes=before + 1, reason=clean_text(reason))
            self._events.append(event, actor=actor, at=at, connection=connection)
        return True

    def attach(self, run_id: str, pid: int) -> None:
        """Names the process that a running run is in."""
        self._touch(run_id, {"pid": pid, "host": socket.gethostname()})

    def progress(self, run_id: str, progress: Mapping[str, Any]) -> bool:
        """Shows how far it is, and that it lives; False when the run is not running any more.

        A stage that this process has not told of yet is an event.
        """
        held, stage = plain(progress), progress.get("stage")
        if stage is None or self._stage == (run_id, stage):
            return self._touch(run_id, {"progress": held})
        at = self._clock.now()
        with self._events.writing() as connection:
            if not self._touch(run_id, {"progress": held}, connection):
                return False
            event = RetrainProgressed(
                run_id=run_id,
                trigger=_read(connection, run_id).trigger,
                stage=stage,
                trials=held.get("done") or 0,
                metric=held.get("metric"),
                best=held.get("best"),
            )
            self._events.append(event, actor="retrain", at=at, connection=connection)
        self._stage = run_id, stage
        return True

    def beat(self, run_id: str) -> bool:
        """Shows that it lives; False when the run is not running any more: its process should end."""
        return self._touch(run_id, {})

    def succeed(
        self,
        run_id: str,
        version: str | None,
        outcome: Mapping[str, Any],
        connection: sa.Connection | None = None,
        *,
        actor: str = "retrain",
    ) -> Run:
        """running → succeeded. `version` None: the job worked, and its gate refused the candidate."""
        at = self._clock.now()
        with self._events.writing(connection) as joined:
            # What it was doing last says nothing any more; of a failed run it says where it failed.
            values = self._ending("succeeded", at) | {"version": version, "outcome": plain(outcome), "progress": None}
            run = _change(joined, run_id, ("running",), values)
            event = RetrainSucceeded(
                run_id=run_id,
                trigger=run.trigger,
                seconds=run.seconds or 0.0,
                outcome=plain(outcome),
                model_version=version,
            )
            self._events.append(event, actor=actor, at=at, connection=joined)
            fail_point("run.succeeded")
        return run

    def fail(
        self, run_id: str, error: str, *, findings: Sequence[Mapping[str, Any]] = (), actor: str = "retrain"
    ) -> Run:
        """requested or running → failed. A run that has ended stays as it is: the first reason is the true one.

        `findings` are what was wrong with the data, where that is the reason.
        """
        at = self._clock.now()
        with self._events.writing() as connection:
            if _read(connection, run_id).active is None:
                return _read(connection, run_id)
            return self._failed(connection, run_id, error, actor, at, findings)

    def decline(
        self,
        run_id: str,
        reason: str,
        *,
        actor: str = "watcher",
        numbers: Mapping[str, Any] | None = None,
        lease: Fence | None = None,
    ) -> Run:
        """requested → declined."""
        at = self._clock.now()
        with self._events.writing() as connection:
            check_fence(lease, connection)
            values = self._ending("declined", at) | {"outcome": {"reason": clean_text(redact(reason))}}
            run = _change(connection, run_id, ("requested",), values)
            event = RetrainDeclined(
                run_id=run_id, trigger=run.trigger, reason=clean_text(reason), numbers=numbers or {}
            )
            self._events.append(event, actor=actor, at=at, connection=connection)
        return run

    def active(self) -> Run | None:
        """The run that is requested or running."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.active == 1)).one_or_none()
        return None if row is None else Run(**row._mapping)

    def get(self, run_id: str) -> Run:
        """Raises NotFound."""
        with self._database.read() as connection:
            return _read(connection, run_id)

    def as_of(self, run_id: str | None) -> datetime:
        """How the record stood that the run read; now, for a version that no run made."""
        return (self.get(run_id).as_of if run_id is not None else None) or self._clock.now()

    def recent(self, limit: int = 20, *, before: str | None = None) -> list[Run]:
        """The latest runs, newest first; of those asked for earlier than the run `before`, or NotFound."""
        query = sa.select(runs).order_by(runs.c.requested_at.desc(), runs.c.run_id.desc()).limit(limit)
        if before is not None:
            last = self.get(before)
            place = sa.tuple_(runs.c.requested_at, runs.c.run_id)
            query = query.where(place < sa.tuple_(sa.literal(last.requested_at, runs.c.requested_at.type), before))
        with self._database.read() as connection:
            return [Run(**row._mapping) for row in connection.execute(query)]

    def latest(self, state: RunState | None = None, *, until: datetime | None = None) -> Run | None:
        """The run that read the record last, of all that began or of those in that state, and not later than `until`.

        A run that a clock in the future has stamped would otherwise be the latest until that time has come.
        """
        query = (
            sa.select(runs).where(runs.c.as_of.is_not(None)).order_by(runs.c.as_of.desc(), runs.c.requested_at.desc())
        )
        if state is not None:
            query = query.where(runs.c.state == state)
        if until is not None:
            query = query.where(runs.c.as_of <= until)
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        return None if row is None else Run(**row._mapping)

    def begun_between(self, after: datetime, until: datetime) -> int:
        """How many runs read the record as it stood later than `after`, and not later than `until`."""
        query = sa.select(sa.func.count()).where(runs.c.as_of > after, runs.c.as_of <= until)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def silent(self, now: datetime, patience: timedelta) -> list[Run]:
        """Running runs that have not shown a sign of life for `patience`; `now` is the machine's.

        A sign of life from the future, as the clock's correction leaves it, counts until this process has seen it
        unchanged for `patience`.
        """
        query = sa.select(runs).where(runs.c.state == "running", runs.c.heartbeat_at.is_not(None))
        with self._database.read() as connection:
            found = [Run(**row._mapping) for row in connection.execute(query)]
        return [run for run in found if self._is_silent(run, now, patience)]

    def _is_silent(self, run: Run, now: datetime, patience: timedelta) -> bool:
        assert run.heartbeat_at is not None
        if run.heartbeat_at <= now:
            return run.heartbeat_at < now - patience
        return self._beats.unchanged_seconds(run.run_id, run.heartbeat_at) >= patience.total_seconds()

    def reap(self, now: datetime, patience: timedelta, *, actor: str = "watcher") -> list[Run]:
        """Fails running runs that have not shown a sign of life for `patience`; `now` is the machine's."""
        at = self._clock.now()
        silent = sa.select(runs.c.run_id).where(runs.c.state == "running", runs.c.heartbeat_at < now - patience)
        with self._events.writing() as connection:
            error = f"no sign of life for {patience.total_seconds():g} s; its process is gone"
            names = connection.execute(silent).scalars().all()
            return [self._failed(connection, run_id, error, actor, at) for run_id in names]

    def _failed(
        self,
        connection: sa.Connection,
        run_id: str,
        error: str,
        actor: str,
        at: datetime,
        findings: Sequence[Mapping[str, Any]] = (),
    ) -> Run:
        outcome = {"error": clean_text(redact(error))} | ({"findings": plain(findings)} if findings else {})
        values = self._ending("failed", at) | {"outcome": outcome}
        run = _change(connection, run_id, ("requested", "running"), values)
        event = RetrainFailed(
            run_id=run_id,
            trigger=run.trigger,
            error=clean_text(error),
            seconds=run.seconds,
            findings=plain(findings),
        )
        self._events.append(event, actor=actor, at=at, connection=connection)
        return run

    def _touch(self, run_id: str, values: Mapping[str, Any], joining: sa.Connection | None = None) -> bool:
        beating = sa.update(runs).where(runs.c.run_id == run_id, runs.c.state == "running")
        with self._database.write(joining) as connection:
            return connection.execute(beating.values(heartbeat_at=self._machine_now(), **values)).rowcount == 1

    def _ending(self, state: RunState, at: datetime) -> dict[str, Any]:
        return {"state": state, "active": None, "finished_at": at, "machine_finished_at": self._machine_now()}


def _read(connection: sa.Connection, run_id: str) -> Run:
    row = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"no run {run_id!r}", field="run_id")
    return Run(**row._mapping)


def _resumes(connection: sa.Connection, run_id: str) -> int:
    query = sa.select(events.c.data).where(events.c.kind == RetrainResumed.kind)
    latest = connection.execute(query.order_by(events.c.seq.desc()).limit(MOST_RESUMES)).scalars()
    return sum(data["run_id"] == run_id for data in latest)


def _change(connection: sa.Connection, run_id: str, states: tuple[RunState, ...], values: Mapping[str, Any]) -> Run:
    changing = sa.update(runs).where(runs.c.run_id == run_id, runs.c.state.in_(states))
    changed = connection.execute(changing.values(dict(values))).rowcount
    run = _read(connection, run_id)
    if changed == 0:
        raise RunActive(f"run {run_id} is {run.state}; expected {' or '.join(states)}", field="run_id")
    return run


def _whose_turn(connection: sa.Connection, run_id: str) -> str:
    row = connection.execute(sa.select(runs).where(runs.c.active == 1)).one_or_none()
    if row is None:
        return f"there is a run {run_id} already"
    return f"run {row.run_id} is {row.state}, asked for by {row.actor}; one run is active at a time"
