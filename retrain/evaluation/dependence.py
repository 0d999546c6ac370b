"""What a model says as one feature changes and the others stay: partial dependence (Friedman 2001) as the mean over
rows, and single rows' own lines (ICE, Goldstein et al. 2015), which show what the mean hides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.arrays import Arrays
from record.contract.category_counts import count_categories
from record.contract.columns import MISSING
from record.contract.feature_places import FeaturePlaces, feature_places
from retrain.data.dataset import Dataset

Floats = npt.NDArray[np.float64]

ROWS = 200  # whose mean is taken: its line moves by less than its width with more
LINES = 25
GRID = 16
MOST_VALUES = 10  # of a category
MOST_CLASSES = 4
MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Dependence:
    """`grid` is numbers, days since 2000 of a time, or categories' texts; `means` one line for each of `outputs`."""

    feature: str
    kind: str  # number | time | category
    grid: list[float] | list[str]
    outputs: tuple[str, ...]
    means: list[list[float]]  # [output][grid]
    lines: list[list[float]]  # [row][grid], of the only output; empty where there are several

    def to_json(self) -> dict[str, Any]:
        """Without single rows' lines, which are for the picture."""
        held = asdict(self)
        held.pop("lines")
        return held


def dependences(
    score: Callable[[Arrays], Floats],
    rows: Dataset,
    names: list[str],
    watched: int | None,
    seed: int,
    late: Callable[[], bool],
) -> list[Dependence]:
    """In the order of `names`, as many as there is time for. `score` gives [n, classes], or [n] values.

    Of two classes the watched one's probability; of several, the most frequent classes'.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:ROWS])
    sample = rows.take(chosen)
    outputs, columns = _outputs(rows, watched)
    places = {feature.name: feature for feature in feature_places(rows.schema.problem)}
    kinds = {column.name: column.type for column in rows.schema.problem.features}
    found: list[Dependence] = []
    for name in names:
        if late():
            break
        grid, values = _grid(rows, places[name], kinds[name])
        if len(grid) < 2:
            continue
        said = _ask(score, sample.arrays, places[name], values)  # [grid, rows, outputs]
        picked = said[:, :, columns] if said.shape[2] > 1 else said
        lines = picked[:, :LINES, 0].T.tolist() if len(outputs) == 1 else []
        found.append(Dependence(name, kinds[name], grid, outputs, picked.mean(axis=1).T.tolist(), lines))
    return found


def _outputs(rows: Dataset, watched: int | None) -> tuple[tuple[str, ...], list[int]]:
    if not rows.classes:
        return ("prediction",), [0]
    if watched is not None:
        return (rows.schema.classes[watched],), [watched]
    order = np.argsort(-np.bincount(rows.target, minlength=rows.classes), kind="stable")[:MOST_CLASSES].tolist()
    return tuple(rows.schema.classes[code] for code in order), order


def _grid(rows: Dataset, places: FeaturePlaces, kind: str) -> tuple[Any, list[Any]]:
    """The values to ask for as they are shown, and as the model's inputs."""
    if kind == "category":
        texts = rows.arrays.categories[:, places.categories[0]]
        frequent = count_categories(texts.tolist()).most_frequent(MOST_VALUES)
        return ["missing" if text == MISSING else text for text in frequent], frequent
    inputs = rows.arrays.numbers[:, list(places.numbers)].astype(np.float64)
    known = inputs[~np.isnan(inputs[:, 0])]
    if not len(known):
        return [], []
    known = known[np.argsort(known[:, 0], kind="stable")]
    picked = known[np.unique(np.linspace(0.02, 0.98, GRID) * (len(known) - 1)).round().astype(int)]
    _, first = np.unique(picked[:, 0], return_index=True)
    return picked[first, 0].tolist(), list(picked[first])


def _ask(score: Callable[[Arrays], Floats], arrays: Arrays, places: FeaturePlaces, values: list[Any]) -> Floats:
    count = len(arrays)
    numbers = np.tile(arrays.numbers, (len(values), 1))
    categories = np.tile(arrays.categories, (len(values), 1))
    for step, value in enumerate(values):
        rows = slice(step * count, (step + 1) * count)
        if places.categories:
            categories[rows, places.categories[0]] = value
        else:
            numbers[rows, list(places.numbers)] = value
    return score(Arrays(numbers, categories)).reshape(len(values), count, -1)
