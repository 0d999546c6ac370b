"""How bouts share alpha: never more than all of it in any window, and never next to nothing for a steady pace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.bouts.family import FIRST_SHARE, family_share, spent_alpha
from record.bouts.bout import Bout

START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = timedelta(days=90)
ALPHA = 0.05


def a_bout(number: int, opened_at: datetime, alpha: float, rank: int, challenger: str, champion: str = "v1") -> Bout:
    design = {"alpha": alpha, "family_rank": rank}
    return Bout(
        f"b{number}", number, "challenge", challenger, champion, number, design, "", opened_at, 0, "decided", None,
        None, 0, 0, None, None, None,
    )  # fmt: skip


def opened(days: list[float], challengers: list[int] | None = None) -> list[Bout]:
    bouts: list[Bout] = []
    for number, day in enumerate(days):
        at = START + timedelta(days=day)
        challenger = f"v{2 + (number if challengers is None else challengers[number])}"
        share = family_share(bouts, "v1", challenger, at, WINDOW, ALPHA)
        bouts.append(a_bout(number, at, share.alpha, share.rank, challenger))
    return bouts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 40), min_size=1, max_size=60), st.randoms())
def test_no_window_ever_spends_more_than_alpha(gaps: list[float], random: object) -> None:
    days = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    bouts = opened(days)
    for last in bouts:
        window = [b for b in bouts if last.opened_at - WINDOW < b.opened_at <= last.opened_at]
        assert sum(b.design["alpha"] for b in window) <= ALPHA * (1 + 1e-9)


def test_the_first_bout_has_more_than_half_of_alpha() -> None:
    assert [bout.design["alpha"] for bout in opened([0.0])] == [FIRST_SHARE * ALPHA]


def test_a_burst_of_bouts_on_one_day_leaves_something_for_each() -> None:
    assert max(1 / bout.design["alpha"] for bout in opened([0.0, 0.1, 0.2, 0.3, 0.4])) < 1500


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=80, max_size=80))
def test_weekly_retrains_need_no_more_than_six_hundred_at_any_time(hours_late: list[float]) -> None:
    bouts = opened([7.0 * week + late / 24 for week, late in enumerate(hours_late)])
    assert max(1 / bout.design["alpha"] for bout in bouts) <= 600
    assert sum(bout.design["alpha"] for bout in bouts[-13:]) > 0.9 * ALPHA


def test_a_retrain_every_day_is_not_starved() -> None:
    needed = [1 / bout.design["alpha"] for bout in opened([float(day) for day in range(400)])]
    assert max(needed) < 6000
    assert needed[-1] < 2000


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 4)), min_size=2, max_size=30))
def test_who_meets_the_same_champion_again_has_no_more_than_before(plan: list[tuple[float, int]]) -> None:
    days = [sum(gap for gap, _ in plan[: n + 1]) for n in range(len(plan))]
    bouts = opened(days, [who for _, who in plan])
    for n, bout in enumerate(bouts):
        before = [b.design["alpha"] for b in bouts[:n] if b.challenger == bout.challenger]
        assert bout.design["alpha"] <= min(before, default=1.0)


def test_another_champion_is_another_family() -> None:
    bouts = opened([0.0, 1.0, 2.0])
    share = family_share(bouts, "v9", "v12", START + timedelta(days=3), WINDOW, ALPHA)
    assert share.rank == 1


def test_a_bout_as_old_as_the_window_costs_nothing_and_one_a_moment_younger_does() -> None:
    bouts = opened([0.0])
    outside = family_share(bouts, "v1", "v9", START + WINDOW, WINDOW, ALPHA)
    assert (outside.rank, outside.alpha) == (1, FIRST_SHARE * ALPHA)
    inside = family_share(bouts, "v1", "v9", START + WINDOW - timedelta(microseconds=1), WINDOW, ALPHA)
    assert inside.rank == 2
    assert inside.alpha < FIRST_SHARE * ALPHA


def test_a_bout_to_come_as_late_as_the_window_has_the_first_ones_alpha_back() -> None:
    """At one bout a week of 13 the last comes as the first leaves: the twelve between share what the first left."""
    window = timedelta(weeks=13)
    share = spent_alpha([(START, FIRST_SHARE * ALPHA)], START + timedelta(weeks=1), window, ALPHA)
    assert share == pytest.approx((1 - FIRST_SHARE) * ALPHA / 12, rel=1e-12)
