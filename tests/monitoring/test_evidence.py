"""The e-process and its interval: against closed forms, an independent library, and simulated nulls."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from ville import BettingCS, BettingTest
from ville.evalues import combine

from monitoring.evidence import BETS, confidence_sequence, e_values, labels_to_go, rate_e_values

differences = st.lists(st.floats(-1, 1), max_size=60)


def test_a_single_win_is_worth_the_mean_of_one_plus_the_bets() -> None:
    assert e_values([1.0]) == pytest.approx([float(np.mean(1 + BETS))], rel=1e-14)
    assert e_values([0.5], margin=0.25) == pytest.approx([float(np.mean(1 + BETS * 0.75 / 1.25))], rel=1e-14)


def test_the_bets_are_twenty_and_log_spaced_from_a_two_hundredth_to_nine_tenths() -> None:
    assert len(BETS) == 20
    assert (BETS[0], BETS[-1]) == (pytest.approx(0.005), pytest.approx(0.9))
    assert np.ptp(np.diff(np.log(BETS))) < 1e-12


@given(differences, st.floats(0, 2))
def test_the_value_is_the_mean_over_bets_of_the_products(seen: list[float], margin: float) -> None:
    expected = [
        math.fsum(math.prod(1 + bet * (d + margin) / (1 + margin) for d in seen[: n + 1]) for bet in BETS) / len(BETS)
        for n in range(len(seen))
    ]
    assert e_values(seen, margin) == pytest.approx(expected, rel=1e-9)


def test_another_library_multiplies_the_same_bets_to_the_same_value() -> None:
    """ville's plug-in bet is capped at 2λ on [0, 1], which is λ on [−1, 1]; at this alpha the cap always binds."""
    seen = np.random.default_rng(3).uniform(-0.8, 1.0, 150)
    single = [
        BettingTest(0.0, bounds=(-1.0, 1.0), alternative="greater", alpha=1e-300, c=float(bet)).fit(seen).e_values_
        for bet in BETS
    ]
    assert e_values(seen) == pytest.approx(combine(np.array(single), axis=0), rel=1e-9)


def test_the_interval_agrees_with_another_library_to_a_third_of_its_width() -> None:
    seen = np.random.default_rng(4).normal(0.02, 0.2, 3000).clip(-1, 1)
    ours = confidence_sequence(seen, 0.05)
    theirs = BettingCS(bounds=(-1.0, 1.0), alpha=0.05, intersect=False, grid=2_000).fit(seen)
    width = theirs.upper_[-1] - theirs.lower_[-1]
    assert ours.low == pytest.approx(theirs.lower_[-1], abs=width / 3)
    assert ours.high == pytest.approx(theirs.upper_[-1], abs=width / 3)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_the_interval_holds_its_mean_and_turns_with_the_sign(seen: list[float]) -> None:
    interval = confidence_sequence(seen, 0.05)
    mirrored = confidence_sequence([-d for d in seen], 0.05)
    assert -1 <= interval.low <= interval.mean <= interval.high <= 1
    assert [interval.low, interval.high] == pytest.approx([-mirrored.high, -mirrored.low])


@settings(max_examples=50)
@given(st.integers(1, 400), st.floats(-0.5, 0.5), st.floats(0, 0.2), st.integers(0, 2**32))
def test_the_interval_lies_above_minus_the_margin_exactly_where_the_evidence_at_half_alpha_has_crossed(
    n: int, shift: float, margin: float, seed: int
) -> None:
    seen = np.random.default_rng(seed).normal(shift, 0.3, n).clip(-1, 1)
    interval = confidence_sequence(seen, 0.1)
    if abs(interval.low + margin) > 1e-5:
        assert (interval.low > -margin) == (e_values(seen, margin)[-1] >= 1 / 0.05)


