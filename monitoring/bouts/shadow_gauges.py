"""What a scrape shows of the open bouts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from monitoring.bouts.evidence_look import Look
from record.bouts.approval import Approval, open_approval
from record.bouts.bout import Bout
from record.record import Record


def show_shadow(record: Record, looks: Sequence[tuple[Bout, Look]], at: datetime) -> None:
    """Pairs, evidence and lead of the leading challenge, the one with the most evidence; none where none is open.

    The lag is that of the slowest shadow, a probation's included. Failures are those of all bouts there ever were.
    """
    challenges = [look for bout, look in looks if bout.kind == "challenge"]
    leading = max(challenges, key=lambda look: look.e_value, default=None)
    lead = None if leading is None else leading.lead
    failures = sum((bout.look or {}).get("failed", 0) for bout in record.bouts.all())
    nothing: dict[str, str] = {}
    open_bouts = record.bouts.opened()
    waits = [(at - held.requested_at).total_seconds() for bout in open_bouts if (held := _approval(record, bout))]
    record.samples.put(
        [
            ("ringside_shadow_pairs", nothing, math.nan if leading is None else leading.pairs),
            ("ringside_shadow_evidence", nothing, math.nan if leading is None else leading.e_value),
            ("ringside_shadow_lead", {"bound": "low"}, math.nan if lead is None else lead.low),
            ("ringside_shadow_lead", {"bound": "mean"}, math.nan if lead is None else lead.mean),
            ("ringside_shadow_lead", {"bound": "high"}, math.nan if lead is None else lead.high),
            ("ringside_shadow_lag_seconds", nothing, max((look.lag_seconds for _, look in looks), default=math.nan)),
            ("ringside_shadow_failures_total", nothing, float(failures)),
            ("ringside_approvals_waiting", nothing, float(len(waits)) if waits else math.nan),
            ("ringside_approval_waiting_seconds", nothing, max(waits, default=math.nan)),
        ],
        at,
    )


def _approval(record: Record, bout: Bout) -> Approval | None:
    return open_approval(record.events, bout) if bout.kind == "challenge" else None
