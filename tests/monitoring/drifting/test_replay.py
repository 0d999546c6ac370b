"""Slow days, weekdays and bursts that the reference knows are no drift; what is beyond them is found soon."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitoring.drifting.replay import DriftReplay, replay_days, window_of_arrays
from monitoring.windows import Window

MICROS = 86_400_000_000
MONDAY = 20_003  # 1970-01-01 was a Thursday: day 20,003 is a Monday
ROWS = 200
FEATURES = 12


def stream(
    seed: int, reference: int, days: int, *, sd: float = 0.0, carry: float = 0.0, weekend: float = 0.0
) -> np.ndarray:
    """[days, rows, features]: normal columns whose days differ by `sd`, and weekends by `weekend`."""
    rng = np.random.default_rng([seed, 13])
    count = reference + days
    level = np.zeros((count, FEATURES))
    for day in range(count):
        fresh = rng.normal(size=FEATURES) * (np.sqrt(1 - carry**2) if day else 1.0)
        level[day] = fresh + (carry * level[day - 1] if day else 0.0)
    shift = sd * level + weekend * (np.arange(count) % 7 >= 5)[:, np.newaxis]
    return rng.normal(size=(count, ROWS, FEATURES)) + shift[:, np.newaxis, :]


def window(values: np.ndarray, first: int) -> Window:
    """Days of rows, evenly over each day, the first of them that day since 1970."""
    at = np.arange(first, first + len(values))[:, np.newaxis] * MICROS + np.linspace(0, MICROS - 1, ROWS)
    flat = values.reshape(-1, FEATURES)
    return window_of_arrays({f"x{n}": flat[:, n].copy() for n in range(FEATURES)}, at.ravel().astype(np.int64))


def replayed(values: np.ndarray, reference: int) -> DriftReplay:
    days = [window(values[day : day + 1], MONDAY + day) for day in range(reference, len(values))]
    return replay_days(window(values[:reference], MONDAY), days)


@pytest.mark.parametrize("known", [28, 42])
def test_slow_days_are_within_the_budget_of_one_false_alarm_a_quarter(known: int) -> None:
    """Twelve features whose days carry over by .7, four quarters: days that resemble each other are few days."""
    alarms = [replayed(stream(seed, known, 91, sd=0.15, carry=0.7), known).episodes for seed in range(4)]
    assert np.mean(alarms) <= 1


def test_a_shift_of_half_a_deviation_is_found_through_a_weekday_season() -> None:
    """Weekends are .4 higher, in the reference too: each day is compared with what its weekday was."""
    found = []
    for seed in range(5):
        values = stream(seed, 42, 14, sd=0.1, weekend=0.4)
        values[42:, :, 0] += 0.5
        found.append(replayed(values, 42).first or 99)
    assert np.median(found) <= 4


def test_a_weekday_season_alone_is_no_drift() -> None:
    assert replayed(stream(1, 42, 42, sd=0.1, weekend=0.4), 42).episodes == 0


def test_a_shift_of_one_deviation_is_found_on_the_first_day() -> None:
    found = []
    for seed in range(5):
        values = stream(seed, 42, 7, sd=0.1)
        values[42:, :, 0] += 1.0
        found.append(replayed(values, 42).first or 99)
    assert np.median(found) == 1


def bursts(share: float, seed: int, *, known: bool) -> np.ndarray:
    """42 days and a quarter; on one day in thirty a column loses that share of its values."""
    values = stream(seed, 42, 91)
    rng = np.random.default_rng(seed)
    for day in range(seed % 12, len(values), 30):
        if known or day >= 42:
            values[day, rng.random(ROWS) < share, 1] = np.nan
    return values


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_burst_of_missing_values_that_the_reference_knows_is_no_drift(share: float) -> None:
    alarms = [replayed(bursts(share, seed, known=True), 42).episodes for seed in range(3)]
    assert np.mean(alarms) <= 1


def test_a_burst_that_the_reference_does_not_know_is_drift() -> None:
    """The negative control."""
    assert replayed(bursts(0.8, 0, known=False), 42).episodes >= 1


def test_hours_of_the_day_are_known_where_decisions_fall_within_a_day() -> None:
    """Every six hours, of a column that is one deviation higher by day than by night."""
    rng = np.random.default_rng(3)
    every, parts = timedelta(hours=6), 4

    def part(number: int, moved: float = 0.0) -> dict[str, Any]:
        at = MONDAY * MICROS + number * (MICROS // parts) + np.linspace(0, MICROS // parts - 1, ROWS).astype(np.int64)
        values = rng.normal(size=ROWS) + (1.0 if number % parts in (1, 2) else 0.0) + moved
        return {"numbers": {"x": values}, "times": at}

    known = [part(number) for number in range(28 * parts)]
    reference = window_of_arrays(
        {"x": np.concatenate([one["numbers"]["x"] for one in known])}, np.concatenate([one["times"] for one in known])
    )
    quiet = [window_of_arrays(**part(number)) for number in range(28 * parts, 40 * parts)]
    moved = [window_of_arrays(**part(number, 0.5)) for number in range(28 * parts, 30 * parts)]
    assert replay_days(reference, quiet, every=every).episodes == 0
    assert replay_days(reference, moved, every=every).first in (1, 2, 3, 4)
