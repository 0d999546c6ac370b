"""Connections, shared fairly between the workers that listen on one socket.

libuv accepts whatever waits in one go: of two workers, whichever wakes first takes all eight connections of a client
that opens eight, and with connections that stay open the other one has nothing to do for as long as the client lives
(measured: half of the throughput). Here a worker takes one connection and then looks away for a millisecond, in which
another takes the next; where it finds that some still wait, it takes two, then three, so that many short connections
do not wait for that.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import uvloop

from record.log_lines import log_line
from service.http.uvicorn_parts import use_loop

# No more files or memory just now: connections wait in the socket's queue meanwhile, as under asyncio's own server.
SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SCARCE_SECONDS: Final = 1.0
# libuv's timers know no less; another worker wakes in a tenth of it, where it has a processor.
AWAY_SECONDS: Final = 0.001
LOOP: Final = "service.http.listening:fair_loop"


def listen_fairly() -> None:
    """Makes every uvicorn server of this process, if it has not begun yet, run in a `FairLoop`."""
    use_loop(LOOP)


def fair_loop(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """As uvicorn asks for its loops."""
    return FairLoop


class FairLoop(uvloop.Loop):
    """uvloop's, whose servers on sockets that were bound before share their connections with other processes."""

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        held = options.get("sock")
        if held is None or options.get("ssl") is not None:
            return await super().create_server(protocol_factory, *args, **options)
        return FairServer(self, protocol_factory, held, options.get("backlog", 100))


class FairServer:
    """The part of asyncio's Server that uvicorn uses. Listens from the start until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        listener: socket.socket,
        backlog: int,
    ) -> None:
        self._loop = loop
        self._protocol_factory = protocol_factory
        self._listener: socket.socket | None = listener
        self._turn = 1  # connections taken at once
        self._opening: set[asyncio.Task[Any]] = set()
        listener.setblocking(False)
        listener.listen(backlog)
        loop.add_reader(listener, self._ready)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return () if self._listener is None else (self._listener,)

    def is_serving(self) -> bool:
        return self._listener is not None

    def close(self) -> None:
        """Takes no more connections; those that are open stay."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def wait_closed(self) -> None:
        if self._opening:
            await asyncio.wait(self._opening)

    def _ready(self) -> None:
        """Somebody waits to be connected, here or in another process by now."""
        assert self._listener is not None
        pause = AWAY_SECONDS
        try:
            for _ in range(self._turn):
                self._accept(self._listener)
            self._turn += 1
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._turn = 1  # another worker was quicker, or the client has gone
        except OSError as error:
            if error.errno not in SCARCE:
                raise
            log_line("no connection can be taken", level=logging.ERROR, reason=str(error))
            pause = SCARCE_SECONDS
        self._loop.remove_reader(self._listener)
        self._loop.call_later(pause, self._listen_again)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        with suppress(ConnectionError):
            await self._loop.connect_accepted_socket(self._protocol_factory, connection)

    def _listen_again(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._ready)
