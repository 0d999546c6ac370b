"""The slow outer loop: what is due is done, what follows from it is waited for where time can wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from monitoring.agenda import JobName, job_name, plan_jobs
from monitoring.bout import open_due_bouts, settle_bouts
from monitoring.drifting.check import DriftCheck
from monitoring.facts import asks_of_checks
from monitoring.housekeeping import keep_house
from monitoring.leadership import Leadership
from monitoring.quality.check import QualityCheck
from monitoring.quality.label_watch import LabelWatch
from monitoring.retraining import Retraining
from monitoring.schedule import Schedule
from monitoring.settings_trail import say_settings
from record.bouts.bout import Bout
from record.clock import EPOCH, MICROSECOND
from record.errors import StaleLease
from record.events import DriftDetected
from record.failpoint import fail_point
from record.log_lines import log_line
from record.record import Record
from record.settings import Settings
from record.work.jobs import Job, due
from record.work.leases import Fence

# How often is looked for what nobody has a time for: requests, shadows that died, a clock that went on. In seconds of
# the machine's clock; a tick in between costs two reads of the record, .5 ms.
LOOK_SECONDS = 0.25
HOUSEKEEPING_SECONDS = 3600.0
CLOCK_STEP = timedelta(seconds=2)  # a smaller step back is the clock's daily correction


class Shadows(Protocol):
    """The challengers' processes."""

    def keep(self, bouts: Sequence[Bout], fence: Fence | None) -> None: ...

    def caught_up(self, bout: Bout, until: datetime) -> bool: ...

    def stop(self) -> None: ...


class Follower(Protocol):
    """Whoever tells others what the trail says: people, MLflow. Never raises."""

    def keep(self, fence: Fence) -> None:
        """Called often; returns at once."""

    def finish(self, fence: Fence, seconds: float) -> bool:
        """Tells what is left, and waits for it; whether that took no longer than these seconds."""


