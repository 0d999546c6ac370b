"""Hostile clients against the service as it runs: slow, endless, curious; and its end while requests are under way."""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from record.process import NO_TELEMETRY
from record.record import open_record
from service.http.routes import RULES
from tests.hostile.sockets import addresses, umask
from tests.record.log.test_log_failure import hanging
from tests.record.models import record_of, register_model
from tests.service.serving import LiveService, bearer, live_service, tokens, wait_ready, write_config
from tests.waiting import wait_until

TIMEOUT_SECONDS = 4.0
SLOW_CLIENTS = 500
MARKER = "xk7-marker"  # in whatever a client sends that nobody else should ever read
MORE = """
request_timeout = "4s"
max_body_mb = 1
[log]
patience = "30s"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("safety")
    (folder / "tokens.json").write_text(json.dumps(tokens()))
    settings = write_config(folder, f'tokens = "{folder}/tokens.json"{MORE}')
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with live_service(settings, folder) as live:
        wait_ready(live)
        yield live


def ask(service: LiveService, record: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
    body = {"records": [record or record_of()]}
    return httpx.post(f"{service.url}/predict", json=body, headers=bearer("predictor"), timeout=20, **options)


def head(path: str = "/predict", more: str = "") -> bytes:
    token = bearer("predictor")["Authorization"]
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n{more}".encode()


class Trickling:
    """Connections that send one byte now and then, and never end. `cut` counts those that the service has closed."""

    def __init__(self, port: int, count: int, begun: bytes) -> None:
        self.cut = 0
        self._begun, self._stopping = begun, threading.Event()
        self._sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count)]
        self._thread = threading.Thread(target=self._trickle)

    def __enter__(self) -> Trickling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)
        for held in self._sockets:
            held.close()

    def _trickle(self) -> None:
        living = selectors.DefaultSelector()
        for held in self._sockets:
            held.sendall(self._begun)
            held.setblocking(False)
            living.register(held, selectors.EVENT_READ)
        while living.get_map() and not self._stopping.wait(0.1):
            for key, _ in living.select(0):
                try:
                    ended = not key.fileobj.recv(65536)  # type: ignore[union-attr]
                except OSError:
                    ended = True
                if ended:
                    self.cut += 1
                    living.unregister(key.fileobj)
            for key in list(living.get_map().values()):
                try:
                    key.fileobj.send(b"a")  # type: ignore[union-attr]
                except OSError:
                    continue
        living.close()


@pytest.mark.parametrize(
    "begun",
    [
        head(more="X-Slow: "),
        head(more="Content-Length: 100000\r\n\r\n") + b'{"records": [',
        head(more="Transfer-Encoding: chunked\r\n\r\n") + b"186A0\r\n",
    ],
    ids=["headers", "body", "chunks"],
)
def test_five_hundred_trickling_connections_are_cut_and_hurt_nobody(service: LiveService, begun: bytes) -> None:
    def slowest(times: int) -> float:
        longest = 0.0
        with httpx.Client(headers=bearer("predictor"), timeout=20) as client:
            for _ in range(times):
                began = time.perf_counter()
                answer = client.post(f"{service.url}/predict", json={"records": [record_of()]})
                assert answer.status_code == 200, answer.text
                longest = max(longest, time.perf_counter() - began)
        return longest

    slowest(20)
    with Trickling(service.port, SLOW_CLIENTS, begun) as slow:
        rounds = [slowest(20)]
        while slow.cut < SLOW_CLIENTS:
            rounds.append(slowest(20))
            assert len(rounds) < 2000, f"only {slow.cut} were cut"
    # All of them end within moments; a machine that is busy with other tests takes its share too.
    assert sorted(rounds)[len(rounds) // 2] < 0.25
    assert max(rounds) < TIMEOUT_SECONDS


def test_a_body_without_a_length_is_refused_before_it_is_read(service: LiveService) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(head(more="Transfer-Encoding: chunked\r\n\r\n"))
        answer, sent = b"", 0
        client.setblocking(False)
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while not answer:
                for _, events in ready.select(20):
                    if events & selectors.EVENT_READ:
                        answer = client.recv(65536)
                    elif events & selectors.EVENT_WRITE and sent < 50_000_000:
                        sent += client.send(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        assert sent < 20_000_000  # what was on its way in buffers; the service has looked at one megabyte


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_all_of_too_much_sees_why(service: LiveService, chunked: bool) -> None:
    """As most clients do: they look for the answer when they have sent everything."""
    content: Any = (b"a" * 65536 for _ in range(100)) if chunked else b"a" * 6_553_600
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.request("POST", "/predict", content, bearer("predictor"), encode_chunked=chunked)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "too_large")
    connection.close()


def test_a_length_beyond_the_limit_is_refused_unread(service: LiveService) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(head(more="Content-Length: 1000001\r\n\r\n"))
        assert client.recv(65536).startswith(b"HTTP/1.1 413")


def test_nothing_listens_but_the_service_and_it_begins_as_every_process_does(service: LiveService) -> None:
    """Parent and workers of `bentoml serve`: no port of BentoML's supervisor, telemetry off, files for their owner."""
    parent = psutil.Process(service.process.pid)
    processes = [parent, *parent.children(recursive=True)]
    assert len(processes) > 2
    found = {address for process in processes for address in addresses(process)}
    assert found == {f"127.0.0.1:{service.port}"}
    assert {umask(process.pid) for process in processes} == {"0077"}
    for worker in service.workers():
        assert worker.environ().items() >= NO_TELEMETRY.items()


