"""A bout's opening and its end, made again from the requests, the shadow's scores and the labels of the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from monitoring.audit.past import Past
from monitoring.audit.verdict import Unrepeatable
from monitoring.bout import PAST
from monitoring.bouts.approval import expired
from monitoring.bouts.decision import PromotionDecision
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_look import Look
from monitoring.bouts.family import family_share
from monitoring.bouts.look import Examination, examine
from monitoring.promotion import decide
from record.bouts.approval import open_approval
from record.bouts.bout import Bout, PairColumns, design_hash
from record.bouts.bouts import Bouts
from record.configuration.loop_sections import PromotionSettings
from record.db.tables import pairs, predictions, shadow_scores
from record.errors import NotFound
from record.event_log import RecordedEvent
from record.record import Record
from record.settings import Settings

# Of a look, what follows from pairs and design alone; the rest says how far the shadow was, and by when.
FROM_PAIRS = (
    "pairs", "matured", "labelled", "e_value", "e_max", "e_harm", "e_harm_max", "needed", "lead", "whole_lead",
    "whole_cycles", "design_effect", "scale", "variance", "label_rate_e", "label_rate_slope", "label_rate_testable",
    "unlabelled", "unlabelled_lead", "unlabelled_worst", "labels_to_go",
)  # fmt: skip
DAMAGED = "not what was registered"
STEPS = 100  # at which a bout is looked at again under other settings


def opening_again(record: Record, settings: Settings, event: RecordedEvent) -> tuple[Any, Any]:
    """The design that these settings make, around what was read from the data then; and whether it is still there."""
    data = event.data
    held = find_bout(record, data["bout"])
    told = {"design": data["design"], "design_hash": data["design_hash"], "kept": data["design"]}
    remade = redesigned(record, settings.promotion, held)
    return told, {
        "design": remade.to_json(),
        "design_hash": design_hash(remade.to_json(), held.bout, held.challenger, held.champion),
        "kept": held.design,
    }


def redesigned(record: Record, promotion: PromotionSettings, bout: Bout) -> Design:
    """The bout's design under these settings; what it owes to the data stays as it was."""
    was = Design.from_json(bout.design)
    if was.harm_alpha is None:
        raise Unrepeatable("the bout was opened by an earlier release, whose rule was another")
    around: dict[str, Any] = {
        "costs": was.costs,
        "loss": was.loss,
        "loss_scale": was.loss_scale,
        "horizon": was.horizon,
        "entity": was.entity,
        "answers": was.answers,
    }
    if was.kind == "probation":
        return Design.of_probation(promotion, **around)
    before = [other for other in record.bouts.all() if other.number < bout.number]
    share = family_share(
        before, bout.champion, bout.challenger, bout.opened_at, promotion.family_window, promotion.alpha
    )
    known = None if was.known_until is None else datetime.fromisoformat(was.known_until)
    cycle = timedelta(seconds=was.cycle_seconds)
    around["slices"] = was.slices
    return Design.of_challenge(promotion, share=share, known_until=known, cycle=cycle, **around)


def bout_again(record: Record, past: Past, event: RecordedEvent) -> tuple[Any, Any]:
    """The look that decided, and what was decided on it."""
    evidence = event.data["evidence"]
    if "pairs" not in evidence:
        raise Unrepeatable(f"{event.actor} decided it by hand")
    held = find_bout(record, event.data["bout"])
    design = Design.from_json(held.design)
    made = look_again(record, held, evidence)
    told = {name: evidence.get(name) for name in FROM_PAIRS}
    remade = {name: made.get(name) for name in FROM_PAIRS}
    if "outcome" in evidence:  # a person moved the role: the last look is what stands there
        return told, remade
    look = Look.from_json({**evidence, **remade})
    decision = decided(record, past.settings(event.seq), held, design, look, evidence["reasons"])
    approval = open_approval(record.events.before(event.seq), replace(held, state="open"))
    decision = expired(decision, approval, look.as_of)
    outcome = PAST.get(decision.outcome, decision.outcome)
    return (
        {"look": told, "outcome": event.data["outcome"], "reasons": evidence["reasons"]},
        {"look": remade, "outcome": outcome, "reasons": list(decision.reasons)},
    )


def open_look_again(record: Record, bout: Bout) -> tuple[Any, Any]:
    """The last look of a bout that is still open."""
    look = bout.look or {}
    made = look_again(record, bout, look)
    return {name: look.get(name) for name in FROM_PAIRS}, {name: made.get(name) for name in FROM_PAIRS}