def test_each_end_of_the_interval_spends_half_of_alpha() -> None:
    """Evidence between 1/alpha and 2/alpha would refute one side at alpha, and refutes neither of the two together."""
    seen = np.tile([0.4, 0.4, -0.3, 0.1], 30)
    running = e_values(seen)
    between = seen[: int(np.argmax(running >= 1 / 0.05)) + 1]
    beyond = seen[: int(np.argmax(running >= 2 / 0.05)) + 1]
    assert 1 / 0.05 <= e_values(between)[-1] < 2 / 0.05
    assert confidence_sequence(between, 0.05).low < 0 < confidence_sequence(beyond, 0.05).low
    assert confidence_sequence(-beyond, 0.05).high < 0 < confidence_sequence(-between, 0.05).high


@pytest.mark.parametrize("difference", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("n", [30, 127, 128, 129, 1000])
def test_an_end_is_within_a_millionth_of_the_root_that_another_solver_finds(difference: float, n: int) -> None:
    """Of n equal differences the value is the mean over bets of (1 + λ g)^n; the end is never inside of the root."""
    needed = 2 / 0.05

    def log_surplus(g: float) -> float:
        powers = [n * math.log1p(bet * g) for bet in BETS]
        top = max(powers)
        return top + math.log(math.fsum(math.exp(each - top) for each in powers) / len(BETS)) - math.log(needed)

    g = brentq(log_surplus, 0.0, 1.0, xtol=1e-14)
    mean = (difference - g) / (1 + g if difference >= g else 1 - g)  # solves (difference − mean) / (1 + |mean|) = g
    ends = confidence_sequence([difference] * n, 0.05)
    mirrored = confidence_sequence([-difference] * n, 0.05)
    assert -1e-12 <= mean - ends.low <= 1e-6
    assert -1e-12 <= mirrored.high + mean <= 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_the_lower_end_itself_is_refuted_and_a_little_above_it_is_not(seed: int) -> None:
    seen = np.random.default_rng(seed).normal(-0.05, 0.4, 2000).clip(-1, 1)
    low = confidence_sequence(seen, 0.05).low
    assert low < -2e-6
    assert math.log(e_values(seen, -low)[-1]) >= math.log(2 / 0.05) - 1e-9
    assert e_values(seen, -low - 1e-6)[-1] < 2 / 0.05


def test_a_prefix_has_the_value_it_had_when_it_was_all_there_was() -> None:
    seen = np.random.default_rng(5).uniform(-1, 1, 500)
    running = e_values(seen)
    for n in (1, 2, 63, 64, 65, 499):
        assert e_values(seen[:n])[-1] == pytest.approx(running[n - 1], rel=1e-12)


def test_long_losing_and_winning_streaks_stay_finite_and_recover() -> None:
    lost_then_won = np.concatenate([np.full(50_000, -1.0), np.full(1_000_000, 1.0)])
    running = e_values(lost_then_won)
    assert np.isfinite(running).all()
    assert running[49_999] < 1e-100
    assert running[-1] > 1e300


@pytest.mark.parametrize("n", [127, 128, 129, 350, 5_000])
def test_streaks_longer_than_a_block_have_an_interval_and_an_estimate(n: int) -> None:
    """A thousand lost bets in one product are 1e-1000, which is zero, and a zero has no logarithm."""
    lost, won = np.full(n, -1.0), np.full(n, 1.0)
    for seen in (lost, won, np.concatenate([lost, won]), np.concatenate([won, lost])):
        interval = confidence_sequence(seen, 0.05)
        assert np.isfinite([interval.low, interval.mean, interval.high]).all()
        assert -1 <= interval.low <= interval.mean <= interval.high <= 1
    assert labels_to_go(lost, 0.0, 20) is None
    assert labels_to_go(won, 0.0, 20) == 0
    assert labels_to_go(np.concatenate([lost, won[:1]]), 0.0, 20) is None


def test_an_equal_model_is_crowned_no_more_often_than_alpha_though_looked_at_after_every_label() -> None:
    rng = np.random.default_rng(6)
    crowned = sum(e_values(rng.choice([-1.0, 0.0, 1.0], 2000, p=[0.1, 0.8, 0.1])).max() >= 20 for _ in range(300))
    assert crowned <= 300 * 0.065


def test_a_better_model_is_found() -> None:
    rng = np.random.default_rng(7)
    crowned = sum(e_values(rng.choice([-1.0, 0.0, 1.0], 6000, p=[0.04, 0.9, 0.06])).max() >= 20 for _ in range(60))
    assert crowned >= 54


@pytest.mark.parametrize("wrong", [[1.5], [-1.0000001], [float("nan")], [0.0, float("inf")], [[0.1], [0.2]]])
def test_what_is_no_difference_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="differences"):
        e_values(wrong)


