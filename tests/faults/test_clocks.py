"""A machine's clock that is set back, that jumps, or that was years ahead: the watcher goes on by it at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from record.record import Record, open_record
from record.settings import Settings
from service.status import status
from tests.faults.clocks import ShiftedClock
from tests.faults.installation import make_installation
from tests.waiting import wait_until
from tests.watching import leads, wait_leads, watcher_process

pytestmark = pytest.mark.faults

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)
SOON = timedelta(minutes=5)
# A run that is asked for is declined at once: the decision is what the tests wait for.
MORE = """
[watch]
heartbeat = "500ms"
lease = "3s"
[promotion]
every = "2s"
[retrain]
schedule = "0 3 * * *"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_installation(tmp_path, MORE)


@pytest.fixture
def record(settings: Settings) -> Iterator[Record]:
    opened = open_record(settings)
    yield opened
    opened.close()


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(tmp_path)


@contextmanager
def watcher(settings: Settings, clock: ShiftedClock) -> Iterator[psutil.Process]:
    with watcher_process(settings, environment=clock.environment) as process:
        yield psutil.Process(process.pid)


def heartbeat(record: Record) -> datetime:
    name = "ringside_watcher_heartbeat_timestamp_seconds"
    return next(datetime.fromtimestamp(s.value, UTC) for s in record.samples.all() if s.name == name)


def ask(record: Record, clock: ShiftedClock) -> None:
    """Ask for a retrain as an alert does, and wait for the watcher's answer: not now, there is nothing to learn."""
    record.requests.add("alert", "test", "a test asks", {}, key=str(clock.now()))
    wait_until(lambda: not record.requests.pending(), 30, "the watcher answers")


def test_the_shim_moves_the_clock_of_a_process_and_not_its_monotonic_one(
    settings: Settings, record: Record, clock: ShiftedClock
) -> None:
    """Else the tests below would say nothing."""
    clock.set(YEAR)
    with watcher(settings, clock) as process:
        wait_leads(record, process.pid)
        assert abs(heartbeat(record) - clock.now()) < SOON


@pytest.mark.parametrize("back", [HOUR, timedelta(seconds=10), 10 * YEAR])
def test_a_clock_that_is_set_back_stops_neither_ticks_nor_heartbeats(
    settings: Settings, record: Record, clock: ShiftedClock, back: timedelta
) -> None:
    clock.set(back)
    with watcher(settings, clock) as process:
        wait_leads(record, process.pid)
        clock.set(timedelta(0))
        wait_until(lambda: abs(heartbeat(record) - clock.now()) < timedelta(seconds=5), 30, "a heartbeat by the clock")
        ask(record, clock)
        assert all(job.due_at < clock.now() + timedelta(days=1, minutes=5) for job in record.jobs.all())
        settled = record.leases.current("watcher")
        assert settled is not None
        wait_until(lambda: settled_until(record) <= clock.now() + timedelta(seconds=2), 30, "settled by the clock")


def settled_until(record: Record) -> datetime:
    lease = record.leases.current("watcher")
    assert lease is not None
    assert lease.settled_until is not None
    return lease.settled_until


def test_a_watcher_that_died_before_the_clock_was_set_back_is_followed_within_its_lease(
    settings: Settings, record: Record, clock: ShiftedClock
) -> None:
    clock.set(HOUR)
    with watcher(settings, clock) as first:
        wait_leads(record, first.pid)
        first.kill()
        clock.set(timedelta(0))
        assert status(record, settings)["watcher"]["leader"] is None
        with watcher(settings, clock) as second:
            wait_until(lambda: leads(record, second.pid), 60, "the second watcher leads")
            wait_until(lambda: abs(heartbeat(record) - clock.now()) < SOON, 30, "a heartbeat by the clock")


def test_jobs_that_a_clock_ten_years_ahead_has_planned_come_due_by_the_right_one(
    settings: Settings, record: Record, clock: ShiftedClock
) -> None:
    clock.set(10 * YEAR)
    with watcher(settings, clock) as process:
        wait_leads(record, process.pid)
        wait_until(lambda: any(job.last_as_of for job in record.jobs.all()), 60, "a job has run")
        os.kill(process.pid, signal.SIGTERM)
        process.wait(30)
    assert min(job.due_at for job in record.jobs.all()) > clock.now() - SOON
    clock.set(timedelta(0))
    with watcher(settings, clock) as process:
        wait_leads(record, process.pid)
        latest = clock.now() + timedelta(days=1, minutes=5)
        wait_until(lambda: max(job.due_at for job in record.jobs.all()) <= latest, 30, "due times back on the grid")
        wait_until(lambda: settled_until(record) < clock.now() + SOON, 30, "settled by the right clock")


def test_a_jump_of_fifty_years_takes_no_memory_and_no_tick(
    settings: Settings, record: Record, clock: ShiftedClock
) -> None:
    """As when a machine boots in 1970 and then hears what time it is."""
    clock.set(-50 * YEAR)
    with watcher(settings, clock) as process:
        wait_leads(record, process.pid)
        before = process.memory_info().rss
        clock.set(timedelta(0))
        wait_until(lambda: abs(heartbeat(record) - clock.now()) < timedelta(seconds=5), 30, "a heartbeat by the clock")
        ask(record, clock)
        assert process.memory_info().rss - before < 600e6  # Evidently is being imported: 277 MB
        assert leads(record, process.pid)
