"""Floods against a running service: requests sent ahead, answers that nobody reads, scrapes; healthy callers beside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from record.record import open_record
from tests.record.models import record_of, register_model
from tests.service.serving import LiveService, bearer, live_service, tokens, wait_ready, write_config

pytestmark = pytest.mark.hostile

MORE_MEMORY = 100 << 20  # of all workers together
FLOOD_SECONDS = 8.0
CONNECTIONS = 300
ANONYMOUS = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("flooded")
    (folder / "tokens.json").write_text(json.dumps(tokens()))
    settings = write_config(folder, f'tokens = "{folder}/tokens.json"\nrequest_timeout = "4s"')
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with live_service(settings, folder) as live:
        wait_ready(live)
        yield live


def memory(service: LiveService) -> int:
    return sum(worker.memory_info().rss for worker in service.workers())


class Caller:
    """A healthy caller, one prediction every 20 ms; its latencies, refusals, and the workers' largest memory."""

    def __init__(self, service: LiveService) -> None:
        self.seconds: list[float] = []
        self.refused: list[str] = []
        self.most_memory = 0
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        body = {"records": [record_of()]}
        while not self._stop.wait(0.02):
            with httpx.Client(headers=bearer("predictor"), timeout=30) as client:
                began = time.perf_counter()
                answer = client.post(f"{self._service.url}/predict", json=body)
                self.seconds.append(time.perf_counter() - began)
            if answer.status_code != 200:
                self.refused.append(answer.text[:200])
            self.most_memory = max(self.most_memory, memory(self._service))

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


def beside(service: LiveService, attack: Callable[[], None]) -> Caller:
    with Caller(service) as caller:
        attack()
    return caller


@contextmanager
def burning() -> Iterator[None]:
    """The processors' load without an attack: as many processes that do nothing but count as there are workers."""
    with ExitStack() as stack:
        processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
        for process in processes:
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def dummy_load() -> None:
    with burning():
        deadline = threading.Event()
        deadline.wait(FLOOD_SECONDS)


def pour(service: LiveService, connections: int, request: bytes, *, read: bool) -> None:
    """Sends a request again and again on many connections, as fast as each takes it, and reads the answers or not."""
    payload = request * (65_536 // len(request) + 1)
    until = time.monotonic() + FLOOD_SECONDS
    with ExitStack() as stack:
        clients = []
        for _ in range(connections):
            client = socket.socket()
            if not read:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", service.port))
            client.setblocking(False)
            clients.append(stack.enter_context(client))
        while time.monotonic() < until:
            for client in clients:
                with suppress(OSError):
                    client.send(payload)
                with suppress(OSError):
                    if read:
                        client.recv(1 << 20)


@pytest.mark.parametrize(("connections", "read"), [(1, False), (1, True), (CONNECTIONS, False), (CONNECTIONS, True)])
def test_requests_that_are_sent_ahead_take_no_memory_and_nobodys_time(
    service: LiveService, connections: int, read: bool
) -> None:
    """Anonymous, for eight seconds: memory stays flat, nobody is refused, and the slowest are as beside other load."""
    before = memory(service)
    quiet = beside(service, dummy_load)
    attacked = beside(service, lambda: pour(service, connections, ANONYMOUS, read=read))
    report("sent ahead", connections, read, before, quiet, attacked)
    assert attacked.refused == []
    assert attacked.most_memory - before < MORE_MEMORY
    assert attacked.p99 <= 3 * quiet.p99


def test_clients_that_do_not_read_take_nobodys_place(service: LiveService) -> None:
    """Three hundred connections ask for the longest answer and take none of it: predictions go on."""
    token = bearer("reader")["Authorization"].encode()
    request = b"GET /docs.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + token + b"\r\n\r\n"
    before = memory(service)
    attacked = beside(service, lambda: pour(service, CONNECTIONS, request, read=False))
    report("not read", CONNECTIONS, False, before, None, attacked)
    assert attacked.refused == []
    assert attacked.most_memory - before < MORE_MEMORY + 2 * (64 << 20)  # what may be unsent, in each worker
    assert "Traceback" not in service.log.read_text()


def test_scrapes_take_no_predictions_place(service: LiveService) -> None:
    """Hundreds of scrapes at once with the reader's token: predictions are answered, further scrapes told to wait."""
    statuses: list[int] = []
    stop = threading.Event()

    def scrape() -> None:
        with httpx.Client(headers=bearer("reader"), timeout=60) as client:
            while not stop.is_set():
                answer = client.get(f"{service.url}/metrics")
                statuses.append(answer.status_code)
                assert answer.status_code == 200 or answer.headers["retry-after"]

    def attack() -> None:
        threads = [threading.Thread(target=scrape) for _ in range(64)]
        for thread in threads:
            thread.start()
        stop.wait(FLOOD_SECONDS)
        stop.set()
        for thread in threads:
            thread.join()

    attacked = beside(service, attack)
    assert attacked.refused == []
    assert set(statuses) == {200, 503}


def test_bad_requests_fill_no_disk(service: LiveService) -> None:
    """Thousands of requests that are none, and upgrades: a few lines, if any."""
    before = service.log.stat().st_size
    upgrade = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}"
    for n in range(3_000):
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
            client.sendall((upgrade, b"\x16\x03\x01nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")[n % 3])
            client.recv(65536)
    assert service.log.stat().st_size - before < 100_000


def report(kind: str, connections: int, read: bool, before: int, quiet: Caller | None, attacked: Caller) -> None:
    """One line for a table of load, where RINGSIDE_HOSTILE_TABLE names a file for it."""
    path = os.environ.get("RINGSIDE_HOSTILE_TABLE")
    if path:
        beside_load = f"{quiet.p99 * 1000:.0f} ms" if quiet is not None else "-"
        row = (kind, connections, "yes" if read else "no", beside_load, f"{attacked.p99 * 1000:.0f} ms")
        more = f"{(attacked.most_memory - before) / 1e6:+.0f} MB"
        with Path(path).open("a") as table:
            table.write("| " + " | ".join(map(str, (*row, more, len(attacked.refused)))) + " |\n")
