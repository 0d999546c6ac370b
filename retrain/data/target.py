"""The target as what models learn: class codes, or floats."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from record.contract.schema import ClassType, canonical_class
from record.errors import DataError

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_BOOLEANS = ({"True", "False"}, {"true", "false"}, {"TRUE", "FALSE"})


@dataclass(frozen=True, slots=True)
class Target:
    """`values` are codes into `classes` (int64), or the targets themselves (float64) where there are none."""

    values: npt.NDArray[Any]
    classes: tuple[str, ...]
    class_type: ClassType


def unspelled(texts: Sequence[str]) -> Sequence[Any]:
    """The classes that a file without types means: all whole numbers, all true and false, or all text."""
    held = set(texts)
    if all(_INTEGER.fullmatch(text) for text in held):
        return [int(text) for text in texts]
    if any(held <= spelling for spelling in _BOOLEANS):
        return [text.lower() == "true" for text in texts]
    return texts


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
    if np.ptp(values) == 0:
        raise DataError(f"the target is {values[0]:g} in all {len(values)} rows; nothing can be learned from it")
    return Target(values, (), "string")


def _plain(cell: Any) -> str | int | bool:
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, bool | int | str):
        return cell
    # A column of whole numbers with gaps is one of floats in pandas.
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    raise DataError(
        f"the target is {str(cell)[:60]!r} in one row; expected classes: text, whole numbers, true or false"
    )
