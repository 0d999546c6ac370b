"""Accumulated evidence: chance alarms no more often than the budget says, what is broken alarms at once."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from monitoring.drifting.alarm import (
    NOTHING,
    AlarmDecision,
    AlarmState,
    Line,
    decide,
    decisions_per_alarm,
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
