"""Whether a model can tell the window's requests from the reference's rows: drift of how columns go together.

A boosted forest is trained to tell them apart and judged on rows that it has not seen, by the area under its ROC
curve: .5 where nothing can be told. Folds are blocks of time, since neighbouring requests resemble each other: a
model that saw one would know its neighbour. Whether the area is more than chance is read from the blocks as well:
each is one observation, however many rows it has (DeLong's variance over clusters, Obuchowski 1997).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from scipy.stats import t as student
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from monitoring.windows import Texts, Window
from record.contract.category_counts import count_categories

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

ROWS = 10_000  # of each side: the area's standard error is then .004, and a fit takes half a second
FEWEST_ROWS = 200
FOLDS = 5
BLOCKS = 25  # of time, on each side: five in each fold
EFFECT = 0.55  # areas below are harmless: a shift of .18 standard deviations in one column
LEVEL = 0.999  # one-sided; with daily decisions one false alarm in three years
NAMED = 5
TRIED_FEATURES = 60  # whose importance is worked out, those that the forest looks at most
_LEAST_FALL = 0.002  # of the area, below which a feature drives nothing
_CATEGORIES = 200

# A column that goes on with time, as a date or a counter does, tells any window from any reference.
_PASSING_RANKS = 0.95


@dataclass(frozen=True, slots=True)
class DomainReport:
    """`drivers` are the features whose mixing costs most of the area, and how much; none where nothing is told."""

    auc: float
    threshold: float  # what chance and what is harmless reach
    standard_error: float
    rows: int  # of each side
    drivers: dict[str, float] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()  # columns that pass by with time

    @property
    def drifted(self) -> bool:
        return self.auc > self.threshold

    def facts(self) -> dict[str, Any]:
        """The report as an event keeps it."""
        return {
            "auc": round(self.auc, 4),
            "threshold": round(self.threshold, 4),
            "standard_error": round(self.standard_error, 4),
            "rows": self.rows,
            "drifted": self.drifted,
            "drivers": {name: round(fall, 4) for name, fall in self.drivers.items()},
            "excluded": list(self.excluded),
        }


def tell_apart(reference: Window, current: Window, features: Collection[str], seed: int = 0) -> DomainReport | None:
    """How well the two can be told apart by these columns; None where one has fewer than FEWEST_ROWS rows, or no
    column is left.

    Takes 5 s for 20 columns of 10,000 rows on one core, 30 s for 200.
    """
    count = min(ROWS, len(reference), len(current))
    names, excluded = _columns(reference, current, features)
    if count < FEWEST_ROWS or not names:
        return None
    rows = np.vstack([_matrix(reference, current, side, names, count) for side in (0, 1)])
    is_current = np.repeat([0, 1], count)
    blocks = np.tile(np.arange(count) * BLOCKS // count, 2)
    # On one thread: forests this small gain nothing by two, and lose a second each where the other core is busy.
    with threadpool_limits(1, "openmp"):
        folds = _Folds(rows, is_current, blocks % FOLDS, seed)
        auc, error = clustered_auc(folds.scores, is_current, blocks, folds.of_row)
        threshold = max(EFFECT, 0.5 + float(student.ppf(LEVEL, BLOCKS - FOLDS)) * error)
        drivers = folds.drivers(names, auc) if auc > threshold else {}
    return DomainReport(auc, threshold, error, count, drivers, excluded)


def clustered_auc(scores: Floats, is_current: Places, blocks: Places, folds: Places) -> tuple[float, float]:
    """The area within folds, averaged, and its standard error, where blocks of rows are the observations."""
    areas: list[float] = []
    own: list[list[Floats]] = [[], []]
    whose: list[list[Places]] = [[], []]
    for fold in np.unique(folds):
        here = folds == fold
        old, new = (scores[here & (is_current == side)] for side in (0, 1))
        ranks = rankdata(np.concatenate([old, new]))
        losses = 1 - (ranks[: len(old)] - rankdata(old)) / len(new)  # of each old row to the new ones; ties half
        wins = (ranks[len(old) :] - rankdata(new)) / len(old)
        areas.append(float(wins.mean()))
        for side, shares in enumerate((losses, wins)):
            own[side].append(shares - shares.mean())
            whose[side].append(blocks[here & (is_current == side)])
    variance = sum(_variance_of_mean(np.concatenate(own[side]), np.concatenate(whose[side])) for side in (0, 1))
    return float(np.mean(areas)), float(np.sqrt(variance))


def _variance_of_mean(values: Floats, blocks: Places) -> float:
    """Of a mean over rows that come in clusters; one degree of freedom went to each fold's mean."""
    sums = np.bincount(blocks, weights=values)
    count = len(sums)
    return float((sums**2).sum() / len(values) ** 2 * count / max(1, count - FOLDS))


