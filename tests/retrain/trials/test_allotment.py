"""Who the next trials go to: families by what a further improvement costs there."""

from __future__ import annotations

from collections import Counter

import pytest

from retrain.models.configuration import Configuration, Family
from retrain.trials.allotment import LEAST_SHARE, drawn, shares
from retrain.trials.trial import TrialReport

FAMILIES: tuple[Family, ...] = ("lightgbm", "linear", "extra_trees")


def trials(*held: tuple[Family, float | None, float]) -> list[TrialReport]:
    return [
        TrialReport(number, Configuration(family, {}), loss, seconds)
        for number, (family, loss, seconds) in enumerate(held)
    ]


def test_who_improves_gets_most_and_who_is_far_behind_least() -> None:
    """A family that cannot catch up at its speed still has its small share."""
    known = trials(
        ("lightgbm", 0.50, 1.0), ("linear", 0.90, 1.0), ("extra_trees", 0.52, 1.0),
        ("lightgbm", 0.45, 1.0), ("linear", 0.90, 1.0), ("extra_trees", 0.47, 1.0),
        ("lightgbm", 0.40, 1.0), ("linear", 0.90, 1.0), ("extra_trees", 0.44, 1.0),
    )  # fmt: skip
    held = shares(known, FAMILIES, by_seconds=False)
    assert sum(held.values()) == pytest.approx(1.0)
    assert held["lightgbm"] > held["extra_trees"] > held["linear"] >= LEAST_SHARE


def test_a_family_that_stands_still_gives_way_to_one_that_moves() -> None:
    """Also where it is ahead: its next improvement is the dearer one."""
    stuck = [("lightgbm", 0.40, 1.0), *([("lightgbm", 0.41, 1.0)] * 12)]
    moving = [("extra_trees", 0.50 - 0.01 * step, 1.0) for step in range(9)]
    held = shares(trials(*stuck, *moving), ("lightgbm", "extra_trees"), by_seconds=False)
    assert held["extra_trees"] > held["lightgbm"]


def test_seconds_count_where_time_ends_the_search_only() -> None:
    """Else the machine would have a say in the result."""
    known = trials(*[(family, 0.5, seconds) for family, seconds in (("lightgbm", 1.0), ("extra_trees", 30.0))] * 3)
    by_seconds = shares(known, ("lightgbm", "extra_trees"), by_seconds=True)
    assert by_seconds["lightgbm"] > 0.9
    alike = shares(known, ("lightgbm", "extra_trees"), by_seconds=False)
    assert alike["lightgbm"] == alike["extra_trees"] == pytest.approx(0.5)


def test_nothing_known_is_not_nothing_worth() -> None:
    """Untried families are worth a look; those that only failed are not worth many."""
    assert shares([], FAMILIES, by_seconds=True) == {family: pytest.approx(1 / 3) for family in FAMILIES}
    held = shares(trials(*[("linear", None, 1.0)] * 5, ("lightgbm", 0.5, 1.0)), FAMILIES, by_seconds=False)
    assert held["extra_trees"] == held["lightgbm"] > 4 * held["linear"]


def test_draws_follow_the_shares_and_the_seed() -> None:
    held = shares([], FAMILIES, by_seconds=False) | {"linear": 0.0}
    counts = Counter(drawn(held, (7, number)) for number in range(2_000))
    assert counts["linear"] == 0
    assert 900 < counts["lightgbm"] < 1_100
    assert drawn(held, (7, 3)) == drawn(held, (7, 3))
