"""Connections before there is a request: how long, and how much, a client may send until its headers are complete.

uvicorn waits for them for ever, and holds what it is sent. BentoML makes uvicorn's configuration itself, so that the
protocol is named in uvicorn's own table of protocols; the guard (`service.http.front`) sees a request only once its
headers are there, and has its own deadline from then on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from typing import Any, ClassVar, Final, Protocol
from weakref import WeakKeyDictionary

from record.log_lines import log_line
from service.http.uvicorn_parts import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle, ServerState, use_protocol

MOST_HEAD_BYTES: Final = 65_536  # without a byte of body between them; a request of ours has a few hundred
SWEEP_SECONDS: Final = 0.5  # how late a connection may be cut
LINGER_SECONDS: Final = 5.0  # for a client to take the last of its answer
# Of the process's open files, so many are left for databases and models.
SPARE_FILES: Final = 128
_REASONS: Final = {400: "invalid_json", 408: "overloaded", 431: "too_large"}


def guard_connections(head_seconds: float) -> None:
    """Makes every uvicorn server of this process, if it has not begun yet, serve with `GuardedProtocol`."""
    GuardedProtocol.head_seconds = head_seconds
    use_protocol(GuardedProtocol)


def most_connections() -> int:
    """How many connections a process holds at most, by its limit of open files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        limit = 65_536
    return max(16, min(16_384, limit - SPARE_FILES))


class ShortCut(Protocol):
    """A way to an answer within the connection's own callbacks, for requests of one kind."""

    def wants(self, cycle: RequestResponseCycle) -> bool:
        """Return whether a request may be of that kind, as far as its headers tell."""

    def take(self, cycle: RequestResponseCycle) -> bool:
        """Answer a request whose body is complete; return False where it is not of that kind."""


class Connections:
    """Those of one server. Looked at twice a second as long as there are any."""

    def __init__(self, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self._state = state
        self._loop = loop
        self._most = most_connections()
        self._swept = False
        self._closing: dict[GuardedProtocol, float] = {}
        # Those whose next request has begun, or that never had one, by when: the oldest first.
        self.heads: dict[GuardedProtocol, float] = {}

    def add(self, connection: GuardedProtocol) -> None:
        """Where there are too many, the one that has waited longest for its headers makes room."""
        if len(self._state.connections) > self._most:
            next(iter(self.heads), connection).transport.abort()
        self.begin(connection)
        if not self._swept:
            self._swept = True
            self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def begin(self, connection: GuardedProtocol) -> None:
        self.heads.setdefault(connection, self._loop.time())

    def remove(self, connection: GuardedProtocol) -> None:
        self.heads.pop(connection, None)
        self._closing.pop(connection, None)

    def _sweep(self) -> None:
        now = self._loop.time()
        late = [held for held, begun in self.heads.items() if now - begun > held.head_seconds]
        for connection in late:
            connection.cut(408, "the request's headers were not complete in time (serve.request_timeout)")
        deaf = self._deaf(now)
        for connection in deaf:
            connection.transport.abort()
        if late or deaf:
            log_line("connections cut", level=logging.WARNING, slow_to_send=len(late), slow_to_read=len(deaf))
        self._swept = bool(self._state.connections)
        if self._swept:
            self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _deaf(self, now: float) -> list[GuardedProtocol]:
        """Closed by us a while ago, with an answer that nobody takes: they would stay until the process's end."""
        for held in self._state.connections:
            if isinstance(held, GuardedProtocol) and held.transport.is_closing():
                self._closing.setdefault(held, now)
        return [held for held, since in self._closing.items() if now - since > LINGER_SECONDS]


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, for clients that are slow on purpose. Without WebSockets, which no route speaks."""

    head_seconds: ClassVar[float] = 10.0
    fast_lane: ClassVar[ShortCut | None] = None
    _servers: ClassVar[WeakKeyDictionary[ServerState, Connections]] = WeakKeyDictionary()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wasted = 0
        self._parsing_head = False
        # A request for the fast lane, if all of it comes in one piece.
        self._held: tuple[RequestResponseCycle, Any] | None = None
        held = self._servers.get(self.server_state)
        if held is None:
            held = self._servers[self.server_state] = Connections(self.server_state, self.loop)
        self._all = held
        held.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._wasted += len(data)
        super().data_received(data)
        if self._held is not None:  # the rest of its body is still to come
            held, self._held = self._held, None
            super()._start_asgi_task(*held)
        if self._wasted > MOST_HEAD_BYTES:
            self.cut(431, f"the request's headers are longer than {MOST_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        self._all.begin(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._all.heads.pop(self, None)
        self._wasted = 0
        self._parsing_head = True
        super().on_headers_complete()
        self._parsing_head = False

    def on_body(self, body: bytes) -> None:
        self._wasted = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._held is not None:
            held, self._held = self._held, None
            if self.fast_lane is None or not self.fast_lane.take(held[0]):
                super()._start_asgi_task(*held)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._parsing_head and self.fast_lane is not None and self.fast_lane.wants(cycle):
            self._held = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def cut(self, status: int, message: str) -> None:
        """Ends the connection, with an answer where none is under way and the client has sent anything."""
        self._all.heads.pop(self, None)
        if self.transport.is_closing():
            return
        if self._wasted and (self.cycle is None or self.cycle.response_complete):
            self._refuse(status, message)
        else:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "what was sent is no HTTP request")

    def _refuse(self, status: int, message: str) -> None:
        error = {"code": _REASONS[status], "message": message, "field": None}
        content = json.dumps({"error": error}).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(content)
        self.transport.write(STATUS_LINE[status] + head + content)
        self.transport.close()

    def _should_upgrade_to_ws(self) -> bool:
        return False
