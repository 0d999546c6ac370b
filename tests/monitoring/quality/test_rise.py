"""Evidence of a rise holds its level however often it is looked at, and finds a rise soon."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.quality.rise import DaySums, accumulate, between_days, days_json, days_of, merge, sum_days
from record.dependence import entity_effect

NEEDED = 20.0  # alpha = .05
DAYS = 120


def losses(rng: np.random.Generator, rows: int, days: int = DAYS, weather: float = 0.0) -> np.ndarray:
    """[days, rows] of mean 1/6, shifted by each day's weather, clipped at nothing."""
    return np.clip(rng.beta(1.2, 6, (days, rows)) + rng.normal(0, weather, (days, 1)), 0, 1)


def summed(values: np.ndarray, bound: float) -> dict[int, DaySums]:
    days = np.repeat(np.arange(len(values)), values.shape[1])
    return sum_days((values - bound).ravel(), days)


@pytest.mark.parametrize("weather", [0.0, 0.02])
def test_a_mean_at_its_bound_raises_an_alarm_in_at_most_a_share_alpha_of_lives(weather: float) -> None:
    """Looked at every day for 120 days, 200 lives; also where days differ more than their rows explain."""
    rng = np.random.default_rng(1)
    bound = float(np.mean([losses(rng, 200, 500, weather).mean() for _ in range(5)]))
    alarms = sum(accumulate(summed(losses(rng, 200, weather=weather), bound)).peak >= NEEDED for _ in range(200))
    assert alarms <= 0.05 * 200 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_taking_the_rows_of_a_day_for_independent_would_not_hold_it() -> None:
    """The harness can see the fault: with the weather's share left out, most lives alarm."""
    rng = np.random.default_rng(2)
    bound = float(np.mean([losses(rng, 200, 500, 0.02).mean() for _ in range(5)]))
    alarms = 0
    for _ in range(60):
        days = summed(losses(rng, 200, weather=0.02), bound)
        logs = np.cumsum([sums.logs for sums in days.values()], axis=0)
        alarms += np.exp(np.minimum(logs, 500)).mean(axis=1).max() >= NEEDED
    assert alarms > 30


def test_a_rise_late_in_a_life_is_found_within_days() -> None:
    """Sixty good days do not have to be made up for first."""
    rng = np.random.default_rng(3)
    values = losses(rng, 300)
    values[60:] += 0.03
    found = summed(values, 1 / 6 * 1.05)
    late = [day for day in range(60, DAYS) if accumulate({n: found[n] for n in range(day + 1)}).peak >= NEEDED]
    assert late
    assert late[0] - 60 <= 5
    assert accumulate({n: found[n] for n in range(60)}).peak < NEEDED


def test_the_evidence_is_the_same_from_its_record_in_parts() -> None:
    """A day that two checks share is one day."""
    rng = np.random.default_rng(4)
    values = losses(rng, 50, 10)
    whole = summed(values, 0.15)
    first = sum_days((values.ravel()[:275] - 0.15), np.repeat(np.arange(10), 50)[:275])
    second = sum_days((values.ravel()[275:] - 0.15), np.repeat(np.arange(10), 50)[275:])
    again = merge([days_of(days_json(first)), days_of(days_json(second))])
    assert accumulate(again).value == pytest.approx(accumulate(whole).value, rel=1e-6)
    assert accumulate(again).rows == 500


def test_the_variance_between_days_is_found_and_a_step_is_no_weather() -> None:
    rng = np.random.default_rng(5)
    calm, weather = losses(rng, 500), losses(rng, 500, weather=0.02)
    stepped = losses(rng, 500)
    stepped[60:] += 0.05
    assert between_days(summed(calm, 0.1)) == pytest.approx(0.0, abs=2e-5)
    # The largest over batches of days: above the single days' variance by chance, never far.
    assert 0.5 * 0.02**2 < (between_days(summed(weather, 0.1)) or 0.0) < 2 * 0.02**2
    assert (
        between_days(summed(stepped, 0.1)) or 0.0
    ) < 0.05**2 / 8  # batches that the step cuts in two have some of it


def test_nothing_seen_is_no_evidence() -> None:
    assert accumulate({}).value == 1.0
    assert between_days({}) is None
    with pytest.raises(ValueError, match="within"):
        sum_days(np.array([1.5]), np.array([0]))


def test_customers_that_ask_again_raise_no_more_alarms() -> None:
    """A sound model's 60 days of 20 requests of each customer; taken for independent, more than a third alarm."""
    rng = np.random.default_rng(11)
    alarms = naive = 0
    for _ in range(200):
        who = rng.permutation(np.repeat(np.arange(120), 20))
        days = np.sort(rng.integers(0, 60, len(who)))
        losses = rng.beta(1.0, 3.0, 120)[who]
        sums = sum_days(losses - 0.25, days)
        alarms += accumulate(sums, None, entity_effect(losses, None, who)).peak >= 40
        naive += accumulate(sums, None).peak >= 40
    assert alarms <= 0.025 * 200 + 3 * (200 * 0.025) ** 0.5
    assert naive > 0.2 * 200
