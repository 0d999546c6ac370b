"""Every Prometheus name and label, in one table.

Workers' own families are summed over this host's workers at each scrape; those of the record are the same on every
replica, so that rules take their `max`, never their sum. Whatever clients send, label values stay bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

RECORD_INTACT: Final = "ringside_record_intact"
Source = Literal["worker", "samples", "record", "host"]

# Tabular models answer within fractions of a millisecond; the log's commit, behind other writers, within some.
LATENCY: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
COMMITS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
RUNS: Final = (10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10800.0)
PROBABILITIES: Final = (0.01, 0.05, *(n / 10 for n in range(1, 10)), 0.95, 0.99)
# Of a regression's target nothing is known: exponential buckets, six to a decade, from 0.1 to a billion. A quantile
# that is interpolated between two of them is right to within five percent.
VALUES: Final = (
    *(-float(f"{10.0 ** (power / 3):.3g}") for power in range(21, -4, -1)),
    0.0,
    *(float(f"{10.0 ** (power / 6):.3g}") for power in range(-6, 55)),
)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as it is scraped: `source` is where its numbers come from.

    `begins` are a sampled counter's label values that stand at 0 until there is a sample: one that begins at 1 has no
    increase, and no rule would see what it counts happen first.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    labels: tuple[str, ...] = ()
    source: Source = "worker"
    buckets: tuple[float, ...] = ()
    begins: tuple[tuple[str, ...], ...] = ()


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
    Family(
        "ringside_metrics_unsaved_total",
        "counter",
        "Times that a worker's counts found no room on disk, and stayed in its memory until there was some.",
    ),
    Family("ringside_log_commit_seconds", "histogram", "Time of one commit to the prediction log.", buckets=COMMITS),
    Family("ringside_log_queue_depth", "gauge", "Requests that wait for a commit to the prediction log."),
    Family("ringside_labels_total", "counter", "Labels received.", ("outcome",)),
    Family("ringside_champion_info", "gauge", "1 for the version that answers.", ("model_version",)),
    Family(
        "ringside_connections_cut_total",
        "counter",
        "Connections that were closed on their client: it was slow to send or to read, sent too much ahead, or there "
        "were too many.",
        ("reason",),
    ),
    Family(
        "ringside_champion_load_failures_total",
        "counter",
        "Champions that a worker could not load; it goes on with the one before.",
    ),
    Family(
        "ringside_disk_free_bytes",
        "gauge",
        "Bytes that the service may still write: on the file system of the record (SQLite), of the models, of metrics.",
        ("place",),
        "host",
    ),
    Family("ringside_disk_size_bytes", "gauge", "Size of the same file system.", ("place",), "host"),
    Family(
        "ringside_feature_drift_score",
        "gauge",
        "How far a feature's current window is from its reference.",
        ("feature", "method"),
        "samples",
    ),
    Family(
        "ringside_feature_drift_threshold",
        "gauge",
        "What the score has to pass to be worth a look: the least effect, or what chance reaches at that size.",
        ("feature", "method"),
        "samples",
    ),
    Family("ringside_feature_drifted", "gauge", "1 where a feature has drifted, else 0.", ("feature",), "samples"),
    Family("ringside_drifted_features", "gauge", "Features that have drifted.", source="samples"),
    Family(
        "ringside_feature_drift_evidence",
        "gauge",
        "A feature's accumulated evidence of drift, divided by what an alarm needs: an alarm from 1 on.",
        ("feature",),
        "samples",
    ),
    Family(
        "ringside_drift_evidence",
        "gauge",
        "The whole system's accumulated evidence of drift, divided by what an alarm needs: an alarm from 1 on.",
        source="samples",
    ),
    Family("ringside_drift_alarm", "gauge", "1 while the system is in drift alarm, else 0.", source="samples"),
    Family(
        "ringside_output_drift_evidence",
        "gauge",
        "Evidence that predictions, or labels (target), have drifted, divided by what an alarm needs.",
        ("output",),
        "samples",
    ),
    Family(
        "ringside_output_drifted",
        "gauge",
        "1 where predictions or labels have drifted, else 0.",
        ("output",),
        "samples",
    ),
    Family("ringside_drift_window_rows", "gauge", "Requests in the window that drift looks at.", source="samples"),
    Family(
        "ringside_drift_window_age_seconds",
        "gauge",
        "Age of the oldest request in the window that drift looks at.",
        source="samples",
    ),
    Family(
        "ringside_data_quality_findings",
        "gauge",
        "Columns with a finding of that check and severity (error or warning) in the current window.",
        ("check", "severity"),
        "samples",
    ),
    Family(
        "ringside_feed_faults",
        "gauge",
        "Columns whose requests are set aside because the feed is broken, by check.",
        ("check",),
        "samples",
    ),
    Family(
        "ringside_requests_set_aside",
        "gauge",
        "Mature requests of the quality window that belong to a broken feed, and are no evidence.",
        source="samples",
    ),
    Family(
        "ringside_domain_classifier_auc",
        "gauge",
        "How well a classifier tells the current window from the reference: 0.5 is not at all.",
        source="samples",
    ),
    Family("ringside_drift_check_timestamp_seconds", "gauge", "Time of the last drift check.", source="samples"),
    Family(
        "ringside_quality",
        "gauge",
        "A model's quality: observed on labels, or estimated without them.",
        ("role", "metric", "kind"),
        "samples",
    ),
    Family(
        "ringside_quality_bound",
        "gauge",
        "The interval of a quality metric.",
        ("role", "metric", "kind", "bound"),
        "samples",
    ),
    Family(
        "ringside_quality_declined",
        "gauge",
        "1 where the champion's quality has declined, observed on labels or estimated without them, else 0.",
        ("kind",),
        "samples",
    ),
    Family(
        "ringside_quality_estimate_error",
        "gauge",
        "By how much the estimated loss, or the mean of the last labels, missed the labels that came.",
        ("of",),
        "samples",
    ),
    Family(
        "ringside_quality_estimated_by_last_labels",
        "gauge",
        "1 where estimates are no better than the last labels, which stand in their place, else 0.",
        source="samples",
    ),
    Family(
        "ringside_quality_gap_evidence",
        "gauge",
        "Evidence that observed quality left the estimated one, divided by what a concept-drift alarm needs.",
        source="samples",
    ),
    Family(
        "ringside_quality_slice",
        "gauge",
        "The champion's quality on one segment of the requests.",
        ("slice", "metric"),
        "samples",
    ),
    Family("ringside_label_coverage", "gauge", "Share of mature requests that are labelled.", source="samples"),
    Family(
        "ringside_label_delay_seconds",
        "summary",  # promtool keeps the label `quantile` for summaries
        "Time from a request to its label, by quantile.",
        ("quantile",),
        "samples",
    ),
    Family("ringside_last_label_timestamp_seconds", "gauge", "When the last label arrived.", source="samples"),
    Family(
        "ringside_labels_stopped", "gauge", "1 while labels are overdue by their own rate, else 0.", source="samples"
    ),
    Family(
        "ringside_label_delay_depends_on_outcome",
        "gauge",
        "1 where labels of one outcome arrive later than those of another, else 0.",
        source="samples",
    ),
    Family(
        "ringside_notifications_total",
        "counter",
        "Notifications to people, by what became of them.",
        ("outcome",),
        "samples",
        begins=(("sent",), ("failed",), ("suppressed",)),
    ),
    Family(
        "ringside_tracking_waiting_events",
        "gauge",
        "Events about runs and models that MLflow has not been told of yet.",
        source="samples",
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
    Family(
        "ringside_approvals_waiting",
        "gauge",
        "Challengers that won their bout and wait for a person's approval; absent where none does.",
        source="samples",
    ),
    Family(
        "ringside_approval_waiting_seconds",
        "gauge",
        "How long the oldest approval has been waited for.",
        source="samples",
    ),
    Family("ringside_shadow_lag_seconds", "gauge", "How far the slowest shadow is behind the log.", source="samples"),
    Family(
        "ringside_shadow_failures_total",
        "counter",
        "Requests that a challenger failed on.",
        source="samples",
        begins=((),),
    ),
    Family("ringside_runs_total", "counter", "Ended retrain runs.", ("trigger", "outcome"), "record"),
    Family("ringside_run_active", "gauge", "1 while a retrain run is requested or running.", source="record"),
    Family("ringside_run_trials", "gauge", "Trials that the active run has finished; 0 without one.", source="record"),
    Family(
        "ringside_run_seconds_left",
        "gauge",
        "Time that the active run's search has left, while known.",
        source="record",
    ),
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
    Family(
        RECORD_INTACT,
        "gauge",
        "1 where the record's database file is whole, by SQLite's own check; 0 where it is damaged.",
        source="samples",
    ),
    Family("ringside_audit_chain_valid", "gauge", "1 where the audit trail verifies, else 0.", source="samples"),
    Family(
        "ringside_watcher_heartbeat_timestamp_seconds",
        "gauge",
        "When the watcher last said it lives.",
        source="samples",
    ),
)
FAMILIES: Final[Mapping[str, Family]] = {family.name: family for family in _TABLE}
