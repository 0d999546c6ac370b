"""What the alarm benchmark compares by: thresholds at which every method has spent the same."""

from __future__ import annotations

import numpy as np

from benchmarks.alarm_answers import Accumulated, Beside, Scores, delay, episodes, tuned

LINE = ("feature", "x")


def test_an_alarm_that_goes_on_is_one_false_alarm() -> None:
    assert episodes(np.array([0, 1, 1, 0, 1, 0], dtype=bool)) == 2
    assert episodes(np.array([1, 1, 0], dtype=bool)) == 1


def test_a_threshold_is_scaled_from_above() -> None:
    """One alarm in 91 days is paid for; a threshold below all values would be one alarm, too, and never end."""
    quiet = np.full(91, 0.5)
    quiet[[10, 40]] = 3.0, 2.0
    scale = tuned([Scores(quiet)])
    assert 2.0 < scale <= 3.01
    assert delay(Scores(np.array([1.0, 2.5, 4.0])).alarms(scale)) in (2.0, 3.0)
    assert delay(Scores(np.array([1.0, 1.0])).alarms(scale)) == float("inf")


def accumulated(*p_values: float) -> Accumulated:
    return Accumulated([{1: {LINE: [p]}} if p < 1 else {} for p in p_values], {LINE: 1.0}, 91.0)  # type: ignore[dict-item]


def test_accumulated_evidence_is_scaled_by_its_budget() -> None:
    """A stricter budget is reached later, not never: what is forgotten is counted in alarms of that budget."""
    drifting = accumulated(0.5, *[1e-4] * 20)
    assert delay(drifting.alarms(1.0)) == 2.0
    assert 2.0 < delay(drifting.alarms(1e6)) < 8.0


def test_a_day_that_was_not_judged_leaves_the_alarm_as_it_was() -> None:
    assert accumulated(1e-9, 1.0, 0.5).alarms(1.0).tolist()[:2] == [True, True]


def test_an_alarm_beside_another_is_not_scaled() -> None:
    broken = np.array([False, True])
    assert Beside(accumulated(0.5, 0.5), broken).alarms(1e6).tolist() == [False, True]
