"""What a gain will take to show, said beforehand: near what simulated bouts then take."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.bouts.forecast import forecasts
from tests.monitoring.bouts.test_evidence_state import accuracy, run

COMMON = {"labels_a_day": 200.0, "needed": 20.0, "fewest": 200, "deadline_days": 30.0}


def test_the_labels_are_about_those_that_a_median_bout_takes() -> None:
    """A fifth of the requests go wrong, and the challenger is right in a tenth of these."""
    (found,) = [f for f in forecasts(loss=0.2, variance=0.1, **COMMON) if f.relative == 0.1]
    rng = np.random.default_rng(1)
    taken = [run(accuracy(rng, found.gain, 10_000), 200, step=100)[0] or 10_000 for _ in range(30)]
    assert found.labels == pytest.approx(np.median(taken), rel=0.5)
    assert found.days == pytest.approx(found.labels / 200, rel=0.01)


def test_smaller_gains_take_longer_and_the_deadline_is_told() -> None:
    found = forecasts(loss=0.2, variance=0.1, **COMMON)
    assert [f.labels for f in found] == sorted((f.labels for f in found), reverse=True)
    assert [f.in_time for f in found] == sorted(f.in_time for f in found)
    assert {f.in_time for f in found} == {True, False}


def test_whole_cycles_are_counted_and_nothing_is_said_without_numbers() -> None:
    assert all(f.days % 7 == 0 for f in forecasts(loss=0.2, variance=0.1, cycle_days=7.0, **COMMON))
    assert forecasts(loss=0.0, variance=0.1, **COMMON) == ()
    assert forecasts(loss=0.2, variance=0.1, **COMMON | {"labels_a_day": 0.0}) == ()
