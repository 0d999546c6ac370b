"""What is learned about columns before a model sees them: which categories count, how they are ordered, what is usual.

Both encoders take `Arrays` as the decode step makes them and stand first in a scikit-learn pipeline. What they do is
simple enough to be written down exactly as ONNX nodes (`retrain.graph`): table lookups and arithmetic in double
precision. Categories seen in too few rows, and those never seen, share one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin

from service.schema import Arrays

Floats = npt.NDArray[np.float64]

# One table over (column, category) serves all columns of the ONNX graph; this bounds its cells.
TABLE_CELLS = 1_000_000
LEVELS = 2_000


def level_limit(columns: int) -> int:
    """How many categories of each column are told apart, so that the graph's table stays small."""
    return max(8, min(LEVELS, TABLE_CELLS // max(1, columns) ** 2))


class Levels(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Category columns to whole numbers: 0 … k−1 for the k categories told apart, k for all others."""

    def __init__(self, min_count: int = 10) -> None:
        self.min_count = min_count

    def fit(self, categories: npt.NDArray[np.object_], y: Any = None) -> Self:
        limit = level_limit(categories.shape[1])
        self.levels_ = [self._kept(categories[:, place], limit) for place in range(categories.shape[1])]
        return self

    def transform(self, categories: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        codes = np.empty(categories.shape, dtype=np.int64)
        for place, levels in enumerate(self.levels_):
            known = {level: code for code, level in enumerate(levels)}
            other = len(levels)
            codes[:, place] = [known.get(value, other) for value in categories[:, place].tolist()]
        return codes

    def _kept(self, column: npt.NDArray[np.object_], limit: int) -> list[str]:
        """The categories seen often enough, the commonest first and equally common ones by name."""
        counts: dict[str, int] = {}
        for value in column.tolist():
            counts[value] = counts.get(value, 0) + 1
        # A share would be too strict for small data, a count too lax for large: at most 1 in 100 rows is asked for.
        needed = max(1, min(self.min_count, len(column) // 100))
        kept = sorted((name for name, count in counts.items() if count >= needed), key=lambda n: (-counts[n], n))
        return kept[:limit]


class TreeEncoder(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Numbers as they are (missing stays NaN), then each category as its place in the order of its mean target.

    The order makes one cut of a tree able to part categories that behave alike. All other categories stand where
    their own mean puts them, or at the overall mean when training saw none of them.
    """

    def __init__(self, min_count: int = 10) -> None:
        self.min_count = min_count

    def fit(self, x: Arrays, y: npt.NDArray[Any]) -> Self:
        self.level_ = Levels(self.min_count).fit(x.categories)
        codes = self.level_.transform(x.categories)
        target = _ordering_target(y)
        self.places_ = [
            _places(codes[:, place], target, len(levels) + 1) for place, levels in enumerate(self.level_.levels_)
        ]
        return self

    def transform(self, x: Arrays) -> npt.NDArray[np.float32]:
        codes = self.level_.transform(x.categories)
        ordinals = np.empty(codes.shape, dtype=np.float32)
        for place, places in enumerate(self.places_):
            ordinals[:, place] = places[codes[:, place]]
        return np.concatenate([x.numbers, ordinals], axis=1)


class LinearEncoder(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Numbers standardised, with a mark where they are missing; categories one-hot, the common rest as zeros.

    Standardised numbers are cut at ±`clip`: beyond what training saw, a straight line is a guess.
    """

    def __init__(self, min_count: int = 10, clip: float = 6.0) -> None:
        self.min_count = min_count
        self.clip = clip

    def fit(self, x: Arrays, y: Any = None) -> Self:
        numbers = x.numbers.astype(np.float64)
        missing = np.isnan(numbers)
        self.marked_ = np.flatnonzero(missing.any(axis=0))
        self.usual_ = _medians(numbers, missing)
        filled = np.where(missing, self.usual_, numbers)
        self.mean_ = filled.mean(axis=0)
        scale = filled.std(axis=0)
        self.scale_ = np.where(scale > 0, scale, 1.0)
        self.level_ = Levels(self.min_count).fit(x.categories)
        return self

    def transform(self, x: Arrays) -> Floats | sparse.csr_array:
        numbers = x.numbers.astype(np.float64)
        missing = np.isnan(numbers)
        filled = np.where(missing, self.usual_, numbers)
        standard = np.clip((filled - self.mean_) / self.scale_, -self.clip, self.clip)
        dense = np.concatenate([standard, missing[:, self.marked_].astype(np.float64)], axis=1)
        if not self.level_.levels_:
            return np.asarray(dense, dtype=np.float64)
        return sparse.hstack([sparse.csr_array(dense), self._one_hot(x.categories)], format="csr")

    def _one_hot(self, categories: npt.NDArray[np.object_]) -> sparse.csr_array:
        codes = self.level_.transform(categories)
        sizes = [len(levels) for levels in self.level_.levels_]
        known = codes < np.array(sizes)
        columns = (codes + starts(sizes))[known]
        ends = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
        return sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(codes), sum(sizes)))


def starts(sizes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where each of consecutive runs of these sizes begins."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)


def _ordering_target(y: npt.NDArray[Any]) -> Floats:
    """The number whose mean orders categories: the target, the second of two classes, or the commonest of several."""
    if y.dtype.kind == "f":
        return y.astype(np.float64)
    counts = np.bincount(y)
    wanted = 1 if len(counts) == 2 else int(counts.argmax())
    return np.asarray(y == wanted, dtype=np.float64)


def _places(codes: npt.NDArray[np.int64], target: Floats, size: int) -> Floats:
    counts = np.bincount(codes, minlength=size)
    overall = target.mean()
    # Ten rows' worth of the overall mean keeps a category of few rows from the ends of the order.
    means = (np.bincount(codes, weights=target, minlength=size) + 10 * overall) / (counts + 10)
    places = np.empty(size)
    places[np.lexsort((np.arange(size), means))] = np.arange(size)
    return places


def _medians(numbers: Floats, missing: npt.NDArray[np.bool_]) -> Floats:
    """Each column's median of what is there; 0 for a column that is empty."""
    medians = np.zeros(numbers.shape[1])
    for place in np.flatnonzero(~missing.all(axis=0)):
        medians[place] = np.median(numbers[~missing[:, place], place])
    return medians
