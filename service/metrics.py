"""Every Prometheus name and label, in one table, and what a serving worker counts.

Workers' own families are summed over this host's workers at each scrape; those of the record are the same on every
replica, so that rules take their `max`, never their sum. Whatever clients send, label values stay bounded: routes
are those of the table or "other", classes those of the schema (the first fifty of them), reasons closed sets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Source = Literal["worker", "samples", "record"]

# Tabular models answer within fractions of a millisecond; the log's commit, behind other writers, within some.
LATENCY: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
COMMITS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
RUNS: Final = (10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0)
PROBABILITIES: Final = (0.01, 0.05, *(n / 10 for n in range(1, 10)), 0.95, 0.99)
# Of a regression's target nothing is known: half a decade each, and a decade each below zero.
VALUES: Final = (
    *(-(10.0**power) for power in range(6, -2, -1)),
    0.0,
    *(step * 10.0**power for power in range(-1, 7) for step in (1, 3)),
)
MOST_CLASSES: Final = 50  # that have a label value of their own
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as it is scraped: `source` is where its numbers come from."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    source: Source = "worker"
    buckets: tuple[float, ...] = ()


_TABLE: Final = (
    Family(
        "ringside_request_duration_seconds",
        "histogram",
        "Time from a request's first byte to its answer, the durable log included; `route` is the route's template.",
        ("route", "status"),
        buckets=LATENCY,
    ),
    Family(
        "ringside_predictions_total",
        "counter",
        "Records answered by a model; answers repeated for a known id are not counted again.",
        ("model_version", "predicted_class"),
    ),
    Family(
        "ringside_prediction_value",
        "histogram",
        "Probability of the positive class (of the predicted one, with more than two), or a regression's value.",
        ("model_version",),
        buckets=PROBABILITIES,
    ),
    Family(
        "ringside_invalid_records_total",
        "counter",
        "Requests refused for a record that the schema does not allow, by the first such record's reason.",
        ("reason",),
    ),
    Family(
        "ringside_unusual_values_total",
        "counter",
        "Values answered although training never saw their like: unseen category, number out of range.",
        ("reason",),
    ),
    Family(
        "ringside_unlogged_predictions_total",
        "counter",
        "Records answered without the log, as log.on_failure allows; zero where it refuses.",
    ),
    Family("ringside_log_commit_seconds", "histogram", "Time of one commit to the prediction log.", buckets=COMMITS),
    Family("ringside_log_queue_depth", "gauge", "Requests that wait for a commit to the prediction log."),
    Family("ringside_labels_total", "counter", "Labels received.", ("outcome",)),
    Family("ringside_champion_info", "gauge", "1 for the version that answers.", ("model_version",)),
    Family(
        "ringside_champion_load_failures_total",
        "counter",
        "Champions that a worker could not load; it goes on with the one before.",
    ),
    Family(
        "ringside_feature_drift_score",
        "gauge",
        "How far a feature's current window is from its reference.",
        ("feature", "method"),
        "samples",
    ),
    Family("ringside_feature_drifted", "gauge", "1 where a feature has drifted, else 0.", ("feature",), "samples"),
    Family("ringside_drifted_features", "gauge", "Features that have drifted.", source="samples"),
    Family("ringside_drift_check_timestamp_seconds", "gauge", "Time of the last drift check.", source="samples"),
    Family(
        "ringside_quality",
        "gauge",
        "A model's quality: observed on labels, or estimated without them.",
        ("role", "metric", "kind"),
        "samples",
    ),
    Family("ringside_shadow_pairs", "gauge", "Pairs in the leading challenger's bout.", source="samples"),
    Family("ringside_shadow_evidence", "gauge", "The leading challenger's e-value.", source="samples"),
    Family(
        "ringside_shadow_lead",
        "gauge",
        "The leading challenger's mean loss difference to the champion, and its interval.",
        ("bound",),
        "samples",
    ),
    Family("ringside_shadow_lag_seconds", "gauge", "How far the slowest shadow is behind the log.", source="samples"),
    Family("ringside_shadow_failures_total", "counter", "Requests that a challenger failed on.", source="samples"),
    Family("ringside_runs_total", "counter", "Ended retrain runs.", ("trigger", "outcome"), "record"),
    Family("ringside_run_active", "gauge", "1 while a retrain run is requested or running.", source="record"),
    Family(
        "ringside_run_duration_seconds", "histogram", "Duration of ended retrain runs.", source="record", buckets=RUNS
    ),
    Family(
        "ringside_model_last_training_timestamp_seconds",
        "gauge",
        "When the champion was trained.",
        source="record",
    ),
    Family(
        "ringside_training_data_timestamp_seconds",
        "gauge",
        "Time of the newest row that the champion was trained on.",
        source="record",
    ),
    Family(
        "ringside_model_last_promotion_timestamp_seconds",
        "gauge",
        "When the champion took its role.",
        source="record",
    ),
    Family("ringside_new_labelled_rows", "gauge", "Labelled rows that no run has trained on yet.", source="samples"),
    Family("ringside_promotions_total", "counter", "Ways in which challengers' tests ended.", ("outcome",), "record"),
    Family(
        "ringside_rollbacks_total", "counter", "Champions rolled back, by probation or operator.", ("reason",), "record"
    ),
    Family("ringside_audit_events_total", "counter", "Events in the audit trail.", ("kind",), "record"),
    Family("ringside_audit_chain_valid", "gauge", "1 where the audit trail verifies, else 0.", source="samples"),
    Family(
        "ringside_watcher_heartbeat_timestamp_seconds",
        "gauge",
        "When the watcher last said it lives.",
        source="samples",
    ),
)
FAMILIES: Final[Mapping[str, Family]] = {family.name: family for family in _TABLE}


class WorkerMetrics:
    """What one serving process counts. Made once per process: its files are summed with the other workers'."""

    def __init__(self, task: Literal["classification", "regression"]) -> None:
        self.registry = CollectorRegistry()  # read where there is one process only
        buckets = PROBABILITIES if task == "classification" else VALUES
        self._requests = self._histogram("ringside_request_duration_seconds")
        self._predictions = self._counter("ringside_predictions_total")
        self._value = self._histogram("ringside_prediction_value", buckets)
        self._invalid = self._counter("ringside_invalid_records_total")
        self._unusual = self._counter("ringside_unusual_values_total")
        self._labels = self._counter("ringside_labels_total")
        self.unlogged = self._counter("ringside_unlogged_predictions_total")
        self.commits = self._histogram("ringside_log_commit_seconds")
        self.load_failures = self._counter("ringside_champion_load_failures_total")
        self.queue = self._gauge("ringside_log_queue_depth", "livesum")
        self._info = self._gauge("ringside_champion_info", "livemax")
        self._version: str | None = None
        # Finding a label's child takes longer than counting in it.
        self._request_children: dict[tuple[str, int], Any] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        child = self._request_children.get((route, status))
        if child is None:
            child = self._requests.labels(route, str(status))
            self._request_children[(route, status)] = child
        child.observe(seconds)

    def answers(self, version: str, classes: Sequence[str]) -> AnswerMetrics:
        """The counters of one version's answers."""
        named = [name if place < MOST_CLASSES else OTHER for place, name in enumerate(classes)] or [""]
        return AnswerMetrics([self._predictions.labels(version, name) for name in named], self._value.labels(version))

    def invalid(self, reason: str) -> None:
        self._invalid.labels(reason).inc()

    def unusual(self, marks: Sequence[Mapping[str, str] | None]) -> None:
        for held in marks:
            if held is not None:
                for reason in held.values():
                    self._unusual.labels(reason).inc()

    def labels(self, outcomes: Mapping[str, int]) -> None:
        for outcome, count in outcomes.items():
            if count:
                self._labels.labels(outcome).inc(count)

    def champion(self, version: str | None) -> None:
        """Says which version answers now. The one before stays at 0, which a scrape leaves out."""
        if self._version is not None:
            self._info.labels(self._version).set(0)
        if version is not None:
            self._info.labels(version).set(1)
        self._version = version

    def _counter(self, name: str) -> Counter:
        family = FAMILIES[name]
        return Counter(name, family.help, family.labels, registry=self.registry)

    def _gauge(self, name: str, mode: Literal["livesum", "livemax"]) -> Gauge:
        family = FAMILIES[name]
        return Gauge(name, family.help, family.labels, registry=self.registry, multiprocess_mode=mode)

    def _histogram(self, name: str, buckets: Sequence[float] = ()) -> Histogram:
        family = FAMILIES[name]
        return Histogram(
            name, family.help, family.labels, registry=self.registry, buckets=list(buckets or family.buckets)
        )


class AnswerMetrics:
    """Counts one version's answers."""

    def __init__(self, classes: Sequence[Any], value: Any) -> None:
        self._classes = classes
        self._value = value
        self._bounds: list[float] = value._upper_bounds

    def count(self, places: Sequence[int], values: Sequence[float]) -> None:
        """`places`: each record's predicted class (0 for a regression); `values`: what the histogram is of."""
        if len(values) == 1:
            self._classes[places[0]].inc()
            self._value.observe(values[0])
            return
        for place, count in zip(*np.unique(places, return_counts=True), strict=True):
            self._classes[place].inc(int(count))
        # One write per bucket, not per record: a batch of a thousand would take 3 ms. The library has no public
        # way for it; test_metrics.py holds this one.
        buckets = [0] * len(self._bounds)
        for value in values:
            buckets[bisect_left(self._bounds, value)] += 1
        for bucket, count in zip(self._value._buckets, buckets, strict=True):
            if count:
                bucket.inc(count)
        self._value._sum.inc(float(sum(values)))
