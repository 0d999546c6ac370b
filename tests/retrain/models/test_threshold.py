"""The threshold that wrong answers' costs ask for: from the costs, or from rows where these prove another cheaper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm, sem

from retrain.models.threshold import SURE, Costs, cheapest, choose_threshold, keep_threshold, mean_costs

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


def test_seldom_does_chance_alone_take_another_threshold() -> None:
    """Where the costs' own threshold is the best there is, about 5 of 100 data sets take another.

    The share's upper limit is the 99.9 % quantile of such a count.
    """
    taken = [choose_threshold(TEN, *drawn(400, 1_000 + seed)).source == "rows" for seed in range(300)]
    assert sum(taken) <= binom.ppf(0.999, 300, 0.05)


def test_what_a_gain_must_be_worth_is_the_one_sided_quantile() -> None:
    """One-sided, at 5 of 100: the number itself, from an independent source."""
    assert pytest.approx(norm.ppf(0.95), abs=5e-4) == SURE


def test_a_gain_counts_from_that_many_standard_errors_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision follows its own numbers: more is taken, and less is not."""
    chances, is_ = drawn(2_000, 1)
    found = choose_threshold(TEN, too_shy(chances), is_)
    assert found.gain is not None
    assert found.error is not None
    ratio = found.gain / found.error
    for limit, source in ((ratio * 1.001, "costs"), (ratio * 0.999, "rows")):
        monkeypatch.setattr("retrain.models.threshold.SURE", limit)
        again = choose_threshold(TEN, too_shy(chances), is_)
        assert (again.source, again.best) == (source, found.best)
        assert again.threshold == (TEN.threshold if source == "costs" else found.best)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_judge_by_leave_the_costs_own(rows: int) -> None:
    """With one row there is no standard error, and none is said."""
    found = choose_threshold(TEN, np.full(rows, 0.3), np.ones(rows, dtype=bool))
    assert (found.threshold, found.source, found.gain, found.error) == (TEN.threshold, "costs", None, None)
    assert found.reasons[-1] == "no rows to prove another one on"


def test_two_rows_are_judged_by_each_other() -> None:
    found = choose_threshold(TEN, np.array([0.05, 0.3]), np.array([True, False]))
    assert found.error is not None
    assert np.isfinite([found.threshold, found.gain, found.error]).all()


@pytest.mark.parametrize("crowded", [True, False])
def test_the_answers_to_either_class_are_weighed(crowded: bool) -> None:
    """One class's answers crowd between two quantiles of the other's: the best threshold stands among the crowd."""
    wide, crowd = np.linspace(0.1, 0.9, 1_000), np.linspace(0.505, 0.506, 1_000)
    chances, is_ = np.concatenate([wide, crowd]), np.repeat([not crowded, crowded], 1_000)
    costs = Costs(1.0, 3.0) if crowded else Costs(3.0, 1.0)
    found = cheapest(costs, chances, is_)
    best = crowd[0] if crowded else crowd[-1]
    assert found == pytest.approx(best, rel=1e-4)


def test_a_gain_is_that_of_a_threshold_chosen_on_other_rows() -> None:
    """Each half is judged by what the other would choose: worked out here again, half by half."""
    chances, is_ = drawn(3_000, 11)
    chances = too_shy(chances)
    first, second = slice(1_500), slice(1_500, None)
    spared = []
    for chosen, judged in ((first, second), (second, first)):
        taken = cheapest(TEN, chances[chosen], is_[chosen])
        at = [TEN.of(chances[judged] >= threshold, is_[judged]) for threshold in (TEN.threshold, taken)]
        spared.append(at[0] - at[1])
    found = choose_threshold(TEN, chances, is_)
    assert found.gain == pytest.approx(np.concatenate(spared).mean())
    assert found.error == pytest.approx(sem(np.concatenate(spared)))
