"""Where a person has the last word: asked once, reminded, withdrawn when the evidence falls, ended in time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring.bouts.approval import expired, next_step
from monitoring.bouts.decision import Outcome, PromotionDecision
from record.bouts.approval import Approval, expect_approver, open_approval
from record.bouts.summary import bout_summary
from record.errors import Forbidden
from tests.monitoring.arena import START, Arena, logistic

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def ring(folder: Path, **promotion: Any) -> Arena:
    """A ring with a champion that knows nothing, in which a person has the last word."""
    arena = Arena.build(folder, mode="approve", **promotion)
    arena.register(logistic(0.0))
    return arena


def approval(**changed: Any) -> Approval:
    held: dict[str, Any] = {
        "bout": "b1",
        "version": "v2",
        "requested_at": START,
        "said_at": START,
        "expires_at": START + 4 * DAY,
        "on_expiry": "inconclusive",
        "approvers": (),
    }
    return Approval(**(held | changed))


@pytest.mark.parametrize(
    ("standing", "outcome", "hours", "step"),
    [
        (None, "wait", 0, None),
        (None, "awaiting_approval", 0, "request"),
        (approval(), "awaiting_approval", 1, None),
        (approval(), "awaiting_approval", 24, "remind"),
        (approval(said_at=START + DAY), "awaiting_approval", 47, None),
        (approval(said_at=START + DAY), "awaiting_approval", 48, "remind"),
        (approval(expires_at=START + 6 * HOUR), "awaiting_approval", 3, "remind"),
        (approval(expires_at=None), "awaiting_approval", 24, "remind"),
        (approval(), "wait", 5, "withdraw"),
        (approval(), "promote", 5, None),
    ],
)
def test_the_step_follows_from_the_decision_and_what_was_said(
    standing: Approval | None, outcome: Outcome, hours: int, step: str | None
) -> None:
    assert next_step(standing, None, outcome, START + hours * HOUR) == step


def test_evidence_that_hovers_about_its_bound_does_not_ask_at_every_look() -> None:
    assert next_step(None, START, "awaiting_approval", START + timedelta(minutes=59)) is None
    assert next_step(None, START, "awaiting_approval", START + HOUR) == "request"


@pytest.mark.parametrize(
    ("on_expiry", "outcome"), [("inconclusive", "inconclusive"), ("reject", "reject"), ("promote", "promote")]
)
def test_what_nobody_approved_in_time_ends_as_the_settings_say(on_expiry: str, outcome: str) -> None:
    decision = PromotionDecision("awaiting_approval", ("won",))
    held = approval(on_expiry=on_expiry)
    assert expired(decision, held, START + 4 * DAY - HOUR) == decision
    ended = expired(decision, held, START + 4 * DAY)
    assert ended.outcome == outcome
    assert ended.reasons[-1].startswith("nobody approved it from 2013-03-01")
    assert expired(PromotionDecision("wait", ()), held, START + 9 * DAY).outcome == "wait"
    assert expired(decision, approval(expires_at=None), START + 900 * DAY) == decision


def test_only_approvers_promote_by_hand_where_there_are_any() -> None:
    expect_approver((), "anybody")
    expect_approver(("ada", "grace"), "grace")
    with pytest.raises(Forbidden, match=r"'bob' is not among promotion.approvers \(ada, grace\)"):
        expect_approver(("ada", "grace"), "bob")


def test_a_won_bout_says_who_has_to_do_what_and_is_reminded_of_once_a_day(tmp_path: Path) -> None:
    arena = ring(tmp_path, approvers=["ada"], approve_within="3d")
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    for hour in (6, 7, 8, 31, 32):
        assert [decision.outcome for decision in arena.settle(START + hour * HOUR)] == ["awaiting_approval"]
    said = [kind for kind in arena.kinds() if kind.startswith("approval_")]
    assert said == ["approval_requested", "approval_reminded"]
    (asked,) = arena.record.events.page(kind="approval_requested")[0]
    assert asked.data["approve"] == 'ringside promote v2 --reason "…"'
    assert asked.data["approvers"] == ["ada"]
    facts = bout_summary(arena.record.database, arena.record.events, arena.record.bouts.get(bout.bout))
    assert facts["state"] == "awaiting_approval"
    assert facts["approval"]["expires_at"] == START + 6 * HOUR + 3 * DAY
    gauges = {sample.name: sample.value for sample in arena.record.samples.all()}
    assert gauges["ringside_approvals_waiting"] == 1
    assert gauges["ringside_approval_waiting_seconds"] == 26 * 3600


def test_an_approval_that_nobody_gave_ends_the_bout_and_the_champion_stays(tmp_path: Path) -> None:
    arena = ring(tmp_path, approve_within="2d")
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    arena.settle(START + 6 * HOUR)
    arena.settle(START + 6 * HOUR + 2 * DAY)
    ended = arena.record.bouts.get(bout.bout)
    assert (ended.state, ended.outcome) == ("decided", "inconclusive")
    assert arena.record.registry.roles().champion == "v1"
    assert arena.record.registry.version("v2").standing == "eligible"
    assert "approval_expired" in arena.kinds()
    assert open_approval(arena.record.events, ended) is None


def test_an_approval_that_nobody_gave_promotes_where_the_settings_say_so(tmp_path: Path) -> None:
    arena = ring(tmp_path, approve_within="2d", on_expiry="promote")
    arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    arena.settle(START + 6 * HOUR)
    arena.settle(START + 6 * HOUR + 2 * DAY)
    assert arena.record.registry.roles().champion == "v2"
    assert arena.kinds()[-3:] == ["approval_expired", "bout_decided", "model_promoted"]


def test_a_request_for_approval_is_withdrawn_where_the_challenger_no_longer_stands(tmp_path: Path) -> None:
    """Its files are damaged between the request and the answer."""
    arena = ring(tmp_path)
    bout = arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    arena.settle(START + 6 * HOUR)
    model = arena.record.registry.directory("v2") / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    arena.shadow = lambda bout: None  # type: ignore[method-assign]
    arena.settle(START + 7 * HOUR)
    (withdrawn,) = arena.record.events.page(kind="approval_withdrawn")[0]
    assert withdrawn.data["reasons"] == ["the challenger's files are not what was registered"]
    facts = bout_summary(arena.record.database, arena.record.events, arena.record.bouts.get(bout.bout))
    assert (facts["state"], facts["approval"]) == ("testing", None)
