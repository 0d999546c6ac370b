"""Where requests end: the parser's view of raw framings, straight over a connection."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from service.http.connections import GuardedProtocol
from tests.hostile.framings import CHUNKED, FRAMINGS, HOST, INNER, LENGTH, UPGRADES, WHOLE_CHUNK, Framing, post
from tests.hostile.raw import Answer, read_to_end, split_answers
from tests.waiting import wait_until

LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Echo:
    """uvicorn in a thread, with an application that says which requests it has seen."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.bytes_read = self.closed = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        config = uvicorn.Config(self._answer, interface="asgi3", log_config=None, lifespan="off", http=self._protocol())
        self.uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: self.uvicorn.run(sockets=[self._socket]), daemon=True)
        self._thread.start()
        wait_until(lambda: self.uvicorn.started)

    def _protocol(self) -> type[GuardedProtocol]:
        echo = self

        class Counted(GuardedProtocol):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                echo.bytes_read += len(data)

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                echo.closed += 1

        return Counted

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append((scope["path"], body))
        told = json.dumps({"path": scope["path"], "headers": [name.decode() for name, _ in scope["headers"]]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": told})

    def exchange(self, *parts: bytes, complete: bool = True) -> list[Answer]:
        """The answers to parts that are sent one after another, each when those before have been read.

        A last plain request, whose answer is left out, is there for what should keep the connection open.
        """
        self.seen.clear()
        self.bytes_read = self.closed = sent = 0
        with socket.create_connection(self.address, timeout=20) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):  # it may be closed by now
                for part in parts:
                    client.sendall(part)
                    sent += len(part)
                    wait_until(lambda sent=sent: self.bytes_read >= sent or self.closed)  # type: ignore[misc]
                if complete:
                    client.sendall(LAST)
                else:
                    client.shutdown(socket.SHUT_WR)
            answers = split_answers(read_to_end(client))
        return [answer for answer in answers if path_of(answer) != "/last"]

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._socket.close()


def path_of(answer: Answer) -> str:
    return str(json.loads(answer.body).get("path", ""))


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.stop()


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_every_request_ends_where_it_says(echo: Echo, framing: Framing) -> None:
    """As many answers as requests; a body is never a request; what is ambiguous is refused, and closes."""
    answers = echo.exchange(*framing.parts, complete=bool(framing.statuses))
    assert tuple(answer.status for answer in answers) == framing.statuses
    paths = [path for path, _ in echo.seen if path != "/last"]
    assert paths == ["/outer"] * (framing.statuses[:1] == (200,)) + ["/inner"] * framing.inner
    for answer in answers:
        if answer.status != 200:
            assert answer.headers["connection"] == "close"
            assert json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    "whole",
    [
        post(LENGTH) + INNER + INNER,
        post(CHUNKED) + WHOLE_CHUNK + INNER,
        post(CHUNKED) + b"3\r\n\r\n\r\r\n0\r\nX: y\r\n\r\n" + INNER,
        post(UPGRADES[0], LENGTH) + INNER + INNER,
        post(UPGRADES[0], CHUNKED) + WHOLE_CHUNK + INNER,
        b"\r\n" + post() + INNER,
    ],
    ids=["length", "chunks", "line ends", "upgrade", "upgrade in chunks", "no body"],
)
def test_where_the_network_cuts_makes_no_difference(echo: Echo, whole: bytes) -> None:
    """Cut in two at every byte, and into single bytes: the same two requests."""
    expected = None
    for parts in [
        (whole,),
        *((whole[:n], whole[n:]) for n in range(1, len(whole))),
        tuple(whole[n : n + 1] for n in range(len(whole))),
    ]:
        answers = echo.exchange(*parts)
        seen = [request for request in echo.seen if request[0] != "/last"]
        expected = expected or seen
        assert seen == expected
        assert [path_of(answer) for answer in answers] == ["/outer", "/inner"]


def test_trailers_are_no_headers(echo: Echo) -> None:
    body = b"0\r\nAuthorization: Bearer x\r\nX-More: y\r\n\r\n"
    answers = echo.exchange(post(CHUNKED) + body + INNER)
    for answer in answers:
        assert not {"authorization", "x-more"} & set(json.loads(answer.body)["headers"])
    assert len(answers) == 2


def test_headers_in_one_piece_are_bounded_too(echo: Echo) -> None:
    for size, status in ((60_000, 200), (70_000, 431)):
        head = b"GET /outer HTTP/1.1\r\n" + HOST + b"X-More: " + b"a" * size + b"\r\n\r\n"
        assert [answer.status for answer in echo.exchange(head)] == [status]
