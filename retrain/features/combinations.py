"""Sums, differences and ratios of pairs of numbers, where they say what a model of the plain numbers misses.

A tree cuts one column at a time: a line aslant through two of them, as a ratio or a coast on a map, takes it many cuts.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingRegressor

from retrain.data.variable import random_halves

Floats = npt.NDArray[np.float64]

MOST_COMBINATIONS = 8
# Pairs are sought among the numbers that say most by themselves (ten: 45 sums, 45 differences, 90 ratios), on so many
# rows: .3 s.
MOST_NUMBERS = 10
MOST_ROWS = 10_000
# A number of few values is a category in disguise; what trees make of two such is enough.
FEWEST_VALUES = 9
# The share of what a quick model leaves unexplained that a combination has to explain, out of fold.
LEAST_GAIN = 0.001
BINS = 32
# Beyond what single precision holds, a combination counts as missing, as does a ratio to 0.
LARGEST = float(np.finfo(np.float32).max)


class Combinations(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Numbers [n, k] to chosen sums a·u + b·v (u, v: ± one over the standard deviation), then ratios a / b."""

    def fit(self, numbers: npt.NDArray[np.float32], y: Any = None, *, encoded: Any, target: Floats) -> Self:
        """`encoded`: what the model sees without combinations, whose residuals on `target` [n, w] are looked at."""
        values = numbers.astype(np.float64)
        rows = np.random.default_rng(len(values)).permutation(len(values))[:MOST_ROWS]
        scale = 1.0 / _deviations(values)
        sums, ratios = _chosen(values[rows], scale, np.asarray(encoded[rows]), target[rows])
        self.sums_ = np.array([[first, second] for first, second, _ in sums], dtype=np.int64).reshape(-1, 2)
        signs = np.array([[1.0, sign] for _, _, sign in sums]).reshape(-1, 2)
        self.weights_ = scale[self.sums_] * signs
        self.ratios_ = np.array(ratios, dtype=np.int64).reshape(-1, 2)
        return self

    def transform(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[n, c]: the sums, then the ratios."""
        values = numbers.astype(np.float64)
        first, second = self.sums_.T
        sums = _sum(values[:, first], values[:, second], self.weights_)
        above, below = self.ratios_.T
        return np.concatenate([sums, _ratio(values[:, above], values[:, below])], axis=1).astype(np.float32)

    @property
    def count(self) -> int:
        return len(self.sums_) + len(self.ratios_)


def _sum(first: Floats, second: Floats, weights: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return bounded(first * weights[:, 0] + second * weights[:, 1])


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return bounded(above / below)


def bounded(values: Floats) -> Floats:
    """What single precision does not hold is missing."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _deviations(values: Floats) -> Floats:
    """Each column's standard deviation over what is there; 1 where it has none."""
    held = np.ma.masked_invalid(values).std(axis=0).filled(0.0)
    return np.where((held > 0) & np.isfinite(held), held, 1.0)


def _chosen(
    values: Floats, scale: Floats, encoded: Any, target: Floats
) -> tuple[list[tuple[int, int, float]], list[tuple[int, int]]]:
    """Sums as (first, second, sign), and ratios as (above, below): the best of both, the best of each pair once."""
    left = _residuals(encoded, target)
    found: list[tuple[float, int, int, int]] = []  # −gain, kind (sign, or 0 for a ratio), first, second
    columns = _telling(values, target)
    for first, second in combinations(columns, 2):
        for sign in (-1, 1):
            weights = np.array([[scale[first], sign * scale[second]]])
            column = _sum(values[:, [first]], values[:, [second]], weights)[:, 0]
            found.append((-_explained(column, left), sign, first, second))
    for above, below in permutations(columns, 2):
        column = _ratio(values[:, above], values[:, below])
        found.append((-_explained(column, left), 0, above, below))
    kept: list[tuple[int, int, int]] = []
    for gain, kind, first, second in sorted(found):
        if -gain < LEAST_GAIN or len(kept) == MOST_COMBINATIONS:
            break
        if (kind, second, first) not in kept:  # the inverse of a ratio parts the rows as the ratio does
            kept.append((kind, first, second))
    sums = [(first, second, float(kind)) for kind, first, second in kept if kind]
    return sums, [(first, second) for kind, first, second in kept if not kind]


def _telling(values: Floats, target: Floats) -> list[int]:
    """The numbers with enough different values that say most about the target by themselves."""
    many = [place for place in range(values.shape[1]) if len(np.unique(values[:, place])) >= FEWEST_VALUES]
    if len(many) > MOST_NUMBERS:
        centred = target - target.mean(axis=0)
        many.sort(key=lambda place: (-_explained(values[:, place], centred), place))
    return sorted(many[:MOST_NUMBERS])


def _residuals(encoded: Any, target: Floats) -> Floats:
    """What a quick boosting leaves unexplained in rows that it was not fitted on."""
    second = random_halves(len(target))
    left = np.empty_like(target)
    for own in (~second, second):
        for place in range(target.shape[1]):
            model = HistGradientBoostingRegressor(
                max_iter=40, max_leaf_nodes=15, learning_rate=0.15, early_stopping=False, random_state=0
            )
            model.fit(encoded[~own], target[~own, place])
            left[own, place] = target[own, place] - model.predict(encoded[own])
    return left


def _explained(column: Floats, left: Floats) -> float:
    """The share of `left` [n, w] that the column's bins explain, each half by the other half's means."""
    total = float((left**2).sum())
    there = ~np.isnan(column)
    if total == 0.0 or not there.any():
        return -1.0
    edges = np.unique(np.quantile(column[there], np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.where(there, np.searchsorted(edges, column), len(edges) + 1)
    second = random_halves(len(column))
    rest, size = 0.0, len(edges) + 2
    for own in (~second, second):
        counts = np.bincount(bins[~own], minlength=size) + 5.0  # five rows' worth of nothing, against chance
        for place in range(left.shape[1]):
            means = np.bincount(bins[~own], weights=left[~own, place], minlength=size) / counts
            rest += float(((left[own, place] - means[bins[own]]) ** 2).sum())
    return 1.0 - rest / total
