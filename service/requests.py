"""What operators and alerts ask for. The watcher decides, and says so in an event."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from service.clock import Clock, machine_now, to_micros
from service.database import Database, requests
from service.event_log import EventLog
from service.events import Event, clean_text, plain
from service.upsert import insert

RequestKind = Literal["retrain", "alert"]


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
    decided_at: datetime | None


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
            made = connection.execute(insert(connection, requests).values(row).on_conflict_do_nothing()).rowcount
            if made and event is not None:
                self._events.append(event, actor=actor, at=at, connection=connection)
        return made == 1

    def pending(self) -> list[Request]:
        """What waits for a decision, in the order of arrival."""
        query = sa.select(requests).where(requests.c.state == "pending").order_by(requests.c.request)
        with self._database.read() as connection:
            return [Request(**row._mapping) for row in connection.execute(query)]

    def decide(self, request: str, run_id: str | None = None, connection: sa.Connection | None = None) -> bool:
        """Takes a request off the queue, with the run it led to; False where that was done before."""
        at = self._clock.now()
        deciding = sa.update(requests).where(requests.c.request == request, requests.c.state == "pending")
        with self._database.write(connection) as joined:
            changed = joined.execute(deciding.values(state="decided", decided_at=at, run_id=run_id)).rowcount
        return changed == 1
