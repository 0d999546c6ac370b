"""Every route that writes, at its limits, beside predictions: none holds the log longer than is documented."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from record.db.file_lock import FairLock, FileLock
from record.log.labels import MOST_CORRECTIONS
from record.work.requests import MOST_WAITING
from service.worker import Worker
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until

BATCH = 10_000
ROUNDS = 3


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Worker, Client]]:
    settings = make_settings(tmp_path, {"serve": {"request_timeout": "300s", "refresh": "20ms"}})
    with running(settings) as (worker, client):
        register_model(worker.record, as_champion=True)
        register_model(worker.record, bias=0.5)
        wait_until(lambda: worker.champion.current is not None, 60, "the champion is loaded")
        yield worker, client


class Holds:
    """What each thread did at most while it held the writers' lock: its processor's time, whatever else runs here."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.longest: dict[str, float] = {}
        self._began: dict[int, float] = {}
        take, release = FileLock.take, FileLock.release

        def taking(lock: FileLock, *, wait: bool) -> None:
            take(lock, wait=wait)
            self._began[threading.get_ident()] = time.thread_time()

        def releasing(lock: FileLock) -> None:
            thread = threading.get_ident()
            seconds = time.thread_time() - self._began.pop(thread)
            release(lock)
            name = threading.current_thread().name
            self.longest[name] = max(self.longest.get(name, 0.0), seconds)

        patch.setattr(FileLock, "take", taking)
        patch.setattr(FileLock, "release", releasing)


def _alerts(number: int, action: str | None) -> list[dict[str, Any]]:
    return [
        {
            "status": "firing",
            "labels": {"alertname": f"A{n}"} | ({"action": action} if action else {}),
            "annotations": {"summary": "s" * 200},
            "startsAt": "2026-01-01T00:00:00Z",
            "fingerprint": f"{number}-{action}-{n}",
        }
        for n in range(1000)
    ]


def _writers(client: Client) -> dict[str, Callable[[int], Any]]:
    """One call of each writing route, as large as it may be."""
    ids = [f"p{n}" for n in range(BATCH)]

    def post(path: str, body: Any) -> int:
        return client.post(path, body).status_code

    def labels(number: int) -> int:
        told = "late" if number % 2 else "on time"
        return post("/labels", {"labels": [{"id": id, "label": told, "correct": True} for id in ids]})

    return {
        "labels": labels,
        "alerts": lambda number: post("/alerts", {"alerts": _alerts(number, None)}),
        "asking alerts": lambda number: post("/alerts", {"alerts": _alerts(number, "retrain")}),
        "retrain": lambda number: post("/retrain", {"reason": "r" * 1000}),
        "promote": lambda number: post(f"/models/v{1 + number % 2}/promote", {"reason": "r" * 1000}),
        "rollback": lambda number: post("/rollback", {"reason": "r" * 1000}),
        "reject": lambda number: post("/models/v2/reject", {"reason": "r" * 1000}),
        "predictions of a batch": lambda number: post(
            "/predict", {"records": [record_of(float(n % 900), note="n" * 100) for n in range(BATCH)]}
        ),
    }


def test_no_caller_holds_the_log_longer_than_a_batch_of_predictions_does(
    service: tuple[Worker, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a prediction's commit can have to wait for is one transaction, and the largest is another prediction's."""
    worker, client = service
    ids = [f"p{n}" for n in range(BATCH)]
    records = [record_of(float(n % 900)) for n in range(BATCH)]
    assert client.post("/predict", {"records": records, "ids": ids}).status_code == 200
    holds = Holds(monkeypatch)
    stopping = threading.Event()
    paced: list[int] = []

    def pace() -> None:
        while not stopping.wait(0.01):
            paced.append(client.post("/predict", {"records": [record_of()]}).status_code)

    thread = threading.Thread(target=pace)
    thread.start()
    try:
        with ThreadPoolExecutor(4) as callers:
            writers = _writers(client)
            calls = [callers.submit(call, number) for number in range(ROUNDS) for call in writers.values()]
            statuses = [call.result() for call in calls]
        decided = worker.record.requests.pending()
        with worker.record.events.writing() as connection:
            assert worker.record.requests.decide_until(decided[-1].request, None, connection) == len(decided)
    finally:
        stopping.set()
        thread.join()
    assert set(statuses) <= {200, 202, 409}
    assert set(paced) == {200}
    longest = holds.longest
    batch = longest["group-commit"]
    others = {name: seconds for name, seconds in longest.items() if name != "group-commit"}
    assert len(others) > 1
    assert max(others.values()) < batch, longest


def test_the_lock_goes_to_the_thread_that_has_waited_longest() -> None:
    """Also where the one that lets go takes it again at once, as a call of many labels does."""
    lock, order = FairLock(), list[str]()
    assert lock.acquire(wait=True)
    assert not lock.acquire(wait=False)

    def wait(name: str) -> None:
        lock.acquire(wait=True)
        order.append(name)
        lock.release()

    threads = []
    for name in "abc":
        threads.append(threading.Thread(target=wait, args=(name,)))
        threads[-1].start()
        wait_until(lambda: len(lock._waiting) == len(threads), 30, "it waits")
    lock.release()
    lock.acquire(wait=True)
    order.append("again")
    lock.release()
    for thread in threads:
        thread.join()
    assert order == ["a", "b", "c", "again"]
    assert lock.acquire(wait=False)


def test_labels_and_alerts_of_one_call_are_bounded(service: tuple[Worker, Client]) -> None:
    """Refused as a whole, before anything is written."""
    worker, client = service
    many = [{"id": f"p{n}", "label": "late"} for n in range(BATCH + 1)]
    reply = client.post("/labels", {"labels": many})
    assert (reply.status_code, reply.json()["error"]["field"]) == (413, "labels")
    assert "serve.max_batch" in reply.text
    alerts = [*_alerts(0, "retrain"), *_alerts(1, "retrain")[:1]]
    reply = client.post("/alerts", {"alerts": alerts})
    assert (reply.status_code, "max_alerts" in reply.text) == (413, True)
    assert worker.record.requests.pending() == []


def test_one_label_is_corrected_so_often_and_no_more(service: tuple[Worker, Client]) -> None:
    """In one call and in many; what stood before goes on standing, and what explains it stays short."""
    _, client = service
    client.post("/predict", {"records": [record_of()], "ids": ["one"]})
    turns = ["late", "on time"]
    flips = [{"id": "one", "label": turns[n % 2], "correct": True} for n in range(3 * MOST_CORRECTIONS)]
    told = client.post("/labels", {"labels": flips}).json()
    assert told["accepted"] == MOST_CORRECTIONS + 1
    assert told["conflicts"] == told["exhausted"] == ["one"]
    for n in range(3):
        told = client.post("/labels", {"labels": [{"id": "one", "label": turns[n % 2], "correct": True}]}).json()
        assert told["accepted"] == 0
    label = client.get("/explain?id=one&attribution=false").json()["label"]
    assert label["label"] == turns[MOST_CORRECTIONS % 2]
    assert label["history"][0]["correction"] is False


def test_as_many_alerts_wait_for_the_watcher_as_may_and_no_more(
    service: tuple[Worker, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no watcher they would pile up; those that ask for nothing are taken all the same."""
    assert MOST_WAITING >= 10_000
    monkeypatch.setattr("record.work.requests.MOST_WAITING", 1_500)
    _, client = service
    statuses = [client.post("/alerts", {"alerts": _alerts(n, "retrain")}).status_code for n in range(4)]
    assert statuses == [202, 202, 503, 503]
    assert client.post("/alerts", {"alerts": _alerts(9, None)}).status_code == 202
