"""The quality job: what the labels say, as samples, and an event where the champion's loss has risen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from monitoring.loss import Loss
from monitoring.quality import (
    DeclineDecision,
    Metric,
    QualityReport,
    decide_decline,
    estimated_quality,
    observed_quality,
)
from service.bout import Bout
from service.events import QualityDeclined
from service.leases import Fence
from service.logged import MaturedRow
from service.record import Record
from service.registry import ModelVersion
from service.schema import Schema
from service.settings import Settings

ACTOR = "watcher"


class QualityCheck:
    """Measures the champion on its own mature answers, and beside it, on the same requests, what the shadows said."""

    def __init__(self, settings: Settings, record: Record) -> None:
        self._settings = settings
        self._record = record
        self._schemas: dict[str, Schema] = {}

    def run(self, fence: Fence | None, as_of: datetime) -> QualityReport | None:
        """The champion's report; None without a champion. Says a decline anew at each check that finds one."""
        champion = self._record.registry.roles().champion
        if champion is None:
            return None
        version = self._record.registry.version(champion)
        schema = self._schema(version)
        horizon, window = self._settings.quality.label_horizon, self._settings.quality.window
        rows = self._record.log.matured(as_of, horizon, after=as_of - horizon - window, model_version=champion)
        report = self._measured(rows, schema, version, as_of)
        shown = {"champion": report}
        for role, bout in self._beside().items():
            shown[role] = self._shadowed(bout, rows, as_of)
        recent = self._record.log.window(as_of - horizon, as_of)
        estimated = estimated_quality([row for row in recent if row.model_version == champion], schema)
        self._show(shown, estimated, as_of)
        self._decide(version, report, fence)
        return report

    def _measured(
        self, rows: Sequence[MaturedRow], schema: Schema, version: ModelVersion, as_of: datetime
    ) -> QualityReport:
        return observed_quality(rows, schema, self._loss(version), version=version.version, as_of=as_of)

    def _loss(self, version: ModelVersion) -> Loss:
        """The loss of the card's `reference_loss`; of no scale but its own where the card has none."""
        scale = version.card.get("loss_scale") or version.card.get("target_sd") or 1.0
        name = self._settings.promotion.loss
        return Loss(name, float(scale) if name == "absolute" else 1.0)

    def _beside(self) -> dict[str, Bout]:
        """Who else answers in the shadow: the newest challenger, and the former champion during a probation."""
        found = {}
        for bout in self._record.bouts.opened():
            found["challenger" if bout.kind == "challenge" else "previous"] = bout
        return found

    def _shadowed(self, bout: Bout, rows: Sequence[MaturedRow], as_of: datetime) -> QualityReport:
        version = self._record.registry.version(bout.challenger)
        asked = [row for row in rows if row.seq > bout.after_seq and row.label is not None]
        scores = self._record.bouts.scores(bout.bout, [row.seq for row in asked])
        answered = [
            replace(row, prediction=score.prediction, probabilities=score.probabilities)
            for row in asked
            if (score := scores.get(row.seq)) is not None and score.prediction is not None
        ]
        return self._measured(answered, self._schema(version), version, as_of)

    def _schema(self, version: ModelVersion) -> Schema:
        if version.version not in self._schemas:
            directory = self._record.registry.directory(version.version)
            self._schemas[version.version] = Schema.from_json((directory / "schema.json").read_bytes())
        return self._schemas[version.version]

    def _show(self, shown: Mapping[str, QualityReport], estimated: Mapping[str, Metric], as_of: datetime) -> None:
        values = [
            ({"role": role, "metric": name, "kind": "observed"}, metric.value)
            for role, report in shown.items()
            for name, metric in report.metrics.items()
        ]
        coverage = shown["champion"].coverage
        values.append(({"role": "champion", "metric": "coverage", "kind": "observed"}, coverage))
        values += [
            ({"role": "champion", "metric": name, "kind": "estimated"}, metric.value)
            for name, metric in estimated.items()
        ]
        said = [(labels, value) for labels, value in values if math.isfinite(value)]
        self._record.samples.replace("ringside_quality", said, as_of)

    def _decide(self, version: ModelVersion, report: QualityReport, fence: Fence | None) -> None:
        expected = version.card.get("reference_loss")
        if expected is None:
            return
        quality = self._settings.quality
        decision = decide_decline(report, float(expected), min_labels=quality.min_labels, tolerance=quality.tolerance)
        if not decision.declined:
            return
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            event = _declined(decision, report, self._settings.promotion.loss)
            self._record.events.append(event, actor=ACTOR, at=report.as_of, connection=connection)


def _declined(decision: DeclineDecision, report: QualityReport, loss: str) -> QualityDeclined:
    numbers = {
        "lower": decision.lower,
        "allowed": decision.allowed,
        "coverage": report.coverage,
        "metrics": {name: [metric.low, metric.value, metric.high] for name, metric in report.metrics.items()},
        "reasons": decision.reasons,
    }
    return QualityDeclined(
        as_of=report.as_of,
        metric=loss,
        observed=decision.observed,
        expected=decision.expected,
        labels=decision.labels,
        numbers=numbers,
        model_version=report.version,
    )
