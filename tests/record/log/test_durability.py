"""What was answered is in the log, whatever is killed the next instant; and what is asked again is answered once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from record.db.database import Database
from record.record import open_record
from record.settings import Settings
from tests.record.models import register_model
from tests.service.load import Load
from tests.service.serving import ROOT, free_port, live_service, wait_ready, write_config
from tests.waiting import wait_until

KILLS = 20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = write_config(tmp_path)
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    return settings


@contextmanager
def forked_workers(settings: Settings, folder: Path, port: int, workers: int = 2) -> Iterator[psutil.Process]:
    """The parent of so many serving processes; it and all of them are gone afterwards."""
    arguments = [sys.executable, "-m", "tests.service.forked_workers", str(settings.path), str(port), str(workers)]
    with (folder / "workers.log").open("ab") as output:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        kill_all(process)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """The parent and whatever it forked, at one moment."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # a group of its own: start_new_session
    process.wait(10)


def assert_logged(settings: Settings, load: Load) -> None:
    """Each answer is in the log once, just as it was given."""
    database = Database(settings.store.database)
    with database.read() as connection:
        held = connection.execute(sa.text("SELECT id, prediction, probabilities FROM predictions")).fetchall()
    database.close()
    logged = {row.id: row for row in held}
    assert len(held) == len(logged), "an id was logged twice"
    assert load.answered.keys() <= logged.keys()
    for id, told in load.answered.items():
        assert json.loads(logged[id].prediction) == told["prediction"]
        assert json.loads(logged[id].probabilities) == told["probabilities"]


def living(parent: psutil.Process) -> list[psutil.Process]:
    return [child for child in parent.children() if child.status() != psutil.STATUS_ZOMBIE]


def test_twenty_kills_under_load_lose_no_answer(settings: Settings, tmp_path: Path) -> None:
    """One worker or both at one moment, as chance will have it."""
    chance, port = random.Random(7), free_port()
    with forked_workers(settings, tmp_path, port) as parent, Load(lambda: port) as load:
        for _ in range(KILLS):
            seen = len(load.answered)
            wait_until(lambda seen=seen: len(load.answered) >= seen + 20, 30, "twenty answers more")  # type: ignore[misc]
            victims = living(parent)
            for victim in victims if chance.random() < 0.5 else victims[:1]:
                victim.kill()
    assert len(load.answered) >= 20 * KILLS
    assert load.retried, "no client had to ask twice: nothing was killed in the middle"
    assert load.statuses == {200}
    assert_logged(settings, load)


def test_the_service_under_bentoml_loses_no_answer_either(settings: Settings, tmp_path: Path) -> None:
    """A worker, then parent and workers at once; and what was not yet answered is asked of the next service."""
    ports: list[int] = []
    with Load(lambda: ports[-1] if ports else 1) as load:
        with live_service(settings, tmp_path) as service:
            wait_ready(service)
            ports.append(service.port)
            wait_until(lambda: len(load.answered) > 50, 30)
            service.workers()[0].kill()
            seen = len(load.answered)
            wait_until(lambda: len(load.answered) > seen + 50, 30, "the other worker goes on")
            victims = service.workers()
            service.process.kill()
            for victim in victims:
                victim.kill()
        seen = len(load.answered)
        with live_service(settings, tmp_path) as service:
            ports.append(service.port)
            wait_until(lambda: len(load.answered) > seen + 50, 60, "the next service answers")
    assert_logged(settings, load)
