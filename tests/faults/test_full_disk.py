"""A file system that is full to the last byte ends no process, and loses nothing that was answered."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from monitoring.supervision.programs import run_folder
from record.record import open_record
from record.settings import Settings
from tests.faults.installation import Up, make_installation, up
from tests.faults.small_disks import fill, make_room, small_disk
from tests.record.models import record_of
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

DISKS = [
    pytest.param("tmpfs", 64, "", id="tmpfs"),
    pytest.param("ext4", 96, '[log]\ndurability = "fsync"', id="ext4-fsync"),
    pytest.param("xfs", 320, '[log]\ndurability = "async"', id="xfs-async"),
    pytest.param("btrfs", 160, '[log]\non_failure = "serve"', id="btrfs-serve"),
]


def ask(running: Up, ids: list[str], answered: set[str]) -> tuple[int, str]:
    """One request of several records: its status, and its error's code or whether it was logged."""
    response = running.post("/predict", {"records": [record_of(note="a note")] * len(ids), "ids": ids})
    if response.status_code != 200:
        return response.status_code, response.json()["error"]["code"]
    if "Ringside-Logged" not in response.headers:
        answered.update(ids)
    return 200, response.headers.get("Ringside-Logged", "yes")


def give_label(running: Up, id: str) -> tuple[int, str]:
    response = running.post("/labels", {"labels": [{"id": id, "label": "late"}]})
    if response.status_code != 200:
        return response.status_code, response.json()["error"]["code"]
    taken = response.json()
    return 200, "accepted" if taken["accepted"] + taken["duplicates"] == 1 else "lost"


def counting(settings: Settings) -> set[int]:
    """The processes whose counts are in files."""
    folder = run_folder(settings) / "bentoml" / "prometheus_multiproc_dir"
    return {int(file.stem.rpartition("_")[2]) for file in folder.glob("counter_*.db")}


def logged(settings: Settings) -> set[str]:
    record = open_record(settings)
    try:
        with record.database.read() as connection:
            return {row[0] for row in connection.exec_driver_sql("SELECT id FROM predictions")}
    finally:
        record.close()


@pytest.mark.parametrize(("kind", "megabytes", "more"), DISKS)
def test_a_full_file_system_ends_no_worker_and_loses_no_answer(
    tmp_path: Path, kind: str, megabytes: int, more: str
) -> None:
    """Requests of all kinds before it is full, while it is, and after: a new worker starts meanwhile."""
    answered: set[str] = set()
    with small_disk(tmp_path, kind, megabytes) as disk:
        settings = make_installation(disk / "problem", more, workers=2)
        with up(settings, log=tmp_path / "up.log", environment={"PYTHONFAULTHANDLER": "1"}) as running:
            running.wait_ready()
            wait_until(lambda: len(running.lines("worker started")) == 2, 60)
            for number in range(20):
                assert ask(running, [f"before-{number}"], answered) == (200, "yes")
            workers, watcher = {w.pid for w in running.workers()}, {w.pid for w in running.watcher()}
            seen, labelled = set(), set()
            for number in range(40):
                if number % 4 == 0:
                    fill(disk)
                seen.add(ask(running, [f"full-{number}-{place}" for place in range(1 + number % 3)], answered))
                labelled.add(give_label(running, f"before-{number % 20}"))
                for path, status in (("/livez", 200), ("/readyz", 200), ("/metrics", 200), (f"/no/{number}", 404)):
                    assert running.get(path).status_code == status
                assert running.post("/predict", {"records": [{}]}).status_code == 422
            assert {w.pid for w in running.workers()} == workers
            assert {w.pid for w in running.watcher()} == watcher
            # The first may still have found a page's worth of room; a log that was made as long as it gets has some.
            assert seen <= {expected(more), (200, "yes")}
            assert labelled <= {(503, "log_unavailable"), (200, "accepted")}
            if "fsync" not in more:
                assert expected(more) in seen
                assert (503, "log_unavailable") in labelled

            psutil.Process(min(workers)).send_signal(signal.SIGKILL)
            wait_until(lambda: fill(disk) or len({w.pid for w in running.workers()} - {min(workers)}) == 2, 60)
            wait_until(lambda: fill(disk) or len(running.lines("worker started")) == 3, 60)
            fresh = {w.pid for w in running.workers()}
            for number in range(20):
                ask(running, [f"still-{number}"], answered)
                assert running.get("/metrics").status_code == 200
            assert {w.pid for w in running.workers()} == fresh

            make_room(disk)
            wait_until(lambda: ask(running, ["after"], answered) == (200, "yes"), 60, every=0.2)
            for number in range(20):
                assert ask(running, [f"after-{number}"], answered) == (200, "yes")
            assert give_label(running, "before-1") == (200, "accepted")
            wait_until(lambda: counting(settings) >= fresh, 60, "the new worker's counts are in its files")
            assert running.stop() == 0
        assert "Bus error" not in running.text()
        assert running.lines("metrics kept in memory")
        lost = {id for id in answered - logged(settings) if "async" not in more or id.startswith(("before", "after"))}
        assert lost == set()


def expected(more: str) -> tuple[int, str]:
    """What a prediction is answered with while the log has no room."""
    if "serve" in more:
        return 200, "no"
    return (200, "yes") if "async" in more else (503, "log_unavailable")
