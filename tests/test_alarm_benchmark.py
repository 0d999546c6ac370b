"""What the alarm benchmark compares by: thresholds at which every method has spent the same."""

from __future__ import annotations

import numpy as np

from benchmarks.alarms import delay, episodes, tuned


def test_an_alarm_that_goes_on_is_one_false_alarm() -> None:
    assert episodes(np.array([0, 2, 2, 0, 2, 0.0]), 1.0) == 2
    assert episodes(np.array([2, 2, 0.0]), 1.0) == 1


def test_a_threshold_is_scaled_from_above() -> None:
    """One alarm in 91 days is paid for; a threshold below all values would be one alarm, too, and never end."""
    quiet = np.full(91, 0.5)
    quiet[[10, 40]] = 3.0, 2.0
    threshold = tuned([quiet])
    assert 2.0 < threshold <= 3.0
    assert delay(np.array([1.0, 2.5, 4.0]), threshold) in (2.0, 3.0)
    assert delay(np.array([1.0, 1.0]), threshold) == float("inf")
