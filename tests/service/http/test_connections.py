"""Clients that are slow, silent, deaf or endless before there is a request, against uvicorn as the workers run it."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
import uvloop

from service.http import connection_bounds, connections
from service.http.connection_bounds import most_connections
from service.http.connections import GuardedProtocol, guard_connections
from tests.waiting import wait_until

HEAD_SECONDS = 0.4
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_ANSWER = 30_000_000  # more than any socket buffer
LENGTHS = {"/long": LONG_ANSWER, "/medium": 2_500_000}

logging.getLogger("uvicorn").addHandler(logging.NullHandler())


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says how long the body was; for some paths, much more."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    length = LENGTHS.get(scope["path"], 0)
    body = b"x" * length if length else str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server:
    """uvicorn in a thread."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self.uvicorn = uvicorn.Server(uvicorn.Config(application, log_config=None, lifespan="off"))
        self.loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self.uvicorn.started, 10)

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self.uvicorn.serve([self._socket])

        uvloop.run(serve())

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(10)
        client.connect(self.address)
        return client

    def connections(self) -> list[GuardedProtocol]:
        """In the order in which they were made."""
        return sorted(self.uvicorn.server_state.connections, key=lambda held: str(held.client))  # type: ignore[arg-type]

    def held(self) -> int:
        return len(self.uvicorn.server_state.connections)

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._socket.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Server]]:
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")
    for name in ("head_seconds", "answer_seconds", "keep_alive_seconds", "keep_alive_lines"):
        monkeypatch.setattr(GuardedProtocol, name, getattr(GuardedProtocol, name))  # put back at the end
    monkeypatch.setattr(connection_bounds, "SWEEP_SECONDS", 0.05)
    guard_connections(HEAD_SECONDS)
    started: list[Server] = []

    def start() -> Server:
        started.append(Server())
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def server(serve: Callable[[], Server]) -> Server:
    return serve()


def read_all(client: socket.socket) -> bytes:
    """Until the server closes."""
    held = b""
    try:
        while chunk := client.recv(65536):
            held += chunk
    except ConnectionResetError:
        pass
    return held


def read_answers(client: socket.socket, count: int) -> int:
    """Reads so many answers; what they are cut at does not matter."""
    marker, found, left = b"HTTP/1.1 200", 0, b""
    while found < count:
        chunk = client.recv(1 << 20)
        assert chunk
        data = left + chunk
        found += data.count(marker)
        left = data[-len(marker) + 1 :]
    return found


def error_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_headers_that_trickle_are_answered_with_408_and_cut(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.05):
                try:
                    client.send(b"a")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        answer = read_all(client)
        stop.set()
        thread.join()
        assert error_of(answer) == (408, "overloaded")


def test_a_client_that_says_nothing_is_let_go(server: Server) -> None:
    with server.connect() as client:
        assert read_all(client) == b""
    wait_until(lambda: server.held() == 0)


def test_the_second_request_of_a_connection_has_a_deadline_too(server: Server) -> None:
    with server.connect() as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET / HT")
        assert error_of(read_all(client))[0] == 408


def test_a_connection_between_requests_is_not_cut(server: Server) -> None:
    with server.connect() as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.settimeout(3 * HEAD_SECONDS)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_endless_headers_are_refused_before_they_are_held(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError):  # noqa: PT012 - at which of them it is cut is the kernel's affair
            for _ in range(100_000):
                client.sendall(b"X-More: " + b"a" * 1000 + b"\r\n")
    wait_until(lambda: server.held() == 0)


