"""A look at a bout: pairs enter behind the watermark, in request order, and the evidence is worked out anew.

The order is the point. If delay depends on the outcome, pairs that enter as their labels arrive crown an equal model
every time; a request therefore enters when its time for labels is over, and only after every earlier request has
entered, or has been declared missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from monitoring.bouts.design import Design
from monitoring.bouts.shadow_report import ShadowReport, report_shadow
from monitoring.evidence import Floats, confidence_sequence, e_values, labels_to_go, rate_e_values
from monitoring.promotion import Guardrail, Look
from monitoring.quality.loss import WORST, Loss
from record.bouts.bout import Bout, ShadowScore
from record.clock import MICROSECOND
from record.log.readable import readable_rows
from record.logged import MaturedRow
from record.record import Record

PAGE_ROWS = 5000  # of the log held in memory at one time


@dataclass(frozen=True, slots=True)
class Examination:
    """A look, and what has to be written with it: the new pairs, and up to which request time they are complete."""

    look: Look
    entered: Sequence[tuple[int, float]]
    matured_until: datetime


@dataclass(frozen=True, slots=True)
class Harvest:
    """What became of the requests between two watermarks."""

    pairs: list[tuple[int, float]]
    matured: int
    labelled: int
    until: datetime


def examine(record: Record, bout: Bout, as_of: datetime) -> Examination:
    """The look at `as_of`. Reads only; what it says is written by `Bouts.enter_pairs`, in one transaction.

    Depends on the record alone: if that is never written, the next look is the same.
    """
    design = Design.from_json(bout.design)
    new = _harvest(record, bout, design, as_of)
    _, earlier = record.bouts.pairs(bout.bout)
    differences = np.concatenate([earlier, np.array([difference for _, difference in new.pairs])])
    shadow = report_shadow(record.database, bout)
    before = bout.look or {}
    gains, margin = _as_bet(differences, design)
    running = e_values(gains, margin)
    look = Look(
        as_of=as_of,
        opened_at=bout.opened_at,
        matured_until=new.until,
        pairs=len(differences),
        matured=before.get("matured", 0) + new.matured,
        labelled=before.get("labelled", 0) + new.labelled,
        e_value=float(running[-1]) if len(running) else 1.0,
        e_max=_highest(running),
        e_harm_max=_highest(e_values(-differences)),
        needed=design.needed,
        lead=confidence_sequence(differences, design.alpha),
        guardrails=_guardrails(shadow, design),
        labels_to_go=labels_to_go(gains, margin, design.needed),
        lag_seconds=shadow.lag(as_of).total_seconds(),
        scored=shadow.scored,
        failed=shadow.failed,
        sampled_out=shadow.sampled_out,
        pending=shadow.pending,
    )
    return Examination(look, new.pairs, new.until)


def _harvest(record: Record, bout: Bout, design: Design, as_of: datetime) -> Harvest:
    """The pairs behind the watermark that have not entered yet.

    The watermark is where labels are over, or the first request that the shadow has not scored, whichever is first.
    A request that becomes visible behind a watermark is not looked for: that takes a commit later than the horizon,
    and cannot depend on the outcome.
    """
    judge = design.judge
    pairs: list[tuple[int, float]] = []
    matured = labelled = 0
    until = bout.matured_until
    end = as_of - design.horizon
    while until is None or until < end:
        rows, page_end = _page(record, bout, design, as_of, until, end)
        scores = record.bouts.scores(bout.bout, [row.seq for row in rows])
        unscored = next((row.requested_at for row in rows if row.seq not in scores), None)
        if unscored is not None:
            rows = [row for row in rows if row.requested_at < unscored]
            page_end = unscored - MICROSECOND
        readable = {row.seq for row in readable_rows(rows, numeric=judge.name == "absolute", job="bout")}
        for row in rows:
            score = scores[row.seq]
            if score.outcome == "sampled_out":
                continue
            matured += 1
            if row.label is not None and row.seq in readable:
                labelled += 1
                pairs.append((row.seq, _difference(judge, row, row.label, score)))
        until = page_end if until is None else max(until, page_end)
        if unscored is not None:
            break
    return Harvest(pairs, matured, labelled, end if until is None else until)


def _page(
    record: Record, bout: Bout, design: Design, as_of: datetime, after: datetime | None, end: datetime
) -> tuple[list[MaturedRow], datetime]:
    """The next matured requests that the champion answered, and up to which request time these are all there are.

    Requests of one moment stay together: a page never ends between them.
    """
    limit = PAGE_ROWS
    while True:
        rows = record.log.matured(
            as_of,
            design.horizon,
            after=after,
            after_seq=bout.after_seq,
            model_version=bout.champion,
            limit=limit,
        )
        if len(rows) < limit:
            return rows, end
        last = rows[-1].requested_at
        whole = [row for row in rows if row.requested_at < last]
        if whole:
            return whole, whole[-1].requested_at
        limit *= 4


def _difference(judge: Loss, row: MaturedRow, label: str, score: ShadowScore) -> float:
    """loss(champion) − loss(challenger). One that failed has the worst loss: failing on hard rows must not pay."""
    champion = judge(label, row.prediction, row.probabilities)
    challenger = WORST if score.outcome == "failed" else judge(label, score.prediction, score.probabilities)
    return champion - challenger


def _as_bet(differences: Floats, design: Design) -> tuple[Floats, float]:
    """What is bet on, and the margin of the bet.

    A challenge asks whether the challenger is better than −margin. A probation asks the reverse of the champion that
    was promoted on that: whether the former one is better by more than the margin, or it would be sent back for what
    it was allowed.
    """
    if design.kind == "challenge":
        return differences, design.margin
    return (differences - design.margin) / (1 + design.margin), 0.0


def _highest(running: Floats) -> float:
    return float(running.max()) if len(running) else 1.0


def _guardrails(shadow: ShadowReport, design: Design) -> dict[Literal["failure", "latency"], Guardrail]:
    slow = shadow.latencies_micros > design.latency_limit_ms * 1000
    return {
        "failure": _guardrail(shadow.failures, design),
        "latency": _guardrail(slow, design),
    }


def _guardrail(wrong: np.ndarray, design: Design) -> Guardrail:
    """From the first request on: no label is waited for."""
    cleared = _highest(rate_e_values(wrong, design.max_failure_rate, "cleared"))
    failed = _highest(rate_e_values(wrong, design.max_failure_rate, "failed"))
    state: Literal["open", "cleared", "failed"] = "open"
    if failed >= design.needed:
        state = "failed"
    elif cleared >= design.needed:
        state = "cleared"
    return Guardrail(state, len(wrong), int(wrong.sum()), cleared, failed)
