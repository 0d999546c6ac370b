"""One request and its answer on a connection, as an ASGI application sees them.

uvicorn's cycle waits until a client has taken what it was sent, and holds the request's task for as long as that
takes. Answers here are made whole, so that they are written whole: what the client does not take is the connection's
affair (`service.http.connection_bounds`), and the request's place is free again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

from record.log_lines import log_line
from service.http.uvicorn_parts import STATUS_LINE, FlowControl, RequestResponseCycle, ServerState

Headers = Sequence[tuple[bytes, bytes]]
_LENGTH: Final = b"content-length"
_BODILESS: Final = (204, 304)


class Owner(Protocol):
    """The connection that a request came on."""

    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    @property
    def keep_alive_lines(self) -> bytes:
        """The headers of an answer behind which the connection stays open."""

    def want_body(self) -> None:
        """Take note that the application waits for more of the body."""

    def on_response_complete(self) -> None:
        """Go on to the next request, or end."""


class ResponseCycle(RequestResponseCycle):
    """A request, and its answer, which is written once it is complete."""

    def __init__(self, protocol: Owner, scope: Any, *, expects_continue: bool, keep_alive: bool) -> None:
        # uvicorn's own initializer takes a dozen arguments, of which this class needs the half.
        self.protocol = protocol
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.default_headers = protocol.server_state.default_headers
        self.message_event = asyncio.Event()
        self.waiting_for_100_continue = expects_continue
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False
        self._status = 0
        self._headers: Headers = ()
        self._parts: list[bytes] = []

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.transport.abort()
            raise
        except Exception:  # noqa: BLE001 - a fault in one request must not end the worker
            log_line("request failed", level=logging.ERROR, exc_info=True)
        if not self.response_complete and not self.disconnected:
            self.transport.abort()

    async def receive(self) -> Any:
        """The body, or what has come of it; then, once there is nobody to answer any more, the disconnect."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.disconnected and not self.response_complete:
            if self.more_body:
                self.protocol.want_body()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self.body), "more_body": self.more_body}
        self.body = bytearray()
        return message

    async def send(self, message: Any) -> None:
        if self.disconnected or self.response_complete:
            return
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message.get("headers", ())
            return
        self._parts.append(message.get("body", b""))
        if not message.get("more_body"):
            self.respond(self._status, self._headers, b"".join(self._parts))

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes the answer, and lets the connection go on to its next request."""
        if self.more_body:  # the rest of the request is not read, and nothing behind it
            self.keep_alive = False
        length = None
        parts = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *headers):
            if name == _LENGTH:
                length = value
                continue
            if name == b"connection":
                if b"close" in value.lower():
                    self.keep_alive = False
                continue
            parts += (name, b": ", value, b"\r\n")
        if status not in _BODILESS:
            # The answer to HEAD has the length of the body that GET would have.
            told = length if length is not None and self.scope["method"] == "HEAD" else b"%d" % len(body)
            parts += (b"content-length: ", told, b"\r\n")
        parts.append(self.protocol.keep_alive_lines if self.keep_alive else b"connection: close\r\n")
        parts.append(b"\r\n")
        if self.scope["method"] != "HEAD" and status not in _BODILESS:
            parts.append(body)
        self.transport.write(b"".join(parts))
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.protocol.on_response_complete()
