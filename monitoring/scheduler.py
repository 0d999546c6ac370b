"""APScheduler's wiring: the monotonic clock says when to look, the record says what is due.

Nothing but `scheduler.py` knows APScheduler. Its own jobs are two, both in memory: it knows no record's time, and
its persistent store pickles, and runs every job twice where two processes share it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from record.clock import MICROSECOND
from record.errors import SettingsError

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # cron counts from Sunday, and writes it 0 or 7


@dataclass(frozen=True, slots=True)
class Cron:
    """The times of a cron expression, in UTC. Where day and weekday are both given, both must hold."""

    expression: str

    def __post_init__(self) -> None:
        self._trigger()  # a wrong expression is refused now, not when it first comes due

    def next_due(self, after: datetime) -> datetime:
        """The first time that is later than `after`."""
        found = self._trigger().get_next_fire_time(None, after + MICROSECOND)
        if found is None:
            raise SettingsError(f"retrain.schedule: {self.expression!r} never comes due", field="retrain.schedule")
        return datetime.fromtimestamp(found.timestamp(), UTC)

    def __str__(self) -> str:
        return f"cron {self.expression}"

    def _trigger(self) -> CronTrigger:
        try:
            minute, hour, day, month, weekday = self.expression.split()
            return CronTrigger(
                minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=UTC
            )
        except ValueError as error:
            raise SettingsError(
                f"retrain.schedule: {self.expression!r} is no cron expression ({error}); "
                'expected five fields, such as "0 3 * * 1" for Mondays at three',
                field="retrain.schedule",
            ) from error


def _weekdays(field: str) -> str:
    """Cron's weekdays by name: APScheduler counts them from Monday, so that its 1 is cron's 2."""
    if field == "*":
        return field
    named: list[str] = []
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        low = _weekday(first)
        high = _weekday(last) if dash else (6 if step else low)
        high = 7 if dash and high < low and high == 0 else high  # "5-0" and "5-sun" end with Sunday
        if high < low:
            raise ValueError(f"weekdays {part!r} run backwards")
        named += [_WEEKDAYS[day % 7] for day in range(low, high + 1, int(step or 1))]
    return ",".join(dict.fromkeys(named))


def _weekday(text: str) -> int:
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    if text.isdigit() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no weekday")


class MonotonicTime(tzinfo):
    """The time zone in which APScheduler's "now" is the monotonic clock's.

    APScheduler asks its time zone what time it is, and waits until the next call's time by that answer. By the
    machine's clock, which people and NTP set, a step back by an hour stops every call for an hour.
    """

    def __init__(self, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._stopwatch = stopwatch

    def fromutc(self, _: datetime) -> datetime:
        return datetime.fromtimestamp(self._stopwatch(), UTC).replace(tzinfo=self)

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "monotonic"


class Again(BaseTrigger):  # type: ignore[misc]
    """Comes due `every` after the last time, or after now where that time is past.

    APScheduler's own interval lists every time that was missed: a process that was stopped for a year, at a call a
    second, would list 31 million.
    """

    def __init__(self, every: timedelta) -> None:
        self._every = every

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        if previous is None:
            return now
        following = previous + self._every
        return following if following > now else now + self._every


class Ticker:
    """Calls `tick` and `beat` again and again by the monotonic clock, each never beside itself, until it is stopped.

    They run on two threads: a tick that trains nothing but measures for a minute must not cost the lease. A call
    that comes due while the last one runs is left out (`coalesce`), and one that the machine slept through is made
    up for once, however late (`misfire_grace_time`).
    """

    def __init__(
        self, tick: Callable[[], None], tick_every: timedelta, beat: Callable[[], None], beat_every: timedelta
    ) -> None:
        # A tick is often longer than the time between two: being told each time would fill the log.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._idle = threading.Event()
        self._idle.set()
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=MonotonicTime(),
        )
        self._tick = tick
        for call, every in ((beat, beat_every), (self._tick_once, tick_every)):
            self._scheduler.add_job(call, Again(every))

    def start(self) -> None:
        self._scheduler.start()

    def stop(self, patience_seconds: float) -> bool:
        """Begins no further call; whether the tick under way ended within the patience."""
        self._scheduler.shutdown(wait=False)
        return self._idle.wait(patience_seconds)

    def _tick_once(self) -> None:
        self._idle.clear()
        try:
            self._tick()
        finally:
            self._idle.set()
