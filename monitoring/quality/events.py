"""A quality check as events: what it measured, declines, and a concept that has drifted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.quality.decline import DeclineDecision
from monitoring.quality.measures import Metric
from monitoring.quality.page import QualityFindings
from monitoring.quality.rise import accumulate, days_json
from monitoring.quality.state import QualityState
from monitoring.quality.subject import Subject
from monitoring.quality.track_record import stretches_json
from record.events import ConceptDriftDetected, Event, QualityChecked, QualityDeclined
from record.settings import Settings


def quality_events(
    settings: Settings,
    subject: Subject,
    found: QualityFindings,
    added: QualityState,
    numbers: Mapping[str, Any],
    report: str,
) -> list[Event]:
    """The check itself, with the state that the next one goes on from; a decline at each check that finds one; a
    drifted concept at the one that first does."""
    champion = found.reports["champion"]
    checked = QualityChecked(
        as_of=champion.as_of,
        labels=champion.labelled,
        metrics={role: _plain(one.metrics) for role, one in found.reports.items()},
        numbers={**numbers, **_numbers(found), "estimated": _plain(found.estimated)},
        state=_state(subject, added),
        report=report,
        model_version=champion.version,
    )
    events: list[Event] = [checked]
    events += [_declined(settings, one, found, report) for one in found.decisions if one.declined]
    if found.gap >= 1 and accumulate(subject.state.gap).peak * settings.quality.alpha < 1:
        events.append(_drifted(settings, subject, found, added, report))
    return events


def _state(subject: Subject, added: QualityState) -> dict[str, Any]:
    return {
        "design": subject.design,
        "matured_until": _time(added.matured_until),
        "answered_until": _time(added.answered_until),
        "observed": days_json(added.observed),
        "estimated": days_json(added.estimated),
        "gap": days_json(added.gap),
        "stretches": stretches_json(added.stretches),
        "delay_log_e": added.delay_log_e,
    }


def _declined(settings: Settings, decision: DeclineDecision, found: QualityFindings, report: str) -> QualityDeclined:
    champion = found.reports["champion"]
    return QualityDeclined(
        as_of=champion.as_of,
        metric=settings.promotion.scoring,
        observed=decision.observed,
        expected=decision.promise.expected,
        labels=decision.rows,
        numbers=decision.to_json() | {"coverage": champion.coverage, "metrics": _plain(champion.metrics)},
        report=report,
        basis=decision.basis,
        model_version=champion.version,
    )


def _drifted(
    settings: Settings, subject: Subject, found: QualityFindings, added: QualityState, report: str
) -> ConceptDriftDetected:
    """The means are those of the labels that this check brought."""
    rows = sum(day.rows for day in added.gap.values())
    gap = sum(day.total for day in added.gap.values()) / max(1, rows) + subject.gap_allowed
    observed = sum(day.total for day in added.observed.values()) / max(1, rows) + subject.allowed
    champion = found.reports["champion"]
    return ConceptDriftDetected(
        as_of=champion.as_of,
        observed=observed,
        estimated=observed - gap,
        labels=rows,
        numbers={"evidence": found.gap, "allowed": subject.gap_allowed, "alpha": settings.quality.alpha},
        report=report,
        model_version=champion.version,
    )


def _numbers(found: QualityFindings) -> dict[str, Any]:
    return {
        "coverage": found.reports["champion"].coverage,
        "sampled_share": found.share,
        "declines": {decision.basis: decision.to_json() for decision in found.decisions},
        "gap": found.gap,
        "estimate": found.track_record.to_json(),
        "delays": found.delays.to_json(),
        "delay_depends_on_outcome": found.depends,
    }


def _plain(metrics: Mapping[str, Metric]) -> dict[str, list[float]]:
    return {name: metric.to_json() for name, metric in metrics.items()}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
