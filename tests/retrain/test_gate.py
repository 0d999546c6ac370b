"""The gate refuses harm, with numbers."""

from __future__ import annotations

import math

from retrain.evaluation.metrics import Comparison, Interval
from retrain.gate import Parity, decide, with_latency, with_parity

BETTER_THAN_DUMMY = Comparison("dummy", 200, 0.10, 0.25, Interval(-0.15, -0.17, -0.13))


def champion(low: float, high: float) -> Comparison:
    middle = (low + high) / 2
    return Comparison("v3", 200, 0.10 + middle, 0.10, Interval(middle, low, high))


def test_a_first_model_that_beats_the_dummy_passes() -> None:
    """There is no champion to harm yet."""
    decision = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=None)
    assert decision.passed
    assert decision.reasons == ()
    assert [check.name for check in decision.checks] == ["finite", "dummy"]


def test_a_model_no_better_than_the_dummy_is_refused() -> None:
    """Equal is not better."""
    decision = decide(finite=True, dummy=Comparison("dummy", 200, 0.25, 0.25, None), champion=None)
    assert not decision.passed
    assert "loss 0.2500 against 0.2500 on 200 rows" in decision.reasons[0]


def test_a_candidate_significantly_worse_than_the_champion_is_refused() -> None:
    """The whole interval lies on the wrong side."""
    decision = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=champion(0.01, 0.03))
    assert not decision.passed
    assert "significantly worse than the champion" in decision.reasons[0]
    assert "+0.0100 to +0.0300" in decision.reasons[0]
    assert "v3" in decision.reasons[0]


def test_lack_of_proven_gain_is_for_the_bout_to_judge() -> None:
    """A candidate that looks a little worse, by chance or not, may fight."""
    assert decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=champion(-0.001, 0.03)).passed


def test_too_few_fresh_rows_refuse_nobody() -> None:
    """And the check says so."""
    unknown = Comparison("v3", 4, math.nan, math.nan, None)
    decision = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=unknown)
    assert decision.passed
    assert decision.checks[-1].reason == (
        "not compared: only 4 rows that the champion v3 had not seen; the bout will tell"
    )


def test_scores_that_are_not_finite_are_refused() -> None:
    """Whatever their mean would be."""
    decision = decide(finite=False, dummy=BETTER_THAN_DUMMY, champion=champion(-0.5, -0.4))
    assert not decision.passed
    assert "finite" in decision.reasons[0]


def test_a_package_that_answers_otherwise_is_refused() -> None:
    """By more than 1e-5, or by who knows how much."""
    passed = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=None)
    assert with_parity(passed, Parity(9e-6, 100)).passed
    for worst in (2e-5, math.inf, math.nan):
        refused = with_parity(passed, Parity(worst, 100))
        assert not refused.passed
        assert "over 100 rows" in refused.reasons[0]


def test_a_slow_package_is_refused_where_there_is_a_limit() -> None:
    """retrain.max_latency_ms is named."""
    passed = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=None)
    assert with_latency(passed, 9.0, None).passed
    assert with_latency(passed, 0.9, 1.0).passed
    assert "retrain.max_latency_ms = 1" in with_latency(passed, 1.1, 1.0).reasons[0]


def test_a_decision_is_written_down_whole() -> None:
    """Passed checks too: the audit trail shows what was looked at."""
    held = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=champion(0.01, 0.03)).to_json()
    assert held["passed"] is False
    assert [check["passed"] for check in held["checks"]] == [True, True, False]
