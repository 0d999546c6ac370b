from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from service.http import listening
from service.http.listening import FairLoop


class Echo(asyncio.Protocol):
    """Says back what it is told; counts itself among its server's."""

    def __init__(self, opened: list[Echo]) -> None:
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._opened.append(self)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=FairLoop) as runner:
        return runner.run(work())


async def serve(listener: socket.socket) -> tuple[Any, list[Echo]]:
    opened: list[Echo] = []
    server = await asyncio.get_running_loop().create_server(lambda: Echo(opened), sock=listener, backlog=512)
    return server, opened


async def ask(port: int) -> tuple[asyncio.StreamWriter, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    return writer, await reader.readexactly(5)


def test_two_servers_on_one_socket_share_what_comes_at_once() -> None:
    async def work() -> tuple[int, int]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        (first, some), (second, others) = await serve(listener.dup()), await serve(listener)
        answers = await asyncio.gather(*[ask(port) for _ in range(16)])
        assert {said for _, said in answers} == {b"hello"}
        for writer, _ in answers:
            writer.close()
        first.close()
        second.close()
        return len(some), len(others)

    counts = run(work)
    assert sum(counts) == 16
    assert min(counts) >= 5


def test_many_at_once_are_all_taken() -> None:
    async def work() -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        server, opened = await serve(listener)
        answers = await asyncio.gather(*[ask(server.sockets[0].getsockname()[1]) for _ in range(300)])
        for writer, _ in answers:
            writer.close()
        server.close()
        return len(opened)

    assert run(work) == 300


def test_a_closed_server_takes_nobody_and_keeps_whom_it_has() -> None:
    async def work() -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        server, _ = await serve(listener)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        server.close()
        server.close()
        await server.wait_closed()
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"again")
        said = await reader.readexactly(5)
        writer.close()
        return said

    assert run(work) == b"again"


def test_without_files_it_waits_until_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "SCARCE_SECONDS", 0.01)

    class Scarce(socket.socket):
        refusals = 3

        def accept(self) -> Any:
            if self.refusals:
                self.refusals -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    async def work() -> bytes:
        listener = Scarce(fileno=socket.create_server(("127.0.0.1", 0)).detach())
        server, _ = await serve(listener)
        writer, said = await ask(listener.getsockname()[1])
        writer.close()
        server.close()
        assert listener.refusals == 0
        return said

    assert run(work) == b"hello"


def test_other_servers_are_uvloops_own() -> None:
    async def work() -> bool:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        server.close()
        return isinstance(server, listening.FairServer)

    assert not run(work)
    assert issubclass(FairLoop, uvloop.Loop)
