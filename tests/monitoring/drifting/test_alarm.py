"""Accumulated evidence: chance alarms no more often than the budget says, what is broken alarms at once."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from monitoring.drifting.alarm import (
    NOTHING,
    AlarmDecision,
    AlarmState,
    Line,
    decide,
    decisions_per_alarm,
    display_names,
    e_values,
    line_weights,
    uses,
)

DAY = timedelta(days=1)
NAMES = [f"f{place}" for place in range(30)]
EVEN = line_weights(NAMES, {}, ())
NEEDED = decisions_per_alarm(1, DAY)


def days(p_values: np.ndarray, weights: dict[Line, float] = EVEN, needed: float = NEEDED) -> list[AlarmDecision]:
    """Decisions on p_values[day, feature]."""
    state, found = AlarmState(), []
    for row in p_values:
        said = {1: {line: [float(p)] for line, p in zip(weights, row, strict=True)}}
        found.append(decide(state, said, weights, needed))
        state = found[-1].state
    return found


def first_alarm(found: list[AlarmDecision]) -> int | None:
    return next((day for day, decision in enumerate(found, start=1) if decision.alarm), None)


def quiet(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 30))


def test_no_bet_wins_by_chance() -> None:
    """The mean of each over uniform p-values is one: the integral of κ·p^(κ−1), by its midpoints in p^κ."""
    for place, kappa in enumerate((0.05, 0.2, 0.5)):
        drawn = ((np.arange(10_000) + 0.5) / 10_000) ** (1 / kappa)
        # In u = p^κ the bet κ·p^(κ−1) dp is du: its mean over [0, 1] is one.
        bet = np.array([e_values(max(p, 1e-190))[place] for p in drawn[::100]])
        density = np.maximum(drawn[::100], 1e-190) ** (1 - kappa) / kappa
        assert float((bet * density).mean()) == pytest.approx(1.0, rel=0.01)


def test_quiet_features_alarm_less_often_than_the_budget() -> None:
    """Thirty features, 300 quarters of 91 daily decisions: 300 alarms are paid for."""
    alarms = 0
    for seed in range(300):
        found = days(quiet(91, seed))
        alarms += sum(after.alarm and not before.alarm for before, after in pairwise(found))
    assert alarms <= 300


def test_the_budget_holds_for_features_that_move_together() -> None:
    """One cause behind all thirty: no independence is assumed."""
    alarms = 0
    for seed in range(100):
        found = days(np.repeat(quiet(91, seed)[:, :1], 30, axis=1))
        alarms += any(decision.alarm for decision in found)
    assert alarms <= 50


def test_a_larger_budget_alarms_on_less() -> None:
    """Ten false alarms a quarter: a tenth of the evidence is needed."""
    assert decisions_per_alarm(10, DAY) == pytest.approx(NEEDED / 10)
    broken = quiet(20, 1)
    broken[:, 3] = 0.003
    careful, bold = first_alarm(days(broken)), first_alarm(days(broken, needed=NEEDED / 10))
    assert careful is not None
    assert bold is not None
    assert bold < careful


def test_a_gross_break_is_an_alarm_at_the_first_decision_and_is_named() -> None:
    """Any of thirty features, without importance, on a first day without evidence before."""
    broken = quiet(1, 2)
    broken[0, 17] = 1e-9
    (decision,) = days(broken)
    assert decision.alarm
    assert decision.news
    assert decision.drifted == (("feature", "f17"),)


def test_what_is_small_and_stays_becomes_an_alarm() -> None:
    """p = .01 each day is no alarm on any of them, and one within two weeks of them."""
    broken = quiet(14, 3)
    broken[:, 4] = 0.01
    found = days(broken)
    assert not found[0].alarm
    assert not found[1].alarm
    assert first_alarm(found) is not None
    assert found[-1].drifted == (("feature", "f4"),)


def test_many_trifling_shifts_are_quiet() -> None:
    """Thirty shifts that are certain, but too small to hear of: their p-values are held at NOTHING."""
    assert first_alarm(days(np.full((365, 30), NOTHING))) is None


def test_the_models_key_feature_is_heard_sooner() -> None:
    """The same p-values in a feature of half the importance, and in one of hardly any."""
    weights = line_weights(NAMES, {"f0": 0.5} | dict.fromkeys(NAMES[1:], 0.5 / 29), ())
    key, other = quiet(30, 4), quiet(30, 4)
    key[:, 0] = other[:, 9] = 0.004
    assert (first_alarm(days(key, weights)) or 99) < (first_alarm(days(other, weights)) or 99) <= 30


def test_weights_add_up_and_leave_nobody_out() -> None:
    """A time's parts count as their column; harmful (negative) importance counts as none."""
    weights = line_weights(["a", "at.hour", "b"], {"a": 3.0, "at": 1.0, "b": -1.0}, ["prediction", "target"])
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["feature", "a"] == pytest.approx(0.7 * (1 / 3 + 3 / 4) / 2)
    assert weights["feature", "at.hour"] == pytest.approx(0.7 * (1 / 3 + 1 / 4) / 2)
    assert weights["feature", "b"] == pytest.approx(0.7 / 6)
    assert weights["output", "prediction"] == weights["output", "target"] == 0.15


