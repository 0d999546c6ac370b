"""The threshold that wrong answers' costs ask for: from the costs, or from rows where these prove another cheaper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from retrain.models.threshold import Costs, cheapest, choose_threshold, keep_threshold, mean_costs

Floats = npt.NDArray[np.float64]
TEN = Costs(1.0, 10.0)


def drawn(rows: int, seed: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Right probabilities of a rather rare class, and outcomes drawn by them."""
    generator = np.random.default_rng(seed)
    chances = generator.beta(0.5, 2.5, rows)
    return chances, generator.random(rows) < chances


def too_shy(chances: Floats) -> Floats:
    """A quarter of the odds that are right."""
    odds = chances / (1 - chances) / 4
    return np.asarray(odds / (1 + odds))


def test_the_costs_say_the_threshold_of_right_probabilities() -> None:
    """Below one in eleven it is cheaper to be wrong by saying no (Elkan 2001); rows seldom persuade of another."""
    assert TEN.threshold == pytest.approx(1 / 11)
    taken = [choose_threshold(TEN, *drawn(2_000, seed)) for seed in range(60)]
    assert sum(found.source == "rows" for found in taken) <= 7  # 3 are expected of a level of 5 %
    assert {found.threshold for found in taken if found.source == "costs"} == {TEN.threshold}


def test_rows_prove_another_threshold_where_probabilities_are_wrong() -> None:
    """It comes near the one that undoes the fault, and spares on other rows what it promised."""
    chances, is_ = drawn(20_000, 1)
    found = choose_threshold(TEN, too_shy(chances), is_)
    assert found.source == "rows"
    assert found.threshold == pytest.approx(1 / 41, abs=0.006)
    later, was = drawn(20_000, 2)
    theory, ours = mean_costs(TEN, too_shy(later), was, np.array([TEN.threshold, found.threshold]))
    assert found.gain is not None
    assert theory - ours == pytest.approx(found.gain, rel=0.3)
    assert "taken" in found.reasons[-1]


def test_mean_costs_are_those_of_each_threshold() -> None:
    """A row at the threshold is said yes to."""
    chances, is_ = drawn(500, 3)
    chances = chances.round(2)
    thresholds = np.array([0.0, 0.01, 0.1, 0.5, 0.99, 1.0])
    found = mean_costs(TEN, chances, is_, thresholds)
    for threshold, mean in zip(thresholds.tolist(), found.tolist(), strict=True):
        assert mean == pytest.approx(float(TEN.of(chances >= threshold, is_).mean()))


def test_the_cheapest_of_equals_is_the_nearest_to_the_costs_own() -> None:
    """Where everything is told apart, that one itself."""
    chances = np.array([0.01, 0.02, 0.9, 0.95])
    assert cheapest(TEN, chances, np.array([False, False, True, True])) == TEN.threshold


@pytest.mark.parametrize("is_", [np.zeros(50, dtype=bool), np.ones(50, dtype=bool)])
def test_rows_of_one_class_are_no_accident(is_: npt.NDArray[np.bool_]) -> None:
    found = choose_threshold(TEN, np.linspace(0.0, 1.0, 50), is_)
    assert 0 < found.threshold < 1


def test_a_recipe_that_is_kept_keeps_its_threshold() -> None:
    """While the costs are those that it was chosen for."""
    card = {"decision": {"threshold": 0.03, "false_positive_cost": 1.0, "false_negative_cost": 10.0}}
    assert (keep_threshold(TEN, card).threshold, keep_threshold(TEN, card).source) == (0.03, "champion")
    other = Costs(1.0, 4.0)
    assert (keep_threshold(other, card).threshold, keep_threshold(other, card).source) == (0.2, "costs")
    assert keep_threshold(TEN, {"decision": None}).threshold == keep_threshold(TEN, {}).threshold == TEN.threshold
    assert choose_threshold(TEN, None, np.zeros(0, dtype=bool)).threshold == TEN.threshold
