"""Connections, one request at a time: what a client sends is cut where each request ends.

uvicorn waits for a request's headers for ever, parses all that it is sent, queues every request that it finds there,
and goes on parsing behind an `Upgrade` that it does not make, in the middle of that request's body. Here the parser is
given the bytes of one request, and those behind it once that one is answered.

BentoML makes uvicorn's configuration itself, so that the protocol is named in uvicorn's own table of protocols; the
guard (`service.http.front`) sees a request only once its headers are there, and has its own deadline from then on.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import struct
import termios
from typing import ClassVar, Final, Protocol
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import httptools

from service.http.connection_bounds import Connections, CutCounter
from service.http.framing import CHUNKED, FramingError, read_framing, split_target
from service.http.response_cycle import ResponseCycle
from service.http.uvicorn_parts import HIGH_WATER_LIMIT, STATUS_LINE, HttpToolsProtocol, ServerState, use_protocol

MOST_HEAD_BYTES: Final = 65_536  # without a byte of body between them; a request of ours has a few hundred
MOST_CHUNKED_BYTES: Final = 32_768  # parsed in one go: a chunk may be one byte, and each costs a microsecond
THROW_AWAY_BYTES: Final = 50_000_000
_END: Final = b"\r\n\r\n"  # of a head, and of a body in chunks
_CODES: Final = {
    400: "invalid_json",
    405: "method_not_allowed",
    408: "overloaded",
    417: "invalid_json",
    431: "too_large",
    501: "invalid_json",
    505: "invalid_json",
}


def guard_connections(head_seconds: float, keep_alive_seconds: float = 75.0) -> None:
    """Makes every uvicorn server of this process, if it has not begun yet, serve with `GuardedProtocol`."""
    GuardedProtocol.head_seconds = GuardedProtocol.answer_seconds = head_seconds
    GuardedProtocol.keep_alive_seconds = keep_alive_seconds
    GuardedProtocol.keep_alive_lines = (
        b"connection: keep-alive\r\nkeep-alive: timeout=%d\r\n" % keep_alive_seconds
        if keep_alive_seconds >= 1
        else b"connection: keep-alive\r\n"
    )
    use_protocol(GuardedProtocol)


class ShortCut(Protocol):
    """A way to an answer within the connection's own callbacks, for requests of one kind."""

    def wants(self, cycle: ResponseCycle) -> bool:
        """Return whether a request may be of that kind, as far as its headers tell."""

    def take(self, cycle: ResponseCycle) -> bool:
        """Answer a request whose body is complete; return False where it is not of that kind."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, for clients that are slow, deaf, hasty or ambiguous on purpose. Without WebSockets."""

    head_seconds: ClassVar[float] = 10.0
    answer_seconds: ClassVar[float] = 10.0  # in which an answer must have been taken
    keep_alive_seconds: ClassVar[float] = 75.0
    keep_alive_lines: ClassVar[bytes] = b"connection: keep-alive\r\nkeep-alive: timeout=75\r\n"
    fast_lane: ClassVar[ShortCut | None] = None
    counter: ClassVar[CutCounter | None] = None
    cycle: ResponseCycle | None  # type: ignore[assignment]
    _servers: ClassVar[WeakKeyDictionary[ServerState, Connections]] = WeakKeyDictionary()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # What the client does not take at once is told by `pause_writing`.
        transport.set_write_buffer_limits(high=0)
        self._wasted = 0
        self._thrown_away = 0
        self._in_head = False
        self._body_left = 0  # bytes of the body that the parser has not been given, or CHUNKED
        self._tail = b""  # the last bytes that it was given of a head or chunk, where they may begin its end
        self._ahead = b""  # what it is given next
        self._last = False  # nothing of what comes is parsed any more
        self._closing = False  # the next answer is the last one
        self._upgrading = False
        self._replaying = False
        self._complete = False  # the parser has seen a request's end since it was given bytes last
        self._fault: FramingError | None = None
        # A request for the fast lane, if all of it comes in one piece.
        self._lane_cycle: ResponseCycle | None = None
        bounds = self._servers.get(self.server_state)
        if bounds is None:
            bounds = self._servers[self.server_state] = Connections(self.server_state, self.loop, self.counter)
        self._bounds = bounds
        bounds.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._bounds.remove(self)
        self._last, self._ahead = True, b""
        super().connection_lost(exc)

    # What comes.

    def data_received(self, data: bytes) -> None:
        if self._last:
            self._throw_away(data)
        elif self._ahead:
            self._keep(self._ahead + data)
        else:
            self._parse(data)

    def go_on(self) -> None:
        """Parses what was sent ahead, as far as it may now."""
        if self._last or self.transport.is_closing() or self.flow.write_paused:
            return
        ahead, self._ahead = self._ahead, b""
        self._bounds.taken(self)
        self._parse(ahead)
        self._read_on()

    def want_body(self) -> None:
        """The application takes what has come of its request's body, and waits for more."""
        if not self._ahead:
            self.flow.resume_reading()

    def _under_way(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _parse(self, data: bytes) -> None:
        """Gives the parser what belongs to one request; what lies behind it waits until that one is answered."""
        begin, end = 0, len(data)
        while begin < end:
            if self._body_left == 0 and self._under_way():
                self._keep(data[begin:])
                break
            if self._body_left == CHUNKED and begin > MOST_CHUNKED_BYTES:
                self._keep(data[begin:])
                self._bounds.queue(self)
                break
            stop = self._stop(data, begin)
            self._feed(data[begin:stop] if begin or stop < end else data)
            if self._last:
                self._throw_away(data[stop:])
                return
            begin = stop
        if self._lane_cycle is not None:  # the rest of its body is still to come
            cycle, self._lane_cycle = self._lane_cycle, None
            self._start_asgi_task(cycle, self.app)

    def _stop(self, data: bytes, begin: int) -> int:
        """Where the parser is to be stopped, for a request may end there."""
        if self._body_left > 0:
            return min(begin + self._body_left, len(data))
        if self._tail:
            across = (self._tail + data[begin : begin + 3]).find(_END)
            if across >= 0:
                return begin + across + len(_END) - len(self._tail)
        found = data.find(_END, begin)
        if self._body_left == CHUNKED and (found < 0 or found > begin + MOST_CHUNKED_BYTES):
            return min(begin + MOST_CHUNKED_BYTES, len(data))
        return found + len(_END) if found >= 0 else len(data)

    def _feed(self, piece: bytes) -> None:
        self._wasted += len(piece)
        self._complete = False
        if self._body_left > 0:
            self._body_left -= len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._fault is None:
                self._serve_without_upgrade()
        except httptools.HttpParserError:
            self._fault = self._fault or FramingError("what was sent is not a valid HTTP request")
        if self._fault is not None:
            self.refuse(self._fault.status, self._fault.message)
        elif self._wasted > MOST_HEAD_BYTES:
            self.refuse(431, f"the request's headers are longer than {MOST_HEAD_BYTES} bytes")
        elif self._body_left <= 0:
            self._tail = b"" if piece.endswith(_END) else (self._tail + piece[-3:])[-3:]

    def _serve_without_upgrade(self) -> None:
        """Goes on in HTTP/1.1 with a request that asked for another protocol, as RFC 9110 (7.8) allows.

        The parser takes the rest of the connection for that protocol: another one is told how the body is framed.
        """
        self._upgrading = False
        if self._body_left == 0:
            self.on_message_complete()
            return
        framing = (
            b"transfer-encoding: chunked" if self._body_left == CHUNKED else b"content-length: %d" % self._body_left
        )
        self.parser = httptools.HttpRequestParser(self)
        self._replaying = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._replaying = False

    def _keep(self, rest: bytes) -> None:
        self._ahead = rest
        self.flow.pause_reading()
        self._bounds.keep_ahead(self, len(rest))

    def _read_on(self) -> None:
        if self._ahead or self.flow.write_paused:
            return
        if not self._under_way() or len(self.cycle.body) <= HIGH_WATER_LIMIT:  # type: ignore[union-attr]
            self.flow.resume_reading()

    def _throw_away(self, data: bytes) -> None:
        self._thrown_away += len(data)
        if self._thrown_away > THROW_AWAY_BYTES:
            self.transport.abort()

    # What the parser finds in it.

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        if self._complete:  # behind an end that is none to `_stop`
            raise FramingError("what was sent is not a valid HTTP request")
        self._bounds.begin(self)
        self._in_head = True
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer, which no proxy has looked at
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._replaying:
            return
        self._in_head = False
        self._bounds.heads.pop(self, None)
        if self._wasted > MOST_HEAD_BYTES:
            self._fault = FramingError(f"the request's headers are longer than {MOST_HEAD_BYTES} bytes", 431)
            return
        self._wasted = 0
        method, version = self.parser.get_method(), self.parser.get_http_version()
        try:
            framing = read_framing(method, version, self.headers)
            path, query = split_target(self.url, self.headers)
        except FramingError as fault:
            self._fault = fault
            return
        self._body_left = framing.length
        self._upgrading = self.parser.should_upgrade()
        name = path.decode("latin-1")
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "method": method.decode("ascii"),
            "path": self.root_path + (unquote(name) if "%" in name else name),
            "raw_path": self.root_path.encode("ascii") + path,
            "query_string": query,
        }
        cycle = self.cycle = ResponseCycle(
            self,
            self.scope,
            expects_continue=framing.expects_continue,
            keep_alive=self.parser.should_keep_alive() and not self._closing,
        )
        if self.fast_lane is not None and self.fast_lane.wants(cycle):
            self._lane_cycle = cycle
        else:
            self._start_asgi_task(cycle, self.app)

    def on_body(self, body: bytes) -> None:
        self._wasted = 0
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._upgrading or self._fault is not None:
            return
        self._complete = True
        self._body_left = 0
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return
        cycle.more_body = False
        cycle.message_event.set()
        if self._lane_cycle is not None:
            self._lane_cycle = None
            if self.fast_lane is None or not self.fast_lane.take(cycle):
                self._start_asgi_task(cycle, self.app)

    # What goes back.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        assert self.cycle is not None
        if not self.cycle.keep_alive:
            self._end(whole=not self.cycle.more_body and not self._ahead)
            return
        self._bounds.answered(self)
        if self._ahead:
            self._bounds.queue(self)
        else:
            self._read_on()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()
        self._bounds.keep_unsent(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._bounds.sent(self)
        if self._last:
            self.flow.resume_reading()
        elif self._ahead and not self._under_way():
            self._bounds.queue(self)
        else:
            self._read_on()

    def refuse(self, status: int, message: str) -> None:
        """Ends the connection, with an answer where none is under way and the client has sent anything."""
        self._bounds.heads.pop(self, None)
        if self.transport.is_closing() or self._last:
            return
        if self._under_way():
            assert self.cycle is not None
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        error = {"code": _CODES[status], "message": message, "field": None}
        content = json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")).encode()
        head = b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        self.transport.write(STATUS_LINE[status] + head + b"content-length: %d\r\n\r\n" % len(content) + content)
        self._end(whole=False)

    def refuse_late(self) -> None:
        """For headers that were not complete in time; a client that has sent nothing is told nothing."""
        if self._wasted:
            self.refuse(408, "the request's headers were not complete in time (serve.request_timeout)")
        else:
            self._bounds.heads.pop(self, None)
            self.transport.abort()

    def _end(self, whole: bool) -> None:
        """Closes the connection; where the client may still be sending, only after a moment.

        Closed at once, the connection would be reset, and the client would see that instead of its answer.
        """
        self._last, self._ahead = True, b""
        self._bounds.taken(self)
        if whole:
            self.transport.close()
            return
        self._bounds.end(self)
        self.transport.write_eof()
        self.flow.resume_reading()

    def eof_received(self) -> None:
        """The client sends no more. One that waits for an answer still gets it."""

    def close_idle(self) -> None:
        """Closes a connection between two requests, unless the next one has come in this moment."""
        if self._under_way() or self._ahead or self.transport.is_closing():
            return
        if _unread_bytes(self.transport):
            self._closing = True
        else:
            self.transport.close()

    def shutdown(self) -> None:
        if self._under_way():
            assert self.cycle is not None
            self.cycle.keep_alive = False
        else:
            self.close_idle()


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What lies in the socket, and has not been read yet."""
    try:
        held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", held)[0])
