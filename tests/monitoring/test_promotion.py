"""The decision about one look: each condition in turn, on a look that meets all others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from monitoring.bouts.design import Design, spent_alpha
from monitoring.evidence import Interval
from monitoring.promotion import Guardrail, Look, PromotionDecision, decide
from record.configuration.loop_sections import PromotionSettings

OPENED = datetime(2013, 3, 1, tzinfo=UTC)
NOW = OPENED + timedelta(days=8)
CLEARED = Guardrail("cleared", 400, 2, 40.0, 0.1)
OPEN = Guardrail("open", 40, 0, 3.0, 0.5)
FAILED = Guardrail("failed", 40, 20, 0.0, 900.0)

PROMOTION = PromotionSettings(min_duration=timedelta(days=7), deadline=timedelta(days=30), rollback_watch=1000)
CHALLENGE = Design.of_challenge(PROMOTION, rank=1, loss="brier", loss_scale=1.0, horizon=timedelta(hours=1))
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


def test_a_challenger_that_meets_every_condition_is_promoted_with_the_numbers_as_reasons() -> None:
    decision = decided(a_look())
    assert decision.outcome == "promote"
    assert decision.reasons[0] == f"evidence reached 70; {CHALLENGE.needed:.4g} was needed"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"e_max": 32.0, "e_value": 30.0}, "evidence is 30, at most 32"),
        ({"pairs": 199}, "199 pairs; 200 are needed"),
        ({"labelled": 700}, "77.8% of mature requests are labelled; 80.0% are needed"),
        ({"matured": 0, "labelled": 0}, "0.0% of mature requests"),
        ({"opened_at": NOW - timedelta(days=6)}, "open since"),
        ({"guardrails": {"failure": OPEN, "latency": CLEARED}}, "guardrail failure is not cleared after 40 requests"),
        ({"guardrails": {"failure": CLEARED, "latency": OPEN}}, "guardrail latency is not cleared after 40 requests"),
    ],
)
def test_promotion_waits_for_each_condition(changes: dict[str, Any], reason: str) -> None:
    decision = decided(a_look(**changes))
    assert decision.outcome == "wait"
    assert len(decision.reasons) == 1
    assert decision.reasons[0].startswith(reason)


def test_files_that_are_not_what_was_registered_are_not_promoted() -> None:
    decision = decided(a_look(), artifact_ok=False)
    assert (decision.outcome, decision.reasons) == ("wait", ("the challenger's files are not what was registered",))


def test_evidence_once_crossed_stays_crossed() -> None:
    assert decided(a_look(e_value=0.3, e_max=40.0)).outcome == "promote"


def test_nobody_is_promoted_while_a_probation_runs_not_even_at_the_deadline() -> None:
    for as_of in (NOW, OPENED + timedelta(days=31)):
        assert decided(a_look(), as_of=as_of, probation_running=True).outcome == "wait"


def test_a_person_is_waited_for_without_end() -> None:
    for as_of in (NOW, OPENED + timedelta(days=300)):
        assert decided(a_look(), as_of=as_of, mode="approve").outcome == "awaiting_approval"


def test_without_evidence_the_deadline_makes_it_inconclusive() -> None:
    look = a_look(e_max=2.0, e_value=1.0)
    assert decided(look, as_of=OPENED + timedelta(days=30) - timedelta(seconds=1)).outcome == "wait"
    assert decided(look, as_of=OPENED + timedelta(days=30)).outcome == "inconclusive"


def test_harm_rejects_whatever_else_holds() -> None:
    assert decided(a_look(e_harm_max=CHALLENGE.needed)).outcome == "reject"
    assert decided(a_look(e_harm_max=CHALLENGE.needed), probation_running=True, mode="approve").outcome == "reject"


@pytest.mark.parametrize("name", ["failure", "latency"])
def test_a_failed_guardrail_rejects_and_says_which(name: str) -> None:
    guardrails = {"failure": CLEARED, "latency": CLEARED} | {name: FAILED}
    decision = decided(a_look(guardrails=guardrails, e_max=0.0, pairs=0))
    assert decision == PromotionDecision("reject", (f"guardrail {name}: 20 of 40 requests went wrong",))


def test_probation_rolls_back_on_evidence_of_harm_from_the_first_pairs() -> None:
    assert decided(a_look(pairs=30, e_max=20.0), PROBATION).outcome == "roll_back"
    assert decided(a_look(pairs=30, e_max=20.0), PROBATION, artifact_ok=False).outcome == "wait"


def test_probation_passes_after_its_pairs_or_at_the_deadline() -> None:
    unharmed = a_look(e_max=3.0)
    assert decided(unharmed, PROBATION).outcome == "wait"
    assert decided(replace(unharmed, pairs=1000), PROBATION).outcome == "passed"
    assert decided(unharmed, PROBATION, as_of=OPENED + timedelta(days=30)).outcome == "passed"


def test_the_former_champion_s_guardrails_do_not_end_a_probation() -> None:
    failing = a_look(e_max=1.0, guardrails={"failure": FAILED, "latency": FAILED})
    assert decided(failing, PROBATION).outcome == "wait"


def test_alpha_is_spent_so_that_a_family_without_end_costs_alpha() -> None:
    spent = [spent_alpha(0.05, rank) for rank in range(1, 100_000)]
    assert spent[0] == pytest.approx(0.05 * 0.6079, rel=1e-3)
    assert sum(spent) < 0.05
    assert sum(spent) == pytest.approx(0.05, rel=1e-4)


def test_a_probation_has_the_whole_alpha() -> None:
    assert (PROBATION.kind, PROBATION.alpha, PROBATION.needed) == ("probation", 0.05, 20.0)


def test_a_design_survives_the_record() -> None:
    assert Design.from_json(json.loads(json.dumps(CHALLENGE.to_json()))) == CHALLENGE


def test_a_look_is_plain_json() -> None:
    held = json.loads(json.dumps(a_look().to_json(), allow_nan=False))
    assert held["lead"] == {"low": 0.001, "mean": 0.01, "high": 0.02}
    assert held["coverage"] == pytest.approx(8 / 9)
    assert held["guardrails"]["failure"]["state"] == "cleared"
