"""Work that is given up at its deadline: nothing of it is stored behind the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from record.db.work import Work, WorkGivenUp
from record.prediction_log import PredictionLog
from service.worker import Worker
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Worker, Client]]:
    with running(make_settings(tmp_path, {"serve": {"request_timeout": "500ms"}})) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)
        yield worker, client


def test_labels_that_were_refused_at_their_deadline_are_not_stored(
    service: tuple[Worker, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, client = service
    assert client.post("/predict", {"records": [record_of()], "ids": ["a"]}).status_code == 200
    ended: list[str] = []
    add = PredictionLog.add_labels

    def added(*args: Any, **options: Any) -> Any:
        try:
            return add(*args, **options)
        finally:
            ended.append("labels")

    monkeypatch.setattr(PredictionLog, "add_labels", added)
    label = {"labels": [{"id": "a", "label": "late"}]}
    with worker.record.database.exclusive():
        refused = client.post("/labels", label)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert refused.headers["retry-after"]
    wait_until(lambda: ended)
    told = client.post("/labels", label).json()
    assert (told["accepted"], told["duplicates"]) == (1, 0)


def test_a_retrain_that_was_refused_at_its_deadline_is_not_asked_for(service: tuple[Worker, Client]) -> None:
    worker, client = service
    with worker.record.database.exclusive():
        assert client.post("/retrain", {"reason": "because"}).status_code == 503
    wait_until(lambda: client.post("/retrain", {"reason": "again"}).status_code == 202)
    assert [run.reason for run in worker.record.runs.recent()] == ["again"]


def test_what_is_being_committed_is_not_given_up() -> None:
    """Nor what has been, until it begins another transaction."""
    work = Work()
    with work.committing():
        assert not work.give_up()
    assert not work.give_up()
    work.begin()
    assert work.give_up()
    for step in (work.check, work.begin):
        with pytest.raises(WorkGivenUp):
            step()
    with pytest.raises(WorkGivenUp), work.committing():
        raise AssertionError("it was begun all the same")


def test_a_commit_that_fails_can_be_given_up() -> None:
    work = Work()
    with pytest.raises(ZeroDivisionError), work.committing():
        raise ZeroDivisionError
    assert work.give_up()


def test_work_is_committed_or_given_up_and_never_both() -> None:
    """Raced a thousand times."""
    for _ in range(1_000):
        work, committed = Work(), []

        def commit(work: Work = work, committed: list[bool] = committed) -> None:
            with suppress(WorkGivenUp), work.committing():
                committed.append(True)

        thread = Thread(target=commit)
        thread.start()
        given_up = work.give_up()
        thread.join()
        assert bool(committed) != given_up
