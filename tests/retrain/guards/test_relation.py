"""The share of the target that one variable explains, whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from retrain.data.variable import Variable, random_halves
from retrain.features.combinations import Combinations, _explained
from retrain.guards.relation import strength

Codes = npt.NDArray[np.int64]


def alternating(zeros: int, ones: int) -> Codes:
    """As many pairs as there are, and the rest at the end."""
    pairs = min(zeros, ones)
    rest = [0] * (zeros - pairs) + [1] * (ones - pairs)
    return np.array([0, 1] * pairs + rest)


def spread_evenly(zeros: int, ones: int) -> Codes:
    """The i-th of n rows of a class at (i + 1/2)/n, as rows without a time are ordered."""
    places = np.concatenate([(np.arange(zeros) + 0.5) / zeros, (np.arange(ones) + 0.5) / ones])
    return np.repeat([0, 1], [zeros, ones])[np.argsort(places, kind="stable")]


def in_blocks(zeros: int, ones: int) -> Codes:
    """All of one class, then all of the other."""
    return np.repeat([0, 1], [zeros, ones])


def by_hour(zeros: int, ones: int) -> Codes:
    """The class that even hours have, as often as it lasts."""
    return np.resize(np.array([0, 1]), zeros + ones)


def mixed(zeros: int, ones: int) -> Codes:
    """In no order."""
    return np.random.default_rng(3).permutation(np.repeat([0, 1], [zeros, ones]))


ORDERS = [alternating, spread_evenly, in_blocks, by_hour, mixed]
COUNTS = [(500, 501), (501, 500), (500, 500), (500, 503), (150, 151), (150, 150), (900, 100), (100, 901), (30, 31)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("zeros", "ones"), COUNTS)
def test_a_copy_of_the_target_explains_all_of_it_in_every_order(
    order: Callable[[int, int], Codes], zeros: int, ones: int
) -> None:
    """As a number and as a category; a column of chance explains nothing."""
    codes = order(zeros, ones)
    wanted = np.eye(2)[codes]
    number = Variable("paid", "paid", 10.0 * codes + 5.0)
    category = Variable("paid", "paid", codes.astype(np.float64), ("no", "yes"))
    chance = Variable("chance", "chance", np.random.default_rng(5).normal(size=len(codes)))
    assert strength(number, wanted) > 0.98
    assert strength(category, wanted) > 0.9
    assert strength(chance, wanted) < 0.25


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("zeros", "ones"), COUNTS[:-1])
def test_bins_explain_a_residual_in_every_order(order: Callable[[int, int], Codes], zeros: int, ones: int) -> None:
    """What looks for combinations of columns halves the rows too."""
    codes = order(zeros, ones)
    left = (codes - codes.mean()).astype(np.float64).reshape(-1, 1)
    assert _explained(codes + 0.001 * np.arange(len(codes)) / len(codes), left) > 0.4


@pytest.mark.parametrize(("zeros", "ones"), [(500, 501), (500, 503)])
def test_a_ratio_is_found_whatever_the_counts(zeros: int, ones: int) -> None:
    """`y = a/b > 1`, with rows whose classes alternate."""
    rng = np.random.default_rng(0)
    codes = spread_evenly(zeros, ones)
    b = rng.uniform(1, 10, len(codes))
    a = b * np.where(codes == 1, rng.uniform(1.05, 3, len(codes)), rng.uniform(0.3, 0.95, len(codes)))
    numbers = np.column_stack([a, b]).astype(np.float32)
    target = (codes - codes.mean()).astype(np.float64).reshape(-1, 1)
    held = Combinations().fit(numbers, encoded=numbers, target=target)
    assert {frozenset(pair) for pair in held.ratios_} == {frozenset((0, 1))}


def test_halves_are_dealt_by_chance_also_where_rows_were_mixed_before() -> None:
    """By a permutation with the number of rows as its seed, as encoders mix them."""
    rows = 1_001
    places = np.random.default_rng(rows).permutation(rows)
    share_of_odd = float((places[random_halves(rows)] % 2).mean())
    assert 0.4 < share_of_odd < 0.6


@pytest.mark.parametrize("rows", [2, 3, 10, 11, 1_000, 1_001])
def test_halves_are_equal_and_the_same_each_time(rows: int) -> None:
    """Equal to one row, and no multiple of a position."""
    second = random_halves(rows)
    assert abs(int(second.sum()) - int((~second).sum())) <= 1
    assert (second == random_halves(rows)).all()
