"""The quality job: what the labels say, and what the answers expect of themselves, as samples, events and a page."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from monitoring.quality.cohort import Cohort
from monitoring.quality.cohorts import QualityCohorts, read_cohorts
from monitoring.quality.decline import Basis, DeclineDecision, decide_decline, lower_bound
from monitoring.quality.delays import depends_on_outcome, report_delays
from monitoring.quality.estimated import fit_estimator
from monitoring.quality.events import quality_events
from monitoring.quality.groups import protected_groups
from monitoring.quality.measures import standard_error
from monitoring.quality.observed import QualityReport, observed_quality
from monitoring.quality.page import QualityFindings, render_quality
from monitoring.quality.promise import Promise
from monitoring.quality.rise import DaySums, accumulate, believed_variance, merge, sum_days
from monitoring.quality.samples import show_quality
from monitoring.quality.shadow import side_by_side
from monitoring.quality.slices import quality_slices
from monitoring.quality.state import QualityState
from monitoring.quality.subject import Subject, Subjects
from monitoring.quality.sustained import decline_evidence
from monitoring.quality.track_record import Stretch, TrackedEstimator, TrackRecord, newest, track, tracked
from record.clock import MICROSECOND, to_micros
from record.dependence import entity_effect
from record.events import Event
from record.record import Record
from record.settings import Settings
from record.work.leases import Fence

ACTOR = "watcher"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Checked:
    """One check of one champion, before anybody is told."""

    subject: Subject
    cohorts: QualityCohorts
    estimator: TrackedEstimator
    added: QualityState
    found: QualityFindings


class QualityCheck:
    """Measures the champion on its own mature answers, and beside it, on the same requests, what the shadows said.

    Each check adds the requests that matured since the last one to the evidence of a decline; what it adds stands in
    its event, so that the evidence can be worked out again from the trail alone.
    """

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record
        self._subjects = Subjects(settings, record)

    def run(self, fence: Fence | None, as_of: datetime, because: str = "due") -> QualityReport | None:
        """The champion's report; None without a champion. Says a decline anew at each check that finds one."""
        checked = self._check(as_of)
        if checked is None:
            return None
        champion, found = checked.subject.version.version, checked.found
        page = render_quality(
            found, checked.cohorts.window, checked.estimator, checked.subject.loss, self._settings.problem.unit
        )
        report = self._record.reports.add("quality", page, champion)
        show_quality(self._record.samples, found, as_of)
        self._say(self._events(checked, because, report), fence, as_of)
        return found.reports["champion"]

    def events(self, as_of: datetime) -> list[Event]:
        """What a check as of then says, from the record alone; writes nothing, and has no page."""
        checked = self._check(as_of)
        return [] if checked is None else self._events(checked, "due", "")

    def _check(self, as_of: datetime) -> _Checked | None:
        champion = self._record.registry.roles().champion
        if champion is None:
            return None
        subject = self._subjects.of(self._record.registry.version(champion))
        end = as_of - self._settings.quality.label_horizon
        cohorts = read_cohorts(self._record, self._settings, subject, end, as_of)
        stretches = self._stretches(subject, cohorts.window, end)
        record = TrackRecord(newest(subject.state.stretches, stretches))
        own = fit_estimator(cohorts.window, subject.loss, subject.version.card, subject.threshold)
        known = cohorts.window.known()
        estimator = tracked(own, known, subject.loss, subject.threshold, record, self._horizon, to_micros(end))
        added = replace(_added(subject, cohorts, estimator, end, as_of), stretches=stretches)
        found = self._findings(subject, cohorts, estimator, added, as_of)
        return _Checked(subject, cohorts, estimator, added, found)

    @property
    def _horizon(self) -> int:
        return self._settings.quality.label_horizon // MICROSECOND

    def _stretches(self, subject: Subject, window: Cohort, end: datetime) -> dict[int, Stretch]:
        return track(
            window, subject.loss, subject.version.card, subject.threshold,
            length=self._horizon, end=to_micros(end), known=subject.state.stretches,
        )  # fmt: skip

    def _events(self, checked: _Checked, because: str, report: str) -> list[Event]:
        window = self._settings.quality.window
        numbers = {
            "because": because,
            "requests_per_day": checked.cohorts.requests_per_day(window),
            "loss_unit": checked.subject.loss.scale,
            "set_aside": checked.cohorts.set_aside,
        }
        return quality_events(self._settings, checked.subject, checked.found, checked.added, numbers, report)

    def _findings(
        self,
        subject: Subject,
        cohorts: QualityCohorts,
        estimator: TrackedEstimator,
        added: QualityState,
        as_of: datetime,
    ) -> QualityFindings:
        quality = self._settings.quality
        window, known = cohorts.window, cohorts.window.known()
        recent = cohorts.waiting if len(cohorts.waiting) else cohorts.answers
        champion = observed_quality(
            window, subject.loss, version=subject.version.version, as_of=as_of, threshold=subject.threshold
        )
        beside = side_by_side(self._record, self._subjects, subject, known, as_of)
        delays = report_delays(window)
        return QualityFindings(
            reports={"champion": champion, **beside.reports},
            differences=beside.differences,
            estimated=estimator.metrics(recent),
            decisions=self._decisions(subject, known, recent, estimator, added),
            gap=self._gap(subject, added),
            slices=quality_slices(known, subject.loss, quality.slices, quality.min_slice_labels, subject.threshold),
            groups=protected_groups(known, subject.loss, quality.min_slice_labels, subject.threshold),
            delays=delays,
            depends=depends_on_outcome(delays, added.delay_highest, quality.alpha),
            track_record=estimator.record,
            share=cohorts.share,
            set_aside=cohorts.set_aside,
        )

    def _decisions(
        self, subject: Subject, known: Cohort, recent: Cohort, estimator: TrackedEstimator, added: QualityState
    ) -> list[DeclineDecision]:
        if subject.promise is None:
            return []
        if estimator.by_last_labels:
            recent = estimator.last_labels
            expected = recent.losses(subject.loss)
        else:
            expected = estimator.losses(recent)
        return [
            self._decision("observed", subject, subject.promise, added, known, known.losses(subject.loss)),
            self._decision("estimated", subject, subject.promise, added, recent, expected),
        ]

    def _decision(
        self, basis: Basis, subject: Subject, promise: Promise, added: QualityState, rows: Cohort, losses: Floats
    ) -> DeclineDecision:
        held: dict[int, DaySums] = merge([getattr(subject.state, basis), getattr(added, basis)])
        variance = believed_variance(promise.expected, subject.version.card.get("reference_day_variance"), len(held))
        recent = float(losses.mean()) if len(losses) else math.nan
        error, _ = standard_error(losses, rows.clusters)
        repeats = entity_effect(losses, None, rows.entities)
        return decide_decline(
            basis,
            promise,
            decline_evidence(held, promise, variance, repeats),
            recent=recent,
            lower=lower_bound(recent, error, len(losses), self._settings.quality.alpha),
            rows=len(losses),
            min_rows=self._settings.quality.min_labels,
        )

    def _gap(self, subject: Subject, added: QualityState) -> float:
        """The highest that the evidence stood, divided by what an alarm needs."""
        held = merge([subject.state.gap, added.gap])
        if sum(day.rows for day in held.values()) < self._settings.quality.min_labels:
            return 0.0
        return accumulate(held).peak * self._settings.quality.alpha

    def _say(self, events: list[Event], fence: Fence | None, as_of: datetime) -> None:
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            for event in events:
                self._record.events.append(event, actor=ACTOR, at=as_of, connection=connection)


