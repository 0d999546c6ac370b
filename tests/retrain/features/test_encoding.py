"""What encoders learn about columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from record.contract.arrays import Arrays
from retrain.features.encoding import LinearEncoder, TreeEncoder
from retrain.features.levels import Levels, level_limit


def column(values: list[str]) -> npt.NDArray[np.object_]:
    return np.array(values, dtype=object)[:, None]


def arrays(numbers: list[float], texts: list[str]) -> Arrays:
    return Arrays(np.array(numbers, dtype=np.float32)[:, None], column(texts))


def dense(encoded: Any) -> npt.NDArray[np.float64]:
    held: npt.NDArray[np.float64] = encoded.toarray() if sparse.issparse(encoded) else encoded
    return held


def test_rare_and_unknown_categories_share_a_place() -> None:
    """What training saw too seldom tells no more than what it never saw."""
    levels = Levels(min_count=3).fit(column(["a"] * 600 + ["b"] * 400 + ["c"] * 2))
    assert levels.levels_ == [["a", "b"]]
    assert levels.transform(column(["b", "c", "never seen"])).ravel().tolist() == [1, 2, 2]


def test_trees_see_categories_in_the_order_of_their_targets() -> None:
    """One cut parts the categories that behave alike."""
    texts = ["low"] * 50 + ["high"] * 50 + ["middle"] * 50
    y = np.array([0.0] * 50 + [9.0] * 50 + [5.0] * 50)
    encoder = TreeEncoder(min_count=3).fit(arrays([1.0] * 150, texts), y)
    seen = encoder.transform(arrays([1.0] * 3, ["low", "middle", "high"]))[:, 1]
    assert seen[0] < seen[1] < seen[2]


def test_numbers_reach_trees_as_they_are() -> None:
    """Scaling before trees loses rows at thresholds, to single precision."""
    rows = arrays([0.1, float("nan"), 3e38], ["a", "a", "a"])
    encoded = TreeEncoder().fit(rows, np.array([0.0, 1.0, 2.0])).transform(rows)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded[:, 0], rows.numbers[:, 0])


def test_linear_models_see_that_a_number_is_missing() -> None:
    """And the median in its place."""
    rows = arrays([1.0, 2.0, 9.0, float("nan")], ["a", "a", "b", "b"])
    encoded = dense(LinearEncoder(min_count=1).fit(rows, np.zeros(4)).transform(rows))
    usual = (2.0 - np.mean([1, 2, 9, 2])) / np.std([1, 2, 9, 2])
    np.testing.assert_allclose(encoded[3], np.array([float(usual), 1.0, 0.0, 1.0]))


def test_numbers_far_off_are_cut() -> None:
    """Beyond what training saw, a straight line is a guess."""
    rows = arrays([float(n) for n in range(100)], ["a"] * 100)
    far = dense(LinearEncoder(clip=6.0).fit(rows, np.zeros(100)).transform(arrays([1e9], ["a"])))
    assert far[0, 0] == 6.0


def test_many_columns_bound_the_categories_told_apart() -> None:
    """So that the graph's one table stays small."""
    assert level_limit(5) == 10_000
    assert level_limit(100) == 100
    assert level_limit(5_000) == 8


def test_columns_of_many_categories_become_means_that_a_row_has_no_part_in() -> None:
    """On noise, the means that training rows are told say nothing about their targets; those of the whole would."""
    generator = np.random.default_rng(0)
    texts = [f"c{code}" for code in generator.integers(0, 400, 2_000)]
    y = generator.integers(0, 2, 2_000)
    rows = Arrays(np.empty((2_000, 0), dtype=np.float32), column(texts))
    encoder = TreeEncoder(categories="target")
    told = encoder.fit_transform(rows, y)[:, 0]
    assert abs(np.corrcoef(told, y)[0, 1]) < 0.1
    assert np.corrcoef(encoder.transform(rows)[:, 0], y)[0, 1] > 0.3


