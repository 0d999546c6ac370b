"""The drift job: the champion's reference against the log's window, told as samples, events and a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitoring.drifting.alarm import AlarmDecision, Line, display_names
from monitoring.drifting.evidence import DriftEvidence, Evidence
from monitoring.drifting.evidently import DriftMeter, DriftReport, alarm_level, evidently_html
from monitoring.inputs.broken_feed import feed_events
from monitoring.inputs.check import DataCheck, DataFacts
from monitoring.inputs.finding import DataQualityReport
from monitoring.inputs.page import link_pages
from monitoring.windows import Window, current_window, reference_window
from record.clock import MICROSECOND
from record.contract.schema import Schema
from record.event_log import RecordedEvent
from record.events import DriftChecked, DriftDetected, FeedBroken, ModelRolledBack
from record.feed_faults import read_feed_faults
from record.log.window import LogSpan, log_span
from record.record import Record
from record.registry import ModelVersion
from record.settings import Settings
from record.versions.reference_outputs import REFERENCE, REFERENCE_OUTPUTS
from record.work.leases import Fence

ACTOR = "watcher"

# Of the features that drifted, those with the largest excess are drawn: each takes .2 s of the watcher's time.
DRAWN_COLUMNS = 6


@dataclass(frozen=True, slots=True)
class _Watched:
    """What is kept of a champion between checks: its reference is read, and its chance worked out, once."""

    schema: Schema
    meter: DriftMeter
    evidence: DriftEvidence


@dataclass(frozen=True, slots=True)
class _Look:
    """A window that was measured; every check takes one, where there are rows enough."""

    current: Window
    report: DriftReport
    data: DataQualityReport


class DriftCheck:
    """Measures at every check, decides once in `drift.decide_every`.

    Every check sets the scores of the window that `drift.window` and `drift.min_rows` say. A decision rests on rows
    that none before it has seen (`DriftEvidence`), and is written down with all its numbers. The first decision of
    an alarm, and one that names what the alarm had not named, is an event of its own with a page to look at.
    """

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record
        self._watched: dict[str, _Watched] = {}
        self._data = DataCheck(record, tuple(settings.log.redact), settings.units())

    def run(self, fence: Fence | None, as_of: datetime) -> DriftReport | None:
        """The report of the window; None without a champion or with too few rows."""
        champion = self._record.registry.roles().champion
        if champion is None:
            return None
        version = self._record.registry.version(champion)
        looked = self._look(version, as_of)
        if looked is not None:
            self._follow_feed(version, looked, fence, as_of)
        if self._decides(version, as_of):
            self._decide(version, looked, fence, as_of)
        return None if looked is None else looked.report

    def evidence(self, version: ModelVersion, as_of: datetime) -> Evidence:
        """The decision about this version as of then, from the record alone; writes nothing."""
        return self._watch(version).evidence.at(as_of)

    def _look(self, version: ModelVersion, as_of: datetime) -> _Look | None:
        drift = self._settings.drift
        span = log_span(self._record.database, as_of, drift.window, drift.min_rows)
        self._show_window(span, as_of)
        if span.rows < drift.min_rows:
            return None
        watched = self._watch(version)
        current = current_window(self._record.database, span, watched.schema, version.version)
        report = watched.meter.measure(current, as_of)
        self._show(report)
        return _Look(current, report, self._data.look(watched.meter.reference, current, watched.schema, as_of))

    def _follow_feed(self, version: ModelVersion, looked: _Look, fence: Fence | None, as_of: datetime) -> None:
        """Says which requests are set aside from now on, and lifts the bar of a version that they had sent back."""
        drift, events = self._settings.drift, self._record.events
        faults = read_feed_faults(events, as_of)
        schema, since = self._watch(version).schema, looked.current.since or as_of
        told = feed_events(looked.data, faults, schema, since, drift.set_aside, drift.set_aside_for, as_of)
        if told:
            with events.writing() as connection:
                if fence is not None:
                    fence.check(connection)
                for event in told:
                    events.append(event, actor=ACTOR, at=as_of, connection=connection)
        broken = [event for event in told if isinstance(event, FeedBroken)]
        if broken:
            self._lift_bars(broken, as_of)
        columns = Counter(fault.check for fault in read_feed_faults(events, as_of).open)
        counts = [({"check": check}, float(columns[check])) for check in drift.set_aside]
        self._record.samples.replace("ringside_feed_faults", counts, as_of)

    def _lift_bars(self, broken: Sequence[FeedBroken], as_of: datetime) -> None:
        """A rollback that the watcher made on requests of a broken feed is not the version's fault."""
        first = min(broken, key=lambda event: event.since)
        page, _ = self._record.events.page(
            kind=ModelRolledBack.kind, since=first.since, until=as_of + MICROSECOND, limit=1000
        )
        for event in page:
            version = event.model_version
            if version is None or event.actor != ACTOR or event.data["bout"] is None:
                continue
            if self._record.registry.version(version).standing != "rolled_back":
                continue
            reason = (
                f"rolled back within a broken feed: {first.check} of {first.column} since {first.since:%Y-%m-%d %H:%M}"
            )
            self._record.registry.unbar(version, actor=ACTOR, reason=reason, at=as_of)

    def _watch(self, version: ModelVersion) -> _Watched:
        held = self._watched.get(version.version)
        if held is None:
            files = self._record.registry.open(version.version)
            schema = Schema.from_json(files.read("schema.json"))
            outputs = files.read(REFERENCE_OUTPUTS) if REFERENCE_OUTPUTS in files.files else None
            reference = reference_window(files.read(REFERENCE), schema, outputs)
            statistics = 2 * len(reference.columns)
            drift = self._settings.drift
            level = alarm_level(drift.false_alarms_per_quarter, drift.decide_every, statistics)
            meter = DriftMeter(reference, level=level)
            held = _Watched(schema, meter, DriftEvidence(self._settings, self._record, version, schema, meter))
            self._watched = {version.version: held}
        return held

    def _decides(self, version: ModelVersion, as_of: datetime) -> bool:
        since = as_of - self._settings.drift.decide_every + MICROSECOND
        found, _ = self._record.events.page(kind=DriftChecked.kind, model=version.version, since=since, limit=1)
        return not found

    def _decide(self, version: ModelVersion, looked: _Look | None, fence: Fence | None, as_of: datetime) -> None:
        found = self.evidence(version, as_of)
        decision = found.decision
        data = self._data_facts(version, looked, as_of)
        facts: dict[str, Any] = {
            "as_of": as_of,
            "rows": found.rows if decision is not None else found.waiting,
            "scores": {} if looked is None else _scores(looked.report),
            "numbers": {**self._numbers(found, looked), **(data.numbers if data is not None else {})},
            "model_version": version.version,
        }
        if decision is not None and decision.alarm:
            names = display_names(decision.evidence)
            facts["drifted"] = [names[line] for line in decision.drifted]
            facts["report"] = self._page(version, looked, data, decision.drifted, facts["drifted"], as_of)
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            self._record.events.append(DriftChecked(**facts), actor=ACTOR, at=as_of, connection=connection)
            if decision is not None and decision.news:
                self._record.events.append(DriftDetected(**facts), actor=ACTOR, at=as_of, connection=connection)
        if decision is not None:
            self._show_decision(decision, as_of)

    def _numbers(self, found: Evidence, looked: _Look | None) -> Mapping[str, Any]:
        if found.decision is None:
            return {"decided": False, "reason": "too few rows", "min_rows": self._settings.drift.min_rows}
        return {"decided": True, **({} if looked is None else _of_report(looked.report)), **found.numbers}

    def _data_facts(self, version: ModelVersion, looked: _Look | None, as_of: datetime) -> DataFacts | None:
        if looked is None:
            return None
        watched = self._watch(version)
        reference, schema = watched.meter.reference, watched.schema
        return self._data.decide(looked.data, reference, looked.current, schema, version.version, as_of)

    def _show_window(self, span: LogSpan, as_of: datetime) -> None:
        numbers = {"rows": float(span.rows), "age_seconds": span.age(as_of).total_seconds()}
        self._record.samples.put([(f"ringside_drift_window_{name}", {}, n) for name, n in numbers.items()], as_of)

    def _show(self, report: DriftReport) -> None:
        samples, at = self._record.samples, report.as_of
        told = [({"feature": c.feature, "method": c.method}, c.score, c.threshold) for c in report.columns]
        samples.replace("ringside_feature_drift_score", [(labels, score) for labels, score, _ in told], at)
        samples.replace("ringside_feature_drift_threshold", [(labels, most) for labels, _, most in told], at)
        samples.put([("ringside_drift_check_timestamp_seconds", {}, at.timestamp())], at)

    def _show_decision(self, decision: AlarmDecision, at: datetime) -> None:
        samples = self._record.samples
        for kind in ("feature", "output"):
            lines = [line for line in decision.evidence if line[0] == kind]
            evidence = [({kind: line[1]}, decision.evidence[line]) for line in lines]
            drifted = [({kind: line[1]}, float(line in decision.drifted)) for line in lines]
            samples.replace(f"ringside_{kind}_drift_evidence", evidence, at)
            samples.replace(f"ringside_{kind}_drifted", drifted, at)
        features = sum(kind == "feature" for kind, _ in decision.drifted)
        numbers = {
            "ringside_drifted_features": features,
            "ringside_drift_evidence": decision.system,
            "ringside_drift_alarm": decision.alarm,
        }
        samples.put([(name, {}, float(value)) for name, value in numbers.items()], at)

    def _page(
        self,
        version: ModelVersion,
        looked: _Look | None,
        data: DataFacts | None,
        lines: Sequence[Line],
        drifted: Sequence[str],
        as_of: datetime,
    ) -> str | None:
        """The page that shows these as drifted: the last one, or a new one where one of them is new."""
        last = self._last_drawn(version, as_of)
        if last is not None and set(drifted) <= set(last.data["drifted"]):
            return str(last.data["report"])
        if looked is None or data is None:
            return None
        drawn = looked.report.worst(lines, DRAWN_COLUMNS)
        if not drawn.columns:
            return None
        html = evidently_html(self._watch(version).meter.reference, looked.current, drawn)
        page = link_pages(html, data.report, data.lines(as_of, looked.current))
        return self._record.reports.add("drift", page, version.version)

    def _last_drawn(self, version: ModelVersion, as_of: datetime) -> RecordedEvent | None:
        since = as_of - timedelta(days=30)  # an older page shows an older window
        found, _ = self._record.events.page(
            kind=DriftDetected.kind, model=version.version, since=since, until=as_of + MICROSECOND, limit=1000
        )
        return next((event for event in reversed(found) if event.data["report"]), None)


def _scores(report: DriftReport) -> Mapping[str, Any]:
    """Each statistic of the window with its threshold, as the audit trail keeps them."""
    return {
        f"{column.feature}:{column.method}": {
            "score": round(column.score, 6),
            "threshold": round(column.threshold, 6),
            "drifted": column.drifted,
        }
        for column in report.columns
    }


def _of_report(report: DriftReport) -> Mapping[str, Any]:
    return {"since": report.since, "reference_rows": report.reference_rows, "skipped": dict(report.skipped)}