def _added(
    subject: Subject, cohorts: QualityCohorts, estimator: TrackedEstimator, end: datetime, as_of: datetime
) -> QualityState:
    """What this check adds to the evidence. Last labels in an estimate's place have been added as labels already."""
    known, answers = cohorts.fresh.known(), cohorts.answers
    losses = known.losses(subject.loss)
    log_e = report_delays(cohorts.fresh).log_e
    return QualityState(
        matured_until=max(end, subject.state.matured_until or end),
        answered_until=max(as_of, subject.state.answered_until or as_of),
        observed=sum_days(losses - subject.allowed, known.days),
        estimated={}
        if estimator.by_last_labels
        else sum_days(estimator.losses(answers) - subject.allowed, answers.days),
        gap=_gap_added(subject, cohorts.before, known, losses),
        delay_log_e=log_e,
        delay_highest=max(subject.state.delay_highest, subject.state.delay_log_e + log_e),
    )


def _gap_added(subject: Subject, before: Cohort, known: Cohort, losses: Floats) -> dict[int, DaySums]:
    """How far fresh labels disappoint what was to be expected of them before they came."""
    if subject.promise is None or not len(known):
        return {}
    earlier = fit_estimator(before, subject.loss, subject.version.card, subject.threshold)
    return sum_days(np.clip(losses - earlier.losses(known) - subject.gap_allowed, -1.0, 1.0), known.days)
