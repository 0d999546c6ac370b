"""A pipelining HTTP/1.1 client: many requests on their way over one connection, answered in order.

A general client costs about a millisecond of processor for each request, which would be a minute of the demo's five.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import cast

import httptools


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` 0 stands for a connection that broke before the answer."""

    status: int
    body: bytes


BROKEN = Answer(0, b"")


class _Pipe(asyncio.Protocol):
    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[Answer]] = deque()
        self.transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        waiter = self.waiting.popleft()
        if not waiter.done():
            waiter.set_result(Answer(self._parser.get_status_code(), self._body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(BROKEN)


class Connections:
    """So many connections to one server. Requests go out at once, each over the connection with the fewest waiting."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self._host, self._port = host, port
        self._pipes = [_Pipe() for _ in range(count)]
        self._opening = asyncio.Lock()

    async def post(self, path: str, body: bytes, headers: str = "") -> Answer:
        """The answer to one request; headers are whole lines, each with its CRLF."""
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n{headers}"
        return await self._send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def get(self, path: str) -> Answer:
        return await self._send(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())

    def close(self) -> None:
        for pipe in self._pipes:
            if pipe.transport is not None:
                pipe.transport.close()

    async def _send(self, request: bytes) -> Answer:
        pipe = min(self._pipes, key=lambda each: len(each.waiting))
        if pipe.transport is None or pipe.transport.is_closing():  # the server closes what was idle for seconds
            pipe = await self._reopened(self._pipes.index(pipe))
        if pipe.transport is None:
            return BROKEN
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        pipe.waiting.append(waiter)
        pipe.transport.write(request)
        return await waiter

    async def _reopened(self, place: int) -> _Pipe:
        async with self._opening:
            pipe = self._pipes[place]
            if pipe.transport is None or pipe.transport.is_closing():
                pipe = self._pipes[place] = _Pipe()
                with contextlib.suppress(OSError):
                    await asyncio.get_running_loop().create_connection(lambda: pipe, self._host, self._port)
            return pipe
