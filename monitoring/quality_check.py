"""The quality job: what the labels say, and what the answers expect of themselves, as samples, events and a page."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.cohort import Cohort, read_answers, read_mature
from monitoring.decline import Basis, DeclineDecision, Promise, decide_decline, lower_bound
from monitoring.delays import depends_on_outcome, report_delays
from monitoring.estimated_quality import Estimator, fit_estimator
from monitoring.groups import protected_groups
from monitoring.loss import Loss
from monitoring.measures import Metric, standard_error
from monitoring.quality import QualityReport, loss_of, observed_quality, operating_threshold
from monitoring.quality_page import QualityFindings, render_quality
from monitoring.quality_samples import show_quality
from monitoring.quality_state import QualityMemory, QualityState
from monitoring.rise import Days, accumulate, days_json, merge, sum_days
from monitoring.slices import quality_slices
from service.bout import Bout
from service.clock import MICROSECOND, to_micros
from service.database import canonical_json
from service.events import ConceptDriftDetected, Event, QualityChecked, QualityDeclined
from service.leases import Fence
from service.log_answers import first_answer
from service.record import Record
from service.registry import ModelVersion
from service.schema import Schema
from service.settings import Settings

ACTOR = "watcher"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Subject:
    """The champion, and how it is judged."""

    version: ModelVersion
    schema: Schema
    loss: Loss
    threshold: float | None
    promise: Promise | None
    gap_allowed: float  # by how much labels may disappoint estimates
    state: QualityState
    design: str


class QualityCheck:
    """Measures the champion on its own mature answers, and beside it, on the same requests, what the shadows said.

    Each check adds the requests that matured since the last one to the evidence of a decline; what it adds stands in
    its event, so that the evidence can be worked out again from the trail alone.
    """

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record
        self._schemas: dict[str, Schema] = {}
        self._memory = QualityMemory(record.events)

    def run(self, fence: Fence | None, as_of: datetime, because: str = "due") -> QualityReport | None:
        """The champion's report; None without a champion. Says a decline anew at each check that finds one."""
        champion = self._record.registry.roles().champion
        if champion is None:
            return None
        subject = self._subject(self._record.registry.version(champion))
        quality = self._settings.quality
        end = as_of - quality.label_horizon
        begun = self._begun(subject, end)
        mature = self._mature(subject, min(begun, end - quality.window), end)
        window = mature.take(mature.times > to_micros(end - quality.window))
        fresh = mature.take(mature.times > to_micros(begun))
        estimator = fit_estimator(window, subject.loss, subject.version.card, subject.threshold)
        answers = read_answers(self._record.log, subject.schema, champion, self._answered(subject, begun, as_of), as_of)
        waiting = read_answers(self._record.log, subject.schema, champion, end, as_of)
        before = mature.take(mature.times <= to_micros(begun))
        added = self._added(subject, before, fresh, answers, estimator)
        found = self._findings(subject, window, fresh, waiting if len(waiting) else answers, estimator, added, as_of)
        page = render_quality(found, window, estimator, subject.loss)
        report = self._record.reports.add("quality", page, champion)
        show_quality(self._record.samples, found, as_of)
        numbers = {"because": because, "requests_per_day": _per_day(window, quality.window)}
        self._say(subject, found, added, numbers, (end, as_of), report, fence)
        return found.reports["champion"]

    def _subject(self, version: ModelVersion) -> _Subject:
        quality = self._settings.quality
        loss = loss_of(version, self._settings)
        promise = Promise.of(version.card, quality.tolerance, quality.alpha)
        allowed = promise.allowed if promise else 1.0
        gap = quality.tolerance * (promise.expected if promise else 0.0)
        design = hashlib.sha256(canonical_json([loss.name, loss.scale, allowed, gap]).encode()).hexdigest()[:16]
        state = self._memory.state(version.version, design)
        schema = self._schema(version)
        return _Subject(version, schema, loss, operating_threshold(version.card), promise, gap, state, design)

    def _schema(self, version: ModelVersion) -> Schema:
        if version.version not in self._schemas:
            directory = self._record.registry.directory(version.version)
            self._schemas[version.version] = Schema.from_json((directory / "schema.json").read_bytes())
        return self._schemas[version.version]

    def _begun(self, subject: _Subject, end: datetime) -> datetime:
        """Behind which request the evidence goes on: at the champion's first answer where there was no check yet."""
        if subject.state.matured_until is not None:
            return min(subject.state.matured_until, end)
        first = first_answer(self._record.database, subject.version.version)
        return end if first is None else min(first - MICROSECOND, end)

    def _answered(self, subject: _Subject, begun: datetime, as_of: datetime) -> datetime:
        if subject.state.answered_until is not None:
            return min(subject.state.answered_until, as_of)
        first = first_answer(self._record.database, subject.version.version)
        return as_of if first is None else min(first - MICROSECOND, begun)

    def _mature(self, subject: _Subject, after: datetime, until: datetime) -> Cohort:
        asked = {*self._settings.quality.slices, *subject.schema.problem.protected}
        carried = [c.name for c in subject.schema.problem.columns if c.role == "carried" and c.name in asked]
        horizon = self._settings.quality.label_horizon
        return read_mature(self._record.log, subject.schema, subject.version.version, after, until, horizon, carried)

    def _added(
        self, subject: _Subject, before: Cohort, fresh: Cohort, answers: Cohort, estimator: Estimator
    ) -> QualityState:
        """What this check adds to the evidence. What fresh labels are held against was known before they came."""
        known = fresh.known()
        losses = known.losses(subject.loss)
        allowed = subject.promise.allowed if subject.promise else 1.0
        earlier = fit_estimator(before, subject.loss, subject.version.card, subject.threshold)
        gap = np.clip(losses - earlier.losses(known) - subject.gap_allowed, -1.0, 1.0)
        log_e = report_delays(fresh).log_e
        return QualityState(
            observed=sum_days(losses - allowed, known.days),
            estimated=sum_days(estimator.losses(answers) - allowed, answers.days),
            gap=sum_days(gap, known.days) if subject.promise else {},
            delay_log_e=log_e,
            delay_highest=max(subject.state.delay_highest, subject.state.delay_log_e + log_e),
        )

    def _findings(
        self,
        subject: _Subject,
        window: Cohort,
        fresh: Cohort,
        recent: Cohort,
        estimator: Estimator,
        added: QualityState,
        as_of: datetime,
    ) -> QualityFindings:
        quality = self._settings.quality
        known = window.known()
        champion = observed_quality(
            window, subject.loss, version=subject.version.version, as_of=as_of, threshold=subject.threshold
        )
        reports = {"champion": champion}
        for role, bout in self._beside().items():
            reports[role] = self._shadowed(bout, known, as_of)
        estimated = estimator.metrics(recent)
        decisions = []
        if subject.promise is not None:
            losses = (known.losses(subject.loss), known.days), (estimator.losses(recent), recent.days)
            for basis, (values, days) in zip(("observed", "estimated"), losses, strict=True):
                decisions.append(self._decision(basis, subject, subject.promise, added, values, days))  # type: ignore[arg-type]
        delays = report_delays(window)
        return QualityFindings(
            reports=reports,
            estimated=estimated,
            decisions=decisions,
            gap=self._gap(subject, added),
            slices=quality_slices(known, subject.loss, quality.slices, quality.min_slice_labels, subject.threshold),
            groups=protected_groups(known, subject.loss, quality.min_slice_labels, subject.threshold),
            delays=delays,
            depends=depends_on_outcome(delays, added.delay_highest, quality.alpha),
        )

    def _decision(
        self,
        basis: Basis,
        subject: _Subject,
        promise: Promise,
        added: QualityState,
        losses: Floats,
        days: npt.NDArray[np.int64],
    ) -> DeclineDecision:
        held: Days = merge([getattr(subject.state, basis), getattr(added, basis)])
        variance = subject.version.card.get("reference_day_variance")
        recent = float(losses.mean()) if len(losses) else math.nan
        error, _ = standard_error(losses, days)
        return decide_decline(
            basis,
            promise,
            accumulate(held, variance),
            recent=recent,
            lower=lower_bound(recent, error, len(losses), self._settings.quality.alpha),
            rows=len(losses),
            min_rows=self._settings.quality.min_labels,
        )

    def _gap(self, subject: _Subject, added: QualityState) -> float:
        """The highest that the evidence stood, divided by what an alarm needs."""
        held = merge([subject.state.gap, added.gap])
        if sum(day.rows for day in held.values()) < self._settings.quality.min_labels:
            return 0.0
        return accumulate(held).peak * self._settings.quality.alpha

    def _beside(self) -> dict[str, Bout]:
        """Who else answers in the shadow: the newest challenger, and the former champion during a probation."""
        found = {}
        for bout in self._record.bouts.opened():
            found["challenger" if bout.kind == "challenge" else "previous"] = bout
        return found

    def _shadowed(self, bout: Bout, known: Cohort, as_of: datetime) -> QualityReport:
        version = self._record.registry.version(bout.challenger)
        asked = known.take(known.seqs > bout.after_seq)
        scores = self._record.bouts.scores(bout.bout, asked.seqs.tolist())
        answered = [seq in scores and scores[seq].prediction is not None for seq in asked.seqs.tolist()]
        asked = asked.take(np.array(answered, dtype=np.bool_))
        held = [scores[seq] for seq in asked.seqs.tolist()]
        said = asked.answered(
            self._schema(version), [str(score.prediction) for score in held], [score.probabilities for score in held]
        )
        loss, threshold = loss_of(version, self._settings), operating_threshold(version.card)
        return observed_quality(said, loss, version=version.version, as_of=as_of, threshold=threshold)

    def _say(
        self,
        subject: _Subject,
        found: QualityFindings,
        added: QualityState,
        numbers: Mapping[str, Any],
        until: tuple[datetime, datetime],
        report: str,
        fence: Fence | None,
    ) -> None:
        champion = found.reports["champion"]
        state = {
            "design": subject.design,
            "matured_until": until[0].isoformat(),
            "answered_until": until[1].isoformat(),
            "observed": days_json(added.observed),
            "estimated": days_json(added.estimated),
            "gap": days_json(added.gap),
            "delay_log_e": added.delay_log_e,
        }
        checked = QualityChecked(
            as_of=champion.as_of,
            labels=champion.labelled,
            metrics={role: _plain(one.metrics) for role, one in found.reports.items()},
            numbers={**numbers, **_numbers(found), "estimated": _plain(found.estimated)},
            state=state,
            report=report,
            model_version=champion.version,
        )
        declined = [one for one in found.decisions if one.declined]
        events: list[Event] = [checked, *(self._declined(one, champion, report) for one in declined)]
        if found.gap >= 1 and accumulate(subject.state.gap).peak * self._settings.quality.alpha < 1:
            events.append(self._drifted(subject, found, added, report))
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            for event in events:
                self._record.events.append(event, actor=ACTOR, at=champion.as_of, connection=connection)

    def _declined(self, decision: DeclineDecision, champion: QualityReport, report: str) -> QualityDeclined:
        numbers = decision.to_json() | {
            "coverage": champion.coverage,
            "metrics": _plain(champion.metrics),
        }
        return QualityDeclined(
            as_of=champion.as_of,
            metric=self._settings.promotion.loss,
            observed=decision.observed,
            expected=decision.promise.expected,
            labels=decision.rows,
            numbers=numbers,
            report=report,
            basis=decision.basis,
            model_version=champion.version,
        )

    def _drifted(
        self, subject: _Subject, found: QualityFindings, added: QualityState, report: str
    ) -> ConceptDriftDetected:
        """The means are those of the labels that this check brought."""
        rows = sum(day.rows for day in added.gap.values())
        gap = sum(day.total for day in added.gap.values()) / max(1, rows) + subject.gap_allowed
        allowed = subject.promise.allowed if subject.promise else 0.0
        observed = sum(day.total for day in added.observed.values()) / max(1, rows) + allowed
        champion = found.reports["champion"]
        return ConceptDriftDetected(
            as_of=champion.as_of,
            observed=observed,
            estimated=observed - gap,
            labels=rows,
            numbers={"evidence": found.gap, "allowed": subject.gap_allowed, "alpha": self._settings.quality.alpha},
            report=report,
            model_version=champion.version,
        )


def _numbers(found: QualityFindings) -> dict[str, Any]:
    return {
        "coverage": found.reports["champion"].coverage,
        "declines": {decision.basis: decision.to_json() for decision in found.decisions},
        "gap": found.gap,
        "delays": found.delays.to_json(),
        "delay_depends_on_outcome": found.depends,
    }


def _plain(metrics: Mapping[str, Metric]) -> dict[str, list[float]]:
    return {name: metric.to_json() for name, metric in metrics.items()}


def _per_day(window: Cohort, length: timedelta) -> float:
    """Requests a day, over the days that the window's requests span (at least one)."""
    if not len(window):
        return 0.0
    spanned = timedelta(microseconds=int(window.times[-1] - window.times[0]))
    return len(window) / max(1.0, min(length, spanned) / timedelta(days=1))
