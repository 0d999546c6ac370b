"""The champion's rows that a quality check looks at; of many an even sample, drawn by the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.quality.cohort import Cohort, read_answers, read_mature
from monitoring.quality.subject import Subject
from record.clock import MICROSECOND, to_micros
from record.feed_faults import FeedFaults, read_feed_faults
from record.log.answers import first_answer
from record.log.label_arrivals import requests_between
from record.record import Record
from record.settings import Settings

# Their mean loss is known to a two-hundredth of its spread, finer than any decline that is asked for, and they are
# read and decoded in seconds. A champion with millions of requests a month is looked at as fast as any.
SAMPLED_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class QualityCohorts:
    """`window`: what is mature and recent. The check before ended at `begun`: `fresh` matured since, `before` was
    mature already. `answers` were given since the check before; `waiting` are not mature yet."""

    window: Cohort
    share: float  # of the requests in the window that `window` was drawn from
    fresh: Cohort
    before: Cohort
    answers: Cohort
    waiting: Cohort
    set_aside: int = 0  # rows of the window that belong to a broken feed

    def requests_per_day(self, length: timedelta) -> float:
        """Over the days that the window's requests span (at least one)."""
        if not len(self.window):
            return 0.0
        spanned = timedelta(microseconds=int(self.window.times[-1] - self.window.times[0]))
        return len(self.window) / self.share / max(1.0, min(length, spanned) / timedelta(days=1))


def read_cohorts(
    record: Record, settings: Settings, subject: Subject, end: datetime, as_of: datetime
) -> QualityCohorts:
    """`end` is the watermark: what was asked until then is mature."""
    begun = _begun(record, subject, end)
    faults = read_feed_faults(record.events, as_of)
    window, share, aside = _mature(record, settings, subject, end - settings.quality.window, end, faults)
    fresh, _, _ = _mature(record, settings, subject, begun, end, faults)
    answered = _answered(record, subject, begun, as_of)
    return QualityCohorts(
        window=window,
        share=share,
        fresh=fresh,
        before=window.take(window.times <= to_micros(begun)),
        answers=_answers(record, settings, subject, answered, as_of, faults),
        waiting=_answers(record, settings, subject, end, as_of, faults),
        set_aside=aside,
    )


def _mature(
    record: Record, settings: Settings, subject: Subject, after: datetime, until: datetime, faults: FeedFaults
) -> tuple[Cohort, float, int]:
    asked = {*settings.quality.slices, *subject.schema.problem.protected}
    carried = [c.name for c in subject.schema.problem.columns if c.role == "carried" and c.name in asked]
    share = _share(record, after, until)
    horizon = settings.quality.label_horizon
    version = subject.version.version
    cohort, aside = read_mature(
        record.log,
        subject.schema,
        version,
        after,
        until,
        horizon,
        carried,
        share,
        faults,
        settings.problem.entity_column,
    )
    return cohort, share, aside


def _answers(
    record: Record, settings: Settings, subject: Subject, after: datetime, until: datetime, faults: FeedFaults
) -> Cohort:
    share = _share(record, after, until)
    version, entity = subject.version.version, settings.problem.entity_column
    return read_answers(record.log, subject.schema, version, after, until, share, faults, entity)


def _share(record: Record, after: datetime, until: datetime) -> float:
    """Counted over all versions: the index of times alone tells it."""
    return min(1.0, SAMPLED_ROWS / max(1, requests_between(record.database, after, until)))


def _begun(record: Record, subject: Subject, end: datetime) -> datetime:
    """Behind which request the evidence goes on: at the champion's first answer where there was no check yet.

    A longer label horizon moves the watermark back: it is then behind `end`, and nothing is counted twice.
    """
    if subject.state.matured_until is not None:
        return subject.state.matured_until
    first = first_answer(record.database, subject.version.version)
    return end if first is None else min(first - MICROSECOND, end)


def _answered(record: Record, subject: Subject, begun: datetime, as_of: datetime) -> datetime:
    if subject.state.answered_until is not None:
        return subject.state.answered_until
    first = first_answer(record.database, subject.version.version)
    return as_of if first is None else min(first - MICROSECOND, begun)
