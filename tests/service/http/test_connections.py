"""Clients that are slow, silent, deaf or endless before there is a request, against uvicorn as the workers run it."""

from __future__ import annotations

import json
import logging
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from service.http import connections
from service.http.connections import GuardedProtocol, guard_connections, most_connections
from tests.waiting import wait_until

HEAD_SECONDS = 0.4
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_ANSWER = 30_000_000  # more than any socket buffer

logging.getLogger("uvicorn").addHandler(logging.NullHandler())


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says how long the body was; for /long, much more."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"x" * LONG_ANSWER if scope["path"] == "/long" else str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server:
    """uvicorn in a thread."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self.uvicorn = uvicorn.Server(uvicorn.Config(application, log_config=None, lifespan="off"))
        self._thread = threading.Thread(target=lambda: self.uvicorn.run(sockets=[self._socket]), daemon=True)
        self._thread.start()
        wait_until(lambda: self.uvicorn.started, 10)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

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
    monkeypatch.setattr(GuardedProtocol, "head_seconds", HEAD_SECONDS)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.3)
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
        client.sendall(b"GET / HTTP/1.1\r\nX-More: " + b"a" * connections.MOST_HEAD_BYTES)
        assert error_of(read_all(client)) == (431, "too_large")


def test_endless_trailers_are_cut(server: Server) -> None:
    """They come behind the body, where nobody asks for more."""
    with server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        with pytest.raises(OSError):  # noqa: PT012
            for _ in range(100_000):
                client.sendall(b"X-More: " + b"a" * 1000 + b"\r\n")


def test_long_bodies_are_none_of_its_affair(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000)
        assert client.recv(65536).endswith(b"3000000")


def test_a_client_that_does_not_take_its_answer_is_let_go(serve: Callable[[], Server]) -> None:
    """Also when the server ends: it would wait for that client for ever."""
    server = serve()
    with server.connect() as client:
        client.sendall(b"GET /long HTTP/1.1\r\nConnection: close\r\n\r\n")
        wait_until(lambda: server.held() == 1)
        wait_until(lambda: server.held() == 0)


def test_the_longest_waiting_makes_room_where_there_are_too_many(
    serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 8)
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


def test_an_upgrade_is_not_made(server: Server) -> None:
    with server.connect() as client:
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + key + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_the_bound_follows_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, most in ((1024, 896), (100, 16), (1_000_000, 16_384), (resource.RLIM_INFINITY, 16_384)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, limit=limit: (limit, limit))
        assert most_connections() == most
