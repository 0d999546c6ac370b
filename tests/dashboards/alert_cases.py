"""When each alert fires, and when it does not: one case for every rule, in the notation of `promtool test rules`.

Series have a sample each 15 seconds from time 0 on, which is 1970: `time()` is then the case's own time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Series = Mapping[str, str]  # a selector, and its samples: "1x8" is eight times 1 more, "0+5x40" counts up by 5
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Case:
    """`labels` are those beside the rule's own; `says` holds the annotations whose templates were filled."""

    alert: str
    fires: Series
    at: str
    quiet: tuple[Series, ...]  # each of them for as long
    labels: Mapping[str, str] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)


def _latency(fast: int, slow: int, count: int = 80) -> Series:
    """Requests in each 15 seconds: `fast` within 100 ms, `slow` within 250."""
    name = 'ringside_request_duration_seconds_bucket{route="/predict", status="200", instance="a", le="%s"}'
    counted = 'ringside_request_duration_seconds_count{route="/predict", status="200", instance="a"}'
    total = f"0+{fast + slow}x{count}"
    return {name % "0.1": f"0+{fast}x{count}", name % "0.25": total, name % "+Inf": total, counted: total}


def _disk(free: str, place: str = "record") -> Series:
    """A disk of 100 GB, and what is free of it."""
    labels = f'{{place="{place}", instance="a"}}'
    return {f"ringside_disk_free_bytes{labels}": free, f"ringside_disk_size_bytes{labels}": "100e9x2000"}


def _commits(fast: int, slow: int) -> Series:
    name = 'ringside_log_commit_seconds_bucket{instance="a", le="%s"}'
    total = f"0+{fast + slow}x80"
    return {name % "0.25": f"0+{fast}x80", name % "1.0": total, name % "+Inf": total}


def _statuses(good: int, bad: int) -> Series:
    name = 'ringside_request_duration_seconds_count{route="/predict", status="%s", instance="a"}'
    return {name % "200": f"0+{good}x80", name % "503": f"0+{bad}x80"}


def _records(good: int, refused: int) -> Series:
    name = 'ringside_request_duration_seconds_count{route="/predict", status="%s", instance="a"}'
    return {
        name % "200": f"0+{good}x240",
        name % "422": f"0+{refused}x240",
        'ringside_invalid_records_total{reason="type", instance="a"}': f"0+{refused}x240",
    }


def _both(name: str, samples: str) -> Series:
    """The same from two replicas, as what the record knows is."""
    head, _, rest = name.partition("{")
    labels = rest.removesuffix("}")
    inside = f"{labels}, " if labels else ""
    return {f'{head}{{{inside}instance="{place}"}}': samples for place in ("a", "b")}


def _checked(predictions: str) -> Series:
    return {
        **_both("ringside_drift_check_timestamp_seconds", f"{-2 * DAY}x400"),
        'ringside_predictions_total{model_version="v1", predicted_class="yes", instance="a"}': predictions,
    }


# Two failures in a quiet night are 8 % of its requests, and no outage.
TWO_FAILED = {
    'ringside_request_duration_seconds_count{route="/predict", status="200", instance="a"}': "0+1x80",
    'ringside_request_duration_seconds_count{route="/predict", status="503", instance="a"}': "0x40 1x8 2x40",
}
UP = {'up{job="ringside", instance="a"}': "1x80"}
CHAMPION = {'ringside_champion_info{model_version="v1", instance="a"}': "1x80"}

