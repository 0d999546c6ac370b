"""Whether a challenger wins: a pure decision about one look at a bout's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from monitoring.bouts.design import Design
from monitoring.evidence import Interval

Outcome = Literal["promote", "reject", "inconclusive", "wait", "awaiting_approval", "roll_back", "passed"]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """How often something that needs no label goes wrong: "cleared" and "failed" are for good, "open" is not known."""

    state: Literal["open", "cleared", "failed"]
    requests: int
    wrong: int
    cleared_e_value: float
    failed_e_value: float


@dataclass(frozen=True, slots=True)
class Look:
    """What a bout's evidence says at one moment."""

    as_of: datetime
    opened_at: datetime
    matured_until: datetime | None
    pairs: int
    matured: int  # requests that the champion answered, the shadow scored, and whose time for labels is over
    labelled: int
    e_value: float  # now
    e_max: float  # the most it ever was: what has crossed stays crossed
    e_harm_max: float  # the same in the other direction, margin 0
    needed: float
    lead: Interval
    guardrails: Mapping[Literal["failure", "latency"], Guardrail]
    labels_to_go: int | None
    lag_seconds: float
    scored: int
    failed: int
    sampled_out: int
    pending: int

    @property
    def coverage(self) -> float:
        """The share of mature requests that have a label; 0 while none is mature."""
        return self.labelled / self.matured if self.matured else 0.0

    def to_json(self) -> dict[str, Any]:
        held = asdict(self)
        for moment in ("as_of", "opened_at", "matured_until"):
            held[moment] = None if held[moment] is None else held[moment].isoformat()
        return {**held, "coverage": self.coverage}


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    outcome: Outcome
    reasons: tuple[str, ...]


def decide(
    look: Look,
    design: Design,
    *,
    as_of: datetime,
    probation_running: bool,
    artifact_ok: bool,
    mode: Literal["auto", "approve"],
) -> PromotionDecision:
    """What to do about the bout. `artifact_ok`: the files of the model that would be champion are what was registered.

    Of a challenge: promote, reject, inconclusive, awaiting_approval or wait. Of a probation: roll_back, passed or
    wait. Harm weighs more than gain: a challenger whose evidence crossed both ways is rejected.
    """
    if design.kind == "probation":
        return _decide_probation(look, design, as_of, artifact_ok)
    harmful = _harm(look, design)
    if harmful:
        return PromotionDecision("reject", harmful)
    unmet = _unmet(look, design, as_of, artifact_ok)
    if unmet:
        if _due(look, design, as_of):
            return PromotionDecision("inconclusive", ("the deadline has passed", *unmet))
        return PromotionDecision("wait", unmet)
    won = (f"evidence reached {look.e_max:.4g}; {design.needed:.4g} was needed", f"{look.pairs} pairs", _lead(look))
    if probation_running:
        return PromotionDecision("wait", (*won, "the champion is still on probation"))
    if mode == "approve":
        return PromotionDecision("awaiting_approval", (*won, "a person has the last word (promotion.mode)"))
    return PromotionDecision("promote", won)


def _decide_probation(look: Look, design: Design, as_of: datetime, artifact_ok: bool) -> PromotionDecision:
    if look.e_max >= design.needed:
        harmed = (f"evidence of harm reached {look.e_max:.4g}; {design.needed:.4g} was needed", _lead(look))
        if not artifact_ok:
            return PromotionDecision("wait", (*harmed, "the former champion's files are not what was registered"))
        return PromotionDecision("roll_back", harmed)
    if look.pairs >= design.rollback_watch:
        return PromotionDecision("passed", (f"no evidence of harm in {look.pairs} pairs", _lead(look)))
    if _due(look, design, as_of):
        return PromotionDecision("passed", (f"no evidence of harm by the deadline, in {look.pairs} pairs", _lead(look)))
    return PromotionDecision("wait", (f"{look.pairs} of {design.rollback_watch} pairs",))


def _harm(look: Look, design: Design) -> tuple[str, ...]:
    reasons = []
    if look.e_harm_max >= design.needed:
        reasons.append(f"evidence of harm reached {look.e_harm_max:.4g}; {design.needed:.4g} was enough")
        reasons.append(_lead(look))
    for name, guardrail in look.guardrails.items():
        if guardrail.state == "failed":
            reasons.append(f"guardrail {name}: {guardrail.wrong} of {guardrail.requests} requests went wrong")
    return tuple(reasons)


def _unmet(look: Look, design: Design, as_of: datetime, artifact_ok: bool) -> tuple[str, ...]:
    reasons = []
    if look.e_max < design.needed:
        reasons.append(f"evidence is {look.e_value:.4g}, at most {look.e_max:.4g}; {design.needed:.4g} is needed")
    if look.pairs < design.min_pairs:
        reasons.append(f"{look.pairs} pairs; {design.min_pairs} are needed")
    if look.coverage < design.min_coverage:
        reasons.append(f"{look.coverage:.1%} of mature requests are labelled; {design.min_coverage:.1%} are needed")
    if as_of - look.opened_at < timedelta(seconds=design.min_duration_seconds):
        reasons.append(f"open since {look.opened_at.isoformat()}; {design.min_duration_seconds:.0f} s are needed")
    for name, guardrail in look.guardrails.items():
        if guardrail.state == "open":
            reasons.append(f"guardrail {name} is not cleared after {guardrail.requests} requests")
    if not artifact_ok:
        reasons.append("the challenger's files are not what was registered")
    return tuple(reasons)


def _due(look: Look, design: Design, as_of: datetime) -> bool:
    return as_of - look.opened_at >= timedelta(seconds=design.deadline_seconds)


def _lead(look: Look) -> str:
    return f"lead {look.lead.mean:+.4f} ({look.lead.low:+.4f} to {look.lead.high:+.4f})"
