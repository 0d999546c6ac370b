"""Who is due for a bout: pure, from the versions, the roles and the bouts there have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from record.bouts.bout import Bout
from record.event_log import EventLog
from record.events import ModelUnbarred
from record.registry import ModelVersion, Roles


@dataclass(frozen=True, slots=True)
class Unbarred:
    """A lifted bar: the version was judged in bouts up to this number, on requests up to this one."""

    after_bout: int
    after_seq: int


def read_unbarred(events: EventLog) -> dict[str, Unbarred]:
    """The last lifted bar of each version that had one."""
    found: dict[str, Unbarred] = {}
    cursor: str | None = None
    while True:
        page, cursor = events.page(kind=ModelUnbarred.kind, limit=1000, cursor=cursor)
        for event in page:
            if event.model_version is not None:
                found[event.model_version] = Unbarred(event.data["after_bout"], event.data["after_seq"])
        if cursor is None:
            return found


def contenders(
    versions: Sequence[ModelVersion],
    roles: Roles,
    bouts: Sequence[Bout],
    max_open: int,
    unbarred: Mapping[str, Unbarred] | None = None,
) -> list[ModelVersion]:
    """The versions that are due for a bout against the champion, newest first, as far as there is room for them.

    Due are eligible versions newer than the champion that never had a bout, or only voided ones: whoever was judged
    is not judged again on the same requests. A version whose bar was lifted is due again, on requests still to come.
    The newest go first, as they know most; the others wait for room.
    """
    champion = next((held for held in versions if held.version == roles.champion), None)
    if champion is None:
        return []
    lifted = unbarred or {}
    judged = {
        bout.challenger
        for bout in bouts
        if bout.kind == "challenge"
        and bout.state != "voided"
        and (bout.challenger not in lifted or bout.number > lifted[bout.challenger].after_bout)
    }
    due = [
        held
        for held in versions
        if held.number > champion.number and held.standing == "eligible" and held.version not in judged
    ]
    room = max_open - sum(bout.kind == "challenge" and bout.state == "open" for bout in bouts)
    return sorted(due, key=lambda held: -held.number)[: max(room, 0)]


def former_champion(versions: Sequence[ModelVersion], roles: Roles, bouts: Sequence[Bout]) -> ModelVersion | None:
    """The version that a new champion is on probation against; None after a rollback, and once there was a probation.

    A rollback leaves no former champion behind, so that the one it restored is not put on probation again.
    """
    if any(bout.kind == "probation" and bout.generation == roles.generation for bout in bouts):
        return None
    return next(
        (held for held in versions if held.version == roles.previous and held.standing == "eligible"),
        None,
    )
