"""Whether a challenger wins: a pure decision about one look at a bout's evidence."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Literal

from monitoring.bouts.decision import PromotionDecision
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_look import Look


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

    Of a challenge: promote, reject, inconclusive, awaiting_approval or wait. Of a probation: roll_back, passed,
    unjudged or wait. Harm weighs more than gain: a challenger whose evidence stands both ways is rejected. Evidence
    counts as it stands at this moment: what it once was promotes nobody.
    """
    if design.kind == "probation":
        return _decide_probation(look, design, as_of, artifact_ok)
    harmful = _harm(look, design)
    if harmful:
        return PromotionDecision("reject", harmful)
    doubts = _label_doubts(look, design)
    unmet = _unmet(look, design, as_of, artifact_ok) + (doubts if mode == "auto" else ())
    if unmet:
        if _overdue(look, design, as_of) is not None:
            return PromotionDecision("inconclusive", ("the deadline has passed", *unmet))
        return PromotionDecision("wait", unmet)
    won: tuple[str, ...] = (
        f"evidence is {look.e_value:.4g}; {design.needed:.4g} was needed",
        f"{look.pairs} pairs",
        _lead(look),
    )
    if look.sensitivity is not None:
        won = (*won, look.sensitivity)
    if probation_running:
        return PromotionDecision("wait", (*won, "the champion is still on probation"))
    if mode == "approve":
        return PromotionDecision("awaiting_approval", (*won, *doubts, "a person has the last word (promotion.mode)"))
    return PromotionDecision("promote", won)


def _decide_probation(look: Look, design: Design, as_of: datetime, artifact_ok: bool) -> PromotionDecision:
    """Never passed unseen: without enough pairs by twice the deadline it ends, and says that it could not judge."""
    if look.e_value >= design.needed:
        harmed = (f"evidence of harm is {look.e_value:.4g}; {design.needed:.4g} was needed", _lead(look))
        if not artifact_ok:
            return PromotionDecision("wait", (*harmed, "the former champion's files are not what was registered"))
        return PromotionDecision("roll_back", harmed)
    if look.behind:
        return PromotionDecision("wait", (f"{look.pairs} pairs; more have matured, and are read by the next look",))
    if look.pairs >= design.rollback_watch:
        return PromotionDecision("passed", (f"no evidence of harm in {look.pairs} pairs", _lead(look)))
    late, enough = _overdue(look, design, as_of), look.pairs >= design.fewest_probation_pairs
    if late is not None and enough:
        return PromotionDecision("passed", (f"no evidence of harm by the deadline, in {look.pairs} pairs", _lead(look)))
    if late is not None and late >= timedelta(seconds=design.deadline_seconds):
        unseen = f"{look.pairs} pairs by twice the deadline; {design.fewest_probation_pairs} are needed to judge"
        return PromotionDecision("unjudged", (unseen, "whether the new champion does harm is not known"))
    return PromotionDecision("wait", (f"{look.pairs} of {design.rollback_watch} pairs",))


def _harm(look: Look, design: Design) -> tuple[str, ...]:
    reasons = []
    if look.e_harm >= design.needed_for_harm:
        reasons.append(f"evidence of harm is {look.e_harm:.4g}; {design.needed_for_harm:.4g} was enough")
        reasons.append(_lead(look))
    for name, guardrail in look.guardrails.items():
        if guardrail.state == "failed":
            reasons.append(f"guardrail {name}: {guardrail.wrong} of {guardrail.requests} requests went wrong")
    return tuple(reasons)


def _unmet(look: Look, design: Design, as_of: datetime, artifact_ok: bool) -> tuple[str, ...]:
    reasons = []
    if look.e_value < design.needed:
        reasons.append(f"evidence is {look.e_value:.4g}, at most {look.e_max:.4g}; {design.needed:.4g} is needed")
        if look.in_time is False and look.days_to_go is not None:
            reasons.append(
                f"about {look.days_to_go:,.1f} more days at this rate of labels, later than the deadline; a longer "
                "promotion.deadline, a promotion.margin or a more sensitive promotion.loss would change that"
            )
    elif look.lead.mean <= -design.margin or (look.whole_lead is not None and look.whole_lead <= -design.margin):
        reasons.append(f"{_lead(look)}: not above {-design.margin:+.4f}, whatever it was before")
    if look.behind:
        reasons.append("more requests have matured than were read; the next look goes on")
    if look.pairs < design.min_pairs:
        reasons.append(f"{look.pairs} pairs; {design.min_pairs} are needed")
    if look.coverage < design.min_coverage - _coverage_error(look, design):
        reasons.append(f"{look.coverage:.1%} of mature requests are labelled; {design.min_coverage:.1%} are needed")
    if as_of - look.opened_at < timedelta(seconds=design.min_duration_seconds):
        reasons.append(f"open since {look.opened_at.isoformat()}; {design.min_duration_seconds:.0f} s are needed")
    reasons += [each.words for each in look.slices if each.harmed]
    for name, guardrail in look.guardrails.items():
        if guardrail.state == "open":
            reasons.append(f"guardrail {name} is not cleared after {guardrail.requests} requests")
    if not artifact_ok:
        reasons.append("the challenger's files are not what was registered")
    return tuple(reasons)


def _coverage_error(look: Look, design: Design) -> float:
    """One and a half standard errors of the coverage: one that is right is below that in one look of fifteen."""
    required = design.min_coverage
    return 1.5 * math.sqrt(required * (1 - required) / look.matured) if look.matured else 0.0


def _label_doubts(look: Look, design: Design) -> tuple[str, ...]:
    """Why missing labels may have made the lead: a person may know better, an automatic promotion does not."""
    if look.missing_harmless or design.label_rate_alpha is None:
        return ()
    doubts = []
    if look.label_rate_e >= 1 / design.label_rate_alpha:
        direction = "higher" if look.label_rate_slope > 0 else "lower"
        doubts.append(
            "labels are missing more often beside some answers than beside others "
            f"(evidence {look.label_rate_e:.4g}; their rate is {abs(look.label_rate_slope):.1%} {direction} "
            "one standard deviation up the champion's answers): the lead may come of what is missing"
        )
    elif not look.label_rate_testable:
        doubts.append(
            f"{look.unlabelled} labels are missing, and answers that never differ cannot show whether that depends on "
            "the outcome"
        )
    elif _certain_lead(look) - look.missing_bias <= -design.margin:
        doubts.append(
            f"missing labels may have made up to {look.missing_bias:.4f} of the lead: too few requests yet to exclude "
            "that their rate depends on the outcome"
        )
    if design.delay_guard and look.delay_depends:
        doubts.append("how long labels take depends on what they say (quality check): late ones may be missing")
    if doubts and look.sensitivity is not None:
        doubts.append(look.sensitivity)
    return tuple(doubts)


def _certain_lead(look: Look) -> float:
    """The lead less two of its standard errors: a bias and chance together may make what neither makes alone."""
    return look.lead.mean - 2 * math.sqrt(look.variance * look.design_effect / max(1, look.pairs))


def _overdue(look: Look, design: Design, as_of: datetime) -> timedelta | None:
    """How long ago the deadline was; None before it. It runs from the first labelled request's maturity on."""
    earliest = look.opened_at + design.horizon
    began = earliest if look.first_matured_at is None else max(look.opened_at, look.first_matured_at)
    late = as_of - began - timedelta(seconds=design.deadline_seconds)
    return late if late >= timedelta(0) else None


def _lead(look: Look) -> str:
    return f"lead {look.lead.mean:+.4f} ({look.lead.low:+.4f} to {look.lead.high:+.4f})"
