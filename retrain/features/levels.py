"""The categories that a model tells apart: text to whole numbers, one column at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

Codes = npt.NDArray[np.int64]

# One table over (column, category) serves all columns of the ONNX graph; this bounds its cells.
TABLE_CELLS = 1_000_000
LEVELS = 10_000


def level_limit(columns: int) -> int:
    """How many categories of each column are told apart, so that the graph's table stays small."""
    return max(8, min(LEVELS, TABLE_CELLS // max(1, columns) ** 2))


class Levels(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Category columns to whole numbers: 0 … k−1 for the k categories told apart, k for all others.

    Categories seen in fewer than `min_count` rows, and those never seen, share one place. A column with more than
    `whole_from` categories keeps them all, up to the limit: for codings that shrink what they learn from few rows.
    """

    def __init__(self, min_count: int = 10, whole_from: int | None = None) -> None:
        self.min_count = min_count
        self.whole_from = whole_from

    def fit(self, categories: npt.NDArray[np.object_], y: Any = None) -> Self:
        limit = level_limit(categories.shape[1])
        self.levels_ = [self._kept(categories[:, place], limit) for place in range(categories.shape[1])]
        return self

    def transform(self, categories: npt.NDArray[np.object_]) -> Codes:
        codes = np.empty(categories.shape, dtype=np.int64)
        for place, levels in enumerate(self.levels_):
            known = {level: code for code, level in enumerate(levels)}
            other = len(levels)
            codes[:, place] = [known.get(value, other) for value in categories[:, place].tolist()]
        return codes

    @property
    def sizes(self) -> list[int]:
        """How many codes each column has, the one for all other categories among them."""
        return [len(levels) + 1 for levels in self.levels_]

    def _kept(self, column: npt.NDArray[np.object_], limit: int) -> list[str]:
        """The categories seen often enough, the commonest first and equally common ones by name."""
        counts = Counter(column.tolist())
        # A share would be too strict for small data, a count too lax for large: at most 1 in 100 rows is asked for.
        needed = max(1, min(self.min_count, len(column) // 100))
        if self.whole_from is not None and len(counts) > self.whole_from:
            needed = 1
        kept = sorted((name for name, count in counts.items() if count >= needed), key=lambda n: (-counts[n], n))
        return kept[:limit]


def starts(sizes: Sequence[int]) -> Codes:
    """Where each of consecutive runs of these sizes begins."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