def test_means_and_counts_of_categories() -> None:
    """Three rows' worth of the overall mean draw each category's; one never seen has that mean, and no rows."""
    texts = ["a"] * 100 + [f"c{number}" for number in range(100)]
    y = np.array([1.0] * 100 + [0.0] * 100)
    rows = Arrays(np.empty((200, 0), dtype=np.float32), column(texts))
    encoder = TreeEncoder(categories="target").fit(rows, y)
    seen = encoder.transform(Arrays(np.empty((3, 0), dtype=np.float32), column(["a", "c7", "never seen"])))
    np.testing.assert_allclose(seen, [[101.5 / 103, 100], [1.5 / 4, 1], [0.5, 0]], rtol=1e-6)


def test_each_of_several_classes_has_its_means() -> None:
    """In the order of the classes; of very many, the commonest eight."""
    y = np.repeat(np.arange(12), np.arange(20, 8, -1))
    texts = [f"c{code}x{row % 4}" for row, code in enumerate(y)]
    rows = Arrays(np.empty((len(y), 0), dtype=np.float32), column(texts))
    told = TreeEncoder(categories="target").fit(rows, y).transform(rows)
    assert told.shape == (len(y), 9)
    assert told[y == 3, 3].min() > told[y != 3, 3].max()


def test_columns_of_few_categories_keep_their_order() -> None:
    """For trees it says what means say, in one column."""
    rows = arrays([1.0] * 90, ["low", "high", "middle"] * 30)
    y = np.array([0.0, 9.0, 5.0] * 30)
    ordered, target = (TreeEncoder(categories=coding).fit_transform(rows, y) for coding in ("ordered", "target"))
    np.testing.assert_array_equal(ordered, target)


def test_a_pair_that_says_more_than_its_columns_is_told() -> None:
    """A target that is the parity of two columns, which neither tells alone."""
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 6, (3_000, 3))
    texts = np.array([[f"c{code}" for code in row] for row in codes], dtype=object)
    y = (codes[:, 0] + codes[:, 1]) % 2
    encoder = TreeEncoder(categories="crossed").fit(Arrays(np.empty((3_000, 0), dtype=np.float32), texts), y)
    assert encoder.crosses_ is not None
    assert encoder.crosses_.pairs_[0] == [0, 1]


def test_a_pair_of_few_kinds_is_left_to_the_trees() -> None:
    """Two cuts part four kinds."""
    codes = np.random.default_rng(0).integers(0, 2, (1_000, 2))
    texts = np.array([[f"c{code}" for code in row] for row in codes], dtype=object)
    rows = Arrays(np.empty((1_000, 0), dtype=np.float32), texts)
    encoder = TreeEncoder(categories="crossed").fit(rows, codes.sum(axis=1) % 2)
    assert encoder.crosses_ is not None
    assert encoder.crosses_.pairs_ == []


def test_pairs_that_say_nothing_are_left_out() -> None:
    """What two columns say by themselves, added up, needs no pair."""
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 8, (3_000, 2))
    texts = np.array([[f"c{code}" for code in row] for row in codes], dtype=object)
    y = codes.sum(axis=1) + generator.normal(size=3_000)
    encoder = TreeEncoder(categories="crossed").fit(Arrays(np.empty((3_000, 0), dtype=np.float32), texts), y)
    assert encoder.crosses_ is not None
    assert encoder.crosses_.pairs_ == []


