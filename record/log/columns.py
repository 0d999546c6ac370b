"""Logged records as columns, decoded in bulk by the rules of `record.contract.columns`.

The decode step of requests refuses a record as a whole; what is in the log was taken once, perhaps under another
schema than today's. Here a value that its column cannot take is missing, and counted as a failure of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any
from unicodedata import normalize

import msgspec
import numpy as np
import numpy.typing as npt

from record.contract.category_counts import SHORT_CATEGORY, abbreviate
from record.contract.columns import FLOAT32_MAX, MISSING, READERS, TIME_PARTS, BadValue, Column, time_parts
from record.contract.preview import preview

SHOWN_FAILURES = 20  # of one column are kept with their values
_SHOWN_CHARACTERS = 40
_NUMBERS = {int, float, NoneType}
_TEXTS = {str, NoneType}


@dataclass(slots=True)
class Failures:
    """Values of one column that it cannot take: how many, and the first of them as (row, JSON text)."""

    count: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)

    def add(self, row: int, value: Any) -> None:
        self.count += 1
        if len(self.examples) < SHOWN_FAILURES:
            self.examples.append((row, _shown(value)))


class RecordColumns:
    """Takes records in chunks and holds their features as arrays; the records themselves are let go."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._parts: dict[str, list[npt.NDArray[Any]]] = {column.name: [] for column in columns}
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode
        self.rows = 0
        self.failures: dict[str, Failures] = {}

    def add(self, records: Sequence[str]) -> None:
        """The next rows, as JSON objects. A column that a record does not have is missing in it."""
        try:
            held = list(map(self._decode, records))
        except msgspec.DecodeError:  # it is stricter than what was logged: half a surrogate pair, written as \\ud800
            held = [json.loads(record) for record in records]
        for column in self._columns:
            name = column.name
            values = [record.get(name) for record in held]
            self._parts[name].append(self._read(values, column))
        self.rows += len(held)

    def column(self, name: str) -> npt.NDArray[Any]:
        """A number as float32 [n] (missing is NaN), a category as str [n] (missing is None), a time as [n, parts].

        Long categories are abbreviated.
        """
        parts = self._parts[name]
        if parts:
            return np.concatenate(parts)
        kind = next(column.type for column in self._columns if column.name == name)
        shape = (0, len(TIME_PARTS)) if kind == "time" else (0,)
        return np.empty(shape, dtype=object if kind == "category" else np.float32)

    def _read(self, values: list[Any], column: Column) -> npt.NDArray[Any]:
        kinds = set(map(type, values))
        if column.type == "number" and kinds <= _NUMBERS:
            numbers = _plain_numbers(values)
            if numbers is not None:
                return numbers
        if column.type == "category" and kinds <= _TEXTS:
            return _texts(values)
        read = READERS[column.type]
        if column.type == "time":
            parts = self._each(values, column.name, lambda value: time_parts(read(value)), time_parts(None))
            return np.array(parts, dtype=np.float32).reshape(len(values), len(TIME_PARTS))
        if column.type == "number":
            return np.array(self._each(values, column.name, read, np.nan), dtype=np.float32)
        return _texts(self._each(values, column.name, read, None))

    def _each(self, values: list[Any], name: str, read: Callable[[Any], Any], missing: Any) -> list[Any]:
        """Value by value: for times, and where a column holds what it should not."""
        found = []
        for place, value in enumerate(values):
            try:
                found.append(read(value))
            except BadValue:
                self.failures.setdefault(name, Failures()).add(self.rows + place, value)
                found.append(missing)
        return found


def _plain_numbers(values: list[Any]) -> npt.NDArray[np.float32] | None:
    try:
        doubles = np.array(values, dtype=np.float64)  # None becomes NaN
    except OverflowError:  # an integer of hundreds of digits
        return None
    return None if bool((np.abs(doubles) > FLOAT32_MAX).any()) else doubles.astype(np.float32)


def _texts(values: list[Any]) -> npt.NDArray[np.object_]:
    texts: npt.NDArray[np.object_] = np.empty(len(values), dtype=object)
    texts[:] = [text if text is None or _is_plain(text) else abbreviate(normalize("NFC", text)) for text in values]
    texts[texts == MISSING] = None
    return texts


def _is_plain(text: str) -> bool:
    return len(text) <= SHORT_CATEGORY and text.isascii()


def _shown(value: Any) -> str:
    text = preview(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
