"""The decision about one look: each condition in turn, on a look that meets all others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.bouts.decision import PromotionDecision
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_look import Guardrail, Look
from monitoring.bouts.family import FamilyShare
from monitoring.evidence import Interval
from monitoring.promotion import decide
from record.configuration.loop_sections import PromotionSettings

OPENED = datetime(2013, 3, 1, tzinfo=UTC)
NOW = OPENED + timedelta(days=8)
CLEARED = Guardrail("cleared", 400, 2, 40.0, 0.1)
OPEN = Guardrail("open", 40, 0, 3.0, 0.5)
FAILED = Guardrail("failed", 40, 20, 0.0, 900.0)
MISSING = {"unlabelled": 100, "unlabelled_lead": -0.008, "unlabelled_worst": -0.2}

PROMOTION = PromotionSettings(min_duration=timedelta(days=7), deadline=timedelta(days=30), rollback_watch=1000)
CHALLENGE = Design.of_challenge(
    PROMOTION, share=FamilyShare(1, 0.0304), loss="brier", loss_scale=1.0, horizon=timedelta(hours=1)
)
PROBATION = Design.of_probation(PROMOTION, loss="brier", loss_scale=1.0, horizon=timedelta(hours=1))


def a_look(**changes: Any) -> Look:
    won = Look(
        as_of=NOW,
        opened_at=OPENED,
        matured_until=NOW - timedelta(hours=1),
        pairs=800,
        matured=900,
        labelled=800,
        e_value=60.0,
        e_max=70.0,
        e_harm_max=1.2,
        needed=CHALLENGE.needed,
        lead=Interval(0.001, 0.01, 0.02),
        guardrails={"failure": CLEARED, "latency": CLEARED},
        labels_to_go=0,
        lag_seconds=0.0,
        scored=998,
        failed=2,
        sampled_out=0,
        pending=0,
        first_matured_at=OPENED + timedelta(hours=1),
    )
    return replace(won, **changes)


def decided(
    look: Look,
    design: Design = CHALLENGE,
    *,
    as_of: datetime = NOW,
    probation_running: bool = False,
    artifact_ok: bool = True,
    mode: Literal["auto", "approve"] = "auto",
) -> PromotionDecision:
    return decide(look, design, as_of=as_of, probation_running=probation_running, artifact_ok=artifact_ok, mode=mode)


def test_coverage_that_misses_by_chance_alone_holds_nobody() -> None:
    few, many = a_look(matured=900, labelled=705), a_look(matured=90_000, labelled=70_500)
    assert (decided(few).outcome, decided(many).outcome) == ("promote", "wait")
    assert decided(a_look(matured=900, labelled=899), replace(CHALLENGE, min_coverage=1.0)).outcome == "wait"


def test_missing_labels_and_chance_together_must_not_explain_the_lead() -> None:
    look = a_look(missing_bias=0.006, variance=0.01, pairs=10_000, **MISSING)
    assert decided(look).outcome == "promote"  # a standard error of 0.001
    assert decided(replace(look, pairs=1_000)).outcome == "wait"
    assert decided(replace(look, design_effect=10.0)).outcome == "wait"


def test_a_challenger_that_meets_every_condition_is_promoted_with_the_numbers_as_reasons() -> None:
    decision = decided(a_look())
    assert decision.outcome == "promote"
    assert decision.reasons[0] == f"evidence is 60; {CHALLENGE.needed:.4g} was needed"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"e_max": 32.0, "e_value": 30.0}, "evidence is 30, at most 32"),
        ({"pairs": 199}, "199 pairs; 200 are needed"),
        ({"labelled": 700}, "77.8% of mature requests are labelled; 80.0% are needed"),
        ({"matured": 0, "labelled": 0}, "0.0% of mature requests"),
        ({"opened_at": NOW - timedelta(days=6)}, "open since"),
        ({"lead": Interval(-0.02, -0.001, 0.01)}, "lead -0.0010 (-0.0200 to +0.0100): not above -0.0000"),
        ({"whole_lead": -0.001}, "lead +0.0100 (+0.0010 to +0.0200): not above -0.0000"),
        ({"behind": True}, "more requests have matured than were read"),
        ({"label_rate_e": 40.0, **MISSING}, "labels are missing more often beside some answers"),
        ({"missing_bias": 0.02, **MISSING}, "missing labels may have made up to 0.0200 of the lead"),
        ({"label_rate_testable": False, **MISSING}, "100 labels are missing, and answers that never differ"),
        ({"delay_depends": True, **MISSING}, "how long labels take depends on what they say"),
        ({"guardrails": {"failure": OPEN, "latency": CLEARED}}, "guardrail failure is not cleared after 40 requests"),
        ({"guardrails": {"failure": CLEARED, "latency": OPEN}}, "guardrail latency is not cleared after 40 requests"),
    ],
)
def test_promotion_waits_for_each_condition(changes: dict[str, Any], reason: str) -> None:
    decision = decided(a_look(**changes))
    assert decision.outcome == "wait"
    assert decision.reasons[0].startswith(reason)


def test_where_the_deadline_cannot_be_met_it_is_said_with_what_would_change_that() -> None:
    late = a_look(e_value=2.0, labels_to_go=9000, days_to_go=45.0, in_time=False)
    assert any("45.0 more days" in reason and "promotion.deadline" in reason for reason in decided(late).reasons)
    assert not any("more days" in reason for reason in decided(replace(late, in_time=True)).reasons)


def test_files_that_are_not_what_was_registered_are_not_promoted() -> None:
    decision = decided(a_look(), artifact_ok=False)
    assert (decision.outcome, decision.reasons) == ("wait", ("the challenger's files are not what was registered",))


def test_evidence_that_once_stood_promotes_nobody() -> None:
    assert decided(a_look(e_value=0.3, e_max=40.0)).outcome == "wait"


@settings(max_examples=200)
@given(
    e_value=st.floats(0, 1e6), e_max=st.floats(1, 1e9), mean=st.floats(-0.5, 0.5), whole=st.floats(-0.5, 0.5),
    margin=st.floats(0, 0.1), mode=st.sampled_from(["auto", "approve"]),
)  # fmt: skip
def test_no_promotion_without_evidence_now_and_a_lead_above_minus_the_margin(
    e_value: float, e_max: float, mean: float, whole: float, margin: float, mode: Literal["auto", "approve"]
) -> None:
    design = replace(CHALLENGE, margin=margin)
    look = a_look(e_value=e_value, e_max=e_max, lead=Interval(mean - 0.1, mean, mean + 0.1), whole_lead=whole)
    won = decided(look, design, mode=mode).outcome in ("promote", "awaiting_approval")
    assert won == (e_value >= design.needed and mean > -margin and whole > -margin)


def test_missing_labels_hold_nobody_where_the_lead_stands_whatever_they_say() -> None:
    harmless = MISSING | {"unlabelled_worst": -0.004}
    look = a_look(label_rate_e=1e6, delay_depends=True, **harmless)
    assert decided(look).outcome == "promote"
    assert decided(look).reasons[-1] == "the lead stands whatever the 100 missing labels say"


def test_a_person_may_promote_in_spite_of_missing_labels_and_is_told_of_them() -> None:
    decision = decided(a_look(label_rate_e=40.0, **MISSING), mode="approve")
    assert decision.outcome == "awaiting_approval"
    assert any(reason.startswith("labels are missing more often") for reason in decision.reasons)
    assert any("worse by 0.0080 on average on the 100 requests" in reason for reason in decision.reasons)


def test_nobody_is_promoted_while_a_probation_runs_not_even_at_the_deadline() -> None:
    for as_of in (NOW, OPENED + timedelta(days=31)):
        assert decided(a_look(), as_of=as_of, probation_running=True).outcome == "wait"


def test_a_person_is_waited_for_without_end() -> None:
    for as_of in (NOW, OPENED + timedelta(days=300)):
        assert decided(a_look(), as_of=as_of, mode="approve").outcome == "awaiting_approval"


def test_without_evidence_the_deadline_makes_it_inconclusive() -> None:
    look = a_look(e_max=2.0, e_value=1.0)
    due = OPENED + timedelta(days=30, hours=1)  # from the first labels' maturity
    assert decided(look, as_of=due - timedelta(seconds=1)).outcome == "wait"
    assert decided(look, as_of=due).outcome == "inconclusive"
    late = replace(look, first_matured_at=OPENED + timedelta(days=20))
    assert decided(late, as_of=OPENED + timedelta(days=50) - timedelta(seconds=1)).outcome == "wait"


def test_harm_rejects_whatever_else_holds() -> None:
    assert decided(a_look(e_harm=20.0)).outcome == "reject"
    assert decided(a_look(e_harm=20.0), probation_running=True, mode="approve").outcome == "reject"
    assert decided(a_look(e_harm=19.9, e_harm_max=900.0)).outcome == "promote"


def test_a_late_bout_of_its_family_rejects_at_the_nominal_alpha() -> None:
    late = replace(CHALLENGE, alpha=0.0001, family_rank=12)
    assert decided(a_look(e_value=1.0, e_harm=20.0), late).outcome == "reject"


def test_a_design_of_before_rejects_at_its_own_alpha() -> None:
    lacking = ("harm_alpha", "known_until", "entity", "cycle_seconds", "design_effect", "scaled_bets", "answers")
    held = {name: value for name, value in CHALLENGE.to_json().items() if name not in lacking}
    old = Design.from_json(held)
    assert old.needed_for_harm == old.needed
    assert not old.design_effect


@pytest.mark.parametrize("name", ["failure", "latency"])
def test_a_failed_guardrail_rejects_and_says_which(name: str) -> None:
    guardrails = {"failure": CLEARED, "latency": CLEARED} | {name: FAILED}
    decision = decided(a_look(guardrails=guardrails, e_max=0.0, pairs=0))
    assert decision == PromotionDecision("reject", (f"guardrail {name}: 20 of 40 requests went wrong",))


def test_probation_rolls_back_on_evidence_of_harm_from_the_first_pairs() -> None:
    assert decided(a_look(pairs=30, e_value=20.0), PROBATION).outcome == "roll_back"
    assert decided(a_look(pairs=30, e_value=20.0), PROBATION, artifact_ok=False).outcome == "wait"


def test_probation_passes_after_its_pairs_or_at_the_deadline() -> None:
    unharmed = a_look(e_value=3.0)
    assert decided(unharmed, PROBATION).outcome == "wait"
    assert decided(replace(unharmed, pairs=1000), PROBATION).outcome == "passed"
    assert decided(unharmed, PROBATION, as_of=OPENED + timedelta(days=30, hours=1)).outcome == "passed"


@settings(max_examples=100)
@given(pairs=st.integers(0, 2000), days=st.floats(0, 200), matured=st.one_of(st.none(), st.floats(0, 60)))
def test_a_probation_never_passes_unseen(pairs: int, days: float, matured: float | None) -> None:
    first = None if matured is None else OPENED + timedelta(days=matured)
    look = a_look(e_value=3.0, pairs=pairs, first_matured_at=first)
    outcome = decided(look, PROBATION, as_of=OPENED + timedelta(days=days)).outcome
    assert outcome in ("wait", "passed", "unjudged")
    if outcome == "passed":
        assert pairs >= 200
    if outcome == "unjudged":
        assert pairs < 200


def test_a_probation_without_enough_pairs_says_that_it_could_not_judge() -> None:
    unseen = a_look(e_value=1.0, pairs=150)
    assert decided(unseen, PROBATION, as_of=OPENED + timedelta(days=59)).outcome == "wait"
    decision = decided(unseen, PROBATION, as_of=OPENED + timedelta(days=60, hours=1))
    assert decision.outcome == "unjudged"
    assert "150 pairs by twice the deadline; 200 are needed to judge" in decision.reasons[0]


def test_the_former_champion_s_guardrails_do_not_end_a_probation() -> None:
    failing = a_look(e_value=1.0, guardrails={"failure": FAILED, "latency": FAILED})
    assert decided(failing, PROBATION).outcome == "wait"


def test_a_probation_has_the_whole_alpha() -> None:
    assert (PROBATION.kind, PROBATION.alpha, PROBATION.needed) == ("probation", 0.05, 20.0)


def test_a_design_survives_the_record() -> None:
    assert Design.from_json(json.loads(json.dumps(CHALLENGE.to_json()))) == CHALLENGE


def test_a_look_is_plain_json() -> None:
    held = json.loads(json.dumps(a_look().to_json(), allow_nan=False))
    assert held["lead"] == {"low": 0.001, "mean": 0.01, "high": 0.02}
    assert held["coverage"] == pytest.approx(8 / 9)
    assert Look.from_json(held) == a_look()
    assert held["guardrails"]["failure"]["state"] == "cleared"


EXACT = replace(CHALLENGE, min_coverage=1.0)  # whose standard error is nothing


@pytest.mark.parametrize(
    ("enough", "short", "design"),
    [
        ({"pairs": CHALLENGE.min_pairs}, {"pairs": CHALLENGE.min_pairs - 1}, CHALLENGE),
        ({"labelled": 900}, {"labelled": 899}, EXACT),
        ({"e_value": CHALLENGE.needed}, {"e_value": CHALLENGE.needed * (1 - 1e-9)}, CHALLENGE),
        (
            {"opened_at": NOW - timedelta(days=7)},
            {"opened_at": NOW - timedelta(days=7) + timedelta(microseconds=1)},
            CHALLENGE,
        ),
    ],
    ids=["pairs", "coverage", "evidence", "duration"],
)
def test_what_is_exactly_enough_promotes(enough: dict[str, Any], short: dict[str, Any], design: Design) -> None:
    """Each condition at its limit, on a look that meets all others; a little less is waited for."""
    met = {"labelled": 900} if design is EXACT else {}
    assert decided(a_look(**{**met, **enough}), design).outcome == "promote"
    assert decided(a_look(**{**met, **short}), design).outcome == "wait"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"pairs": 1000, "e_value": 1.0}, "passed"),
        ({"pairs": 999, "e_value": 1.0}, "wait"),
        ({"pairs": 10, "e_value": PROBATION.needed}, "roll_back"),
        ({"pairs": 10, "e_value": PROBATION.needed * (1 - 1e-9)}, "wait"),
    ],
)
def test_a_probation_at_its_limits(changes: dict[str, Any], outcome: str) -> None:
    assert decided(a_look(**changes), PROBATION).outcome == outcome


@pytest.mark.parametrize(
    ("days", "pairs", "outcome"),
    [
        (30, PROBATION.fewest_probation_pairs, "passed"),
        (30, PROBATION.fewest_probation_pairs - 1, "wait"),
        (60, PROBATION.fewest_probation_pairs - 1, "unjudged"),
    ],
)
def test_a_probation_at_its_deadline(days: int, pairs: int, outcome: str) -> None:
    """Which runs from the first label's maturity on, to the microsecond."""
    look = a_look(pairs=pairs, e_value=1.0)
    due = OPENED + timedelta(hours=1) + timedelta(days=days)
    assert decided(look, PROBATION, as_of=due).outcome == outcome
    assert decided(look, PROBATION, as_of=due - timedelta(microseconds=1)).outcome == "wait"
