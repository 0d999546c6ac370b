"""What operators and alerts ask for. The watcher decides, and says so in an event."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from record.canonical import clean_text, plain
from record.clock import Clock, machine_now, to_micros
from record.db.database import Database
from record.db.tables import requests
from record.db.upsert import insert, wrote
from record.errors import Overloaded
from record.event_log import EventLog
from record.events import Event

RequestKind = Literal["retrain", "alert"]

MOST_WAITING = 10_000  # for the watcher: it decides all of them in one statement, of some fifty milliseconds
FORGOTTEN_AT_ONCE = 1000
SEEN_AGAIN = timedelta(days=1)  # what comes again sooner is not written anew
KEYS_AT_ONCE = 500  # bound variables of one statement; databases allow a few ten thousand


@dataclass(frozen=True, slots=True)
class Request:
    request: str
    kind: RequestKind
    key: str | None
    actor: str
    reason: str
    data: dict[str, Any]
    run_id: str | None
    requested_at: datetime
    state: Literal["pending", "decided"]
    decided_at: datetime | None  # of an alert that comes again, the last day on which it did


@dataclass(frozen=True, slots=True)
class Asked:
    """One of many requests that arrive together. With `pending` False there is nothing for the watcher to decide."""

    key: str
    reason: str
    data: Mapping[str, Any]
    pending: bool = True


class Requests:
    """The way to the requests. Safe to share between threads."""

    def __init__(self, database: Database, events: EventLog, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    def add(
        self,
        kind: RequestKind,
        actor: str,
        reason: str,
        data: Mapping[str, Any],
        key: str | None = None,
        *,
        event: Event | None = None,
        pending: bool = True,
    ) -> bool:
        """False, and nothing written, where the `key` was used before: what arrives twice is taken once.

        `event` is recorded in the same transaction; with `pending` False there is nothing for the watcher to decide.
        """
        at = self._clock.now()
        row = {
            "request": f"q{to_micros(machine_now()):015x}{secrets.token_hex(4)}",  # sorts by arrival
            "kind": kind,
            "key": None if key is None else clean_text(key),
            "actor": clean_text(actor),
            "reason": clean_text(reason),
            "data": plain(data),
            "requested_at": at,
            "state": "pending" if pending else "decided",
            "decided_at": None if pending else at,
        }
        with self._events.writing() as connection:
            made = wrote(connection, insert(connection, requests).values(row).on_conflict_do_nothing())
            if made and event is not None:
                self._events.append(event, actor=actor, at=at, connection=connection)
        return made

    def add_all(
        self, kind: RequestKind, asked: Sequence[Asked], actor: str, tell: Callable[[Sequence[Asked]], Sequence[Event]]
    ) -> list[Asked]:
        """Those whose key was not used before, written in one transaction with the events that `tell` makes of them.

        For storms: a thousand alerts are one transaction of some thirty milliseconds, and a handful of events.
        Overloaded, with nothing written, where MOST_WAITING wait for the watcher already.
        """
        at = self._clock.now()
        by_key = {clean_text(one.key): one for one in asked}
        with self._events.writing() as connection:  # whoever adds holds the chain's head: nobody adds meanwhile
            known = _known_keys(connection, list(by_key))
            _see_again(connection, sorted(known), at)
            new = {key: one for key, one in by_key.items() if key not in known}
            if any(one.pending for one in new.values()):
                _expect_room(connection)
            rows = [_row(kind, actor, one, key, at, place) for place, (key, one) in enumerate(new.items())]
            if rows:
                connection.execute(insert(connection, requests), rows)
            for event in tell(list(new.values())):
                self._events.append(event, actor=actor, at=at, connection=connection)
        return list(new.values())

    def pending(self) -> list[Request]:
        """What waits for a decision, in the order of arrival."""
        query = sa.select(requests).where(requests.c.state == "pending").order_by(requests.c.request)
        with self._database.read() as connection:
            return [Request(**row._mapping) for row in connection.execute(query)]

    def decide(self, request: str, run_id: str | None = None, connection: sa.Connection | None = None) -> bool:
        """Takes a request off the queue, with the run it led to; False where that was done before."""
        return self._decide(requests.c.request == request, run_id, connection) == 1

    def decide_until(self, last: str, run_id: str | None = None, connection: sa.Connection | None = None) -> int:
        """Takes everything up to the request `last` off the queue, in one statement, and says how many they were."""
        return self._decide(requests.c.request <= last, run_id, connection)

    def forget_decided(self, before: datetime) -> int:
        """Lets go of what was decided before then, and has not come again since; the count.

        What comes again after that is new. A thousand at a time, so that predictions are logged in between.
        """
        forgotten = 0
        past = sa.and_(requests.c.state == "decided", requests.c.decided_at < before)
        old = sa.select(requests.c.request).where(past)
        while True:
            with self._database.write() as connection:
                # What comes again between PostgreSQL's look and its lock on the row is no longer past, and stays.
                deleting = sa.delete(requests).where(requests.c.request.in_(old.limit(FORGOTTEN_AT_ONCE)), past)
                count = int(connection.execute(deleting).rowcount)
            forgotten += count
            if count < FORGOTTEN_AT_ONCE:
                return forgotten

    def _decide(self, which: sa.ColumnElement[bool], run_id: str | None, connection: sa.Connection | None) -> int:
        at = self._clock.now()
        deciding = sa.update(requests).where(which, requests.c.state == "pending")
        with self._database.write(connection) as joined:
            return int(joined.execute(deciding.values(state="decided", decided_at=at, run_id=run_id)).rowcount)


def _expect_room(connection: sa.Connection) -> None:
    waiting = sa.select(sa.func.count()).select_from(requests).where(requests.c.state == "pending")
    count = connection.execute(waiting).scalar_one()
    if count >= MOST_WAITING:
        raise Overloaded(f"{count} requests wait for the watcher's decision; send the alerts again later")


def _known_keys(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(keys), KEYS_AT_ONCE):
        query = sa.select(requests.c.key).where(requests.c.key.in_(keys[start : start + KEYS_AT_ONCE]))
        known.update(connection.execute(query).scalars())
    return known


def _see_again(connection: sa.Connection, keys: Sequence[str], at: datetime) -> None:
    """Keeps decided requests that still come, such as an alert that fires for months, from being forgotten."""
    for start in range(0, len(keys), KEYS_AT_ONCE):
        which = requests.c.key.in_(keys[start : start + KEYS_AT_ONCE])
        stale = sa.and_(requests.c.state == "decided", requests.c.decided_at < at - SEEN_AGAIN)
        connection.execute(sa.update(requests).where(which, stale).values(decided_at=at))


def _row(kind: RequestKind, actor: str, one: Asked, key: str, at: datetime, place: int) -> dict[str, Any]:
    return {
        "request": f"q{to_micros(machine_now()):015x}{place:06x}{secrets.token_hex(4)}",  # sorts by arrival
        "kind": kind,
        "key": key,
        "actor": clean_text(actor),
        "reason": clean_text(one.reason),
        "data": plain(one.data),
        "requested_at": at,
        "state": "pending" if one.pending else "decided",
        "decided_at": None if one.pending else at,
    }
