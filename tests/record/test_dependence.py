"""What neighbours share: no cost where they share nothing, and the right one where they share a day."""

from __future__ import annotations

import numpy as np
import pytest

from record.dependence import (
    DAY_MICROS,
    Blocks,
    day_effects,
    day_prior,
    design_effect,
    effective_days,
    find_cycle,
    long_run_variance,
    seasonal_day_effects,
    seasonal_effect,
    standard_error,
)

RUNS = 60


def in_days(rng: np.random.Generator, days: int, rows: int, sd: float, carry: float = 0.0) -> np.ndarray:
    """Rows of variance 1, day by day, with an effect of each day that carries over to the next."""
    effects = rng.normal(0, sd, days)
    for day in range(1, days):
        effects[day] = carry * effects[day - 1] + np.sqrt(1 - carry**2) * effects[day]
    return np.asarray(rng.normal(0, 1, days * rows) + np.repeat(effects, rows))


def by_day(values: np.ndarray, rows: int) -> Blocks:
    return Blocks.of(values, np.arange(len(values)) // rows)


def test_independent_rows_cost_next_to_nothing() -> None:
    rng = np.random.default_rng(1)
    found = [design_effect(by_day(in_days(rng, 48, 100, 0.0), 100)) for _ in range(RUNS)]
    assert np.mean(found) < 1.1
    assert min(found) == 1.0


@pytest.mark.parametrize(("sd", "expected"), [(0.1, 2.0), (0.2, 5.0)])
def test_days_that_differ_have_the_effect_that_their_variance_says(sd: float, expected: float) -> None:
    rng = np.random.default_rng(2)
    found = [design_effect(by_day(in_days(rng, 64, 100, sd), 100)) for _ in range(RUNS)]
    assert np.median(found) == pytest.approx(expected, rel=0.35)


def test_one_day_is_one_day_s_evidence_however_many_rows_it_has() -> None:
    rng = np.random.default_rng(11)
    one = day_effects(by_day(rng.normal(0, 1, 20_000), 20_000))
    assert one.divide(50.0) < 4 < 50 / one.mean * 10
    assert one.divide(-2.0) == -2.0


def test_days_of_different_sizes_have_the_effect_of_the_days_that_most_rows_are_in() -> None:
    """Quiet weekends take nothing from what busy days share; of equal days it is the size of each."""
    even, quiet = np.full(14, 100), np.array([134, 134, 134, 134, 134, 15, 15] * 2)
    effects = []
    for sizes in (even, quiet):
        days = Blocks.of(np.random.default_rng(13).normal(0, 1, sizes.sum()), np.repeat(np.arange(14), sizes))
        assert days.usual_rows == pytest.approx((sizes**2).sum() / sizes.sum())
        assert day_effects(days).effects[-1] == pytest.approx(1 + days.usual_rows / 60)
        effects.append(day_prior(days))
    assert effects[0] == pytest.approx(1.2)
    assert effects[1] > 1.25


def test_evidence_grows_with_evidence_and_is_never_more_than_that_of_independent_rows() -> None:
    rng = np.random.default_rng(12)
    for days in (1, 3, 10, 40):
        effects = day_effects(by_day(in_days(rng, days, 500, 0.05), 500))
        divided = [effects.divide(log) for log in np.linspace(0.1, 30, 60)]
        assert (np.diff(divided) > 0).all()
        assert (np.array(divided) <= np.linspace(0.1, 30, 60) + 1e-9).all()


@pytest.mark.parametrize("seasonal", [False, True])
def test_days_that_agree_cost_little_and_days_that_differ_much(seasonal: bool) -> None:
    rng = np.random.default_rng(13)
    numbers = np.arange(28)

    def left(sd: float) -> float:
        found = []
        for _ in range(RUNS):
            days = by_day(in_days(rng, 28, 1000, sd), 1000)
            found.append((seasonal_day_effects(days, numbers, 7) if seasonal else day_effects(days)).divide(6.0))
        return float(np.median(found))

    assert left(0.0) > 5
    assert left(0.1) < 2  # a hundredth of a row's variance is shared: an effect of eleven


def test_weather_of_several_days_shows_in_wider_blocks() -> None:
    rng = np.random.default_rng(3)
    quick = [design_effect(by_day(in_days(rng, 64, 100, 0.2), 100)) for _ in range(RUNS)]
    slow = [design_effect(by_day(in_days(rng, 64, 100, 0.2, carry=0.8), 100)) for _ in range(RUNS)]
    assert np.median(slow) > 1.4 * np.median(quick)


def test_a_step_is_not_taken_for_weather_where_neighbours_are_compared() -> None:
    rng = np.random.default_rng(4)
    stepped = rng.normal(0, 1, 6400) + np.repeat([0.0, 0.6], 3200)
    blocks = by_day(stepped, 100)
    assert design_effect(blocks) > 5
    assert design_effect(blocks, steps=True) < 1.6


def test_before_days_tell_many_rows_of_one_day_are_expected_to_share_it() -> None:
    rng = np.random.default_rng(5)
    few, many = by_day(rng.normal(0, 1, 50), 50), by_day(rng.normal(0, 1, 5000), 5000)
    assert day_prior(few) == pytest.approx(1.1)
    assert design_effect(many, prior=day_prior(many), prior_blocks=4) == pytest.approx(11.0)


def test_a_weekly_profile_is_no_weather() -> None:
    rng = np.random.default_rng(6)
    season = 0.5 * np.sin(2 * np.pi * np.arange(42) / 7)
    days = by_day(rng.normal(0, 1, 4200) + np.repeat(season, 100), 100)
    assert design_effect(days) > 5
    assert seasonal_effect(days, np.arange(42), 7) < 1.6


def test_the_long_run_variance_counts_a_shift_once_and_slow_weather_in_full() -> None:
    rng = np.random.default_rng(7)
    shifted = [rng.normal(0, 1, 128) + np.repeat([0.0, 3.0], 64) for _ in range(RUNS)]
    assert 1 <= np.median([long_run_variance(means).variance for means in shifted]) < 1.6
    assert np.median([long_run_variance(means, steps=False).variance for means in shifted]) > 10
    slow = np.zeros(512)
    for day in range(1, 512):
        slow[day] = 0.7 * slow[day - 1] + rng.normal(0, 1)
    single = 1 / (1 - 0.7**2)
    assert long_run_variance(slow).variance > 2.5 * single  # (1 + φ)/(1 − φ) is 5.7 for infinitely long batches


def test_the_error_of_a_mean_covers_it_where_days_carry_over() -> None:
    rng = np.random.default_rng(8)
    missed = naive = 0
    for _ in range(300):
        values = in_days(rng, 60, 50, 0.3, carry=0.5)
        error, freedom = standard_error(values, np.repeat(np.arange(60), 50))
        assert 1 <= freedom < 3000
        missed += abs(values.mean()) > 2.1 * error
        naive += abs(values.mean()) > 2.1 * values.std() / np.sqrt(len(values))
    assert missed / 300 < 0.14
    assert naive / 300 > 0.3


def test_rows_of_one_day_have_the_error_of_independent_ones() -> None:
    values = np.random.default_rng(9).normal(0, 1, 400)
    error, freedom = standard_error(values, np.zeros(400, np.int64))
    assert error == pytest.approx(values.std(ddof=1) / 20)
    assert freedom == 399


def test_days_that_carry_over_say_less() -> None:
    assert effective_days(30, 0.0) == 30
    assert effective_days(30, 0.5) == 10


def times(days: int, a_day: int) -> np.ndarray:
    return np.asarray(np.arange(days * a_day) * (DAY_MICROS // a_day), dtype=np.int64)


@pytest.mark.parametrize(("period", "name"), [(1, "day"), (7, "week"), (None, None)])
def test_a_cycle_is_found_where_there_is_one(period: int | None, name: str | None) -> None:
    rng = np.random.default_rng(10)
    micros = times(35, 200)
    values = rng.normal(0, 1, len(micros))
    if period is not None:
        values += 0.3 * np.sin(2 * np.pi * micros / (period * DAY_MICROS))
    assert find_cycle(micros, values) == name


def test_weather_is_no_cycle_and_two_days_are_too_few_to_see_one() -> None:
    rng = np.random.default_rng(11)
    found = [find_cycle(times(35, 200), in_days(rng, 35, 200, 0.3)) for _ in range(RUNS)]
    assert sum(cycle is not None for cycle in found) <= 1
    short = times(2, 500)
    assert find_cycle(short, np.sin(2 * np.pi * short / DAY_MICROS)) is None


def test_nothing_and_constants_have_no_effect() -> None:
    assert design_effect(Blocks.of(np.empty(0), np.empty(0, np.int64))) == 1.0
    assert design_effect(by_day(np.ones(100), 10)) == 1.0
    assert find_cycle(np.empty(0, np.int64), np.empty(0)) is None
