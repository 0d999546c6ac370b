"""Which requests are let in: who calls, at what time of its own, and whether there is room for one more."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from record.errors import Overloaded, RingsideError
from service.http.asgi import Scope
from service.http.call import read_time
from service.http.routes import ACTOR, route_label
from service.http.rule import Rule

if TYPE_CHECKING:
    from service.worker import Worker


class Admission:
    """The admission of one process's requests: it counts those that are under way."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._busy = 0

    def admit(self, found: Rule | RingsideError, scope: Scope, headers: dict[bytes, bytes]) -> Rule:
        """The rule, once its caller may use it. Without a known token nobody learns which routes there are."""
        if isinstance(found, Rule) and found.role is None:
            scope[ACTOR] = ""
            return found
        role = found.role if isinstance(found, Rule) else None
        scope[ACTOR] = self._worker.gate.admit(scope, headers, role, route_label(found))
        if isinstance(found, Rule):
            return found
        raise found

    def request_time(self, headers: dict[bytes, bytes]) -> datetime | None:
        held = headers.get(b"ringside-time")
        if held is None or not self._worker.follows_requests:
            return None
        return read_time(held.decode("latin-1"), "Ringside-Time")

    def enter(self, rule: Rule) -> None:
        """Counts a request as under way, until `leave`; Overloaded where there are too many."""
        if self._busy >= self._worker.settings.serve.max_concurrency and not rule.urgent:
            raise Overloaded(f"{self._busy} requests are under way; try again in a moment (serve.max_concurrency)")
        self._busy += 1

    def leave(self) -> None:
        self._busy -= 1
