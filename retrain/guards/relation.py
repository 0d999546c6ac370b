"""How much of the target one variable gives by itself.

The measure is the share of the target's variance that the variable explains out of sample: R² for a regression (of
the target's ranks, so that a few great values do not decide), and for classes the same over their indicators, which
is Goodman and Kruskal's tau. 0 is nothing, 1 all of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from retrain.data.dataset import Dataset
from retrain.data.variable import Floats, Variable, random_halves

# Enough to tell a share of .97 from one of .96, and quick: 20 variables take half a second.
MOST_ROWS = 20_000

# A variable's relation is drawn with so many steps: enough for any cut, too few to learn rows by heart.
_LEAVES = 32
_ROWS_PER_LEAF = 5
_MOST_CLASSES = 20  # the rarer ones count as one


def indicators(data: Dataset) -> Floats:
    """The target as columns [n, k]: an indicator for each class, or the ranks from 0 to 1."""
    if not data.classes:
        return np.asarray(rankdata(data.target) / len(data.target)).reshape(-1, 1)
    counts = np.bincount(data.target, minlength=data.classes)
    places = np.minimum(np.argsort(np.argsort(-counts, kind="stable"), kind="stable"), _MOST_CLASSES)
    codes = places[data.target]
    return np.asarray(np.eye(int(codes.max()) + 1)[codes], dtype=np.float64)


def strength(variable: Variable, wanted: Floats) -> float:
    """The share explained, each half of the rows (dealt by chance) by what the other half shows."""
    second = random_halves(len(wanted))
    left = total = 0.0
    for own in (~second, second):
        other = ~own
        left += _unexplained(variable.values[other], wanted[other], variable.values[own], wanted[own], variable.levels)
        total += float(((wanted[own] - wanted[other].mean(axis=0)) ** 2).sum())
    return 0.0 if total == 0 else max(0.0, 1.0 - left / total)


def carried_over(variable: Variable, wanted: Floats, before: npt.NDArray[np.bool_]) -> float:
    """The share explained in the other rows by what the rows `before` show."""
    then, now = before, ~before
    left = _unexplained(variable.values[then], wanted[then], variable.values[now], wanted[now], variable.levels)
    total = float(((wanted[now] - wanted[now].mean(axis=0)) ** 2).sum())
    return 0.0 if total == 0 else max(0.0, 1.0 - left / total)


def _unexplained(x: Floats, y: Floats, x_new: Floats, y_new: Floats, levels: tuple[str, ...] | None) -> float:
    """The sum of squared errors on new rows."""
    said = _by_level(x, y, x_new, len(levels)) if levels is not None else _by_cuts(x, y, x_new)
    return float(((y_new - said) ** 2).sum())


def _by_level(x: Floats, y: Floats, x_new: Floats, levels: int) -> Floats:
    """Each level's mean, drawn towards the mean of all as if by one further row."""
    places, places_new = (np.where(np.isnan(held), levels, held).astype(np.int64) for held in (x, x_new))
    counts = np.bincount(places, minlength=levels + 1).astype(np.float64).reshape(-1, 1)
    sums = np.column_stack([np.bincount(places, weights=column, minlength=levels + 1) for column in y.T])
    return np.asarray(((sums + y.mean(axis=0)) / (counts + 1.0))[places_new])


def _by_cuts(x: Floats, y: Floats, x_new: Floats) -> Floats:
    if np.isnan(x).all():
        return np.broadcast_to(y.mean(axis=0), (len(x_new), y.shape[1]))
    grown: dict[str, Any] = {"max_leaf_nodes": _LEAVES, "min_samples_leaf": _ROWS_PER_LEAF, "random_state": 0}
    if y.shape[1] == 1:
        said = DecisionTreeRegressor(**grown).fit(x.reshape(-1, 1), y[:, 0]).predict(x_new.reshape(-1, 1))
        return np.asarray(said).reshape(-1, 1)
    codes = y.argmax(axis=1)
    tree = DecisionTreeClassifier(**grown).fit(x.reshape(-1, 1), codes)
    said = np.zeros((len(x_new), y.shape[1]))
    said[:, tree.classes_] = tree.predict_proba(x_new.reshape(-1, 1))
    return said