def test_the_refusal_names_the_value_and_its_place() -> None:
    with pytest.raises(ValueError, match=r"differences\[2\] is 1\.25; expected a finite number within \[-1, 1\]"):
        e_values([0.0, 1.0, 1.25])


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be"):
        e_values([0.1], margin)


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_alpha_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must lie"):
        confidence_sequence([0.1], alpha)


def test_nothing_seen_is_no_evidence() -> None:
    assert e_values([]).shape == (0,)
    assert rate_e_values([], 0.05, "cleared").shape == (0,)
    assert confidence_sequence([], 0.05) == confidence_sequence(np.empty(0), 0.01)
    assert labels_to_go([], 0.0, 20) is None


def test_the_rate_s_bets_are_likelihood_ratios() -> None:
    """A bet λ against "at least r" is the ratio of the rate r(1 − λ) to r; against "at most r", of r + λ(1 − r)."""
    failures = [False, True, False, False]
    less, more = 0.05 * (1 - BETS), 0.05 + BETS * 0.95
    cleared = np.mean((less / 0.05) * ((1 - less) / 0.95) ** 3)
    failed = np.mean((more / 0.05) * ((1 - more) / 0.95) ** 3)
    assert rate_e_values(failures, 0.05, "cleared")[-1] == pytest.approx(float(cleared))
    assert rate_e_values(failures, 0.05, "failed")[-1] == pytest.approx(float(failed))


def test_a_healthy_rate_clears_and_a_sick_one_fails_within_hundreds() -> None:
    rng = np.random.default_rng(8)
    healthy, sick = rng.random(1000) < 0.01, rng.random(1000) < 0.1
    assert rate_e_values(healthy, 0.05, "cleared").max() >= 20
    assert rate_e_values(sick, 0.05, "failed").max() >= 20
    assert rate_e_values(healthy, 0.05, "failed").max() < 20
    assert int(np.argmax(rate_e_values(np.ones(10, bool), 0.05, "failed") >= 20)) == 1  # the second failure of two


def test_at_the_boundary_the_rate_is_cleared_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(9)
    cleared = sum(rate_e_values(rng.random(1500) < 0.05, 0.05, "cleared").max() >= 20 for _ in range(300))
    assert cleared <= 300 * 0.065


@pytest.mark.parametrize("rate", [0.0, 1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must lie"):
        rate_e_values([True], rate, "failed")


def test_failures_are_booleans() -> None:
    with pytest.raises(ValueError, match="booleans"):
        rate_e_values([0.5], 0.05, "failed")


def test_what_is_left_to_go_is_told_from_how_it_went() -> None:
    seen = np.tile([0.1, 0.1, -0.15, 0.05], 40)
    missing = labels_to_go(seen, 0.0, 20)
    assert missing is not None
    assert missing > 0
    crossed_after = int(np.argmax(e_values(np.tile(seen, 20)) >= 20)) + 1
    assert len(seen) + missing == pytest.approx(crossed_after, rel=0.35)
    assert labels_to_go(np.tile(seen, 20), 0.0, 20) == 0
    assert labels_to_go(-seen, 0.0, 20) is None


@pytest.mark.parametrize("n", [1, 50, 1000])
def test_a_challenger_that_answers_as_the_champion_has_no_estimate_without_a_margin(n: int) -> None:
    assert labels_to_go(np.zeros(n), 0.0, 20) is None
    assert labels_to_go(np.zeros(n), 0.1, 20) is not None


def test_fifty_thousand_pairs_are_judged_in_an_instant() -> None:
    """Measured .02 s and .1 s; the bound leaves room for a busy machine."""
    seen = np.random.default_rng(10).normal(0.005, 0.15, 50_000).clip(-1, 1)
    started = time.process_time()
    e_values(seen)
    confidence_sequence(seen, 0.05)
    assert time.process_time() - started < 1.0