CASES = (
    Case(
        "RingsideDown",
        {'up{job="ringside", instance="a"}': "0x40", 'up{job="ringside", instance="b"}': "1x40"},
        "5m",
        (UP, {'up{job="other", instance="c"}': "0x40"}, {'up{job="ringside", instance="a"}': "0 0 1x38"}),
        {"job": "ringside", "instance": "a"},
        {"summary": "Ringside on a does not answer"},
    ),
    Case(
        "RingsideNoChampion",
        {**UP, **CHAMPION, 'up{job="ringside", instance="b"}': "1x80"},
        "5m",
        ({**UP, **CHAMPION}, {'up{job="ringside", instance="a"}': "0x80"}),
        {"job": "ringside", "instance": "b"},
        {"summary": "No champion is loaded on b"},
    ),
    Case(
        "RingsideLatencyHigh",
        _latency(90, 10),
        "15m",
        (_latency(1000, 5), _latency(0, 1)),
        says={"description": "The p99 of /predict is 235ms over five minutes."},
    ),
    Case(
        "RingsideErrorsHigh",
        _statuses(98, 2),
        "15m",
        (_statuses(1000, 9), _statuses(100, 0), TWO_FAILED),
        says={"description": "2% of requests ended with a 5xx status over five minutes."},
    ),
    Case(
        "RingsideLogCommitSlow",
        _commits(50, 50),
        "15m",
        (_commits(1000, 1),),
        says={"description": "The p99 of its commits is 985ms; answers wait for them."},
    ),
    Case(
        "RingsideNotLogged",
        {'ringside_unlogged_predictions_total{instance="a"}': "0x20 1x20"},
        "6m",
        ({'ringside_unlogged_predictions_total{instance="a"}': "7x40"},),
    ),
    Case("RingsideInvalidRecordsHigh", _records(90, 10), "45m", (_records(99, 1), _records(10, 0))),
    Case(
        "RingsideChampionNotLoaded",
        {'ringside_champion_load_failures_total{instance="a"}': "0x20 1x20"},
        "6m",
        ({'ringside_champion_load_failures_total{instance="a"}': "1x40"},),
    ),
    Case("RingsideDriftAlarm", _both("ringside_drift_alarm", "1x40"), "5m", (_both("ringside_drift_alarm", "0x40"),)),
    Case(
        "RingsideOutputDrift",
        {
            **_both('ringside_output_drifted{output="prediction"}', "1x40"),
            **_both('ringside_output_drifted{output="target"}', "0x40"),
        },
        "5m",
        (_both('ringside_output_drifted{output="prediction"}', "0x40"),),
        {"output": "prediction"},
        {"summary": "The distribution of the prediction has drifted"},
    ),
    Case(
        "RingsideDriftUnchecked",
        _checked("0+10x400"),
        "90m",
        (_checked("5x400"), {**_checked("0+10x400"), **_both("ringside_drift_check_timestamp_seconds", "0x400")}),
        says={"description": "Requests came in, but the last check is 2d 1h 30m 0s old."},
    ),
    Case(
        "RingsideDataQuality",
        {
            **_both('ringside_data_quality_findings{check="missing",severity="error"}', "2x40"),
            **_both('ringside_data_quality_findings{check="missing",severity="warning"}', "3x40"),
            **_both('ringside_data_quality_findings{check="duplicates",severity="error"}', "0x40"),
        },
        "5m",
        (
            _both('ringside_data_quality_findings{check="missing",severity="error"}', "0x40"),
            _both('ringside_data_quality_findings{check="missing",severity="warning"}', "2x40"),
        ),
        {"check": "missing"},
        {"summary": "2 columns fail the check missing"},
    ),
    Case(
        "RingsideDataSuspect",
        {
            **_both('ringside_data_quality_findings{check="missing",severity="warning"}', "2x400"),
            **_both('ringside_data_quality_findings{check="duplicates",severity="warning"}', "0x400"),
        },
        "90m",
        (
            _both('ringside_data_quality_findings{check="missing",severity="warning"}', "0x400"),
            _both('ringside_data_quality_findings{check="missing",severity="error"}', "2x400"),
        ),
        {"check": "missing"},
        {"summary": "2 columns look odd to the check missing"},
    ),
    Case(
        "RingsideQualityDeclined",
        _both('ringside_quality_declined{kind="observed"}', "1x40"),
        "5m",
        (
            _both('ringside_quality_declined{kind="observed"}', "0x40"),
            _both('ringside_quality_declined{kind="estimated"}', "1x40"),
        ),
    ),
    Case(
        "RingsideEstimatedQualityDeclined",
        _both('ringside_quality_declined{kind="estimated"}', "1x40"),
        "5m",
        (
            _both('ringside_quality_declined{kind="estimated"}', "0x40"),
            _both('ringside_quality_declined{kind="observed"}', "1x40"),
        ),
    ),
    Case(
        "RingsideConceptDrift",
        _both("ringside_quality_gap_evidence", "1x40"),
        "5m",
        (_both("ringside_quality_gap_evidence", "0.99x40"),),
    ),
    Case(
        "RingsideLabelsStopped",
        _both("ringside_labels_stopped", "1x40"),
        "5m",
        (_both("ringside_labels_stopped", "0x40"),),
    ),
    Case(
        "RingsideLabelCoverageLow",
        _both("ringside_label_coverage", "0.5x400"),
        "90m",
        (_both("ringside_label_coverage", "0.8x400"),),
        says={"summary": "Only 50% of mature requests are labelled"},
    ),
    Case(
        "RingsideLabelDelayBiased",
        _both("ringside_label_delay_depends_on_outcome", "1x400"),
        "90m",
        (_both("ringside_label_delay_depends_on_outcome", "0x400"),),
    ),
    Case(
        "RingsideModelStale",
        _both("ringside_model_last_training_timestamp_seconds", f"{-91 * DAY}x400"),
        "90m",
        (_both("ringside_model_last_training_timestamp_seconds", f"{-89 * DAY}x400"),),
        says={"description": "It is 91d 1h 30m 0s old."},
    ),
    Case(
        "RingsideWatcherSilent",
        _both("ringside_watcher_heartbeat_timestamp_seconds", "0x40"),
        "5m",
        (_both("ringside_watcher_heartbeat_timestamp_seconds", "0+15x40"),),
        says={"description": "For 5m 0s nothing watched, decided or retrained. Predictions go on."},
    ),
    Case(
        "RingsideWatcherClockAhead",
        _both("ringside_watcher_heartbeat_timestamp_seconds", "3600+15x40"),
        "5m",
        (
            _both("ringside_watcher_heartbeat_timestamp_seconds", "0+15x40"),
            _both("ringside_watcher_heartbeat_timestamp_seconds", "30+15x40"),
            _both("ringside_watcher_heartbeat_timestamp_seconds", "0x40"),
        ),
        says={"description": "By Prometheus' clock it comes in -1h 0m 0s. Nobody can tell whether it lives."},
    ),
    Case(
        "RingsideWatcherMissing",
        UP,
        "10m",
        (
            {**UP, **_both("ringside_watcher_heartbeat_timestamp_seconds", "0+15x80")},
            {'up{job="ringside", instance="a"}': "0x80"},
        ),
    ),
    Case(
        "RingsideShadowLagging",
        _both("ringside_shadow_lag_seconds", "7200x120"),
        "20m",
        (_both("ringside_shadow_lag_seconds", "3600x120"),),
        says={"summary": "The challenger's shadow is 2h 0m 0s behind"},
    ),
    Case(
        "RingsideShadowFailing",
        _both("ringside_shadow_failures_total", "0x120 30x240"),
        "59m",
        (_both("ringside_shadow_failures_total", "0x120 5x240"), _both("ringside_shadow_failures_total", "500x300")),
        says={"description": "On 30 requests of the last hour. Each counts as its worst loss."},
    ),
    Case(
        "RingsideApprovalWaiting",
        _both("ringside_approvals_waiting", "1x40"),
        "6m",
        (_both("ringside_approvals_waiting", "0x40"),),
    ),
    Case(
        "RingsideRetrainFailed",
        _both('ringside_audit_events_total{kind="retrain_failed"}', "0x20 1x20"),
        "6m",
        (
            _both('ringside_audit_events_total{kind="retrain_failed"}', "3x40"),
            _both('ringside_audit_events_total{kind="retrain_succeeded"}', "0x20 1x20"),
        ),
    ),
    Case(
        "RingsideRolledBack",
        {
            **_both('ringside_rollbacks_total{reason="probation"}', "0x20 1x20"),
            **_both('ringside_rollbacks_total{reason="operator"}', "2x40"),
        },
        "6m",
        (_both('ringside_rollbacks_total{reason="operator"}', "2x40"),),
    ),
    Case(
        "RingsideDiskFilling",
        _disk("50e9-25e6x2000"),  # 6 GB an hour
        "7h",
        (
            _disk("50e9x2000"),
            _disk("50e9-1e5x2000"),  # full in three weeks
            _disk("90e9-25e6x2000"),  # four days are long: by then somebody has looked
            {**_disk("50e9x2000"), **_disk("1e9+25e6x2000", "metrics")},
        ),
        {"instance": "a", "place": "record"},
        {"summary": "The disk of the record on a will be full within four days"},
    ),
    Case(
        "RingsideDiskNearlyFull",
        {**_disk("4e9x80"), **_disk("90e9x80", "metrics")},
        "10m",
        (_disk("6e9x80"), {**_disk("5e9x80"), **_disk("90e9x80", "metrics")}),
        {"instance": "a", "place": "record"},
        {
            "summary": "The disk of the record on a is nearly full",
            "description": "4% of it is free. Answers are refused when nothing is.",
        },
    ),
    Case(
        "RingsideRecordDamaged",
        _both("ringside_record_intact", "0x40"),
        "5m",
        (_both("ringside_record_intact", "1x40"), {}),
    ),
    Case(
        "RingsideAuditChainBroken",
        {**_both("ringside_audit_chain_valid", "0x40")},
        "5m",
        (_both("ringside_audit_chain_valid", "1x40"),),
    ),
    Case(
        "RingsideNotificationsFailing",
        _both('ringside_notifications_total{outcome="failed"}', "0x20 1x40"),
        "10m",
        (
            _both('ringside_notifications_total{outcome="failed"}', "4x40"),
            _both('ringside_notifications_total{outcome="sent"}', "0+1x40"),
        ),
    ),
)
