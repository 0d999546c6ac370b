"""What follows where a person has the last word: an approval is asked for, reminded of, withdrawn, and expires."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from monitoring.bouts.decision import Outcome, PromotionDecision
from record.bouts.approval import Approval, approval_events, approve_command, open_approval, refuse_command
from record.bouts.bout import Bout
from record.configuration.loop_sections import PromotionSettings
from record.events import (
    ApprovalExpired,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalWithdrawn,
    BoutDecided,
    Event,
)
from record.record import Record
from record.work.leases import Fence

ACTOR = "watcher"
Step = Literal["request", "remind", "withdraw"]

# People are reminded once a day, and where there is less time, halfway through it.
REMIND_EVERY = timedelta(days=1)
# Evidence that rises and falls about its bound would ask at every look.
ASK_AGAIN_AFTER = timedelta(hours=1)


def next_step(
    approval: Approval | None, withdrawn_at: datetime | None, outcome: Outcome, as_of: datetime
) -> Step | None:
    """The step to take now, a pure decision: `approval` is waited for, the last one was withdrawn at `withdrawn_at`."""
    if outcome != "awaiting_approval":
        return "withdraw" if approval is not None and outcome == "wait" else None
    if approval is None:
        return None if withdrawn_at is not None and as_of < withdrawn_at + ASK_AGAIN_AFTER else "request"
    return "remind" if as_of >= approval.said_at + _pause(approval) else None


def expired(decision: PromotionDecision, approval: Approval | None, as_of: datetime) -> PromotionDecision:
    """The decision, or what it becomes where its approval has come to its end. Pure."""
    if decision.outcome != "awaiting_approval" or approval is None or approval.expires_at is None:
        return decision
    if as_of < approval.expires_at:
        return decision
    outcome: Outcome = "promote" if approval.on_expiry == "promote" else "inconclusive"
    if approval.on_expiry == "reject":
        outcome = "reject"
    waited = f"nobody approved it from {approval.requested_at.isoformat()} to {approval.expires_at.isoformat()}"
    return replace(decision, outcome=outcome, reasons=(*decision.reasons, waited))


class Approvals:
    """One bout's approval, in the audit trail."""

    def __init__(self, record: Record, promotion: PromotionSettings, bout: Bout) -> None:
        self._record = record
        self._promotion = promotion
        self._bout = bout
        self._standing = open_approval(record.events, bout) if bout.kind == "challenge" else None

    def expired(self, decision: PromotionDecision, as_of: datetime) -> PromotionDecision:
        """The decision, or what it becomes where nobody said yes or no in time."""
        return expired(decision, self._standing, as_of)

    def keep(self, decision: PromotionDecision, evidence: dict[str, Any], fence: Fence | None, as_of: datetime) -> None:
        """Says what there is to say about it, in one transaction."""
        step = next_step(self._standing, self._withdrawn_at(), decision.outcome, as_of)
        if step is None:
            return
        with self._record.events.writing() as connection:
            if fence is not None:
                fence.check(connection)
            for event in self._events(step, decision, evidence, as_of):
                self._record.events.append(event, actor=ACTOR, at=as_of, connection=connection)

    def end(self, decision: PromotionDecision, as_of: datetime, connection: sa.Connection) -> None:
        """Says that the approval expired, in the transaction that acts on it; nothing where none was waited for."""
        held = self._standing
        if held is None or held.expires_at is None or as_of < held.expires_at:
            return
        event = ApprovalExpired(
            bout=self._bout.bout,
            challenger=self._bout.challenger,
            champion=self._bout.champion,
            requested_at=held.requested_at,
            outcome=decision.outcome,
            model_version=self._bout.challenger,
        )
        self._record.events.append(event, actor=ACTOR, at=as_of, connection=connection)

    def _withdrawn_at(self) -> datetime | None:
        if self._standing is not None or self._bout.kind != "challenge":
            return None
        said = approval_events(self._record.events, self._bout)
        return next((event.at for event in reversed(said) if event.kind == ApprovalWithdrawn.kind), None)

    def _events(
        self, step: Step, decision: PromotionDecision, evidence: dict[str, Any], as_of: datetime
    ) -> list[Event]:
        about: dict[str, Any] = {
            "bout": self._bout.bout,
            "challenger": self._bout.challenger,
            "champion": self._bout.champion,
            "model_version": self._bout.challenger,
        }
        if step == "withdraw":
            assert self._standing is not None
            requested_at = self._standing.requested_at
            return [ApprovalWithdrawn(**about, requested_at=requested_at, reasons=decision.reasons)]
        commands = {"approve": approve_command(self._bout.challenger), "refuse": refuse_command(self._bout.challenger)}
        if step == "remind":
            assert self._standing is not None
            held = self._standing
            return [
                ApprovalReminded(
                    **about,
                    **commands,
                    approvers=held.approvers,
                    requested_at=held.requested_at,
                    expires_at=held.expires_at,
                )
            ]
        within = self._promotion.approve_within
        asked = ApprovalRequested(
            **about,
            **commands,
            approvers=self._promotion.approvers,
            expires_at=None if within is None else as_of + within,
            on_expiry=self._promotion.on_expiry,
            reasons=decision.reasons,
        )
        won = BoutDecided(**about, bout_kind=self._bout.kind, outcome="awaiting_approval", evidence=evidence)
        return [asked] if self._asked_before() else [won, asked]

    def _asked_before(self) -> bool:
        return bool(approval_events(self._record.events, self._bout))


def _pause(approval: Approval) -> timedelta:
    if approval.expires_at is None:
        return REMIND_EVERY
    return min(REMIND_EVERY, (approval.expires_at - approval.requested_at) / 2)