def test_too_long_headers_are_answered_with_431(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-More: " + b"a" * connections.MOST_HEAD_BYTES)
        assert error_of(read_all(client)) == (431, "too_large")


def test_endless_trailers_are_cut(server: Server) -> None:
    """They come behind the body, where nobody asks for more."""
    with server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        with pytest.raises(OSError):  # noqa: PT012
            for _ in range(100_000):
                client.sendall(b"X-More: " + b"a" * 1000 + b"\r\n")


def test_long_bodies_are_none_of_its_affair(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000)
        assert client.recv(65536).endswith(b"3000000")


def test_a_client_that_does_not_take_its_answer_is_let_go(serve: Callable[[], Server]) -> None:
    """Also when the server ends: it would wait for that client for ever."""
    server = serve()
    with server.connect() as client:
        client.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        wait_until(lambda: server.held() == 1)
        wait_until(lambda: server.held() == 0)


def test_the_longest_waiting_makes_room_where_there_are_too_many(
    serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_bounds, "most_connections", lambda: 8)
    monkeypatch.setattr(GuardedProtocol, "head_seconds", 60.0)
    server = serve()
    silent = [server.connect() for _ in range(8)]
    with server.connect() as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert read_all(silent[0]) == b""
        wait_until(lambda: server.held() == 8)
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    for other in silent:
        other.close()


def test_what_is_no_http_is_answered_with_an_error_of_ours(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert error_of(read_all(client))[0] == 400


def test_a_refused_client_that_goes_on_to_send_slowly_is_cut_in_time(
    serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is whole; the moment in which what it sends is thrown away is not made longer by its bytes."""
    monkeypatch.setattr(connection_bounds, "THROW_AWAY_SECONDS", HEAD_SECONDS)
    guard_connections(60.0)
    server = serve()
    with server.connect() as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert error_of(read_all(client))[0] == 400
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.02):
                with suppress(OSError):
                    client.send(b"a")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            wait_until(lambda: server.held() == 0)
        finally:
            stop.set()
            thread.join()


def test_an_upgrade_is_not_made(server: Server) -> None:
    with server.connect() as client:
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + key + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_the_bound_follows_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, most in ((1024, 896), (100, 16), (1_000_000, 16_384), (resource.RLIM_INFINITY, 16_384)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, limit=limit: (limit, limit))
        assert most_connections() == most


def test_an_answer_that_is_made_holds_no_place(serve: Callable[[], Server], caplog: pytest.LogCaptureFixture) -> None:
    """The request ends when its answer is written, read or not; its client is cut in time, counted, in one line."""
    guard_connections(60.0)
    server = serve()
    clients = [server.connect(receive_buffer=4096) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET /medium HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    wait_until(lambda: sum(held.flow.write_paused for held in server.connections()) == len(clients))
    wait_until(lambda: not server.uvicorn.server_state.tasks)
    with server.connect() as other:
        other.sendall(GET)
        assert other.recv(65536).startswith(b"HTTP/1.1 200")
    GuardedProtocol.answer_seconds = HEAD_SECONDS
    wait_until(lambda: server.held() == 0)
    for client in clients:
        client.close()
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {record.getMessage() for record in lines} == {"connections cut"}
    assert sum(record.facts["slow_to_read"] for record in lines) == len(clients)  # type: ignore[attr-defined]
    assert not any(record.exc_info for record in lines)


def test_unsent_bytes_are_bounded_together_and_the_oldest_goes_first(
    serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_bounds, "MOST_UNSENT_BYTES", 2 * LONG_ANSWER)
    guard_connections(60.0)
    server = serve()
    clients = [server.connect(receive_buffer=4096) for _ in range(3)]
    for n, client in enumerate(clients):
        client.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda n=n: sum(held.flow.write_paused for held in server.connections()) == min(n + 1, 2))  # type: ignore[misc]
    assert len(read_all(clients[0])) < LONG_ANSWER
    for client in clients[1:]:
        client.settimeout(0.2)
        assert client.recv(10) == b"HTTP/1.1 2"
    for client in clients:
        client.close()


def test_requests_that_are_sent_ahead_wait_in_a_bounded_buffer(serve: Callable[[], Server]) -> None:
    """Of a client that sends for ever and reads nothing no more is read; once it reads, every request is answered."""
    guard_connections(60.0)
    server = serve()
    count = 60_000
    with server.connect(receive_buffer=4096) as client:
        sender = threading.Thread(target=lambda: client.sendall(GET * count))
        sender.start()
        wait_until(lambda: any(held.flow.write_paused for held in server.connections()), 30)
        (held,) = server.connections()
        assert len(held._ahead) <= 256_000
        assert not held.pipeline
        wait_until(lambda: not server.uvicorn.server_state.tasks)
        assert read_answers(client, count) == count
        sender.join()


def test_what_is_sent_ahead_is_bounded_together(serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_bounds, "MOST_AHEAD_BYTES", 1_000_000)
    guard_connections(60.0)
    server = serve()
    clients = [server.connect(receive_buffer=4096) for _ in range(30)]
    request = b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n"
    for client in clients:
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.send(request + GET * 10_000)
    wait_until(lambda: server.held() < len(clients))
    wait_until(lambda: all(held.flow.write_paused for held in server.connections()))
    assert sum(len(held._ahead) for held in server.connections()) <= 1_000_000
    for client in clients:
        client.close()


def test_a_request_that_was_not_sent_ahead_is_answered_before_those_that_were(serve: Callable[[], Server]) -> None:
    """Twenty connections pipeline; between another one's request and its answer each has a few turns, not all."""
    guard_connections(60.0)
    server = serve()
    stop = threading.Event()

    def flood() -> None:
        with server.connect() as client:
            while not stop.is_set():
                client.sendall(GET * 2_000)
                read_answers(client, 2_000)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    ahead = []
    with server.connect() as client:
        for _ in range(20):
            before = server.uvicorn.server_state.total_requests
            client.sendall(GET)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            ahead.append(server.uvicorn.server_state.total_requests - before)
    stop.set()
    for thread in threads:
        thread.join()
    assert sorted(ahead)[len(ahead) // 2] < 1_000  # of the 8,000 that wait at any time


def test_how_long_a_connection_stays_open_is_announced(serve: Callable[[], Server]) -> None:
    guard_connections(HEAD_SECONDS, 7.5)
    with serve().connect() as client:
        client.sendall(GET)
        head = client.recv(65536)
        assert b"connection: keep-alive\r\nkeep-alive: timeout=7\r\n" in head


def test_a_connection_is_open_for_as_long_as_was_announced_and_then_closed(
    serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_bounds, "KEEP_ALIVE_GRACE_SECONDS", 0.0)
    guard_connections(HEAD_SECONDS, 1.0)
    with serve().connect() as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        assert client.recv(1) == b""
        assert time.monotonic() - began > 0.9


def test_no_request_races_the_end_of_an_idle_connection(serve: Callable[[], Server]) -> None:
    """One that has come in the moment of closing is answered, and its answer says that it was the last."""
    server = serve()
    with server.connect() as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        (held,) = server.connections()

        def race(close: Callable[[], None]) -> None:
            client.sendall(GET)
            close()

        server.loop.call_soon_threadsafe(race, held.close_idle)
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer


def test_old_clients_keep_their_connections_too(server: Server) -> None:
    """HTTP/1.0, such as ab -k: where they ask for it, and are told."""
    with server.connect() as client:
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            head, _, body = client.recv(65536).partition(b"\r\n\r\n")
            assert b"connection: keep-alive" in head
            assert b"content-length: 1" in head
            assert body == b"0"
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"connection: close" in read_all(client)


def test_bytes_that_are_no_http_make_no_log_lines(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    for bad in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        with server.connect() as client:
            client.sendall(bad)
            assert error_of(read_all(client))[0] in (400, 505)
    assert not caplog.records
