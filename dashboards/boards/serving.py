"""How the service answers: traffic, latency, errors, and the log that every answer waits for."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.panel import Link, Panel, Query, above, alarm_above, below, events

STATUS = Link("Status", "/status")
SWAPS = events("Promotions and rollbacks", "model_promoted", "model_rolled_back")
BY_VERSION = '{model_version=~"$version"}'


def _quantiles(series: str, selector: str, *named: tuple[float, str]) -> tuple[Query, ...]:
    rate = f"rate({series}_bucket{selector}[$__rate_interval])"
    return tuple(Query(f"histogram_quantile({share}, sum by (le) ({rate}))", name) for share, name in named)


NOW = Row(
    "Now",
    (
        Panel(
            "Champion",
            "The version that answers. More than one for longer than a second: a worker could not load the new one.",
            "none",
            (Query("max by (model_version) (ringside_champion_info)", "{{model_version}}"),),
            (Link("Models", "/models"), SWAPS),
            ((None, "red"), (1, "green")),
            "stat",
            alert="RingsideNoChampion",
            by_version=True,
        ),
        Panel(
            "Replicas",
            "Replicas that Prometheus reaches.",
            "none",
            (Query('sum(up{job="ringside"})', "up"),),
            (STATUS,),
            ((None, "red"), (1, "green")),
            "stat",
            4,
            "RingsideDown",
        ),
        Panel(
            "Success rate",
            "Share of requests without a 5xx status, over five minutes.",
            "percentunit",
            (Query("1 - ringside:request_errors:ratio_rate5m", "answered"),),
            (STATUS,),
            below(0.99, 0.999),
            "stat",
            6,
            "RingsideErrorsHigh",
        ),
        Panel(
            "Latency p99",
            "The p99 of /predict over five minutes.",
            "s",
            (Query("ringside:predict_latency_seconds:p99_5m", "p99"),),
            (STATUS,),
            above(0.05, 0.1),
            "stat",
            6,
            "RingsideLatencyHigh",
        ),
    ),
)

REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Requests",
            "Requests per second by route and status, over all replicas.",
            "reqps",
            (
                Query(
                    "sum by (route, status) (rate(ringside_request_duration_seconds_count[$__rate_interval]))",
                    "{{route}} {{status}}",
                ),
            ),
            (Link("Routes", "/docs.json"),),
        ),
        Panel(
            "Latency of /predict",
            "Time from the request's first byte to the answer, the durable log included.",
            "s",
            _quantiles(
                "ringside_request_duration_seconds", '{route="/predict"}', (0.5, "p50"), (0.95, "p95"), (0.99, "p99")
            ),
            (STATUS,),
            above(0.05, 0.1),
            alert="RingsideLatencyHigh",
        ),
        Panel(
            "Errors",
            "Share of requests that ended with a 5xx status, by status.",
            "percentunit",
            (
                Query(
                    'sum by (status) (rate(ringside_request_duration_seconds_count{status=~"5.."}[$__rate_interval]))'
                    " / on () group_left ()"
                    " sum(rate(ringside_request_duration_seconds_count[$__rate_interval]))",
                    "{{status}}",
                ),
            ),
            (STATUS, events("Refused callers", "access_refused")),
            above(0.001, 0.01),
            alert="RingsideErrorsHigh",
        ),
        Panel(
            "Predictions by class",
            "Answered records per second, by the class predicted and the version that answered.",
            "reqps",
            (
                Query(
                    "sum by (model_version, predicted_class)"
                    f" (rate(ringside_predictions_total{BY_VERSION}[$__rate_interval]))",
                    "{{model_version}} {{predicted_class}}",
                ),
            ),
            (SWAPS,),
            by_version=True,
        ),
        Panel(
            "Predicted value",
            "Median and upper decile of the positive class's probability, or of the regression's value.",
            "none",
            tuple(
                Query(
                    f"histogram_quantile({share}, sum by (le, model_version)"
                    f" (rate(ringside_prediction_value_bucket{BY_VERSION}[$__rate_interval])))",
                    name + " {{model_version}}",
                )
                for share, name in ((0.5, "p50"), (0.9, "p90"))
            ),
            (events("Drift checks", "drift_checked"),),
            by_version=True,
        ),
        Panel(
            "Invalid records and unseen values",
            "Requests refused for a record, and values that were answered but never seen in training, per second.",
            "reqps",
            (
                Query(
                    "sum by (reason) (rate(ringside_invalid_records_total[$__rate_interval]))", "refused: {{reason}}"
                ),
                Query("sum by (reason) (rate(ringside_unusual_values_total[$__rate_interval]))", "unusual: {{reason}}"),
            ),
            (Link("Schema", "/docs.json"),),
            alert="RingsideInvalidRecordsHigh",
        ),
    ),
)

LOG = Row(
    "The log",
    (
        Panel(
            "Log commit",
            "Time that a group of answers waits for its commit.",
            "s",
            _quantiles("ringside_log_commit_seconds", "", (0.5, "p50"), (0.99, "p99")),
            (STATUS,),
            above(0.05, 0.5),
            alert="RingsideLogCommitSlow",
        ),
        Panel(
            "Log queue",
            "Answers that wait for their commit, over all workers. 20,000 per worker are refused as overloaded.",
            "short",
            (Query("sum(ringside_log_queue_depth)", "waiting"),),
            (STATUS,),
            above(1000, 20_000),
        ),
        Panel(
            "Labels",
            "Labels per second by what became of them.",
            "reqps",
            (Query("sum by (outcome) (rate(ringside_labels_total[$__rate_interval]))", "{{outcome}}"),),
            (STATUS,),
            alert="RingsideLabelsStopped",
        ),
        Panel(
            "Connections closed",
            "Connections per second that were closed on their client: it was slow to send or to read, sent too much "
            "ahead, or there were too many.",
            "ops",
            (Query("sum by (reason) (rate(ringside_connections_cut_total[$__rate_interval]))", "{{reason}}"),),
            (STATUS,),
            above(1.0),
        ),
        Panel(
            "Free disk",
            "Share of the file system that is free, where the record, the models and the workers' metrics are. "
            "`ringside status` says for how many days the log has room.",
            "percentunit",
            (
                Query(
                    "min by (instance, place) (ringside_disk_free_bytes / ringside_disk_size_bytes)",
                    "{{place}} on {{instance}}",
                ),
            ),
            (STATUS,),
            below(0.05, 0.2),
            alert="RingsideDiskNearlyFull",
        ),
        Panel(
            "Free disk in four days",
            "What would be free then, if it goes on as in the last six hours.",
            "bytes",
            (
                Query(
                    "min by (instance, place) (predict_linear(ringside_disk_free_bytes[6h], 4 * 86400))",
                    "{{place}} on {{instance}}",
                ),
            ),
            (STATUS,),
            below(0, 1e9),
            alert="RingsideDiskFilling",
        ),
        Panel(
            "Predictions not logged",
            'Answers of the last hour that `log.on_failure = "serve"` let out although the log could not take them, '
            "and how often a worker's counts found no room on disk.",
            "short",
            (
                Query("sum(increase(ringside_unlogged_predictions_total[1h]))", "not logged"),
                Query("sum(increase(ringside_metrics_unsaved_total[1h]))", "counts without room"),
            ),
            (STATUS,),
            alarm_above(1),
            "stat",
            12,
            "RingsideNotLogged",
        ),
        Panel(
            "Champion load failures",
            "Times in the last hour that a worker could not load a new champion and kept the one before.",
            "short",
            (Query("sum(increase(ringside_champion_load_failures_total[1h]))", "failures"),),
            (SWAPS,),
            alarm_above(1),
            "stat",
            12,
            "RingsideChampionNotLoaded",
        ),
    ),
)

BOARD = Board(
    "ringside-serving",
    "Ringside: serving",
    "How the service answers, and whether every answer is in the log.",
    (NOW, REQUESTS, LOG),
)
