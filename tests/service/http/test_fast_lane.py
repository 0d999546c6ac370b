"""Small predict requests past the layers, over real connections: the same answers as on the common way."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from record.settings import Settings
from service.http.connections import GuardedProtocol, guard_connections
from service.http.fast_lane import MOST_BYTES, FastLane
from service.http.front import Front
from service.http.routes import application
from service.worker import Worker
from tests.record.models import POISON, record_of, register_model
from tests.service.serving import bearer, make_settings, tokens
from tests.waiting import wait_until


class Service:
    """A worker behind uvicorn, on a thread of its own; counts who took the fast lane."""

    def __init__(self, settings: Settings) -> None:
        self.worker = Worker(lambda: settings)
        self.taken: list[bool] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(20)

    async def _serve(self) -> None:
        await self.worker.start()
        register_model(self.worker.record, 0.25, as_champion=True)
        await self.worker._follow()
        front = Front(application(self.worker), worker=self.worker)
        front.open_fast_lane()
        config = uvicorn.Config(front, log_config=None, lifespan="off", http=GuardedProtocol)
        self._uvicorn = uvicorn.Server(config)
        serving = asyncio.create_task(self._uvicorn.serve([self._socket]))
        while not self._uvicorn.started:
            await asyncio.sleep(0.01)
        self._started.set()
        await serving
        await self.worker.stop()

    def took(self, expected: list[bool]) -> None:
        """Waits: an answer can be with the client before it is counted here."""
        wait_until(lambda: len(self.taken) >= len(expected))
        assert self.taken == expected

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]) -> Iterator[Service]:
    guard_connections(10.0)
    monkeypatch.setattr(GuardedProtocol, "fast_lane", None)
    service = Service(make_settings(folder, sections))
    take = FastLane.take

    def counted(lane: FastLane, cycle: Any) -> bool:
        service.taken.append(take(lane, cycle))
        return service.taken[-1]

    monkeypatch.setattr(FastLane, "take", counted)
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with serving(tmp_path, monkeypatch, {"serve": {"max_batch": 50}}) as held:
        yield held


def request(body: Any, *headers: str, version: str = "1.1") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST /predict HTTP/{version}", "Host: 127.0.0.1", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def answer(client: socket.socket) -> tuple[int, dict[str, str], Any]:
    """The next answer on a connection: status, headers, body."""
    held = b""
    while b"\r\n\r\n" not in held:
        chunk = client.recv(65536)
        assert chunk, f"closed after {held!r}"
        held += chunk
    head, _, body = held.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers["content-length"]):
        body += client.recv(65536)
    assert len(body) == int(headers["content-length"]), "more than one answer in a row"
    return int(lines[0].split()[1]), headers, json.loads(body)


def on_the_common_way(client: socket.socket, whole: bytes) -> tuple[int, dict[str, str], Any]:
    """By a client that waits to be told to go on: its body comes later than its headers."""
    head, _, body = whole.partition(b"\r\n\r\n")
    client.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
    go_on = client.recv(65536)
    if go_on.startswith(b"HTTP/1.1 100"):
        client.sendall(body)
        return answer(client)
    raise AssertionError(go_on)


BODIES = [
    {"records": [record_of()], "ids": ["a"]},
    {"records": [record_of(n) for n in range(3)], "ids": ["b", "c", "d"]},
    {"records": [record_of(1.0, note="a note")], "ids": ["unicode ☃"]},
    {"records": [record_of(None, None)], "ids": ["missing"]},
    {"records": [{"distance": "far", "carrier": "AA", "note": None}]},
    {"records": [{"distance": 1}]},
    {"records": []},
    {"records": [record_of()], "ids": ["same", "many"]},
    {"records": [record_of()] * 2, "ids": ["twice", "twice"]},
    {"recordz": [record_of()]},
    {"records": [record_of(POISON)]},
    b"{",
    b"",
    b'{"records": [{"distance": NaN, "carrier": "AA", "note": null}]}',
]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_both_ways_answer_the_same(service: Service, body: Any) -> None:
    """Status, headers and bytes; with ids of the client's own, so that the second is the first's repeated."""
    with service.connect() as client:
        client.sendall(request(body))
        fast = answer(client)
        service.took([True])
        common = on_the_common_way(client, request(body))
        service.took([True])
        client.sendall(request(body))
        again = answer(client)
    if fast[0] == 200:
        for one in common[2]["predictions"]:
            assert one.pop("model_version") == "v1"
    assert (fast[0], fast[2]) == (common[0], common[2])
    assert {k: v for k, v in fast[1].items() if k != "content-length"} == {
        k: v for k, v in common[1].items() if k != "content-length"
    }
    assert again[0] == fast[0]


def test_an_answer_is_in_the_log_and_counted_once(service: Service) -> None:
    with service.connect() as client:
        for n in range(5):
            client.sendall(request({"records": [record_of(n)], "ids": [f"r{n}"]}))
            assert answer(client)[0] == 200
        service.took([True] * 5)
        assert all(service.worker.record.log.find(f"r{n}") is not None for n in range(5))
    registry, labels = service.worker.metrics.registry, {"route": "/predict", "status": "200"}

    def counted() -> float | None:
        return registry.get_sample_value("ringside_request_duration_seconds_count", labels)

    wait_until(lambda: counted() is not None and counted() >= 5, 10)  # after the answer has gone out
    assert counted() == 5


def test_what_does_not_come_in_one_piece_takes_the_common_way(service: Service) -> None:
    whole = request({"records": [record_of()], "ids": ["split"]})
    with service.connect() as client:
        client.sendall(whole[:-10])
        wait_until(lambda: service.worker.deadlines._under_way, 10)  # the guard has it, and waits for the rest
        client.sendall(whole[-10:])
        assert answer(client)[0] == 200
    assert service.taken == []


def test_more_than_a_few_records_take_the_common_way(service: Service) -> None:
    many = {"records": [record_of(n) for n in range(40)]}
    long = {"records": [record_of(float(n), note="x" * 9_000) for n in range(MOST_BYTES // 9_000 + 1)]}
    with service.connect() as client:
        for body in (many, long):
            client.sendall(request(body))
            status, _, said = answer(client)
            assert (status, len(said["predictions"])) == (200, len(body["records"]))
    service.took([False, False])
    wait_until(lambda: service.worker.deadlines._under_way == {})


def test_requests_in_a_row_are_answered_in_their_order(service: Service) -> None:
    """A client that does not wait: each answer is its own request's."""
    with service.connect() as client:
        client.sendall(b"".join(request({"records": [record_of(n)], "ids": [f"p{n}"]}) for n in range(20)))
        held = b""
        while held.count(b"HTTP/1.1 200") < 20 or not held.endswith(b"}"):
            held += client.recv(65536)
    places = [held.index(f'"p{n}"'.encode()) for n in range(20)]
    assert places == sorted(places)


