"""Small predict requests, answered within the connection's own callbacks.

What the layers between a socket and an answer cost (a task, uvicorn's cycle, two middlewares, the guard's coroutines)
is more than the answer itself. A request whose body came whole and holds a few records goes past them: the guard's
checks, the predictor, and one write, when the log has it. Everything else, and everything that turns out not to be
of that kind, takes the common way; both give the same answers.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from service.http.admission import Admission
from service.http.media import plain_json
from service.http.replies import CLIENT_GONE, JSON, NOSNIFF, NOT_LOGGED, Reply, failure_reply, late_reply
from service.http.response_cycle import ResponseCycle
from service.http.routes import PREDICT, find_rule, metric_label
from service.http.rule import Rule
from service.predict import Answered, Begun, answer_body

if TYPE_CHECKING:
    from service.worker import Worker

MOST_BYTES: Final = 16_384  # of a body; sixteen records of sixty columns
_HEADERS: Final = [JSON, NOSNIFF]
_UNLOGGED: Final = [JSON, NOSNIFF, NOT_LOGGED]
_SCOPE: Final = {"method": "POST", "path": PREDICT}


def predict_reply(answered: Answered) -> Reply:
    return Reply(200, answer_body(answered), _HEADERS if answered.logged else _UNLOGGED)


class FastLane:
    """One process's."""

    def __init__(self, admission: Admission, worker: Worker) -> None:
        rule = find_rule(_SCOPE)
        assert isinstance(rule, Rule)
        self.admission, self.worker, self.rule = admission, worker, rule

    @staticmethod
    def wants(cycle: ResponseCycle) -> bool:
        """Whether a request may be of its kind, as far as its headers tell."""
        scope = cycle.scope
        return (
            scope["path"] == PREDICT
            and scope["method"] == "POST"
            and not scope["query_string"]
            and not cycle.waiting_for_100_continue
        )

    def take(self, cycle: ResponseCycle) -> bool:
        """Answers a request whose body is complete, now or once the log has it; False where it is not of its kind."""
        if len(cycle.body) > MOST_BYTES:
            return False
        return _Quick(self, cycle).start()


class _Quick:
    """One request in the lane."""

    __slots__ = ("_begun", "_cycle", "_entered", "_lane", "_started")

    def __init__(self, lane: FastLane, cycle: ResponseCycle) -> None:
        self._lane = lane
        self._cycle = cycle
        self._started = time.perf_counter()
        self._begun: Begun | None = None
        self._entered = False

    def start(self) -> bool:
        admission, scope = self._lane.admission, self._cycle.scope
        try:
            headers = dict(scope["headers"])
            if not plain_json(headers, self._cycle.body) or (admission.shares_origins and b"origin" in headers):
                return False
            admission.admit(self._lane.rule, scope, headers)  # type: ignore[arg-type]
            at = admission.request_time(headers)
            admission.enter(self._lane.rule)
            self._entered = True
            begun = self._begun = self._lane.worker.predictor.begin(
                self._cycle.body,
                at,
                self._started,
                admission.rows_charge(scope),  # type: ignore[arg-type]  # as above
            )
        except Exception as error:  # noqa: BLE001 - as in the guard: a fault in one request must not end the worker
            self._finish(failure_reply(error, PREDICT, PREDICT))
            return True
        if begun is None:
            admission.leave(self._lane.rule)
            return False
        if begun.coming is None:
            self._answer()
            return True
        self._lane.worker.deadlines.begin(self)
        begun.coming.add_done_callback(self._logged)
        return True

    def cancel(self) -> None:
        """Gives it up, at its deadline."""
        assert self._begun is not None
        assert self._begun.coming is not None
        self._begun.coming.cancel()

    def _logged(self, coming: asyncio.Future[Any]) -> None:
        self._lane.worker.deadlines.end(self)
        if coming.cancelled():
            self._finish(late_reply())
        else:
            self._answer()

    def _answer(self) -> None:
        assert self._begun is not None
        try:
            reply = predict_reply(self._lane.worker.predictor.end(self._begun))
        except Exception as error:  # noqa: BLE001 - as above
            reply = failure_reply(error, PREDICT, PREDICT)
        self._finish(reply)

    def _finish(self, reply: Reply) -> None:
        if self._entered:
            self._lane.admission.leave(self._lane.rule)
        status = reply.status
        if self._cycle.disconnected:
            status = CLIENT_GONE
        else:
            self._cycle.respond(status, reply.headers, reply.body)
        label = metric_label(self._lane.rule, status)
        self._lane.worker.metrics.request(label, status, time.perf_counter() - self._started)
