"""A settings file that is edited while the service runs: every process goes on with what the service began with."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from record.record import open_record
from record.settings import Settings, load_settings
from record.settings_in_force import up_copy
from tests.faults.installation import make_installation, run_command, up
from tests.record.models import record_of
from tests.service.serving import live_service, wait_ready
from tests.waiting import wait_until

WAIT_SECONDS = 240.0  # a machine that does much else takes a minute to start a worker
REDACTING = 'protected = ["note"]\n[log]\nredact = ["note"]\n[serve]\n'
EDITS = {  # what stands instead of "[serve]"
    "redaction is switched on": REDACTING,
    "a key that nobody knows": "[serve]\nno_such_key = 1\n",
    "not TOML": "[[[serve]\n",
}


def notes(settings: Settings) -> set[str]:
    """What stands in the log as the redacted column, as JSON."""
    record = open_record(settings)
    try:
        with record.database.read() as connection:
            rows = connection.exec_driver_sql("SELECT record FROM predictions").fetchall()
    finally:
        record.close()
    return {json.dumps(json.loads(row[0]).get("note")) for row in rows}


def predict_over_new_connections(url: str, times: int) -> None:
    for _ in range(times):
        answer = httpx.post(f"{url}/predict", json={"records": [record_of(note="a note")]}, timeout=20)
        assert answer.status_code == 200


def replace_worker(workers: Callable[[], list[Any]]) -> None:
    before = {worker.pid for worker in workers()}
    victim = min(workers(), key=lambda worker: int(worker.pid))
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: len({w.pid for w in workers()} - {victim.pid}) == len(before), WAIT_SECONDS)


@pytest.mark.faults
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_worker_that_is_replaced_answers_and_logs_as_the_others_do(tmp_path: Path, edit: str) -> None:
    settings = make_installation(tmp_path, workers=2)
    assert settings.path is not None
    original = settings.path.read_text()
    with up(settings) as running:
        running.wait_ready()
        wait_until(lambda: len(running.lines("worker started")) == 2, WAIT_SECONDS)
        assert running.get("/status").json()["settings"] == {"digest": settings.digest(), "file_changed": False}
        assert stat.S_IMODE(up_copy(settings).stat().st_mode) == 0o600
        settings.path.write_text(original.replace("[serve]\n", edit))
        replace_worker(running.workers)
        wait_until(lambda: len(running.lines("worker started")) == 3, WAIT_SECONDS)
        assert {line["settings"] for line in running.lines("worker started")} == {settings.digest()}
        (watcher, *_) = running.watcher()
        watcher.send_signal(signal.SIGKILL)
        wait_until(lambda: any(w.pid != watcher.pid for w in running.watcher()), WAIT_SECONDS)
        predict_over_new_connections(running.url, 40)
        assert running.get("/status").json()["settings"] == {"digest": settings.digest(), "file_changed": True}
        assert running.lines("settings file changed")
        if edit == REDACTING:
            assert load_settings(settings.path).digest() != settings.digest()
            told = run_command(settings, "status", "--json")
            assert json.loads(told.stdout)["settings"] == {"digest": settings.digest(), "file_changed": True}
        settings.path.write_text(original)
        wait_until(lambda: running.get("/status").json()["settings"]["file_changed"] is False, 20)
        assert running.stop() == 0
    assert len(notes(settings)) == 1
    assert not up_copy(settings).exists()


@pytest.mark.faults
def test_under_bentoml_serve_too(tmp_path: Path) -> None:
    settings = make_installation(tmp_path, workers=2)
    assert settings.path is not None
    with live_service(settings, tmp_path) as service:
        wait_ready(service)
        settings.path.write_text(settings.path.read_text().replace("[serve]\n", REDACTING))
        for _ in range(2):
            replace_worker(service.workers)
            wait_until(service.ready, WAIT_SECONDS)
        predict_over_new_connections(service.url, 40)
        told = httpx.get(f"{service.url}/status", timeout=20).json()["settings"]
        assert told == {"digest": settings.digest(), "file_changed": True}
    assert len(notes(settings)) == 1


@pytest.mark.faults
def test_a_worker_that_cannot_have_what_the_others_run_with_waits(tmp_path: Path) -> None:
    """The kept copy is gone: it says so, the others serve, and it goes on once the file is what it was."""
    settings = make_installation(tmp_path, workers=2)
    assert settings.path is not None
    original = settings.path.read_text()
    with up(settings) as running:
        running.wait_ready()
        wait_until(lambda: len(running.lines("worker started")) == 2, WAIT_SECONDS)
        up_copy(settings).unlink()
        settings.path.write_text(original.replace("[serve]\n", REDACTING))
        replace_worker(running.workers)
        wait_until(lambda: running.lines("worker waits"), WAIT_SECONDS)
        predict_over_new_connections(running.url, 20)
        assert len(running.lines("worker started")) == 2
        settings.path.write_text(original)
        wait_until(lambda: len(running.lines("worker started")) == 3, WAIT_SECONDS)
        predict_over_new_connections(running.url, 20)
        assert running.stop() == 0
    assert len(notes(settings)) == 1
