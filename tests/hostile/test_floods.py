"""Floods against a running service: requests sent ahead, answers that nobody reads, scrapes; healthy callers beside."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from record.record import open_record
from tests.hostile.flood import Flood, attack, dummy_load
from tests.record.models import record_of, register_model
from tests.service.serving import LiveService, bearer, live_service, tokens, wait_ready, write_config

pytestmark = pytest.mark.hostile

MORE_MEMORY = 100 << 20  # of all workers together
ROUNDS = 4
ROUND_SECONDS = 4.0
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

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Predictions in a thread until the block ends; the calls of several blocks are counted together."""
        self._stop.clear()
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

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


def beside_both(service: LiveService, flood: Flood) -> tuple[Caller, Caller]:
    """A caller beside a dummy load and one beside the flood, in alternation, so that both meet the same machine."""
    quiet, attacked = Caller(service), Caller(service)
    for _ in range(ROUNDS):
        with quiet.calling(), dummy_load(ROUND_SECONDS):
            pass
        with attacked.calling(), attack(flood, ROUND_SECONDS):
            pass
    return quiet, attacked


@pytest.mark.parametrize(("connections", "read"), [(1, False), (1, True), (CONNECTIONS, False), (CONNECTIONS, True)])
def test_requests_that_are_sent_ahead_take_no_memory_and_nobodys_time(
    service: LiveService, connections: int, read: bool
) -> None:
    """Anonymous, four seconds again and again: memory stays flat, nobody is refused, the slowest as beside a load."""
    before = memory(service)
    quiet, attacked = beside_both(service, Flood(service.port, connections, ANONYMOUS, read))
    report("sent ahead", connections, read, before, quiet, attacked)
    assert attacked.refused == []
    assert attacked.most_memory - before < MORE_MEMORY
    assert attacked.p99 <= 3 * quiet.p99


def test_clients_that_do_not_read_take_nobodys_place(service: LiveService) -> None:
    """Three hundred connections ask for the longest answer and take none of it: predictions go on."""
    token = bearer("reader")["Authorization"].encode()
    request = b"GET /docs.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + token + b"\r\n\r\n"
    before = memory(service)
    attacked = Caller(service)
    with attacked.calling(), attack(Flood(service.port, CONNECTIONS, request, read=False), 2 * ROUND_SECONDS):
        pass
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

    attacked = Caller(service)
    threads = [threading.Thread(target=scrape) for _ in range(64)]
    with attacked.calling():
        for thread in threads:
            thread.start()
        stop.wait(2 * ROUND_SECONDS)
        stop.set()
        for thread in threads:
            thread.join()
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
