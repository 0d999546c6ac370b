"""What the target is on average in each category, told so that a model cannot learn a row's own target from it.

A category of few rows has a mean that is mostly those rows' own targets. A model fitted to it would take noise for
knowledge, so training rows are told a mean that was made without them (out of fold); rows to come are told the mean
of all training rows (Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes", 2001; with
cross-fitting as in scikit-learn's TargetEncoder).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from retrain.features.target_scale import TargetScale

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

# So many rows' worth of the overall mean are added to each category. Of 3, 10 and 30, the first did best where there
# are thousands of categories, for trees (which see the number of rows beside) and more so for lines; elsewhere all are
# alike (docs/decisions/0016).
SMOOTHING = 3
FOLDS = 5
# One column of means for each class, of the commonest so many: more widen every model and split its rows thinly.
MOST_CLASSES = 8


def target_columns(y: npt.NDArray[Any]) -> Floats:
    """[n, w]: what is averaged. The value itself, membership of the second of two classes, or of each of several."""
    if y.dtype.kind == "f":  # near zero, since trees see means in single precision
        values = y.astype(np.float64)
        return TargetScale.of(values).learn(values)[:, None]
    counts = np.bincount(y)
    if len(counts) <= 2:
        return np.asarray(y == 1, dtype=np.float64)[:, None]
    commonest = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
    return np.asarray(y[:, None] == commonest, dtype=np.float64)


def target_means(codes: Codes, size: int, target: Floats, smoothing: float = SMOOTHING) -> Floats:
    """[size, w]: each code's mean, drawn to the overall mean; a code of no row has that mean itself."""
    counts = np.bincount(codes, minlength=size)
    overall = target.mean(axis=0)
    sums = [np.bincount(codes, weights=column, minlength=size) for column in target.T]
    return np.asarray((np.stack(sums, axis=1) + smoothing * overall) / (counts + smoothing)[:, None])


def out_of_fold_means(codes: Codes, size: int, target: Floats) -> Floats:
    """[n, w]: for each row the mean of its code over the rows of other folds. The same rows give the same folds."""
    folds = fold_numbers(len(codes))
    means = np.empty(target.shape)
    for fold in range(FOLDS):
        own = folds == fold
        means[own] = target_means(codes[~own], size, target[~own])[codes[own]]
    return means


def log_odds(shares: Floats) -> Floats:
    """What a logistic regression adds up; shares are kept from 0 and 1, where it is infinite."""
    kept = np.clip(shares, 0.001, 0.999)
    return np.asarray(np.log(kept / (1.0 - kept)))


def ordering_target(y: npt.NDArray[Any]) -> Floats:
    """The number whose mean orders categories: the target, the second of two classes, or the commonest of several."""
    if y.dtype.kind == "f":
        return target_columns(y)[:, 0]
    counts = np.bincount(y)
    wanted = 1 if len(counts) == 2 else int(counts.argmax())
    return np.asarray(y == wanted, dtype=np.float64)


def order_of(codes: Codes, target: Floats, size: int) -> Floats:
    """For each code its place in the order of mean targets."""
    # Ten rows' worth of the overall mean keeps a category of few rows from the ends of the order.
    means = target_means(codes, size, target[:, None], smoothing=10)[:, 0]
    places = np.empty(size)
    places[np.lexsort((np.arange(size), means))] = np.arange(size)
    return places


def fold_numbers(rows: int) -> Codes:
    """Rows are dealt by chance: their order may repeat itself (classes are spread evenly), as a plain count would."""
    return np.random.default_rng(rows).permutation(rows) % FOLDS
