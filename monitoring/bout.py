"""Bouts looked at and settled. What a look says, and what follows from it, is decided elsewhere, in pure functions;
here it is done, in transactions that a crash leaves whole.
"""

from __future__ import annotations

from datetime import datetime
from logging import ERROR
from typing import Any

from monitoring.bouts.approval import Approvals
from monitoring.bouts.decision import Outcome, PromotionDecision
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_look import Look
from monitoring.bouts.look import Examination, examine
from monitoring.bouts.opening import open_due_bouts
from monitoring.bouts.shadow_gauges import show_shadow
from monitoring.promotion import decide
from record.bouts.bout import Bout
from record.errors import ArtifactError, RoleConflict
from record.events import QualityChecked
from record.failpoint import fail_point
from record.feed_faults import read_feed_faults
from record.log_lines import log_line
from record.record import Record
from record.registry import Roles
from record.settings import Settings
from record.work.leases import Fence

__all__ = ["open_due_bouts", "settle_bouts"]

ACTOR = "watcher"

# What stands in the record of an ended bout.
PAST: dict[Outcome, str] = {
    "promote": "promoted",
    "reject": "rejected",
    "inconclusive": "inconclusive",
    "roll_back": "rolled_back",
    "passed": "passed",
    "unjudged": "unjudged",
}


def settle_bouts(record: Record, settings: Settings, fence: Fence | None, as_of: datetime) -> list[PromotionDecision]:
    """Voids what the champion's move has ended, looks at the rest, and does what follows; one decision for each look.

    A probation goes first, then the challengers by the strength of their evidence: where two have won, the stronger
    is promoted, and the other's bout is void.
    """
    delayed = delay_depends_on_outcome(record)
    standing = _still_standing(record, fence, as_of)
    keep = read_feed_faults(record.events, as_of).sound
    examined = [(bout, examine(record, bout, as_of, keep=keep, delay_depends=delayed)) for bout in standing]
    examined.sort(key=lambda pair: (pair[0].kind != "probation", -pair[1].look.e_value, pair[0].number))
    running = {bout.bout for bout, _ in examined if bout.kind == "probation"}
    decisions = []
    for bout, examination in examined:
        roles = record.registry.roles()
        if roles.generation != bout.generation:
            _close_moved(record, bout, roles, fence, as_of)
            continue
        on_probation = bool(running - {bout.bout})
        decision = _decide(record, settings, bout, examination.look, as_of, probation_running=on_probation)
        approvals = Approvals(record, settings.promotion, bout)
        decision = approvals.expired(decision, as_of)
        try:
            _write_look(record, bout, examination, decision, fence)
        except RoleConflict as conflict:  # ended meanwhile, as by a person's rejection
            log_line("bout had ended", bout=bout.bout, reason=conflict.message)
            continue
        fail_point("bout.looked")
        _act(record, bout, examination.look, decision, approvals, fence, as_of)
        if decision.outcome in ("passed", "unjudged"):
            running.discard(bout.bout)
        decisions.append(decision)
    show_shadow(record, [(bout, examination.look) for bout, examination in examined], as_of)
    return decisions


def delay_depends_on_outcome(record: Record) -> bool:
    """Whether the last quality check found that how long labels take depends on what they say."""
    checked = record.events.latest(QualityChecked.kind)
    return bool(checked is not None and (checked.data.get("numbers") or {}).get("delay_depends_on_outcome"))


def _still_standing(record: Record, fence: Fence | None, as_of: datetime) -> list[Bout]:
    """The open bouts whose champion is still the champion, and whose design is what was hashed; the others end."""
    roles = record.registry.roles()
    standing = []
    for bout in record.bouts.opened():
        if bout.generation != roles.generation:
            _close_moved(record, bout, roles, fence, as_of)
        elif not bout.design_intact:
            record.bouts.void(bout.bout, "its design is not the one that it was opened with", lease=fence, at=as_of)
        else:
            standing.append(bout)
    return standing


def _close_moved(record: Record, bout: Bout, roles: Roles, fence: Fence | None, as_of: datetime) -> None:
    """Ends a bout whose champion moved: decided, where the move was to its own challenger; else void."""
    won = roles.champion == bout.challenger and roles.generation == bout.generation + 1
    try:
        if won:
            outcome = PAST["promote" if bout.kind == "challenge" else "roll_back"]
            record.bouts.decide(bout.bout, outcome, bout.look or {}, lease=fence, at=as_of)
        else:
            reason = f"{bout.champion} is no longer the champion; {roles.champion} is"
            record.bouts.void(bout.bout, reason, lease=fence, at=as_of)
    except RoleConflict as conflict:  # ended meanwhile, as by a person's rejection
        log_line("bout had ended", bout=bout.bout, reason=conflict.message)


def _decide(
    record: Record, settings: Settings, bout: Bout, look: Look, as_of: datetime, *, probation_running: bool
) -> PromotionDecision:
    """The files are hashed only where it would depend on them."""

    def decided(artifact_ok: bool) -> PromotionDecision:
        return decide(
            look,
            Design.from_json(bout.design),
            as_of=as_of,
            probation_running=probation_running,
            artifact_ok=artifact_ok,
            mode=settings.promotion.mode,
        )

    decision = decided(True)
    if decision.outcome in ("promote", "awaiting_approval", "roll_back"):
        return decided(_intact(record, bout.challenger))
    return decision


def _intact(record: Record, version: str) -> bool:
    try:
        record.registry.open(version)
    except ArtifactError as error:
        log_line("artifact is not what was registered", level=ERROR, version=version, reason=error.message)
        return False
    return True


def _write_look(
    record: Record, bout: Bout, examination: Examination, decision: PromotionDecision, fence: Fence | None
) -> None:
    look = {**examination.look.to_json(), "outcome": decision.outcome, "reasons": list(decision.reasons)}
    record.bouts.enter_pairs(
        bout.bout,
        examination.entered,
        examination.matured_until,
        look,
        fence,
        evidence=examination.state,
        entities=examination.entities,
    )


def _act(
    record: Record,
    bout: Bout,
    look: Look,
    decision: PromotionDecision,
    approvals: Approvals,
    fence: Fence | None,
    as_of: datetime,
) -> None:
    """Does it, the bout's end and the role's move in one transaction; a role that moved meanwhile voids the bout."""
    outcome = decision.outcome
    evidence = {**look.to_json(), "reasons": list(decision.reasons)}
    if outcome in ("wait", "awaiting_approval"):
        approvals.keep(decision, evidence, fence, as_of)
        return
    common: dict[str, Any] = {
        "actor": ACTOR,
        "reason": "; ".join(decision.reasons),
        "bout": bout.bout,
        "lease": fence,
        "at": as_of,
    }
    try:
        with record.events.writing() as connection:
            approvals.end(decision, as_of, connection)
            record.bouts.decide(bout.bout, PAST[outcome], evidence, lease=fence, at=as_of, connection=connection)
            fail_point("bout.decided_only")
            if outcome == "promote":
                record.registry.promote(bout.challenger, generation=bout.generation, connection=connection, **common)
            elif outcome == "roll_back":
                record.registry.rollback(generation=bout.generation, connection=connection, **common)
            elif outcome == "reject":
                record.registry.reject(bout.challenger, connection=connection, **common)
    except RoleConflict as conflict:
        log_line("bout not decided", bout=bout.bout, reason=conflict.message)
        roles = record.registry.roles()
        if roles.generation != bout.generation:
            _close_moved(record, bout, roles, fence, as_of)
    fail_point("bout.settled")
