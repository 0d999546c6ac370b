"""Drift alarms on real streams in their own order: the quiet one stays quiet, the changing ones are caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.alarm_answers import delay
from benchmarks.alarm_ours import drift_alarm
from benchmarks.alarm_real import real_case

pytestmark = pytest.mark.data


def first_alarm(data_folder: Path, name: str) -> float:
    """The day, from 1; infinity without one."""
    return delay(drift_alarm(real_case(data_folder, name)).alarms(1.0))


def test_luxembourg_stays_quiet(data_folder: Path) -> None:
    """One column of it moves by more than a standard deviation; what is predicted does not hang on it."""
    assert first_alarm(data_folder, "luxembourg (quiet)") == float("inf")


def test_insects_are_caught(data_folder: Path) -> None:
    """The temperature changes gradually, and the insects' wingbeats with it: within the first half."""
    assert first_alarm(data_folder, "insects, gradual") <= 25


def test_a_second_year_of_bike_sharing_is_caught(data_folder: Path) -> None:
    """Every season is known from the first year; what grew is the number of bikes: within the first half."""
    assert first_alarm(data_folder, "bike sharing") <= 182
