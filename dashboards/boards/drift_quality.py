"""Whether requests still look like training, and whether the answers still hold."""

from __future__ import annotations

from typing import Final

from dashboards.board import Board, Choice, Row
from dashboards.panel import Link, Panel, Query, above, age, alarm_above, below, events, yes_no

DRIFT = events("Drift checks, with reports", "drift_checked", "drift_detected")
CHECKS = events("Quality checks, with reports", "quality_checked", "quality_declined", "concept_drift_detected")
LABELS = events("Labels stopped and resumed", "labels_stopped", "labels_resumed")
STATUS = Link("Status", "/status")
FEATURE = '{feature=~"$feature"}'
METRIC = 'metric=~"$metric"'

NOW = Row(
    "Now",
    (
        yes_no(
            "Drift alarm",
            "Whether the system's evidence of drift has crossed what its budget of false alarms needs.",
            Query("max(ringside_drift_alarm)", "alarm"),
            DRIFT,
            "RingsideDriftAlarm",
        ),
        yes_no(
            "Quality declined",
            "Whether the champion's loss on labelled requests has risen beyond chance and tolerance.",
            Query('max(ringside_quality_declined{kind="observed"})', "declined"),
            CHECKS,
            "RingsideQualityDeclined",
        ),
        yes_no(
            "Decline estimated",
            "The same, from the model's own probabilities, before the labels are there.",
            Query('max(ringside_quality_declined{kind="estimated"})', "declined"),
            CHECKS,
            "RingsideEstimatedQualityDeclined",
        ),
        yes_no(
            "Labels stopped",
            "Whether labels are overdue, by their own rate and delay.",
            Query("max(ringside_labels_stopped)", "stopped"),
            LABELS,
            "RingsideLabelsStopped",
        ),
        age(
            "Drift checked",
            "How long ago drift was last checked. Alert: RingsideDriftUnchecked.",
            "max(ringside_drift_check_timestamp_seconds)",
            DRIFT,
            above(7200, 86_400),
        ),
        Panel(
            "Drifted features",
            "Features whose own evidence has crossed what an alarm needs.",
            "short",
            (Query("max(ringside_drifted_features)", "drifted"),),
            (DRIFT,),
            above(1),
            "stat",
            4,
        ),
    ),
)

DRIFTING = Row(
    "Drift",
    (
        Panel(
            "Evidence of drift",
            "Accumulated over the decisions, for the whole system, divided by what an alarm needs: an alarm from 1 on.",
            "none",
            (Query("max(ringside_drift_evidence)", "system"),),
            (DRIFT,),
            above(0.5, 1),
            alert="RingsideDriftAlarm",
        ),
        Panel(
            "Evidence by feature",
            "The ten features with most evidence, each divided by what its own alarm needs.",
            "none",
            (Query(f"topk(10, max by (feature) (ringside_feature_drift_evidence{FEATURE}))", "{{feature}}"),),
            (DRIFT,),
            above(0.5, 1),
        ),
        Panel(
            "Drifted by feature",
            "Features that are counted as drifted, by the calibrated decision.",
            "bool_yes_no",
            (Query(f"max by (feature) (ringside_feature_drifted{FEATURE})", "{{feature}}"),),
            (DRIFT,),
            above(1),
        ),
        Panel(
            "Drift scores",
            "Distance of the current window from the reference, by feature and method. Not calibrated: no limits.",
            "none",
            (Query(f"max by (feature, method) (ringside_feature_drift_score{FEATURE})", "{{feature}} ({{method}})"),),
            (DRIFT,),
            width=12,
        ),
        Panel(
            "Drift score / threshold",
            "Each score divided by what it has to pass: the least effect, or what chance reaches in such a window.",
            "none",
            (
                Query(
                    f"max by (feature, method) (ringside_feature_drift_score{FEATURE})"
                    f" / max by (feature, method) (ringside_feature_drift_threshold{FEATURE})",
                    "{{feature}} ({{method}})",
                ),
            ),
            (DRIFT,),
            above(1),
            width=12,
        ),
        Panel(
            "Predictions and labels",
            "Evidence that the answers, or the labels, are spread otherwise than in training; an alarm from 1 on.",
            "none",
            (
                Query("max by (output) (ringside_output_drift_evidence)", "{{output}}"),
                Query("max by (output) (ringside_output_drifted)", "{{output}} drifted"),
            ),
            (DRIFT,),
            above(0.5, 1),
            alert="RingsideOutputDrift",
        ),
        Panel(
            "Domain classifier AUC",
            "How well a classifier tells the current window from the reference (AUC): 0.5 is not at all.",
            "none",
            (Query("max(ringside_domain_classifier_auc)", "AUC"),),
            (DRIFT,),
            above(0.6, 0.8),
        ),
        Panel(
            "Data quality errors",
            "Columns of a broken feed in the current window, by check. The drift report shows offending values.",
            "short",
            (
                Query('max by (check) (ringside_data_quality_findings{severity="error"})', "{{check}}"),
                Query("max by (check) (ringside_feed_faults)", "{{check}}, set aside"),
                Query("max(ringside_requests_set_aside)", "requests set aside"),
            ),
            (DRIFT,),
            alarm_above(1),
            alert="RingsideDataQuality",
        ),
        Panel(
            "Data quality warnings",
            "Columns that look odd: more than chance explains, less than a broken feed brings. The report shows them.",
            "short",
            (Query('max by (check) (ringside_data_quality_findings{severity="warning"})', "{{check}}"),),
            (DRIFT,),
            above(1),
            alert="RingsideDataSuspect",
        ),
        Panel(
            "Window size",
            "Requests that the last check looked at. On low traffic the window reaches back until there are enough.",
            "short",
            (Query("max(ringside_drift_window_rows)", "requests"),),
            (DRIFT,),
            below(200, 1000),
        ),
        Panel(
            "Window span",
            "Age of the oldest request in it: a long one notices a shift late.",
            "s",
            (Query("max(ringside_drift_window_age_seconds)", "oldest request"),),
            (DRIFT,),
            above(14 * 86_400, 30 * 86_400),
        ),
    ),
)

