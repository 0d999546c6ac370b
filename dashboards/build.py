"""Writes the Grafana board: `make boards`. The JSON is committed; a test keeps it fresh.

What the record knows is the same on every replica's scrape, so that its panels take `max`, never `sum`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

BOARD = Path(__file__).parent / "grafana" / "boards" / "ringside.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
COLUMNS = 24  # Grafana's grid


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class PanelSpec:
    title: str
    description: str
    unit: str  # Grafana's name of it
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    warn_above: float | None = None
    alarm_above: float | None = None


SERVING = (
    PanelSpec(
        "Requests",
        "Requests per second by route and status, over all replicas.",
        "reqps",
        (
            Query(
                "sum by (route, status) (rate(ringside_request_duration_seconds_count[$__rate_interval]))",
                "{{route}} {{status}}",
            ),
        ),
    ),
    PanelSpec(
        "Latency of /predict",
        "Time from the request's first byte to the answer, the durable log included.",
        "s",
        tuple(
            Query(
                f"histogram_quantile({q}, sum by (le) "
                '(rate(ringside_request_duration_seconds_bucket{route="/predict"}[$__rate_interval])))',
                name,
            )
            for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        warn_above=0.05,
        alarm_above=0.1,
    ),
    PanelSpec(
        "Errors",
        "Share of requests that ended with a 5xx status.",
        "percentunit",
        (
            Query(
                'sum(rate(ringside_request_duration_seconds_count{status=~"5.."}[$__rate_interval]))'
                " / sum(rate(ringside_request_duration_seconds_count[$__rate_interval]))",
                "5xx",
            ),
        ),
        warn_above=0.001,
        alarm_above=0.01,
    ),
    PanelSpec(
        "Predictions by class",
        "Answered predictions per second, by the class predicted and the version that answered.",
        "reqps",
        (
            Query(
                "sum by (model_version, predicted_class) "
                '(rate(ringside_predictions_total{model_version=~"$version"}[$__rate_interval]))',
                "{{model_version}} {{predicted_class}}",
            ),
        ),
    ),
    PanelSpec(
        "Predicted value",
        "Median and upper decile of the positive class's probability, or of the regression's value.",
        "none",
        tuple(
            Query(
                f"histogram_quantile({q}, sum by (le, model_version) "
                '(rate(ringside_prediction_value_bucket{model_version=~"$version"}[$__rate_interval])))',
                name + " {{model_version}}",
            )
            for q, name in ((0.5, "p50"), (0.9, "p90"))
        ),
    ),
    PanelSpec(
        "Refused and unusual records",
        "Records that the schema refuses, and values that were answered but never seen in training, per second.",
        "reqps",
        (
            Query("sum by (reason) (rate(ringside_invalid_records_total[$__rate_interval]))", "refused: {{reason}}"),
            Query("sum by (reason) (rate(ringside_unusual_values_total[$__rate_interval]))", "unusual: {{reason}}"),
        ),
    ),
    PanelSpec(
        "Log commit",
        "Time that a group of answers waits for its commit.",
        "s",
        (
            Query(
                "histogram_quantile(0.99, sum by (le) (rate(ringside_log_commit_seconds_bucket[$__rate_interval])))",
                "p99",
            ),
        ),
        warn_above=0.05,
        alarm_above=0.5,
    ),
    PanelSpec(
        "Log queue",
        "Answers that wait for their commit, over all workers.",
        "short",
        (Query("sum(ringside_log_queue_depth)", "waiting"),),
        warn_above=1000,
        alarm_above=5000,
    ),
    PanelSpec(
        "Answered without the log",
        'Answers per second that `log.on_failure = "serve"` let out although the log could not take them.',
        "reqps",
        (Query("sum(rate(ringside_unlogged_predictions_total[$__rate_interval]))", "not logged"),),
        alarm_above=0.001,
    ),
    PanelSpec(
        "Champions not loaded",
        "Times in the last hour that a worker could not load a new champion and kept the one before.",
        "short",
        (Query("sum(increase(ringside_champion_load_failures_total[1h]))", "failures"),),
        alarm_above=1,
    ),
    PanelSpec(
        "Labels",
        "Labels per second by what became of them.",
        "reqps",
        (Query("sum by (outcome) (rate(ringside_labels_total[$__rate_interval]))", "{{outcome}}"),),
    ),
)

WATCHING = (
    PanelSpec(
        "Drifted features",
        "Features whose distribution left the reference's, by the calibrated decision.",
        "short",
        (Query("max(ringside_drifted_features)", "drifted"),),
        kind="stat",
        width=4,
        warn_above=1,
        alarm_above=5,
    ),
    PanelSpec(
        "Drift checked",
        "When drift was last checked.",
        "dateTimeFromNow",
        (Query("max(ringside_drift_check_timestamp_seconds) * 1000", "checked"),),
        kind="stat",
        width=4,
    ),
    PanelSpec(
        "Drift score",
        "Distance between the reference and the current window, by feature.",
        "none",
        (Query("max by (feature, method) (ringside_feature_drift_score)", "{{feature}} ({{method}})"),),
    ),
    PanelSpec(
        "Drifted",
        "1 where a feature is counted as drifted.",
        "short",
        (Query("max by (feature) (ringside_feature_drifted)", "{{feature}}"),),
    ),
    PanelSpec(
        "Quality observed",
        "Metrics on requests whose labels are mature, by role.",
        "none",
        (Query('max by (role, metric) (ringside_quality{kind="observed"})', "{{role}} {{metric}}"),),
        width=12,
    ),
    PanelSpec(
        "Quality estimated",
        "Metrics estimated for requests that are not labelled yet, from the model's own probabilities.",
        "none",
        (Query('max by (role, metric) (ringside_quality{kind="estimated"})', "{{role}} {{metric}}"),),
        width=12,
    ),
)

BOUT = (
    PanelSpec(
        "Evidence",
        "The e-process of the leading challenger; it wins at 1/alpha.",
        "none",
        (Query("max(ringside_shadow_evidence)", "e-value"),),
        width=6,
    ),
    PanelSpec(
        "Lead",
        "Mean loss of the champion minus the challenger's, with its confidence sequence.",
        "none",
        (Query("max by (bound) (ringside_shadow_lead)", "{{bound}}"),),
        width=6,
    ),
    PanelSpec(
        "Pairs",
        "Labelled requests that both models answered.",
        "short",
        (Query("max(ringside_shadow_pairs)", "pairs"),),
        width=4,
    ),
    PanelSpec(
        "Shadow lag",
        "How far the challenger's shadow is behind the log.",
        "s",
        (Query("max(ringside_shadow_lag_seconds)", "lag"),),
        width=4,
        warn_above=600,
        alarm_above=3600,
    ),
    PanelSpec(
        "Shadow failures",
        "Requests on which the challenger failed.",
        "short",
        (Query("max(ringside_shadow_failures_total)", "failures"),),
        width=4,
        warn_above=1,
    ),
)

GOVERNANCE = (
    PanelSpec(
        "Champion",
        "The version that answers.",
        "short",
        (Query("max by (model_version) (ringside_champion_info)", "{{model_version}}"),),
        kind="stat",
        width=4,
    ),
    PanelSpec(
        "Last promotion",
        "When the champion was last replaced.",
        "dateTimeFromNow",
        (Query("max(ringside_model_last_promotion_timestamp_seconds) * 1000", "promoted"),),
        kind="stat",
        width=4,
    ),
    PanelSpec(
        "Last training",
        "When the champion was trained, and the newest row that it read.",
        "dateTimeFromNow",
        (
            Query("max(ringside_model_last_training_timestamp_seconds) * 1000", "trained"),
            Query("max(ringside_training_data_timestamp_seconds) * 1000", "data until"),
        ),
        kind="stat",
        width=4,
    ),
    PanelSpec(
        "Watcher heartbeat",
        "When the watcher last led.",
        "dateTimeFromNow",
        (Query("max(ringside_watcher_heartbeat_timestamp_seconds) * 1000", "heartbeat"),),
        kind="stat",
        width=4,
    ),
    PanelSpec(
        "Audit trail",
        "1 while the hash chain over all events verifies.",
        "short",
        (Query("min(ringside_audit_chain_valid)", "valid"),),
        kind="stat",
        width=4,
    ),
    PanelSpec(
        "Run active",
        "1 while a retrain runs.",
        "short",
        (Query("max(ringside_run_active)", "active"),),
        kind="stat",
        width=4,
    ),
    PanelSpec(
        "Runs",
        "Retrains by trigger and outcome, all time.",
        "short",
        (Query("max by (trigger, outcome) (ringside_runs_total)", "{{trigger}} {{outcome}}"),),
    ),
    PanelSpec(
        "Run duration",
        "Mean duration of retrains.",
        "s",
        (
            Query(
                "max(ringside_run_duration_seconds_sum) / max(ringside_run_duration_seconds_count)",
                "mean",
            ),
        ),
    ),
    PanelSpec(
        "New labelled rows",
        "Labelled requests that the champion has not learned from.",
        "short",
        (Query("max(ringside_new_labelled_rows)", "rows"),),
    ),
    PanelSpec(
        "Promotions and rollbacks",
        "How bouts ended, and why champions were rolled back, all time.",
        "short",
        (
            Query("max by (outcome) (ringside_promotions_total)", "{{outcome}}"),
            Query("max by (reason) (ringside_rollbacks_total)", "rolled back: {{reason}}"),
        ),
        width=12,
    ),
    PanelSpec(
        "Events",
        "Events of the audit trail per hour, by kind.",
        "short",
        (Query("max by (kind) (increase(ringside_audit_events_total[1h]))", "{{kind}}"),),
        width=12,
    ),
)

ROWS: tuple[tuple[str, tuple[PanelSpec, ...]], ...] = (
    ("Serving", SERVING),
    ("Drift and quality", WATCHING),
    ("The bout", BOUT),
    ("Governance", GOVERNANCE),
)

ANNOTATIONS = (
    ("Promotions", "green", "model_promoted"),
    ("Rollbacks", "red", "model_rolled_back"),
    ("Retrains", "blue", "retrain_started"),
)


def board() -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard("Ringside")
        .uid("ringside")
        .description("The champion, what watches it, and what would take its place.")
        .tags(["ringside"])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("version")
            .label("Model version")
            .datasource(SOURCE)
            .query("label_values(ringside_predictions_total, model_version)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")
            .multi(True)
        )
    )
    for name, color, kind in ANNOTATIONS:
        built = built.annotation(
            dashboard.AnnotationQuery()
            .name(name)
            .datasource(SOURCE)
            .enable(True)
            .icon_color(color)
            .expr(f'max(changes(ringside_audit_events_total{{kind="{kind}"}}[$__interval])) > 0')
        )
    identifier, y = 1, 0
    for title, specs in ROWS:
        built = built.with_row(dashboard.Row(title).grid_pos(GridPos(h=1, w=COLUMNS, x=0, y=y)).id(identifier))
        identifier, y = identifier + 1, y + 1
        for spec, position in zip(specs, _positions(specs, y), strict=True):
            built = built.with_panel(_panel(spec, identifier, position))
            identifier, y = identifier + 1, max(y, position.y + position.h)
    return built


def _positions(specs: Sequence[PanelSpec], top: int) -> list[GridPos]:
    """Left to right, then down; a line is as high as its highest panel."""
    positions: list[GridPos] = []
    x, y, line = 0, top, 0
    for spec in specs:
        height = 4 if spec.kind == "stat" else 8
        if x + spec.width > COLUMNS:
            x, y, line = 0, y + line, 0
        positions.append(GridPos(h=height, w=spec.width, x=x, y=y))
        x, line = x + spec.width, max(line, height)
    return positions


def _panel(spec: PanelSpec, identifier: int, position: GridPos) -> Any:
    panel: Any
    if spec.kind == "stat":
        panel = stat.Panel()
    else:
        legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        panel = timeseries.Panel().legend(legend.show_legend(True)).fill_opacity(10)
    panel = panel.title(spec.title).description(spec.description).unit(spec.unit).datasource(SOURCE)
    panel = panel.id(identifier).grid_pos(position)
    steps = [Threshold(value=None, color="green")]
    if spec.warn_above is not None:
        steps.append(Threshold(value=spec.warn_above, color="orange"))
    if spec.alarm_above is not None:
        steps.append(Threshold(value=spec.alarm_above, color="red"))
    panel = panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    for position_in_alphabet, query in enumerate(spec.queries):
        panel = panel.with_target(
            prometheus.Dataquery()
            .expr(query.expression)
            .legend_format(query.legend)
            .ref_id(chr(ord("A") + position_in_alphabet))
        )
    return panel


def board_json() -> str:
    return JSONEncoder(sort_keys=True, indent=1).encode(board().build()) + "\n"


if __name__ == "__main__":
    BOARD.write_text(board_json())
