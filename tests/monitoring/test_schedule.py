"""When jobs come due: on grids that restarts and other watchers agree on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.schedule import Every
from monitoring.scheduler import Again, Cron, MonotonicTime, Ticker
from record.errors import SettingsError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_steps_are_counted_from_1970_and_not_from_the_start() -> None:
    """Two watchers started at different times agree on what is due when."""
    assert Every(timedelta(hours=1)).next_due(at("2013-03-01T10:20:00")) == at("2013-03-01T11:00:00")
    assert Every(timedelta(days=1)).next_due(at("2013-03-01T10:20:00")) == at("2013-03-02T00:00:00")
    assert Every(timedelta(minutes=15)).next_due(at("2013-03-01T10:14:59")) == at("2013-03-01T10:15:00")


def test_a_time_on_the_grid_is_not_its_own_next() -> None:
    """Else a job that ran when it was due would be due again."""
    assert Every(timedelta(hours=1)).next_due(at("2013-03-01T10:00:00")) == at("2013-03-01T11:00:00")
    assert Cron("0 3 * * *").next_due(at("2013-03-01T03:00:00")) == at("2013-03-02T03:00:00")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 6 1 * *", "2013-04-01T06:00:00"),
        ("*/15 * * * *", "2013-03-06T12:15:00"),
        ("0 3 * * 1", "2013-03-11T03:00:00"),  # Mondays: APScheduler's own reading of 1 is Tuesday
        ("0 3 * * mon", "2013-03-11T03:00:00"),
        ("0 3 * * 0", "2013-03-10T03:00:00"),
        ("0 3 * * 7", "2013-03-10T03:00:00"),
        ("0 3 * * 1-5", "2013-03-07T03:00:00"),
        ("0 3 * * 6,0", "2013-03-09T03:00:00"),
        ("0 3 * * fri-sun", "2013-03-08T03:00:00"),
        ("0 3 * * */3", "2013-03-09T03:00:00"),
    ],
)
def test_cron_means_what_cron_means(expression: str, expected: str) -> None:
    """6 March 2013 was a Wednesday."""
    assert Cron(expression).next_due(at("2013-03-06T12:00:00")) == at(expected)


@pytest.mark.parametrize("expression", ["61 * * * *", "0 3 * * 8", "0 3 * * 5-3", "0 3 * *", "0 3 * * noday"])
def test_a_wrong_expression_is_refused_when_the_watcher_starts(expression: str) -> None:
    """Not a month later, when it would first have come due."""
    with pytest.raises(SettingsError, match=r"retrain\.schedule"):
        Cron(expression)


def test_a_schedule_has_a_name_that_tells_it_from_another() -> None:
    assert str(Every(timedelta(hours=1))) == "every 3600 s"
    assert str(Cron("0 3 * * 1")) == "cron 0 3 * * 1"


def test_ticks_never_overlap_and_the_heart_beats_beside_a_long_one() -> None:
    """The lease is renewed while a check runs; ticks that came due meanwhile are left out, not piled up."""
    running, most, beats = 0, 0, 0
    beaten = threading.Event()

    def tick() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        beaten.wait(5)
        running -= 1

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 5:
            beaten.set()

    ticker = Ticker(tick, timedelta(milliseconds=10), beat, timedelta(milliseconds=20))
    ticker.start()
    assert beaten.wait(5)
    assert ticker.stop(5)
    assert most == 1


def test_a_tick_that_raises_does_not_end_the_ticking() -> None:
    again = threading.Event()
    calls = 0

    def tick() -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            again.set()
        raise RuntimeError("a tick went wrong")

    ticker = Ticker(tick, timedelta(milliseconds=10), lambda: None, timedelta(seconds=1))
    ticker.start()
    assert again.wait(5)
    assert ticker.stop(5)


def test_stopping_waits_no_longer_than_it_is_told() -> None:
    """A check that hangs does not keep the process from ending."""
    release, begun = threading.Event(), threading.Event()

    def tick() -> None:
        begun.set()
        release.wait(10)

    ticker = Ticker(tick, timedelta(milliseconds=10), lambda: None, timedelta(seconds=1))
    ticker.start()
    assert begun.wait(5)
    assert not ticker.stop(0.01)
    release.set()


def test_the_schedulers_now_is_the_monotonic_clocks() -> None:
    """What people and NTP do to the machine's clock is no matter of it."""
    seconds = 1000.0
    zone = MonotonicTime(lambda: seconds)
    before = datetime.now(zone)
    seconds += 2.5
    assert datetime.now(zone) - before == timedelta(seconds=2.5)
    assert before.utcoffset() == timedelta(0)


def test_missed_times_are_not_listed() -> None:
    """A process that was stopped for fifty years, at a call a second, is called once."""
    again, start = Again(timedelta(seconds=1)), at("1970-01-01T00:00:00")
    now = at("2020-01-01T00:00:00")
    assert again.get_next_fire_time(None, start) == start
    assert again.get_next_fire_time(start, start) == start + timedelta(seconds=1)
    assert again.get_next_fire_time(start, now) == now + timedelta(seconds=1)