def test_a_shift_counts_by_how_much_the_model_uses_the_feature() -> None:
    """Above the mean importance all alike; without importances, or constant in training, as if used."""
    importances = {"key": 3.0, "minor": 0.2, "none": 0.0, "constant": 0.0}
    names = list(importances)
    told = uses(names, importances, {"constant"})
    assert told == {"key": 1.0, "minor": pytest.approx(0.25), "none": 0.0, "constant": 1.0}
    assert uses(names, {}) == dict.fromkeys(names, 1.0)


def test_an_alarm_goes_on_while_its_cause_does_and_ends_within_days_of_it() -> None:
    """It is told once; a feature that joins is news; afterwards a new break is an alarm of its own."""
    broken = quiet(40, 7)
    broken[:10, 3] = broken[5:10, 8] = broken[30:, 3] = 1e-7
    found = days(broken)
    assert [day for day, decision in enumerate(found) if decision.news] == [0, 5, 30]
    assert all(decision.alarm for decision in found[:10])
    ended = next(day for day, decision in enumerate(found) if not decision.alarm)
    assert 10 <= ended <= 17
    assert not any(decision.alarm for decision in found[ended:30])


def test_a_line_that_cannot_be_measured_keeps_its_evidence() -> None:
    state = days(np.full((3, 30), 0.01))[-1].state
    assert decide(state, {}, EVEN, NEEDED).state.bets == state.bets


def test_both_spans_count() -> None:
    """A week's window finds what its days did not; over seven decisions it may gain seven by chance."""
    line = ("feature", "f0")
    weekly = decide(AlarmState(), {7: {line: [1e-4]}}, EVEN, NEEDED)
    daily = decide(AlarmState(), {1: {line: [1e-4]}}, EVEN, NEEDED)
    assert weekly.evidence[line] == pytest.approx(7 * daily.evidence[line])


def test_a_decision_is_the_same_from_what_an_event_keeps() -> None:
    """To the last digit, also after JSON."""
    import json

    found = days(quiet(30, 6) ** 3)
    for before, after, row in zip(found, found[1:], quiet(30, 6)[1:] ** 3, strict=False):
        held = AlarmState.from_numbers(json.loads(json.dumps(before.state.to_numbers())))
        again = decide(held, {1: {line: [float(p)] for line, p in zip(EVEN, row, strict=True)}}, EVEN, NEEDED)
        assert again == after


LINE: Line = ("feature", "x")


def standing(evidence: dict[Line, float], weights: dict[Line, float], *, alarm: bool) -> AlarmState:
    """A state in which each line has so much of the evidence that an alarm needs."""
    bets = {line: (share * NEEDED / weights[line],) * 6 for line, share in evidence.items()}
    return AlarmState(bets, alarm, tuple(evidence) if alarm else ())


@pytest.mark.parametrize(
    ("before", "evidence", "after"),
    [
        (False, 0.7, False),
        (False, 0.999, False),
        (False, 1.0, True),
        (True, 1.5, True),
        (True, 0.7, True),  # it began at 1, and does not flap
        (True, 0.5, True),
        (True, 0.499, False),
        (True, 0.4, False),
    ],
)
def test_an_alarm_begins_at_one_and_ends_below_a_half(before: bool, evidence: float, after: bool) -> None:
    """Nothing could be measured in between, so that its evidence stands as it was."""
    decision = decide(standing({LINE: evidence}, {LINE: 1.0}, alarm=before), {}, {LINE: 1.0}, NEEDED)
    assert decision.system == pytest.approx(evidence)
    assert decision.alarm is after
    assert decision.drifted == ((LINE,) if after else ())
    assert decision.news is (after and not before), "what goes on is told once"
    word = {(False, True): "begins", (True, True): "goes on", (True, False): "has ended", (False, False): "none"}
    assert decision.reasons[0].startswith(f"alarm: {word[before, after]};")


def test_an_alarm_that_comes_again_is_news_again() -> None:
    """And so is a line that joins one."""
    weights = {LINE: 0.5, ("feature", "y"): 0.5}
    other: Line = ("feature", "y")
    begun = decide(standing({LINE: 1.2}, weights, alarm=False), {}, weights, NEEDED)
    assert (begun.news, begun.state.told) == (True, (LINE,))
    joined = AlarmState(begun.state.bets | standing({other: 0.8}, weights, alarm=True).bets, True, begun.state.told)
    wider = decide(joined, {}, weights, NEEDED)
    assert (wider.news, wider.drifted, wider.state.told) == (True, (LINE, other), (LINE, other))
    assert not decide(wider.state, {}, weights, NEEDED).news
    ended = decide(AlarmState({}, True, wider.state.told), {}, weights, NEEDED)
    assert (ended.alarm, ended.state.told) == (False, ())
    again = decide(AlarmState(wider.state.bets, ended.alarm, ended.state.told), {}, weights, NEEDED)
    assert (again.news, again.state.told) == (True, (LINE, other))


