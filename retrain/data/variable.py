"""A dataset's features as single variables: each a column of numbers, or of codes for its categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.contract.columns import MISSING
from retrain.data.dataset import Dataset

Floats = npt.NDArray[np.float64]
_HALVES_SEED = 3


@dataclass(frozen=True, slots=True)
class Variable:
    """`values` are numbers, or places in `levels`; missing is NaN. A time's parts are variables of one column."""

    column: str
    name: str
    values: Floats
    levels: tuple[str, ...] | None = None
    part: str | None = None  # of a time

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        return np.isnan(self.values)

    def take(self, places: npt.NDArray[np.int64]) -> Variable:
        return replace(self, values=self.values[places])


def variables(data: Dataset) -> list[Variable]:
    """Every feature of every row; levels in the order in which they first appear."""
    found: list[Variable] = []
    problem = data.schema.problem
    inputs = list(zip(problem.number_inputs, data.arrays.numbers.T, strict=True))
    categories = dict(zip(problem.category_names, data.arrays.categories.T, strict=True))
    for column in problem.features:
        if column.type == "category":
            found.append(_coded(column.name, categories[column.name]))
            continue
        found += [
            Variable(owner, name, values.astype(np.float64), part=part)
            for (name, owner, part), values in inputs
            if owner == column.name
        ]
    return found


def spread(rows: int, most: int) -> npt.NDArray[np.int64]:
    """At most so many places, evenly over all rows: old and new ones alike."""
    if rows <= most:
        return np.arange(rows)
    return np.linspace(0, rows - 1, most).round().astype(np.int64)


def random_halves(rows: int) -> npt.NDArray[np.bool_]:
    """Rows dealt by chance into two halves, as a mask [rows] of the second; the same for the same number of rows.

    Dealt by position, every other row would be one class wherever the order repeats itself: classes that are spread
    evenly, rows that alternate, a reading each hour. The seed is nobody else's: rows that were mixed by the same
    permutation would be dealt by position again.
    """
    return np.asarray(np.random.default_rng((rows, _HALVES_SEED)).permutation(rows) % 2 == 1)


def text_codes(texts: Sequence[object] | npt.NDArray[np.object_]) -> tuple[Floats, tuple[str, ...]]:
    """Places in the levels, NaN where it is missing, and the levels."""
    places: dict[object, int] = {}  # pandas.factorize would take "a\0b" and "a\0c" for one text
    codes = [np.nan if _is_missing(text) else places.setdefault(text, len(places)) for text in texts]
    return np.array(codes, dtype=np.float64), tuple(str(level) for level in places)


def _is_missing(cell: object) -> bool:
    return cell is None or cell is pd.NA or cell != cell


def _coded(name: str, texts: npt.NDArray[np.object_]) -> Variable:
    held, levels = text_codes([None if text == MISSING else text for text in texts.tolist()])
    return Variable(name, name, held, levels)
