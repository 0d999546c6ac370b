"""Which requests are let in: who calls, at what time of its own, and whether there is room for one more."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from record.errors import Overloaded, RingsideError
from service.http.asgi import Scope
from service.http.routes import ACTOR, route_label
from service.http.rule import Rule
from service.predict import Charge

if TYPE_CHECKING:
    from service.worker import Worker

CHARGED: Final = "ringside.charged"  # set in the scope of a request that its caller's quota has paid for


class Admission:
    """The admission of one process's requests: it counts those that are under way."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._under_way = {True: 0, False: 0}  # predictions, and everything else

    def admit(self, found: Rule | RingsideError, scope: Scope, headers: dict[bytes, bytes]) -> Rule:
        """The rule, once its caller may use it. Without a known token nobody learns which routes there are."""
        if isinstance(found, Rule) and found.role is None:
            scope[ACTOR] = ""
            return found
        role = found.role if isinstance(found, Rule) else None
        scope[ACTOR] = self._worker.gate.admit(scope, headers, role, route_label(found))
        if isinstance(found, Rule):
            self._charge(scope)
            return found
        raise found

    def _charge(self, scope: Scope) -> None:
        """Takes the request from its caller's quota, once: one that leaves the fast lane is admitted again."""
        if self._worker.quotas and CHARGED not in scope:
            self._worker.quotas.charge_request(scope[ACTOR])
            scope[CHARGED] = True

    def rows_charge(self, scope: Scope) -> Charge | None:
        """What takes rows from the caller's quota; None where there are no quotas."""
        return partial(self._worker.quotas.charge_rows, scope[ACTOR]) if self._worker.quotas else None

    def request_time(self, headers: dict[bytes, bytes]) -> datetime | None:
        held = headers.get(b"ringside-time")
        if held is None or not self._worker.follows_requests:
            return None
        return self._worker.times.read(held.decode("latin-1"), "Ringside-Time")

    @property
    def shares_origins(self) -> bool:
        """Whether pages of other sites may call: their requests take the common way."""
        return bool(self._worker.settings.serve.cors_origins)

    def enter(self, rule: Rule) -> None:
        """Counts a request as under way, until `leave`; Overloaded where there are too many of its kind.

        Predictions have places of their own, so that no other route takes them; urgent routes need none.
        """
        if rule.urgent:
            return
        count = self._under_way[rule.predicts]
        if count >= self._worker.settings.serve.max_concurrency:
            raise Overloaded(f"{count} requests are under way; try again in a moment (serve.max_concurrency)")
        self._under_way[rule.predicts] = count + 1

    def leave(self, rule: Rule) -> None:
        if not rule.urgent:
            self._under_way[rule.predicts] -= 1