def test_a_ratio_that_the_target_follows_is_made() -> None:
    """And where its divisor is 0, or it is beyond single precision, it is missing."""
    generator = np.random.default_rng(0)
    numbers = generator.uniform(1, 100, (3_000, 3)).astype(np.float32)
    y = (numbers[:, 0] / numbers[:, 1] > 0.4).astype(np.int64)
    nothing = np.empty((3_000, 0), dtype=object)
    encoder = TreeEncoder(numbers="combined").fit(Arrays(numbers, nothing), y)
    assert encoder.combinations_ is not None
    assert {0, 1} in [set(pair) for pair in encoder.combinations_.ratios_.tolist()]
    odd = np.array([[3e38, 1e-30, 1], [1, 0, 1], [0, 1, 1], [np.nan, 1, 1]], dtype=np.float32)
    place = 3 + len(encoder.combinations_.sums_) + encoder.combinations_.ratios_.tolist().index([0, 1])
    made = encoder.transform(Arrays(odd, np.empty((4, 0), dtype=object)))[:, place]
    np.testing.assert_array_equal(made, np.array([np.nan, np.nan, 0.0, np.nan], dtype=np.float32))


def test_numbers_that_say_all_by_themselves_are_not_combined() -> None:
    """Each combination is one more column to be misled by."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(3_000, 3)).astype(np.float32)
    y = (numbers[:, 0] > 0).astype(np.int64)
    encoder = TreeEncoder(numbers="combined").fit(Arrays(numbers, np.empty((3_000, 0), dtype=object)), y)
    assert encoder.combinations_ is not None
    assert encoder.combinations_.count == 0


def test_ramps_bend_a_line() -> None:
    """Each climbs from one quantile to the next, 0 below and 1 beyond; a missing number is the usual one."""
    rows = arrays([float(n) for n in range(161)], [])
    rows = Arrays(rows.numbers, np.empty((161, 0), dtype=object))
    encoder = LinearEncoder(numbers="ramps").fit(rows, np.zeros(161))
    odd = np.array([-1e30, 5.0, 25.0, 1e30, np.nan], dtype=np.float32)[:, None]
    made = encoder.transform(Arrays(odd, np.empty((5, 0), dtype=object)))
    assert made.shape == (5, 16)
    np.testing.assert_allclose(made.sum(axis=1), [0.0, 0.5, 2.5, 16.0, 8.0])
    np.testing.assert_allclose(made[2, :4], [1.0, 1.0, 0.5, 0.0])


def test_a_number_of_few_values_has_few_ramps() -> None:
    """One less than it has values: each value its own place on the line."""
    rows = Arrays(
        np.array([[1.0, 5.0], [2.0, 5.0], [9.0, 5.0]] * 20, dtype=np.float32), np.empty((60, 0), dtype=object)
    )
    made = LinearEncoder(numbers="ramps").fit_transform(rows, np.zeros(60))
    np.testing.assert_array_equal(made[:3], [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])


def test_lines_see_many_categories_as_log_odds() -> None:
    """One column in place of a hundred, with mean 0 and variance 1 over the rows fitted on; few stay one-hot."""
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 100, 4_000)
    texts = np.array([[f"c{code}", f"f{code % 3}"] for code in codes], dtype=object)
    y = (generator.random(4_000) < codes / 100).astype(np.int64)
    encoder = LinearEncoder(categories="target")
    told = dense(encoder.fit_transform(Arrays(np.empty((4_000, 0), dtype=np.float32), texts), y))
    assert told.shape == (4_000, 1 + 3)
    np.testing.assert_allclose([told[:, 0].mean(), told[:, 0].std()], [0.0, 1.0], atol=1e-9)
    assert np.corrcoef(told[:, 0], codes)[0, 1] > 0.9


@pytest.mark.parametrize("kinds", [20, 400])
def test_rows_are_dense_while_they_are_narrow(kinds: int) -> None:
    """Whichever way they are held, they are the same."""
    texts = [f"c{number % kinds}" for number in range(2_000)]
    rows = arrays([float(number) for number in range(2_000)], texts)
    encoded = LinearEncoder(min_count=1).fit_transform(rows, np.zeros(2_000))
    assert sparse.issparse(encoded) == (kinds == 400)
    np.testing.assert_array_equal(dense(encoded)[:, 1:].sum(axis=1), np.ones(2_000))
    assert dense(encoded).shape == (2_000, 1 + kinds)
