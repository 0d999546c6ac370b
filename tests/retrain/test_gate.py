"""The gate refuses harm, with numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from retrain.evaluation.metrics import Comparison, Interval
from retrain.gate import GateDecision, Parity, decide, decide_again, with_latency, with_parity

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


PASSED = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=champion(-0.02, -0.01))
REFUSED = decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=champion(0.01, 0.03))
GOOD, BAD = Parity(1e-7, 100), Parity(1e-3, 100)


@pytest.mark.parametrize("start", [PASSED, REFUSED])
@pytest.mark.parametrize("parity", [GOOD, BAD])
@pytest.mark.parametrize("milliseconds", [0.5, 2.0])
def test_no_later_check_takes_back_an_earlier_one(start: GateDecision, parity: Parity, milliseconds: float) -> None:
    """A decision passes where all of its checks do, and keeps them: a failed parity stays when latency is good."""
    proven = with_parity(start, parity)
    timed = with_latency(proven, milliseconds, 1.0)
    assert proven.checks == (*start.checks, proven.checks[-1])
    assert timed.checks == (*proven.checks, timed.checks[-1])
    assert [check.name for check in timed.checks] == ["finite", "dummy", "champion", "parity", "latency"]
    assert proven.passed is (start.passed and parity is GOOD)
    assert timed.passed is (proven.passed and milliseconds <= 1.0)
    assert len(timed.reasons) == (not start.passed) + (parity is BAD) + (milliseconds > 1.0)


def test_what_is_not_limited_changes_no_decision() -> None:
    """Without retrain.max_latency_ms the time is noted, and a refusal stays one."""
    for decision in (PASSED, REFUSED, with_parity(PASSED, BAD)):
        unlimited = with_latency(decision, 1e6, None)
        assert (unlimited.passed, unlimited.checks) == (decision.passed, decision.checks)
        assert unlimited.inputs["latency_ms"] == 1e6


@pytest.mark.parametrize(
    ("difference", "passes"), [(0.0, True), (1e-5, True), (np.nextafter(1e-5, 1), False), (1.1e-5, False)]
)
def test_parity_holds_up_to_its_tolerance(difference: float, passes: bool) -> None:
    """A hundred-thousandth, as the documentation promises, is allowed; a little more is not."""
    assert with_parity(PASSED, Parity(difference, 100)).passed is passes


@pytest.mark.parametrize(("milliseconds", "passes"), [(0.999, True), (1.0, True), (1.001, False)])
def test_the_limit_of_latency_itself_is_allowed(milliseconds: float, passes: bool) -> None:
    assert with_latency(PASSED, milliseconds, 1.0).passed is passes


@pytest.mark.parametrize(("share", "passes"), [(1.0, False), (1 - 1e-7, False), (1 - 1e-6, False), (1 - 2e-6, True)])
def test_a_gain_that_rounding_makes_is_none(share: float, passes: bool) -> None:
    """A model that learned nothing is not better than the dummy by the last digits of its loss."""
    dummy = Comparison("dummy", 200, 0.25 * share, 0.25, None)
    assert decide(finite=True, dummy=dummy, champion=None).passed is passes


@pytest.mark.parametrize(
    ("low", "high", "passes"), [(0.0, 0.0, True), (0.0, 0.02, True), (-0.02, 0.0, True), (1e-9, 0.02, False)]
)
def test_only_an_interval_wholly_above_zero_is_significantly_worse(low: float, high: float, passes: bool) -> None:
    """The champion's own twin, whose interval is zero alone, may fight."""
    assert decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=champion(low, high)).passed is passes


@pytest.mark.parametrize("compared", [champion(-0.02, 0.01), champion(0.01, 0.03), None])
@pytest.mark.parametrize("limit", [None, 1.0, 3.0])
def test_a_decision_is_made_again_from_what_was_written_down(compared: Comparison | None, limit: float | None) -> None:
    """Through JSON and back, check for check."""
    first = with_latency(with_parity(decide(finite=True, dummy=BETTER_THAN_DUMMY, champion=compared), BAD), 2.0, limit)
    written = json.loads(json.dumps(first.to_json()))
    again = decide_again(written["inputs"], limit)
    assert (again, again.inputs) == (first, written["inputs"])


def test_each_reason_says_its_numbers() -> None:
    """Of passed checks, too: they stand in the card."""
    decision = with_latency(with_parity(PASSED, GOOD), 0.5, 1.0)
    assert [check.reason for check in decision.checks] == [
        "all 200 scores on the holdout are finite",
        "better than always saying the same: loss 0.1000 against 0.2500 on 200 rows",
        "not significantly worse than the champion: loss 0.0850 against 0.1000 on 200 rows that the champion v3 had "
        "not seen (difference -0.0150, 95 % interval -0.0200 to -0.0100)",
        "ONNX and estimator differ by at most 1e-07 over 100 rows",
        "one record takes 0.500 ms, within retrain.max_latency_ms = 1",
    ]
    assert with_latency(with_parity(PASSED, BAD), 2.0, 1.0).reasons == (
        "ONNX and estimator differ by 0.001 over 100 rows; at most 1e-05 is allowed",
        "one record takes 2.000 ms, over retrain.max_latency_ms = 1",
    )
