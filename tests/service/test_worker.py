"""What a serving process does beside answering, also when the record is away."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from record.errors import LogUnavailable
from record.event_log import EventLog
from record.record import open_record
from service.worker import Worker
from tests.record.models import register_model
from tests.service.serving import Client, bearer, make_settings, running, tokens
from tests.waiting import wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Worker, Client]]:
    settings = make_settings(tmp_path, {"serve": {"tokens": tokens()}})
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with running(settings) as held:
        yield held


def test_background_work_goes_on_after_any_error(
    served: tuple[Worker, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own errors are none of SQLAlchemy's, and a worker that no longer follows its role looks healthy."""
    worker, _ = served
    looks = 0
    refresh = worker.champion.refresh

    def look() -> Any:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return refresh()

    monkeypatch.setattr(worker.champion, "refresh", look)
    wait_until(lambda: looks > 2)


def test_refusals_that_cannot_be_written_down_are_told_later(
    served: tuple[Worker, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of records and of callers."""
    worker, client = served

    def refuse() -> httpx.Response:
        client.get("/status")
        body = {"records": [{"distance": "far", "carrier": None, "note": None}]}
        return client.post("/predict", body, headers=bearer("predictor"))

    assert refuse().status_code == 422
    append = EventLog.append
    with monkeypatch.context() as away:
        away.setattr(EventLog, "append", _unavailable)
        with pytest.raises(LogUnavailable):
            worker._tell(True)
    assert EventLog.append is append
    refuse()
    worker._tell(True)
    (records,) = worker.record.events.page(kind="records_refused", limit=10)[0]
    assert records.data["counts"] == {"distance:type": 2}
    (access,) = worker.record.events.page(kind="access_refused", limit=10)[0]
    assert (access.data["route"], access.data["count"]) == ("/status", 2)


def test_a_worker_stops_in_order_though_the_record_is_away(
    served: tuple[Worker, Client], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker, client = served
    assert client.get("/status").status_code == 401
    monkeypatch.setattr(EventLog, "append", _unavailable)
    client.call(worker.stop)
    assert [record.getMessage() for record in caplog.records][-2:] == ["refusals not told", "worker stopped"]
    client.call(worker.start)  # as the fixture found it


def _unavailable(*_: Any, **__: Any) -> None:
    raise LogUnavailable("the record is away")