@pytest.mark.parametrize(
    ("evidence", "named"),
    [
        ([0.6, 0.9], 2),  # whoever could keep it up is named
        ([0.5, 0.9], 2),
        ([0.49, 0.9], 1),
        ([0.15] * 10, 4),  # of many small ones as many as the rest needs to be none
        ([1.2, 0.1], 1),
        ([0.4, 0.4, 0.4], 1),
        ([0.4, 0.4, 0.4, 0.4], 2),
    ],
)
def test_whoever_carries_an_alarm_is_named(evidence: list[float], named: int) -> None:
    lines: list[Line] = [("feature", f"f{place}") for place in range(len(evidence))]
    weights = dict.fromkeys(lines, 1 / len(lines))
    decision = decide(standing(dict(zip(lines, evidence, strict=True)), weights, alarm=False), {}, weights, NEEDED)
    assert decision.alarm
    assert len(decision.drifted) == named
    left = sum(evidence) - sum(sorted(evidence, reverse=True)[:named])
    assert left < 1.0


@pytest.mark.parametrize("p", [0.0, 5e-324, 1e-300, 1e-200, 1.0])
def test_a_p_value_that_is_nothing_wins_much_and_no_more(p: float) -> None:
    """The grossest shift ends in an alarm, not in a division by zero; and it can be written as JSON."""
    assert np.isfinite(e_values(p)).all()
    assert e_values(0.0) == e_values(1e-200)
    decision = decide(AlarmState(), {1: {LINE: [p]}, 7: {LINE: [p]}}, {LINE: 1.0}, NEEDED)
    assert decision.alarm is (p < 1)
    assert np.isfinite(decision.system)
    assert AlarmState.from_numbers(json.loads(json.dumps(decision.state.to_numbers()))) == decision.state


def test_the_bets_are_kappa_times_p_to_the_kappa_less_one() -> None:
    """An integral of one each, reckoned independently."""
    for place, kappa in enumerate((0.05, 0.2, 0.5)):
        assert e_values(0.1)[place] == pytest.approx(beta.pdf(0.1, kappa, 1))
        won, _ = quad(lambda t, place=place: e_values(np.exp(-t))[place] * np.exp(-t), 0, 400)  # p = exp(−t)
        assert won == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("feature", "importance"), [("a.b.hour", "a.b"), ("a.b", "a.b"), ("hour", "hour"), ("departs.days", "departs")]
)
def test_a_part_has_the_importance_of_its_column_whatever_its_name(feature: str, importance: str) -> None:
    """Also of one whose own name has a dot."""
    weights = line_weights([feature, "other"], {importance: 3.0, "other": 1.0}, ())
    assert weights["feature", feature] == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert uses([feature, "other"], {importance: 3.0, "other": 1.0}) == {feature: 1.0, "other": 0.5}


def test_an_importance_below_zero_is_none() -> None:
    """By chance mixing a column's values may make a model better."""
    assert line_weights(["x", "y"], {"x": -1.0, "y": 1.0}, ())["feature", "x"] == pytest.approx(1 / 4)
    assert line_weights(["x", "y"], {"x": -1.0, "y": -1.0}, ())["feature", "x"] == pytest.approx(1 / 2)
    assert uses(["x", "y"], {"x": -1.0, "y": 1.0}) == {"x": 0.0, "y": 1.0}


def test_evidence_beyond_twice_what_an_alarm_needs_is_forgotten() -> None:
    """So that it ends within days of its cause, however long that lasted."""
    weights = {LINE: 0.5, ("feature", "y"): 0.5}
    decision = decide(AlarmState(), {1: {LINE: [1e-200]}}, weights, NEEDED)
    assert decision.evidence[LINE] == pytest.approx(2.0)


@pytest.mark.parametrize("line", [LINE, ("output", "prediction"), ("feature", "output:x"), ("feature", "a:b")])
def test_a_line_s_name_says_which_it_is(line: Line) -> None:
    state = AlarmState({line: (1.0, 2.0)}, True, (line,))
    assert AlarmState.from_numbers(state.to_numbers()) == state


def test_an_output_that_is_called_as_a_feature_is_told_apart() -> None:
    shown = display_names([("feature", "prediction"), ("output", "prediction"), ("output", "target")])
    assert list(shown.values()) == ["prediction", "output:prediction", "target"]
    twice = display_names([("feature", "x"), ("feature", "output:x"), ("output", "x")])
    assert list(twice.values()) == ["x", "output:x", "output:output:x"]