MOST_GAP: Final = 100  # of what an alarm needs: evidence has no bound, and would flatten all else

QUALITY = Row(
    "Quality",
    (
        Panel(
            "Observed quality",
            "The champion's metrics on mature labelled requests, each with its interval.",
            "none",
            (
                Query(
                    f'max by (role, metric) (ringside_quality{{kind="observed", role="champion", {METRIC}}})',
                    "{{role}} {{metric}}",
                ),
                Query(
                    "max by (role, metric, bound) "
                    f'(ringside_quality_bound{{kind="observed", role="champion", {METRIC}}})',
                    "{{role}} {{metric}} {{bound}}",
                ),
            ),
            (CHECKS,),
            width=12,
            alert="RingsideQualityDeclined",
        ),
        Panel(
            "Estimated quality",
            "Metrics of requests that are not labelled yet, from the model's own probabilities, with their band; "
            "those of the last labels where these tell as much.",
            "none",
            (
                Query(f'max by (role, metric) (ringside_quality{{kind="estimated", {METRIC}}})', "{{role}} {{metric}}"),
                Query(
                    f'max by (role, metric, bound) (ringside_quality_bound{{kind="estimated", {METRIC}}})',
                    "{{role}} {{metric}} {{bound}}",
                ),
            ),
            (CHECKS,),
            width=12,
            alert="RingsideEstimatedQualityDeclined",
        ),
        Panel(
            "Observed vs. estimated loss",
            "Evidence that the labels say otherwise than the model expected, up to 100: concept drift from 1 on. "
            "By how much the estimated loss and the last labels' missed what came; 1 where these stand in the "
            "estimate's place.",
            "none",
            (
                Query(f"clamp(max(ringside_quality_gap_evidence), {1 / MOST_GAP}, {MOST_GAP})", "gap"),
                Query("max by (of) (ringside_quality_estimate_error)", "error of {{of}}"),
                Query("max(ringside_quality_estimated_by_last_labels)", "by the last labels"),
            ),
            (CHECKS,),
            above(0.5, 1),
            width=12,
            alert="RingsideConceptDrift",
            logarithmic=True,
        ),
        Panel(
            "Quality by slice",
            "The champion on segments of the requests, configured and discovered; protected groups among them.",
            "none",
            (Query(f"max by (slice, metric) (ringside_quality_slice{{{METRIC}}})", "{{slice}} {{metric}}"),),
            (CHECKS,),
            width=12,
        ),
    ),
)

LABELLING = Row(
    "Labels",
    (
        Panel(
            "Label coverage",
            "Share of mature requests that are labelled. Below promotion.min_coverage nobody is promoted.",
            "percentunit",
            (Query("min(ringside_label_coverage)", "labelled"),),
            (STATUS, LABELS),
            below(0.8, 0.9),
            alert="RingsideLabelCoverageLow",
        ),
        Panel(
            "Label delay",
            "From a request to its label. The horizon (quality.label_horizon) should be above the p99.",
            "s",
            (Query("max by (quantile) (ringside_label_delay_seconds)", "p{{quantile}}"),),
            (STATUS, LABELS),
            above(7 * 86_400, 30 * 86_400),
        ),
        age(
            "Last label",
            "How long ago a label came.",
            "max(ringside_last_label_timestamp_seconds)",
            LABELS,
            above(86_400, 7 * 86_400),
        ),
        yes_no(
            "Delay depends on the outcome",
            "Whether labels of one outcome come later than those of another: early labels are then a biased sample.",
            Query("max(ringside_label_delay_depends_on_outcome)", "depends"),
            LABELS,
            "RingsideLabelDelayBiased",
        ),
    ),
)

BOARD = Board(
    "ringside-drift-quality",
    "Ringside: drift and quality",
    "Whether requests still look like what the champion was trained on, and whether its answers still hold.",
    (NOW, DRIFTING, QUALITY, LABELLING),
    (
        Choice("feature", "Feature", "ringside_feature_drift_score", "feature"),
        Choice("metric", "Metric", "ringside_quality", "metric"),
    ),
)
