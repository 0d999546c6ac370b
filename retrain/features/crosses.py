"""Pairs of category columns as columns of their own, where together they say more than apart."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from retrain.features.target_means import Codes, Floats, out_of_fold_means

# Of 4, 8, 16 and 36, eight had most of the gain on the tasks that gained; each is three columns for a model to weigh.
MOST_CROSSES = 8
# Pairs are sought among the columns that say most by themselves, on so many rows: 66 pairs take .4 s.
MOST_COLUMNS = 12
MOST_ROWS = 20_000
# The share of the target's variance, out of fold, by which a pair has to beat both its columns and their sum.
LEAST_GAIN = 0.001
# Fewer kinds than this trees part by themselves: pairs of them cost more than they brought (telco, german credit).
FEWEST_KINDS = 31
# Pairs that are almost all different name rows, not kinds of rows.
MOST_DISTINCT = 0.9
# Levels over all pairs, which one lookup of the ONNX graph holds.
LEVELS = 100_000


class Crosses(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Codes of columns to codes of pairs of columns: 0 for a pair never seen, else 1 … k."""

    def fit(self, codes: Codes, y: Any = None, *, sizes: list[int], target: Floats) -> Self:
        """`sizes`: how many codes each column has; `target` [n, w]: what the pairs should tell."""
        self.pairs_ = _chosen(codes[:MOST_ROWS], sizes, target[:MOST_ROWS])
        self.widths_ = [sizes[second] for _, second in self.pairs_]
        self.spans_ = [sizes[first] * sizes[second] for first, second in self.pairs_]
        kept = [_commonest(keys, LEVELS // max(1, len(self.pairs_))) for keys in self._keys(codes)]
        self.known_ = [keys.astype(np.int64) for keys in kept]
        return self

    def transform(self, codes: Codes) -> Codes:
        held = np.zeros((len(codes), len(self.pairs_)), dtype=np.int64)
        for place, (keys, known) in enumerate(zip(self._keys(codes), self.known_, strict=True)):
            found = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            held[:, place] = np.where(known[found] == keys, found + 1, 0)
        return held

    @property
    def sizes(self) -> list[int]:
        return [len(known) + 1 for known in self.known_]

    def _keys(self, codes: Codes) -> list[Codes]:
        return [
            codes[:, first] * width + codes[:, second]
            for (first, second), width in zip(self.pairs_, self.widths_, strict=True)
        ]


def _chosen(codes: Codes, sizes: list[int], target: Floats) -> list[list[int]]:
    """The best pairs of columns, the best first; none where none is worth a column."""
    mean = target.mean(axis=0)
    spread = float(((target - mean) ** 2).sum())
    if spread == 0.0 or len(sizes) < 2:
        return []
    alone = [out_of_fold_means(codes[:, place], size, target) for place, size in enumerate(sizes)]
    losses = [float(((target - means) ** 2).sum()) for means in alone]
    columns = sorted(sorted(range(len(sizes)), key=lambda place: (losses[place], place))[:MOST_COLUMNS])
    gains: list[tuple[float, int, int]] = []
    for first, second in combinations(columns, 2):
        kinds, cross = np.unique(codes[:, first] * sizes[second] + codes[:, second], return_inverse=True)
        if not FEWEST_KINDS <= len(kinds) <= MOST_DISTINCT * len(codes):
            continue
        together = float(((target - out_of_fold_means(cross, len(kinds), target)) ** 2).sum())
        added = float(((target - (alone[first] + alone[second] - mean)) ** 2).sum())
        gain = (min(losses[first], losses[second], added) - together) / spread
        if gain > LEAST_GAIN:
            gains.append((-gain, first, second))
    return [[first, second] for _, first, second in sorted(gains)[:MOST_CROSSES]]


def _commonest(keys: Codes, limit: int) -> Codes:
    """The keys, sorted; where there are more than `limit`, the commonest."""
    known, counts = np.unique(keys, return_counts=True)
    if len(known) <= limit:
        return known
    return np.sort(known[np.argsort(-counts, kind="stable")[:limit]])
