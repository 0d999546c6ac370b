"""Who answers and why: ages, runs, promotions, and the audit trail behind all of it."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.panel import Link, Panel, Query, above, age, events

DAY = 86_400
MODELS = Link("Models and their cards", "/models")
RUNS = events("Retrains", "retrain_requested", "retrain_started", "retrain_succeeded", "retrain_failed")
ROLES = events("Promotions and rollbacks", "model_promoted", "model_rejected", "model_rolled_back")
TRAIL = events("The audit trail")

NOW = Row(
    "Now",
    (
        Panel(
            "Champion",
            "The version that answers.",
            "none",
            (Query("max by (model_version) (ringside_champion_info)", "{{model_version}}"),),
            (MODELS, ROLES),
            ((None, "red"), (1, "green")),
            "stat",
            4,
            "RingsideNoChampion",
            by_version=True,
        ),
        age(
            "Trained",
            "How long ago the champion was trained. Alert: RingsideModelStale.",
            "max(ringside_model_last_training_timestamp_seconds)",
            MODELS,
            above(60 * DAY, 90 * DAY),
        ),
        age(
            "Newest row it learned from",
            "Age of the newest row in the champion's training data.",
            "max(ringside_training_data_timestamp_seconds)",
            MODELS,
            above(90 * DAY, 180 * DAY),
        ),
        age(
            "Champion since",
            "How long ago the champion took its role.",
            "max(ringside_model_last_promotion_timestamp_seconds)",
            ROLES,
            above(180 * DAY),
        ),
        age(
            "Watcher's heartbeat",
            "How long ago the watcher last led; below zero, its clock is ahead of Prometheus'. "
            "Alert: RingsideWatcherSilent. Alert: RingsideWatcherClockAhead.",
            "max(ringside_watcher_heartbeat_timestamp_seconds)",
            Link("Status", "/status"),
            above(60, 120),
        ),
        Panel(
            "Audit chain valid",
            "Whether the hash chain over all events is whole.",
            "bool_yes_no",
            (Query("min(ringside_audit_chain_valid)", "valid"),),
            (TRAIL,),
            ((None, "red"), (1, "green")),
            "stat",
            4,
            "RingsideAuditChainBroken",
        ),
        Panel(
            "Record integrity",
            "Whether SQLite finds its database file whole, looked at once a day.",
            "bool_yes_no",
            (Query("min(ringside_record_intact)", "intact"),),
            (Link("Status", "/status"),),
            ((None, "red"), (1, "green")),
            "stat",
            4,
            "RingsideRecordDamaged",
        ),
    ),
)

RETRAINING = Row(
    "Retraining",
    (
        Panel(
            "Runs",
            "Retrains by trigger and outcome, all time. Refused: the gate found the candidate no better.",
            "short",
            (Query("max by (trigger, outcome) (ringside_runs_total)", "{{trigger}} {{outcome}}"),),
            (RUNS,),
            alert="RingsideRetrainFailed",
        ),
        Panel(
            "Retrain decisions",
            "Decisions of the last day: what asked for a retrain and got it, and what did not.",
            "short",
            (
                Query('max(increase(ringside_audit_events_total{kind="retrain_started"}[1d]))', "started"),
                Query('max(increase(ringside_audit_events_total{kind="retrain_declined"}[1d]))', "not now"),
                Query('max(increase(ringside_audit_events_total{kind="retrain_failed"}[1d]))', "failed"),
            ),
            (events("Decisions, with their numbers", "retrain_requested", "retrain_declined", "retrain_failed"),),
        ),
        Panel(
            "Run active",
            "Whether a retrain is requested or running.",
            "bool_yes_no",
            (Query("max(ringside_run_active)", "active"),),
            (Link("Status: its progress", "/status"),),
            ((None, "blue"), (1, "purple")),
        ),
        Panel(
            "Search trials",
            "Trials that the active run has finished.",
            "short",
            (Query("max(ringside_run_trials)", "trials"),),
            (events("Its stages", "retrain_progressed"),),
        ),
        Panel(
            "Search time remaining",
            "What the active run's search has left, by its budget or by the pace of its trials.",
            "s",
            (Query("max(ringside_run_seconds_left)", "left"),),
            (Link("Status: its progress", "/status"),),
            above(1200, 2400),
        ),
        Panel(
            "Run duration",
            "Mean duration of retrains. The search takes retrain.budget (10 minutes); all of it, retrain.deadline.",
            "s",
            (Query("max(ringside_run_duration_seconds_sum) / max(ringside_run_duration_seconds_count)", "mean"),),
            (RUNS,),
            above(1200, 2400),
        ),
        Panel(
            "New labelled rows",
            "Labelled requests that no run has learned from. A triggered run needs retrain.min_new_labels (100).",
            "short",
            (Query("max(ringside_new_labelled_rows)", "rows"),),
            (RUNS,),
            ((None, "blue"), (100, "green")),
        ),
        Panel(
            "Champion age",
            "How long ago the champion was trained.",
            "s",
            (Query("ringside:champion_age:seconds", "age"),),
            (MODELS,),
            above(60 * DAY, 90 * DAY),
            alert="RingsideModelStale",
        ),
    ),
)

TRAILS = Row(
    "The audit trail",
    (
        Panel(
            "Promotions and rollbacks",
            "How bouts ended, and why champions were rolled back, all time.",
            "short",
            (
                Query("max by (outcome) (ringside_promotions_total)", "{{outcome}}"),
                Query("max by (reason) (ringside_rollbacks_total)", "rolled back: {{reason}}"),
            ),
            (ROLES,),
            alert="RingsideRolledBack",
        ),
        Panel(
            "Events",
            "Events of the last hour, by kind.",
            "short",
            (Query("max by (kind) (increase(ringside_audit_events_total[1h])) > 0", "{{kind}}"),),
            (TRAIL,),
        ),
        Panel(
            "Access refused",
            "Minutes of the last hour in which a caller was refused for a missing token or role.",
            "short",
            (Query('max(increase(ringside_audit_events_total{kind="access_refused"}[1h]))', "refused"),),
            (events("Who", "access_refused"),),
            above(1, 30),
        ),
        Panel(
            "Watcher heartbeat age",
            "How long the watcher has not been heard of.",
            "s",
            (Query("ringside:watcher_silence:seconds", "silent"),),
            (Link("Status", "/status"),),
            above(60, 120),
            alert="RingsideWatcherSilent",
        ),
        Panel(
            "Alerts received",
            "Calls of the last hour by which Alertmanager brought something new.",
            "short",
            (Query('max(increase(ringside_audit_events_total{kind="alert_received"}[1h]))', "received"),),
            (events("Alerts", "alert_received"),),
        ),
        Panel(
            "Notifications",
            "Messages to people within the last hour, by what became of them.",
            "short",
            (Query("max by (outcome) (increase(ringside_notifications_total[1h]))", "{{outcome}}"),),
            (events("Messages", "notification_sent"),),
            alert="RingsideNotificationsFailing",
        ),
        Panel(
            "MLflow lag",
            "Events about runs and models that MLflow has not been told of yet; more than a few: it does not answer.",
            "short",
            (Query("max(ringside_tracking_waiting_events)", "events"),),
            (events("Runs", "retrain_succeeded"),),
        ),
    ),
)

BOARD = Board(
    "ringside-governance",
    "Ringside: governance",
    "Who answers and since when, what was retrained and why, and the audit trail behind it.",
    (NOW, RETRAINING, TRAILS),
)