def test_a_chunked_body_in_one_piece_is_read_the_same(service: Service) -> None:
    content = json.dumps({"records": [record_of()], "ids": ["chunked"]}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with service.connect() as client:
        client.sendall(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))
        assert answer(client)[0] == 200


@pytest.mark.parametrize(("version", "headers"), [("1.1", ["Connection: close"]), ("1.0", [])])
def test_a_connection_that_is_not_kept_is_closed_behind_the_answer(
    service: Service, version: str, headers: list[str]
) -> None:
    with service.connect() as client:
        client.sendall(request({"records": [record_of()]}, *headers, version=version))
        status, said, _ = answer(client)
        assert (status, said["connection"]) == (200, "close")
        assert client.recv(100) == b""
    service.took([True])


def test_a_client_that_has_gone_is_logged_and_counted_as_gone(service: Service) -> None:
    log = service.worker.record.log
    with service.worker.record.database.exclusive():  # so that its answer waits
        with service.connect() as client:
            client.sendall(request({"records": [record_of()], "ids": ["gone"]}))
            wait_until(lambda: service.taken == [True])
        wait_until(lambda: not GuardedProtocol._servers or not _connections(), 10)
    wait_until(lambda: log.find("gone") is not None)
    wait_until(lambda: _count(service, "499") == 1)


def test_one_that_waits_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(tmp_path, monkeypatch, {"serve": {"request_timeout": "300ms"}}) as service,
        service.connect() as client,
    ):
        with service.worker.record.database.exclusive():
            client.sendall(request({"records": [record_of()]}))
            status, headers, said = answer(client)
            assert (status, said["error"]["code"], headers["connection"]) == (503, "overloaded", "close")
        service.took([True])
        assert service.worker.deadlines._under_way == {}
        with service.connect() as another:
            another.sendall(request({"records": [record_of()]}))
            assert answer(another)[0] == 200


def test_the_bound_on_requests_under_way_holds_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, monkeypatch, {"serve": {"max_concurrency": 2}}) as service:
        clients = [service.connect() for _ in range(3)]
        with service.worker.record.database.exclusive():
            for n, client in enumerate(clients):
                client.sendall(request({"records": [record_of()]}))
                wait_until(lambda n=n: len(service.taken) == n + 1)  # type: ignore[misc]
            status, headers, said = answer(clients[2])
            assert (status, said["error"]["code"], headers["retry-after"]) == (503, "overloaded", "1")
        assert [answer(client)[0] for client in clients[:2]] == [200, 200]
        for client in clients:
            client.close()


def test_tokens_are_asked_for_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, monkeypatch, {"serve": {"tokens": tokens()}}) as service, service.connect() as client:
        said = []
        for name in (None, "labeller", "predictor"):
            held = [f"Authorization: {bearer(name)['Authorization']}"] if name else []
            client.sendall(request({"records": [record_of()]}, *held))
            said.append(answer(client)[0])
        assert said == [401, 403, 200]
        service.took([True] * 3)


def test_other_paths_and_methods_do_not_come_here(service: Service) -> None:
    with service.connect() as client:
        client.sendall(b"GET /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert answer(client)[0] == 405
        client.sendall(request({"labels": []}).replace(b"/predict", b"/labels"))
        assert answer(client)[0] == 200
    assert service.taken == []


def _connections() -> list[Any]:
    return [one for held in GuardedProtocol._servers for one in held.connections]


def _count(service: Service, status: str) -> float | None:
    labels = {"route": "/predict", "status": status}
    return service.worker.metrics.registry.get_sample_value("ringside_request_duration_seconds_count", labels)
