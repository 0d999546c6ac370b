"""The challenger in the ring: evidence, lead, and whether its shadow keeps up."""

from __future__ import annotations

from dashboards.board import Board, Choice, Row
from dashboards.panel import Link, Panel, Query, above, below, events, goal

STATUS = Link("Status: each challenger", "/status")
BOUTS = events("Bouts", "bout_opened", "bout_decided", "bout_voided", "approval_requested")
METRIC = 'metric=~"$metric"'
# An e-value of 33 is what the first bout of a family needs at promotion.alpha = 0.05,
# whose share of alpha is 6/π².
FIRST_BOUT = 33

EVIDENCE = Row(
    "Evidence",
    (
        Panel(
            "Evidence",
            "The e-value of the leading challenger. It wins at 1/alpha of its bout: 33 for the first of a family where "
            "promotion.alpha is 0.05, more for later ones; `needed` in the status says it.",
            "none",
            (Query("max(ringside_shadow_evidence)", "e-value"),),
            (STATUS, BOUTS),
            goal(FIRST_BOUT),
            width=12,
            logarithmic=True,
        ),
        Panel(
            "Challenger lead",
            "The champion's mean loss minus the challenger's, with its confidence sequence; above 0 it is better.",
            "none",
            (Query("max by (bound) (ringside_shadow_lead)", "{{bound}}"),),
            (STATUS, BOUTS),
            ((None, "orange"), (0, "green")),
            width=12,
        ),
        Panel(
            "Shadow pairs",
            "Labelled requests that both models answered. At least promotion.min_pairs (200) are needed.",
            "short",
            (Query("max(ringside_shadow_pairs)", "pairs"),),
            (STATUS,),
            goal(200),
        ),
        Panel(
            "Champion vs. challenger",
            "Observed metrics of the challenger and of the champion beside it: the same requests, one loss.",
            "none",
            (
                Query(
                    f'max by (role, metric) (ringside_quality{{kind="observed", role!="champion", {METRIC}}})',
                    "{{role}} {{metric}}",
                ),
            ),
            (Link("Models", "/models"),),
        ),
        Panel(
            "Label coverage",
            "Share of mature requests that are labelled. Below promotion.min_coverage nobody is promoted.",
            "percentunit",
            (Query("min(ringside_label_coverage)", "labelled"),),
            (STATUS,),
            below(0.8, 0.9),
            alert="RingsideLabelCoverageLow",
        ),
        Panel(
            "Awaiting approval",
            "Challengers that won and wait for a person; the status has the command to run.",
            "short",
            (Query("max(ringside_approvals_waiting)", "waiting"),),
            (STATUS, BOUTS),
            above(1),
            alert="RingsideApprovalWaiting",
        ),
        Panel(
            "Approval pending for",
            "How long the oldest of them has waited; promotion.approve_within is its end.",
            "s",
            (Query("max(ringside_approval_waiting_seconds)", "waited"),),
            (STATUS, BOUTS),
            above(86_400),
        ),
    ),
)

SHADOW = Row(
    "The shadow",
    (
        Panel(
            "Shadow lag",
            "How far the slowest shadow is behind the log.",
            "s",
            (Query("max(ringside_shadow_lag_seconds)", "lag"),),
            (STATUS,),
            above(600, 3600),
            alert="RingsideShadowLagging",
        ),
        Panel(
            "Shadow failures",
            "Requests of the last hour on which a challenger failed; each counts as its worst loss.",
            "short",
            (Query("max(increase(ringside_shadow_failures_total[1h]))", "failures"),),
            (BOUTS,),
            above(1, 10),
            alert="RingsideShadowFailing",
        ),
        Panel(
            "Bout outcomes",
            "All bouts there were, by outcome.",
            "short",
            (Query("max by (outcome) (ringside_promotions_total)", "{{outcome}}"),),
            (BOUTS,),
        ),
    ),
)

BOARD = Board(
    "ringside-bout",
    "Ringside: the bout",
    "What would take the champion's place, and how far it is.",
    (EVIDENCE, SHADOW),
    (Choice("metric", "Metric", "ringside_quality", "metric"),),
)
