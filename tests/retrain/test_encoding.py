"""What encoders learn about columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from retrain.encoding import Levels, LinearEncoder, TreeEncoder, level_limit
from service.schema import Arrays


def column(values: list[str]) -> npt.NDArray[np.object_]:
    return np.array(values, dtype=object)[:, None]


def arrays(numbers: list[float], texts: list[str]) -> Arrays:
    return Arrays(np.array(numbers, dtype=np.float32)[:, None], column(texts))


def dense(encoded: Any) -> npt.NDArray[np.float64]:
    held: npt.NDArray[np.float64] = encoded.toarray()
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
    encoded = dense(LinearEncoder(min_count=1).fit(rows).transform(rows))
    usual = (2.0 - np.mean([1, 2, 9, 2])) / np.std([1, 2, 9, 2])
    np.testing.assert_allclose(encoded[3], np.array([float(usual), 1.0, 0.0, 1.0]))


def test_numbers_far_off_are_cut() -> None:
    """Beyond what training saw, a straight line is a guess."""
    rows = arrays([float(n) for n in range(100)], ["a"] * 100)
    far = dense(LinearEncoder(clip=6.0).fit(rows).transform(arrays([1e9], ["a"])))
    assert far[0, 0] == 6.0


def test_many_columns_bound_the_categories_told_apart() -> None:
    """So that the graph's one table stays small."""
    assert level_limit(5) == 2_000
    assert level_limit(100) == 100
    assert level_limit(5_000) == 8
