"""The target as what models learn: class codes, or floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from record.contract.schema import ClassType, Task, canonical_class
from record.errors import DataError
from record.tables.number_text import parse_number
from record.tables.reading_rules import ReadingRules
from record.tables.text_column import read_class_cells

# What single precision holds: graphs, errors and their squares are exact within it.
LARGEST, SMALLEST_SPREAD = 1e30, 1e-30


@dataclass(frozen=True, slots=True)
class Target:
    """`values` are codes into `classes` (int64), or the targets themselves (float64) where there are none."""

    values: npt.NDArray[Any]
    classes: tuple[str, ...]
    class_type: ClassType


def read_text_target(cells: Sequence[Any], task: Task, rules: ReadingRules, place: Callable[[int], str]) -> list[Any]:
    """A text file's target as the classes or numbers that it means; None where it is missing.

    `place` says where a row stands. Raises DataError for a cell that is no number of a regression.
    """
    plain = [None if cell is None or cell != cell else cell for cell in cells]
    if task == "classification":
        return read_class_cells(plain, frozenset(rules.missing))
    known: dict[Any, float | None] = {}
    for row, cell in enumerate(plain):
        if not isinstance(cell, str) or cell in known:
            continue
        known[cell] = None if cell.strip() in rules.words else parse_number(cell, rules.decimal or ".")
        if known[cell] is None and cell.strip() not in rules.words:
            raise DataError(
                f"data.source: the target is {cell[:60]!r} in one row ({place(row)}); "
                "expected finite numbers (regression)"
            )
    return [known[cell] if isinstance(cell, str) else cell for cell in plain]


def read_classes(cells: Sequence[Any]) -> Target:
    """Class codes of cells as the source or the labels have them; raises DataError unless there are two or more.

    A text is a class of its own type, also where it is made of digits: so applications have to send it.
    """
    plain = [_plain(cell) for cell in cells]
    kinds = {type(cell) for cell in plain}
    class_type: ClassType = {bool: "boolean", int: "integer"}.get(next(iter(kinds)), "string")  # type: ignore[assignment]
    if len(kinds) > 1:
        class_type = "string"
    names = [canonical_class(cell) for cell in plain]
    classes = sorted(set(names), key=int) if class_type == "integer" else sorted(set(names))
    if len(classes) < 2:
        raise DataError(f"the target is {classes[0]!r} in all {len(names)} rows; expected two classes or more")
    codes = {name: code for code, name in enumerate(classes)}
    return Target(np.array([codes[name] for name in names], dtype=np.int64), tuple(classes), class_type)


def read_values(cells: Sequence[Any]) -> Target:
    """Finite floats; raises DataError naming a cell that is none, or where all are the same."""
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = math.nan if isinstance(cell, bool) else float(cell)
        except (TypeError, ValueError):
            values[row] = math.nan
        if not math.isfinite(values[row]):
            raise DataError(f"the target is {str(cell)[:60]!r} in one row; expected finite numbers (regression)")
    if np.abs(values).max() <= LARGEST and np.ptp(values) == 0:
        raise DataError(f"the target is {values[0]:g} in all {len(values)} rows; nothing can be learned from it")
    if np.abs(values).max() > LARGEST or np.ptp(values) < SMALLEST_SPREAD:
        raise DataError(
            f"the target lies between {values.min():g} and {values.max():g}: models do not learn it exactly; "
            f"expected values within ±{LARGEST:g} that differ by {SMALLEST_SPREAD:g} or more: take another "
            "unit"
        )
    return Target(values, (), "string")


def _plain(cell: Any) -> str | int | bool:
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, bool | int | str):
        return normalize("NFC", cell) if isinstance(cell, str) else cell
    # A column of whole numbers with gaps is one of floats in pandas; databases have decimals for them.
    if isinstance(cell, float | Decimal) and math.isfinite(cell) and cell == int(cell):
        return int(cell)
    raise DataError(
        f"the target is {str(cell)[:60]!r} in one row; expected classes: text, whole numbers, true or false"
    )
