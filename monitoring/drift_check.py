"""The drift job: the champion's reference against the log's window, told as samples, events and a page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from monitoring.data_check import DataCheck, DataFacts
from monitoring.data_page import link_pages
from monitoring.drift import DriftMeter, DriftReport, alarm_level, evidently_html
from monitoring.windows import Window, current_window, reference_window
from service.clock import MICROSECOND
from service.event_log import RecordedEvent
from service.events import DriftChecked, DriftDetected
from service.leases import Fence
from service.log_window import LogSpan, log_span
from service.record import Record
from service.registry import ModelVersion
from service.schema import Schema
from service.settings import Settings

ACTOR = "watcher"

# Of the features that drifted, those with the largest excess are drawn: each takes .2 s of the watcher's time.
DRAWN_COLUMNS = 6


class DriftCheck:
    """Keeps the champion's meter between checks: its reference is read, and its chance worked out, once.

    Every check sets the scores. Once in `drift.decide_every` a check decides: only then are features called drifted,
    an event written, and, where features drifted that had not when the last page was drawn, a page kept. So the
    budget of false alarms is spent on decisions, however often it is measured.
    """

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record
        self._meters: dict[str, tuple[DriftMeter, Schema]] = {}
        self._data = DataCheck(record, tuple(settings.log.redact))

    def run(self, fence: Fence | None, as_of: datetime) -> DriftReport | None:
        """The report; None without a champion or with too few rows, which a deciding check says in its event."""
        champion = self._record.registry.roles().champion
        if champion is None:
            return None
        version = self._record.registry.version(champion)
        decides = self._decides(version, as_of)
        drift = self._settings.drift
        span = log_span(self._record.database, as_of, drift.window, drift.min_rows)
        self._show_window(span, as_of)
        if span.rows < drift.min_rows:
            if decides:
                self._say_too_few(version, span.rows, as_of, fence)
            return None
        meter, schema = self._meter(version)
        current = current_window(self._record.database, span, schema, champion)
        report = meter.measure(current, as_of)
        self._show(report, decides)
        quality = self._data.look(meter.reference, current, schema, as_of)
        if decides:
            data = self._data.decide(quality, meter.reference, current, schema, champion, as_of)
            self._decide(version, report, meter.reference, current, data, fence)
        return report

    def _meter(self, version: ModelVersion) -> tuple[DriftMeter, Schema]:
        held = self._meters.get(version.version)
        if held is None:
            directory = self._record.registry.directory(version.version)
            schema = Schema.from_json((directory / "schema.json").read_bytes())
            reference = reference_window(directory, schema)
            statistics = 2 * (len(reference.numbers) + len(reference.categories))
            drift = self._settings.drift
            level = alarm_level(drift.false_alarms_per_quarter, drift.decide_every, statistics)
            held = DriftMeter(reference, level=level), schema
            self._meters = {version.version: held}
        return held

    def _decides(self, version: ModelVersion, as_of: datetime) -> bool:
        since = as_of - self._settings.drift.decide_every + MICROSECOND
        found, _ = self._record.events.page(kind=DriftChecked.kind, model=version.version, since=since, limit=1)
        return not found

    def _say_too_few(self, version: ModelVersion, rows: int, as_of: datetime, fence: Fence | None) -> None:
        numbers = {"decided": False, "reason": "too few rows", "min_rows": self._settings.drift.min_rows}
        event = DriftChecked(as_of=as_of, rows=rows, numbers=numbers, model_version=version.version)
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            self._record.events.append(event, actor=ACTOR, at=as_of, connection=connection)

    def _show_window(self, span: LogSpan, as_of: datetime) -> None:
        numbers = {"rows": float(span.rows), "age_seconds": span.age(as_of).total_seconds()}
        self._record.samples.put([(f"ringside_drift_window_{name}", {}, n) for name, n in numbers.items()], as_of)

    def _show(self, report: DriftReport, decides: bool) -> None:
        samples, at = self._record.samples, report.as_of
        scores = [({"feature": c.feature, "method": c.method}, c.score) for c in report.columns]
        samples.replace("ringside_feature_drift_score", scores, at)
        samples.put([("ringside_drift_check_timestamp_seconds", {}, at.timestamp())], at)
        if decides:
            features = dict.fromkeys(column.feature for column in report.columns)
            flags = [({"feature": name}, float(name in report.drifted)) for name in features]
            samples.replace("ringside_feature_drifted", flags, at)
            samples.put([("ringside_drifted_features", {}, float(len(report.drifted)))], at)

    def _decide(
        self,
        version: ModelVersion,
        report: DriftReport,
        reference: Window,
        current: Window,
        data: DataFacts,
        fence: Fence | None,
    ) -> None:
        facts: dict[str, Any] = {
            "as_of": report.as_of,
            "rows": report.rows,
            "drifted": report.drifted,
            "report": self._page(version, report, reference, current, data) if report.drifted else None,
            "scores": _scores(report),
            "numbers": {**_numbers(report), **data.numbers},
            "model_version": version.version,
        }
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            self._record.events.append(DriftChecked(**facts), actor=ACTOR, at=report.as_of, connection=connection)
            if report.drifted:
                self._record.events.append(DriftDetected(**facts), actor=ACTOR, at=report.as_of, connection=connection)

    def _page(
        self, version: ModelVersion, report: DriftReport, reference: Window, current: Window, data: DataFacts
    ) -> str | None:
        """The page that shows these features as drifted: the last one, or a new one where one of them is new."""
        last = self._last_drawn(version, report.as_of)
        if last is not None and set(report.drifted) <= set(last.data["drifted"]):
            return str(last.data["report"])
        drawn = report.worst(DRAWN_COLUMNS)
        if not drawn.columns:
            return None
        page = link_pages(evidently_html(reference, current, drawn), data.report, data.lines(report.as_of, current))
        return self._record.reports.add("drift", page, version.version)

    def _last_drawn(self, version: ModelVersion, as_of: datetime) -> RecordedEvent | None:
        since = as_of - timedelta(days=30)  # an older page shows an older window
        found, _ = self._record.events.page(
            kind=DriftDetected.kind, model=version.version, since=since, until=as_of + MICROSECOND, limit=1000
        )
        return next((event for event in reversed(found) if event.data["report"]), None)


def _scores(report: DriftReport) -> Mapping[str, Any]:
    """Each statistic with its threshold, as the audit trail keeps them."""
    return {
        f"{column.feature}:{column.method}": {
            "score": round(column.score, 6),
            "threshold": round(column.threshold, 6),
            "drifted": column.drifted,
        }
        for column in report.columns
    }


def _numbers(report: DriftReport) -> Mapping[str, Any]:
    return {
        "decided": True,
        "since": report.since,
        "reference_rows": report.reference_rows,
        "skipped": dict(report.skipped),
    }