class Watcher:
    """Leads or follows. `beat` and `tick` are called again and again, from one thread each; `stop` after both ended.

    Where time is the machine's, a job runs as of now, and nothing waits. Where time is the requests', the job due at
    D runs on the record as of D, and `settled_until` moves to D once everything that follows has happened: the run
    that it started has ended, its bouts are open, and the shadows have scored what was logged by then. A client that
    replays history waits for that, so that training takes none of its time.
    """

    def __init__(
        self,
        settings: Settings,
        record: Record,
        leadership: Leadership,
        retraining: Retraining,
        shadows: Shadows,
        jobs: Mapping[JobName, Schedule],
        *,
        followers: Sequence[Follower] = (),
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._followers = followers
        self._record = record
        self._leadership = leadership
        self._retraining = retraining
        self._shadows = shadows
        self._agenda = jobs
        self._stopwatch = stopwatch
        self._drift = DriftCheck(settings, record)
        self._quality = QualityCheck(settings, record)
        self._labels = LabelWatch(settings, record)
        self._follows_requests = settings.clock.source == "requests"
        self._led: Fence | None = None
        self._jobs: list[Job] = []
        self._latest: datetime | None = None  # the record's time at the last tick
        self._unsettled: datetime | None = None
        self._settled: datetime | None = None
        self._looked = self._kept_house = float("-inf")

    @property
    def leads(self) -> bool:
        return self._led is not None

    def beat(self) -> None:
        """Says that this watcher lives, and holds or takes the lease. Never raises: the next beat tries again."""
        try:
            self._leadership.beat()
        except Exception as error:  # noqa: BLE001 - the record is away for a moment; the lease says for how long
            log_line("heartbeat failed", level=logging.ERROR, error=repr(error))

    def tick(self) -> None:
        """Does what is due. Never raises: what went wrong is logged, and the next tick goes on."""
        try:
            fence = self._leadership.fence
            if fence is None or fence != self._led:
                self._follow()
            if fence is not None:
                self._lead(fence)
        except StaleLease as stale:
            log_line("lease lost", level=logging.WARNING, reason=stale.message)
            self._leadership.step_down()
            self._follow()
        except Exception as error:  # noqa: BLE001 - one bad moment of the record must not end the watch
            log_line("tick failed", level=logging.ERROR, exc_info=True, error=repr(error))

    @property
    def idle(self) -> bool:
        """Whether nothing is due, nothing runs, and everything is settled."""
        if self._led is None or self._retraining.active or self._unsettled is not None:
            return False
        now = self._record.clock.now()
        if due(self._jobs, now) or self._settled is None:
            return False
        return self._settled >= now or not self._follows_requests  # the machine's time goes on by itself

    def finish(self, seconds: float) -> None:
        """Lets the followers tell what has happened, each for so long at most."""
        for follower in self._followers:
            if self._led is not None and not follower.finish(self._led, seconds):
                log_line("left before all was told", follower=type(follower).__name__)

    def stop(self) -> None:
        """Ends the children and gives the lease back."""
        self._follow()
        self._leadership.release()

    def _follow(self) -> None:
        """A follower has no children, and remembers nothing: its successor may have gone on long since."""
        if self._led is not None:
            self._retraining.stop()
            self._shadows.stop()
        self._led = None
        self._jobs = []
        self._unsettled = self._settled = None
        self._looked = self._kept_house = float("-inf")

    def _lead(self, fence: Fence) -> None:
        now = self._record.clock.now()
        if self._follows_requests and now <= EPOCH:
            return  # no request has said yet what time it is
        if self._led is None:
            self._take_over(fence, now)
        self._notice_clock(now)
        ended = self._retraining.poll()
        if ended is not None:
            self._open_bouts(fence, (ended.as_of or now) if self._follows_requests else now)
        if self._stopwatch() - self._looked >= LOOK_SECONDS:
            self._look(fence, now)
        self._run_due(fence, now)

    def _take_over(self, fence: Fence, now: datetime) -> None:
        self._record.registry.artifact_orphans()
        say_settings(self._record, self._settings, fence)
        self._plan(now)
        self._led = fence
        self._open_bouts(fence, now)  # a predecessor may have died between a run's end and its bout

    def _plan(self, now: datetime) -> None:
        self._jobs = plan_jobs(self._record, self._agenda, now, clock_may_go_back=not self._follows_requests)
        self._latest = now

    def _notice_clock(self, now: datetime) -> None:
        """Plans anew where the machine's clock was set back; what had come due by the wrong clock is due no more."""
        if self._latest is not None and now < self._latest - CLOCK_STEP and not self._follows_requests:
            log_line(
                "clock set back", level=logging.WARNING, seconds=round((self._latest - now).total_seconds()), now=now
            )
            self._settled = self._unsettled = None
            self._plan(now)
        self._latest = now

    def _look(self, fence: Fence, now: datetime) -> None:
        self._retraining.take_up(self._settings.watch.lease, fence)
        self._retraining.hear(fence, now)
        self._keep_shadows(fence)
        if self._stopwatch() - self._kept_house >= HOUSEKEEPING_SECONDS:
            self._kept_house = self._stopwatch()
            self._guarded("housekeeping", lambda: keep_house(self._record, self._settings, now))
        for follower in self._followers:
            follower.keep(fence)
        self._looked = self._stopwatch()
        if self._unsettled is None and self._worth_saying(now):
            self._unsettled = now

    def _worth_saying(self, now: datetime) -> bool:
        """Whether `settled_until` should move although nothing was due: at once for a client that waits for it."""
        if self._settled is None:
            return True
        patience = timedelta(0) if self._follows_requests else self._settings.watch.heartbeat
        return now > self._settled + patience and not due(self._jobs, now)

    def _run_due(self, fence: Fence, now: datetime) -> None:
        """Everything that is due, one time after the other; where time can wait, none before the last is settled."""
        while self._settle(fence):
            ready = due(self._jobs, now)
            if not ready:
                return
            as_of = ready[0].due_at if self._follows_requests else now
            group = sorted((job for job in ready if job.due_at <= as_of), key=lambda job: job.name)
            if self._follows_requests and not self._evidence_is_in(group, as_of):
                return
            self._run(group, fence, as_of)
            self._unsettled = as_of

    def _settle(self, fence: Fence) -> bool:
        """Whether nothing is left to wait for; says in the record up to when."""
        if self._unsettled is None:
            return True
        if self._follows_requests:
            if self._retraining.active:
                return False
            if not self._caught_up(self._unsettled):
                return False
        now = None if self._follows_requests else self._record.clock.now()
        self._record.leases.settle(fence, self._unsettled, now=now)
        self._settled, self._unsettled = self._unsettled, None
        return True

    def _evidence_is_in(self, group: Sequence[Job], as_of: datetime) -> bool:
        """Bouts are looked at once the shadows have scored what has matured."""
        if not any(job.name == "bouts" for job in group):
            return True
        return self._caught_up(as_of - self._settings.quality.label_horizon)

    def _caught_up(self, until: datetime) -> bool:
        return all(self._shadows.caught_up(bout, until) for bout in self._record.bouts.opened())

    def _run(self, group: Sequence[Job], fence: Fence, as_of: datetime) -> None:
        """One time's jobs, in order. What raises is written beside the job, and the others go on."""
        named = {job_name(job): job for job in group}
        runners: dict[JobName, Callable[[], object]] = {
            "bouts": lambda: self._bouts(fence, as_of),
            "drift": lambda: self._look_for_drift(named, fence, as_of),
            "labels": lambda: self._labels.run(fence, as_of),
            "quality": lambda: self._quality.run(fence, as_of),
            "retrain": lambda: self._weigh(named, fence, as_of),
        }
        if "schedule" in named and "retrain" not in named:
            runners["schedule"] = lambda: self._weigh(named, fence, as_of)
        for name, job in named.items():
            runner = runners.get(name)
            error = None if runner is None else self._guarded(name, runner)
            fail_point(f"watcher.{name}")
            self._record.jobs.finished(job.name, as_of, self._next_due(name, as_of), error, lease=fence)
        self._jobs = [job for job in self._record.jobs.all() if job.name in self._agenda]

    def _look_for_drift(self, group: Mapping[JobName, Job], fence: Fence, as_of: datetime) -> None:
        """Drift starts an evaluation at once: what it costs is asked of the labels and the answers, not of chance."""
        self._drift.run(fence, as_of)
        if "quality" in group:
            return
        found = self._record.events.latest(DriftDetected.kind)
        if found is not None and found.at == as_of:
            self._quality.run(fence, as_of, because="drift")

    def _next_due(self, name: JobName, as_of: datetime) -> datetime:
        """The next time on the job's grid; while there is no bout, bouts wait until anything else is due.

        Their grid is fine (a minute), and a client may move the requests' time by months at once.
        """
        schedule = self._agenda[name]
        if name == "bouts" and not self._record.bouts.opened():
            now = self._record.clock.now()
            others = min((job.due_at for job in self._jobs if job.name != name), default=now)
            as_of = max(as_of, min(now, others) - MICROSECOND)
        return schedule.next_due(as_of)

    def _weigh(self, group: Mapping[JobName, Job], fence: Fence, as_of: datetime) -> None:
        """Schedule and triggers that come together are one question: one run, or one refusal."""
        check = group.get("retrain")
        since = None if check is None else check.last_as_of
        if since is not None and since > as_of:  # checked by a clock that was ahead
            since = as_of - self._settings.retrain.check_every
        asks = [] if check is None else asks_of_checks(self._record, since, as_of)
        self._retraining.weigh(asks, "schedule" in group, fence, as_of)

    def _bouts(self, fence: Fence, as_of: datetime) -> None:
        settle_bouts(self._record, self._settings, fence, as_of)
        self._open_bouts(fence, as_of)

    def _open_bouts(self, fence: Fence, as_of: datetime) -> None:
        open_due_bouts(self._record, self._settings, fence, as_of)
        self._keep_shadows(fence)

    def _keep_shadows(self, fence: Fence) -> None:
        self._shadows.keep(self._record.bouts.opened(), fence)

    def _guarded(self, name: str, call: Callable[[], object]) -> str | None:
        """The error as text, None where all went well."""
        begun = self._stopwatch()
        try:
            call()
        except StaleLease:
            raise
        except Exception as error:  # noqa: BLE001 - one job's fault must not keep the others from running
            log_line("job failed", level=logging.ERROR, exc_info=True, job=name, error=repr(error))
            return f"{type(error).__name__}: {error}"
        log_line("job done", level=logging.DEBUG, job=name, seconds=round(self._stopwatch() - begun, 3))
        return None


def tick_every(settings: Settings) -> timedelta:
    """A replaying client waits for each due time; elsewhere a second is soon enough for anything."""
    return timedelta(milliseconds=20 if settings.clock.source == "requests" else 1000)
