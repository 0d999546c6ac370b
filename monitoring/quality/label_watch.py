"""Whether labels that are due still come. The decision is pure; the watch reads the record and says a change.

Labels come in bursts as often as one by one: a nightly export is silent for a day, and nothing is wrong. So a silence
is held against the silences of the last month, and against how many labels the requests of that time should have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from monitoring.quality.check import ACTOR
from record.events import Event, LabelsResumed, LabelsStopped, QualityChecked
from record.log.label_arrivals import LabelArrivals, label_arrivals, requests_between
from record.record import Record
from record.settings import Settings
from record.work.leases import Fence

PAST = timedelta(days=30)
# A silence that is longer than all of n past ones comes by chance once in n + 1: half as long again is for the tail.
LONGER = 1.5
# Fewer silences say nothing about how long one may be; the label horizon then stands beside them.
FEWEST_SILENCES = 5
# By Poisson's law, where twenty labels are expected none comes in two of a thousand million cases.
FEWEST_EXPECTED = 20.0


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """`longest` is the longest silence of the past month; `expected` the labels due since the last one came."""

    as_of: datetime
    last_label_at: datetime
    longest: timedelta
    silences: int
    expected: float
    horizon: timedelta

    @property
    def silence(self) -> timedelta:
        return self.as_of - self.last_label_at

    @property
    def allowed(self) -> timedelta:
        """The longest silence that is nothing yet."""
        known = self.longest if self.silences >= FEWEST_SILENCES else max(self.longest, self.horizon)
        return known * LONGER


def labels_stopped(facts: LabelFacts) -> bool:
    """Whether labels should have come and did not."""
    return facts.silence > facts.allowed and facts.expected >= FEWEST_EXPECTED


def longest_silence(minutes: Sequence[datetime]) -> tuple[timedelta, int]:
    """The longest time between two minutes in which labels came, and how many such times there are."""
    gaps = [later - earlier for earlier, later in pairwise(minutes)]
    return max(gaps, default=timedelta(0)), len(gaps)


class LabelWatch:
    """Looks whenever triggers are weighed. An event where labels stop, and where they come again."""

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record

    def run(self, fence: Fence | None, as_of: datetime) -> LabelFacts | None:
        """The facts; None while no label has ever come, which is no stop."""
        arrivals = label_arrivals(self._record.database, as_of - PAST, as_of)
        if arrivals.last is None:
            return None
        facts = self._facts(arrivals, arrivals.last, as_of)
        stopped = labels_stopped(facts)
        self._record.samples.put(
            [
                ("ringside_last_label_timestamp_seconds", {}, arrivals.last.timestamp()),
                ("ringside_labels_stopped", {}, float(stopped)),
            ],
            as_of,
        )
        if stopped != self._said():
            self._say(facts, stopped, fence)
        return facts

    def _facts(self, arrivals: LabelArrivals, last: datetime, as_of: datetime) -> LabelFacts:
        """What the requests of the silence should have brought, by the coverage and delay of the last check."""
        checked = self._record.events.latest(QualityChecked.kind)
        numbers = {} if checked is None else checked.data["numbers"]
        coverage = float(numbers.get("coverage") or 0.0)
        quantiles = (numbers.get("delays") or {}).get("quantiles") or {}
        horizon = self._settings.quality.label_horizon
        delay = timedelta(seconds=quantiles["0.9"]) if "0.9" in quantiles else horizon
        due = requests_between(self._record.database, last - delay, as_of - delay)
        longest, silences = longest_silence(arrivals.minutes)
        return LabelFacts(as_of, last, longest, silences, coverage * due, horizon)

    def _said(self) -> bool:
        last = self._record.events.latest([LabelsStopped.kind, LabelsResumed.kind])
        return last is not None and last.kind == LabelsStopped.kind

    def _say(self, facts: LabelFacts, stopped: bool, fence: Fence | None) -> None:
        numbers = {
            "silence_seconds": facts.silence.total_seconds(),
            "allowed_seconds": facts.allowed.total_seconds(),
            "longest_seconds": facts.longest.total_seconds(),
            "silences": facts.silences,
            "expected_labels": facts.expected,
        }
        kind: type[LabelsStopped] | type[LabelsResumed] = LabelsStopped if stopped else LabelsResumed
        event: Event = kind(as_of=facts.as_of, last_label_at=facts.last_label_at, numbers=numbers)
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            self._record.events.append(event, actor=ACTOR, at=facts.as_of, connection=connection)
