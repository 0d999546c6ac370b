"""What the watcher does, and when: the jobs that the settings ask for, each with its grid of times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, cast, get_args

from monitoring.schedule import Every, Schedule
from record.record import Record
from record.settings import Settings
from record.work.jobs import Job

JobName = Literal["bouts", "drift", "labels", "quality", "retrain", "schedule"]


def agenda(settings: Settings, cron: Callable[[str], Schedule]) -> dict[JobName, Schedule]:
    """The jobs by name. Where they come due together, they run in the order of their names.

    So bouts are settled before a new champion is measured, and what was measured is known when retraining is weighed.
    """
    jobs: dict[JobName, Schedule] = {
        "bouts": Every(settings.promotion.every),
        "drift": Every(settings.drift.every),
        "labels": Every(settings.retrain.check_every),  # they are what triggers are weighed by
        "quality": Every(settings.quality.every),
        "retrain": Every(settings.retrain.check_every),
    }
    if settings.retrain.schedule is not None:
        jobs["schedule"] = cron(settings.retrain.schedule)
    return jobs


def plan_jobs(record: Record, jobs: Mapping[JobName, Schedule], now: datetime, *, clock_may_go_back: bool) -> list[Job]:
    """The jobs as they stand in the record, new and changed ones planned from `now` on, others kept or dropped.

    Where time is the machine's, a due time beyond the next on the grid is brought back to the grid: it was set while
    the clock was wrong, and might lie years ahead.
    """
    for name, schedule in jobs.items():
        first = schedule.next_due(now)
        record.jobs.plan(name, str(schedule), first, latest=first if clock_may_go_back else None)
    for job in record.jobs.all():
        if job.name not in jobs:
            record.jobs.drop(job.name)
    return [job for job in record.jobs.all() if job.name in jobs]


def job_name(job: Job) -> JobName:
    assert job.name in get_args(JobName)
    return cast(JobName, job.name)
