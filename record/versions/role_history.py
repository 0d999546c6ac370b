"""What became of each version: its roles, read off the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from record.event_log import EventLog, RecordedEvent

Role = Literal["challenger", "champion", "previous", "rejected", "rolled_back"]
ROLE_EVENTS = ("model_registered", "model_promoted", "model_rejected", "model_unbarred", "model_rolled_back")


@dataclass(frozen=True, slots=True)
class RoleChange:
    """`event` is the audit trail's seq that says so."""

    at: datetime
    role: Role
    actor: str
    reason: str | None
    bout: str | None
    event: int


def role_histories(events: EventLog) -> dict[str, list[RoleChange]]:
    """Every version's changes of role, oldest first."""
    histories: dict[str, list[RoleChange]] = {}
    cursor: str | None = None
    while True:
        page, cursor = events.page(kind=ROLE_EVENTS, limit=1000, cursor=cursor)
        for event in page:
            for version, change in _changes(event):
                histories.setdefault(version, []).append(change)
        if cursor is None:
            return histories


def _changes(event: RecordedEvent) -> list[tuple[str, RoleChange]]:
    """A move of the champion's role concerns two versions: the one that comes and the one that goes."""
    moves: dict[str, tuple[tuple[str | None, Role], ...]] = {
        "model_registered": ((event.model_version, "challenger"),),
        "model_promoted": ((event.data.get("previous"), "previous"), (event.model_version, "champion")),
        "model_rejected": ((event.model_version, "rejected"),),
        "model_unbarred": ((event.model_version, "challenger"),),
        "model_rolled_back": ((event.model_version, "rolled_back"), (event.data.get("restored"), "champion")),
    }
    reason, bout = event.data.get("reason"), event.data.get("bout")
    return [
        (version, RoleChange(event.at, role, event.actor, reason, bout, event.seq))
        for version, role in moves[event.kind]
        if version is not None
    ]