def test_nothing_of_bentomls_own_is_reachable(service: LiveService) -> None:
    """Its routes would be beyond the guard: health, schema, pages, static files."""
    for path in ("/healthz", "/schema.json", "/docs", "/static_content/index.css", "/is_ready", "/openapi.json"):
        assert httpx.get(f"{service.url}{path}", timeout=20).status_code == 401
        assert httpx.get(f"{service.url}{path}", headers=bearer("operator"), timeout=20).status_code == 404
    assert "/healthz" not in {rule.path for rule in RULES}


def test_what_clients_send_in_confidence_is_in_no_log_and_no_metric(service: LiveService) -> None:
    url, seen = service.url, MARKER
    with httpx.Client(timeout=20) as client:
        for path in ("/status", f"/{seen}", f"/models/{seen}", f"/events?q={seen}"):
            client.get(url + path, headers={"Authorization": f"Bearer {seen}"})
            client.get(url + path, headers=bearer("reader") | {"X-More": seen, "Cookie": seen})
        client.request(seen.upper().replace("-", ""), url + "/predict", headers=bearer("predictor"))
        for body in (
            {"records": [record_of(note=seen)]},
            {"records": [record_of(carrier=seen)], "ids": [f"id-{seen}"]},
            {"records": [record_of() | {seen: 1}]},
            {"records": [record_of() | {"distance": seen}]},
            {"records": seen, seen: 1},
        ):
            client.post(f"{url}/predict", json=body, headers=bearer("predictor"))
            client.post(f"{url}/v2/models/flights/infer", json=body, headers=bearer("predictor"))
            client.post(f"{url}/labels", json=body, headers=bearer("labeller"))
            client.post(f"{url}/alerts", json=body, headers=bearer("alerter"))
        client.post(f"{url}/predict", content=f"{{{seen}", headers=bearer("predictor"))
        metrics = client.get(f"{url}/metrics", headers=bearer("reader")).text
    shown = service.log.read_text() + metrics
    assert seen.lower() not in shown.lower()
    for secret in (header["Authorization"].split()[1] for header in map(bearer, ("predictor", "reader", "operator"))):
        assert secret not in shown


@contextmanager
def idle_connections(service: LiveService, count: int) -> Iterator[list[socket.socket]]:
    """Kept open after an answer: enough of them that each worker has some."""
    held = [socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(count)]
    for one in held:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 200")
    yield held
    for one in held:
        one.close()


def test_the_end_waits_for_what_is_under_way(service: LiveService, tmp_path: Path) -> None:
    """SIGTERM while requests wait for the log: they are answered, the log has them, and the processes are gone.

    The last of this module, for it ends the service.
    """
    database = service.settings.store.database.removeprefix("sqlite:///")
    workers = service.workers()
    with ThreadPoolExecutor(10) as threads, idle_connections(service, 16) as idle:
        with hanging(Path(database)):
            ids = [f"last-{n}" for n in range(10)]
            body = [{"records": [record_of()], "ids": [id]} for id in ids]
            asked = [
                threads.submit(httpx.post, f"{service.url}/predict", json=one, headers=bearer("predictor"), timeout=20)
                for one in body
            ]
            wait_until(lambda: waiting(service) >= 10, 5)
            service.process.terminate()
            wait_until(lambda: all(closed(one) for one in idle), 10, "idle connections are let go first")
            assert not any(one.done() for one in asked)
        answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * 10, answers[0].text
    service.process.wait(20)
    wait_until(lambda: not any(worker.is_running() for worker in workers), 20, "the workers end")
    record = open_record(service.settings, migrate=False)
    assert all(record.log.find(id) is not None for id in ids)
    record.close()


def waiting(service: LiveService) -> float:
    """Requests that wait for their commit, by the workers' own count."""
    shown = httpx.get(f"{service.url}/metrics", headers=bearer("reader"), timeout=20).text
    return sum(float(line.split()[-1]) for line in shown.splitlines() if line.startswith("ringside_log_queue_depth"))


def closed(held: socket.socket) -> bool:
    held.setblocking(False)
    try:
        return not held.recv(65536)
    except BlockingIOError:
        return False
    except OSError:
        return True