def decided(
    record: Record, settings: Settings, bout: Bout, design: Design, look: Look, reasons: Sequence[str]
) -> PromotionDecision:
    """The decision on a look. Whether the files were whole then, only the reasons of that time say."""
    return decide(
        look,
        design,
        as_of=look.as_of,
        probation_running=_on_probation(record, bout, look.as_of),
        artifact_ok=not any(DAMAGED in reason for reason in reasons),
        mode=settings.promotion.mode,
    )


def look_again(record: Record, bout: Bout, told: dict[str, Any]) -> dict[str, Any]:
    """The look up to the same request, from the requests themselves."""
    _expect_requests(record, bout)
    until = told.get("matured_until")
    if until is None:
        raise Unrepeatable("no request had matured")
    design = Design.from_json(bout.design)
    as_of = datetime.fromisoformat(until) + design.horizon
    delayed = bool(told.get("delay_depends"))
    return examinations(record, bout, design, [as_of], delay_depends=delayed)[-1].look.to_json()


def examinations(
    record: Record, bout: Bout, design: Design, moments: Sequence[datetime], *, delay_depends: bool = False
) -> list[Examination]:
    """Looks at these moments, each going on from the one before, as if nobody had ever looked at the bout."""
    fresh = _Unseen(record)
    again = replace(record, bouts=fresh)
    state = replace(bout, design=design.to_json(), matured_until=None, look=None, evidence=None)
    made: list[Examination] = []
    for as_of in moments:
        while True:
            looked = examine(again, state, as_of, delay_depends=delay_depends)
            fresh.entities.update(looked.entities)
            state = replace(
                state, matured_until=looked.matured_until, look=looked.look.to_json(), evidence=looked.state
            )
            if not looked.look.behind:
                break
        made.append(looked)
    return made


def moments_of(bout: Bout, design: Design, end: datetime, first: datetime) -> list[datetime]:
    """Evenly from the first matured request to the end."""
    begun = first + design.horizon
    step = max((end - begun) / STEPS, timedelta(seconds=1))
    return [begun + step * place for place in range(1, STEPS + 1)]


def first_request(record: Record, bout: Bout) -> datetime | None:
    query = sa.select(sa.func.min(predictions.c.requested_at)).where(
        predictions.c.seq > bout.after_seq, predictions.c.model_version == bout.champion
    )
    with record.database.read() as connection:
        found: datetime | None = connection.execute(query).scalar()
    return found


def last_scored(record: Record, bout: Bout) -> datetime | None:
    """The latest request that the bout's shadow has scored: nobody knows what it would have said to later ones."""
    query = (
        sa.select(sa.func.max(predictions.c.requested_at))
        .select_from(predictions.join(shadow_scores, shadow_scores.c.seq == predictions.c.seq))
        .where(shadow_scores.c.bout == bout.bout)
    )
    with record.database.read() as connection:
        found: datetime | None = connection.execute(query).scalar()
    return found


def find_bout(record: Record, name: str) -> Bout:
    try:
        return record.bouts.get(name)
    except NotFound as missing:
        raise Unrepeatable(missing.message) from None


def _on_probation(record: Record, bout: Bout, at: datetime) -> bool:
    """Return whether the bout's champion was on probation at that time."""
    return bout.kind == "challenge" and any(
        other.kind == "probation"
        and other.generation == bout.generation
        and other.opened_at <= at
        and (other.decided_at is None or other.decided_at > at)
        for other in record.bouts.all()
    )


def _expect_requests(record: Record, bout: Bout) -> None:
    """Raises Unrepeatable where retention has taken requests of the bout."""
    query = sa.select(sa.func.count()).select_from(pairs.outerjoin(predictions, predictions.c.seq == pairs.c.seq))
    with record.database.read() as connection:
        gone = connection.execute(query.where(pairs.c.bout == bout.bout, predictions.c.seq.is_(None))).scalar_one()
    if gone:
        raise Unrepeatable(f"{gone} requests of {bout.bout} are no longer in the log (log.retention)")


class _Unseen(Bouts):
    """Scores as they are, and no pair or entity yet."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.database, record.events, record.clock)
        self.entities: set[int] = set()

    def pair_columns(self, bout: str) -> PairColumns:
        nothing = np.empty(0)
        whole = np.empty(0, np.int64)
        return PairColumns(seqs=whole, differences=nothing, micros=whole, bounds=nothing, counts=np.empty(0, bool))

    def known_entities(self, bout: str, asked: Sequence[int]) -> set[int]:
        return self.entities & set(asked)
