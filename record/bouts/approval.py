"""A won bout that waits for a person: when it was asked for, until when, and who may say yes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from record.bouts.bout import Bout
from record.errors import Forbidden
from record.event_log import EventLog, RecordedEvent
from record.events import ApprovalExpired, ApprovalReminded, ApprovalRequested, ApprovalWithdrawn

KINDS = (ApprovalRequested.kind, ApprovalReminded.kind, ApprovalWithdrawn.kind, ApprovalExpired.kind)


@dataclass(frozen=True, slots=True)
class Approval:
    """`said_at` is when people were told of it last; `expires_at` None: it waits for ever."""

    bout: str
    version: str
    requested_at: datetime
    said_at: datetime
    expires_at: datetime | None
    on_expiry: str
    approvers: tuple[str, ...]

    @property
    def approve(self) -> str:
        """The command that says yes."""
        return approve_command(self.version)

    @property
    def refuse(self) -> str:
        """The command that says no."""
        return refuse_command(self.version)


def approve_command(version: str) -> str:
    return f'ringside promote {version} --reason "…"'


def refuse_command(version: str) -> str:
    return f'ringside reject {version} --reason "…"'


def open_approval(events: EventLog, bout: Bout) -> Approval | None:
    """The approval that an open bout waits for; None where it waits for none."""
    if bout.state != "open":
        return None
    standing: Approval | None = None
    for event in approval_events(events, bout):
        standing = _after(standing, event)
    return standing


def approval_events(events: EventLog, bout: Bout) -> list[RecordedEvent]:
    """What was said about this bout's approval, oldest first."""
    found: list[RecordedEvent] = []
    cursor: str | None = None
    while True:
        page, cursor = events.page(kind=KINDS, model=bout.challenger, since=bout.opened_at, limit=1000, cursor=cursor)
        found += [event for event in page if event.data["bout"] == bout.bout]
        if cursor is None:
            return found


def expect_approver(approvers: Sequence[str], actor: str) -> None:
    """Raises Forbidden where `promotion.approvers` names others than `actor`."""
    if approvers and actor not in approvers:
        raise Forbidden(
            f"{actor!r} is not among promotion.approvers ({', '.join(approvers)}); one of them has to promote",
            field="reason",
        )


def _after(standing: Approval | None, event: RecordedEvent) -> Approval | None:
    data = event.data
    if event.kind == ApprovalRequested.kind:
        until = data["expires_at"]
        return Approval(
            bout=data["bout"],
            version=data["challenger"],
            requested_at=event.at,
            said_at=event.at,
            expires_at=None if until is None else datetime.fromisoformat(until),
            on_expiry=data["on_expiry"],
            approvers=tuple(data["approvers"]),
        )
    if event.kind == ApprovalReminded.kind and standing is not None:
        return replace(standing, said_at=event.at)
    return None
