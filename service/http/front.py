"""The guard in front of every route: who, how much, how long; and the hot route, answered right here.

Pure ASGI, added to the BentoML service. At start-up it moves in front of BentoML's own layers, which cost a task and
a timer per request: the timers, one for each request of the last seconds, make collections pause for 100 ms. What
it does not answer itself goes on through those layers to the mounted routes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from record.db.work import CURRENT_WORK, Work
from record.errors import Overloaded, RingsideError
from service.bodies.reader import ClientGone
from service.http.admission import Admission
from service.http.asgi import App, Message, Receive, Scope, Send
from service.http.call import Call
from service.http.connections import GuardedProtocol
from service.http.fast_lane import FastLane, predict_reply
from service.http.inference_protocol import infer
from service.http.media import plain_json, read_media
from service.http.origins import shared_with
from service.http.replies import BUSY, CLIENT_GONE, NOSNIFF, Header, Reply, failure_reply, late_reply
from service.http.routes import AT, PREDICT, QUERY, find_rule, metric_label, route_label
from service.http.rule import Rule, read_query

if TYPE_CHECKING:
    from service.worker import Worker

PASSED: Final = "ringside.passed"  # set in the scope of a request that the guard has let through


class Front:
    """ASGI middleware. One per process."""

    def __init__(self, app: App, worker: Worker) -> None:
        self._app = app
        self._behind = app  # where passed requests go: through BentoML's layers, once this has moved before them
        self._worker = worker
        self._admission = Admission(worker)
        self._entrance: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and PASSED not in scope:
            if self._entrance is None:  # not before the worker has read its settings
                self._entrance = shared_with(self._worker.settings.serve.cors_origins, self._guard)
            await self._entrance(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            self._step_forward(scope.get("app"))
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    def _step_forward(self, outer: Any) -> None:
        stack = getattr(outer, "middleware_stack", None)
        if stack is not None and stack is not self:
            self._behind, outer.middleware_stack = stack, self
        self.open_fast_lane()

    def open_fast_lane(self) -> None:
        """Small predict requests then go past this, and all the layers between it and the connection."""
        GuardedProtocol.fast_lane = FastLane(self._admission, self._worker)
        GuardedProtocol.counter = self

    def connections_cut(self, counts: Mapping[str, int]) -> None:
        self._worker.metrics.connections_cut(counts)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        found = find_rule(scope)
        exchange = _Exchange(send, scope["method"] == "HEAD")
        deadlines, task = self._worker.deadlines, asyncio.current_task()
        assert task is not None
        deadlines.begin(task)
        try:
            reply = await self._answer(found, scope, receive, exchange, started)
            await exchange.reply(reply)
        except ClientGone:
            exchange.status = CLIENT_GONE
        except asyncio.CancelledError:
            if exchange.begun or not deadlines.ended(task):
                raise
            task.uncancel()
            await exchange.reply(late_reply(scope["path"]))
        finally:
            deadlines.end(task)
            self._worker.bodies.release(exchange.held)
            exchange.closed = True
            label = metric_label(found, exchange.status)
            self._worker.metrics.request(label, exchange.status, time.perf_counter() - started)

    async def _answer(
        self, found: Rule | RingsideError, scope: Scope, receive: Receive, exchange: _Exchange, started: float
    ) -> Reply | None:
        """The reply, or None where it has been sent already."""
        try:
            headers = dict(scope["headers"])
            rule = self._admission.admit(found, scope, headers)
            scope[QUERY] = read_query(rule, scope["query_string"])
            if rule.method != "POST":
                return await self._busily(rule, self._pass_on(rule, scope, receive, exchange))
            body = await self._worker.bodies.read(headers, receive, rule.most_bytes)
            exchange.held = len(body)
            if not plain_json(headers, body):
                body = await read_media(headers, body, self._worker.bodies.limit(rule.most_bytes))
                self._worker.bodies.hold(len(body) - exchange.held)
                exchange.held = len(body)
            at = self._admission.request_time(headers)
            if rule.path == PREDICT:
                return await self._busily(rule, self._predict(scope, body, at, started))
            if rule.handler is None:
                inferring = infer(
                    self._worker, scope["path"], headers, body, at, started, self._admission.rows_charge(scope)
                )
                return await self._busily(rule, inferring)
            scope[AT] = at
            return await self._busily(rule, self._pass_on(rule, scope, _given(body, receive), exchange))
        except Exception as error:
            if isinstance(error, ClientGone) or (exchange.begun and not isinstance(error, RingsideError)):
                raise
            return failure_reply(error, scope["path"], route_label(found))

    async def _busily(self, rule: Rule, answering: Awaitable[Reply | None]) -> Reply | None:
        """Counts only requests that have arrived whole: a client that sends slowly takes nobody's place."""
        try:
            self._admission.enter(rule)
        except Overloaded:
            answering.close()  # type: ignore[attr-defined]
            raise
        try:
            return await answering
        finally:
            self._admission.leave(rule)

    async def _predict(self, scope: Scope, body: bytes, at: datetime | None, started: float) -> Reply:
        charge = self._admission.rows_charge(scope)
        return predict_reply(await self._worker.predictor.answer(body, at, started, charge))

    async def _pass_on(self, rule: Rule, scope: Scope, receive: Receive, exchange: _Exchange) -> Reply | None:
        if rule.role is None:  # the probes: never behind anything that could be slow
            assert rule.handler is not None
            return rule.handler(self._worker, Call(actor="", query=scope[QUERY]))
        scope[PASSED] = True
        work, task = Work(), asyncio.current_task()
        assert task is not None
        CURRENT_WORK.set(work)
        self._worker.deadlines.entrust(task, work)
        await self._behind(scope, receive, exchange.send)
        return None


class _Exchange:
    """The way back to one client. Keeps the status for the metrics, and drops what comes after the end."""

    def __init__(self, send: Send, head: bool) -> None:
        self._send = send
        self._head = head
        self.status = CLIENT_GONE
        self.begun = False
        self.held = 0  # bytes of its body
        self.closed = False

    async def reply(self, reply: Reply | None) -> None:
        if reply is None:
            return
        self.begun, self.status = True, reply.status
        length = (b"content-length", str(len(reply.body)).encode())
        await self._send({"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, length]})
        body = b"" if self._head else reply.body
        await self._send({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        """For the layers behind: they may still speak when the request has been given up."""
        if self.closed:
            return
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            message["headers"] = _completed(message["status"], message.get("headers", ()))
        await self._send(message)


def _completed(status: int, headers: Iterable[Header]) -> list[Header]:
    """The headers with what every answer has, whichever layer made it."""
    names = {name for name, _ in headers}
    added = [NOSNIFF] if NOSNIFF[0] not in names else []
    if status in BUSY and b"retry-after" not in names:
        added.append((b"retry-after", b"1"))
    return [*headers, *added]


def _given(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, for whoever reads it next."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
