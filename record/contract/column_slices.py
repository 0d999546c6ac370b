"""A column's rows by value: each frequent category, each fifth of a number, and the missing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.category_counts import count_categories

Flags = npt.NDArray[np.bool_]

FIFTHS = 5
MOST_VALUES = 20  # of one column are slices of their own
_SHOWN_CHARACTERS = 40


def column_slices(name: str, values: npt.NDArray[Any] | None) -> Iterator[tuple[str, Flags]]:
    """A column's slices by name; missing values are one of their own."""
    if values is None or values.ndim != 1:  # no such column, or a time: its parts are never alike again
        return
    if values.dtype == object:
        yield from _by_value(name, values)
        return
    numbers = values.astype(np.float64)
    gone = np.isnan(numbers)
    if gone.any():
        yield f"{name} missing", gone
    there = numbers[~gone]
    if not len(there):
        return
    distinct = np.unique(there)
    if len(distinct) <= FIFTHS:
        for value in distinct:
            yield f"{name} = {value:.6g}", numbers == value
        return
    edges = np.unique(np.quantile(there, np.linspace(0, 1, FIFTHS + 1)))
    for low, high in pairwise(edges):
        last = high == edges[-1]
        within = (numbers >= low) & ((numbers <= high) if last else (numbers < high))
        yield f"{name} {low:.4g} to {high:.4g}", within


def _by_value(name: str, values: npt.NDArray[Any]) -> Iterator[tuple[str, Flags]]:
    gone = np.array([value is None for value in values.tolist()], dtype=np.bool_)
    if gone.any():
        yield f"{name} missing", gone
    known = np.flatnonzero(~gone)
    held = count_categories(values[known].tolist())
    for place in np.argsort(-held.counts, kind="stable")[:MOST_VALUES].tolist():
        within = np.zeros(len(values), dtype=np.bool_)
        within[known[held.codes == place]] = True
        yield f"{name} = {held.names[place][:_SHOWN_CHARACTERS]}", within
