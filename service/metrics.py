"""What a serving worker counts.

Whatever clients send, label values stay bounded: routes are those of the table or "other", classes those of the
schema (the first fifty of them), reasons closed sets.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from record.log_lines import log_line
from record.metric_families import FAMILIES, PROBABILITIES, VALUES
from service.metrics_file import keep_metrics_files, use_metrics_files

CutReason = Literal["slow_to_send", "slow_to_read", "sent_ahead", "too_many"]
CUT_REASONS: Final[tuple[CutReason, ...]] = get_args(CutReason)

MOST_CLASSES: Final = 50  # that have a label value of their own
OTHER: Final = "other"


class WorkerMetrics:
    """What one serving process counts. Made once per process: its files are summed with the other workers'."""

    def __init__(self, task: Literal["classification", "regression"]) -> None:
        use_metrics_files()
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
        self._unsaved = self._counter("ringside_metrics_unsaved_total")
        self._saved = True
        self._cut = self._counter("ringside_connections_cut_total")
        for reason in CUT_REASONS:  # 0 from the start: a rate needs a value before the first
            self._cut.labels(reason)
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

    def connections_cut(self, counts: Mapping[str, int]) -> None:
        for reason, count in counts.items():
            self._cut.labels(reason).inc(count)

    def champion(self, version: str | None) -> None:
        """Says which version answers now. The one before stays at 0, which a scrape leaves out."""
        if self._version is not None:
            self._info.labels(self._version).set(0)
        if version is not None:
            self._info.labels(version).set(1)
        self._version = version

    def keep(self) -> None:
        """Look after the files that other workers read these counts from."""
        reason = keep_metrics_files()
        if self._saved and reason is not None:
            self._unsaved.inc()
            log_line("metrics kept in memory", level=logging.ERROR, reason=reason)
        if not self._saved and reason is None:
            log_line("metrics in their files again")
        self._saved = reason is None

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