class _Folds:
    """A forest for each fold, fitted on the others."""

    def __init__(self, rows: Floats, is_current: Places, of_row: Places, seed: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self._rows, self._is_current, self._seed = rows, is_current, seed
        self.of_row = of_row
        self.scores = np.empty(len(rows))
        self._forests = []
        for fold in range(FOLDS):
            forest = HistGradientBoostingClassifier(
                max_iter=60, max_leaf_nodes=15, min_samples_leaf=40, learning_rate=0.1, l2_regularization=1.0,
                max_bins=64, early_stopping=False, random_state=seed,
            )  # fmt: skip
            inside = of_row != fold
            forest.fit(rows[inside], is_current[inside])
            self.scores[~inside] = forest.decision_function(rows[~inside])
            self._forests.append(forest)

    def drivers(self, names: list[str], auc: float) -> dict[str, float]:
        """The features by how much the area falls when one is mixed among the rows of its fold."""
        rng = np.random.default_rng(self._seed)
        falls: dict[str, float] = {}
        for place in self._looked_at(len(names)):
            areas = []
            for fold, forest in enumerate(self._forests):
                here = np.flatnonzero(self.of_row == fold)
                mixed = self._rows[here].copy()
                mixed[:, place] = rng.permutation(mixed[:, place])
                areas.append(_area(forest.decision_function(mixed), self._is_current[here]))
            falls[names[place]] = auc - float(np.mean(areas))
        ranked = sorted(falls.items(), key=lambda item: -item[1])
        return {name: fall for name, fall in ranked[:NAMED] if fall >= _LEAST_FALL}

    def _looked_at(self, width: int) -> list[int]:
        """Columns by the gain of their splits, over all trees."""
        gains = np.zeros(width)
        for forest in self._forests:
            for (tree,) in forest._predictors:
                nodes = tree.nodes[tree.nodes["is_leaf"] == 0]
                np.add.at(gains, nodes["feature_idx"], nodes["gain"])
        order = np.argsort(-gains, kind="stable")[:TRIED_FEATURES]
        return [int(place) for place in order if gains[place] > 0]


def _area(scores: Floats, is_current: Places) -> float:
    ranks = rankdata(scores)
    new = is_current == 1
    return float((ranks[new].mean() - (new.sum() + 1) / 2) / (~new).sum())


def _columns(reference: Window, current: Window, features: Collection[str]) -> tuple[list[str], tuple[str, ...]]:
    """The features that both have, and those among them that pass by."""
    numbers = [name for name in reference.numbers if name in current.numbers and name in features]
    passing = tuple(name for name in numbers if _passes(reference.numbers[name]) or _passes(current.numbers[name]))
    categories = [name for name in reference.categories if name in current.categories and name in features]
    return [name for name in numbers if name not in passing] + categories, passing


def _passes(values: Floats) -> bool:
    """Whether a number only goes up (or down) in the order of its rows."""
    known = values[np.isfinite(values)]
    if len(known) < FEWEST_ROWS or not np.ptp(known) > 0:
        return False
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(rankdata(known), np.arange(len(known)))[0, 1]
    return bool(abs(correlation) > _PASSING_RANKS)


def _matrix(reference: Window, current: Window, side: int, names: list[str], count: int) -> Floats:
    """One side's rows [count, columns], drawn evenly in their order; categories by their rank in the reference."""
    window = (reference, current)[side]
    places = np.linspace(0, len(window) - 1, count).round().astype(np.int64)
    columns = []
    for name in names:
        if name in window.numbers:
            columns.append(window.numbers[name][places])
        else:
            columns.append(_codes(reference.categories[name], window.categories[name][places]))
    return np.column_stack(columns).astype(np.float64)


def _codes(known: Texts, texts: Texts) -> Floats:
    """Commonest first; rare and new ones together, missing apart."""
    frequent = count_categories(text for text in known.tolist() if text is not None).most_frequent(_CATEGORIES)
    codes: dict[str | None, float] = {text: float(rank) for rank, text in enumerate(frequent)}
    codes[None] = np.nan
    return np.array([codes.get(text, float(_CATEGORIES)) for text in texts.tolist()], dtype=np.float64)
