"""A bout as people and programs read it: where its evidence stands, what is missing, and the date that means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from record.bouts.approval import Approval, open_approval
from record.bouts.bout import Bout
from record.db.database import Database
from record.db.tables import predictions
from record.event_log import EventLog

# Later than this nobody plans for; a date beyond the deadline says as much.
LONGEST_WAIT = timedelta(days=3650)


def bout_summary(database: Database, events: EventLog, bout: Bout) -> dict[str, Any]:
    """The facts of one bout; what is not known yet is None.

    `state` is testing, awaiting_approval or probation while it is open, then decided or voided. `expected_at` is when
    the evidence would be reached if the challenger went on as it did and labels came as they do.
    """
    look = bout.look or {}
    lead = look.get("lead") or {}
    approval = open_approval(events, bout)
    deadline = bout.opened_at + timedelta(seconds=float(bout.design.get("deadline_seconds") or 0.0))
    return {
        "version": bout.challenger,
        "bout": bout.bout,
        "state": _state(bout, approval),
        "pairs": look.get("pairs", 0),
        "e_value": look.get("e_value", 1.0),
        "e_max": look.get("e_max", 1.0),
        "needed": look.get("needed"),
        "lead": {bound: lead.get(bound) for bound in ("low", "mean", "high")},
        "labels_to_go": look.get("labels_to_go"),
        "expected_at": _expected_at(database, bout) if bout.state == "open" else None,
        "deadline_at": deadline,
        "missing": list(look.get("reasons") or ()) if look.get("outcome") == "wait" else [],
        "approval": None if approval is None else _approval(approval),
    }


def _state(bout: Bout, approval: Approval | None) -> str:
    if bout.state != "open":
        return bout.state
    if bout.kind == "probation":
        return "probation"
    return "awaiting_approval" if approval is not None else "testing"


def _approval(approval: Approval) -> dict[str, Any]:
    return {
        "requested_at": approval.requested_at,
        "expires_at": approval.expires_at,
        "on_expiry": approval.on_expiry if approval.expires_at is not None else None,
        "approvers": list(approval.approvers),
        "approve": approval.approve,
        "refuse": approval.refuse,
    }


def _expected_at(database: Database, bout: Bout) -> datetime | None:
    """By the pairs a day that the bout had so far; None while there are none to go by."""
    look: Mapping[str, Any] = bout.look or {}
    to_go, pairs = look.get("labels_to_go"), look.get("pairs") or 0
    if to_go is None or not pairs or bout.matured_until is None or look.get("as_of") is None:
        return None
    began = _first_request(database, bout)
    if began is None or bout.matured_until <= began:
        return None
    wait = (bout.matured_until - began) * (int(to_go) / int(pairs))
    return datetime.fromisoformat(look["as_of"]) + min(wait, LONGEST_WAIT)


def _first_request(database: Database, bout: Bout) -> datetime | None:
    query = (
        sa.select(predictions.c.requested_at)
        .where(predictions.c.seq > bout.after_seq)
        .order_by(predictions.c.seq)
        .limit(1)
    )
    with database.read() as connection:
        found: datetime | None = connection.execute(query).scalar()
    return found
