"""The one stateless decode step: JSON records, or a training frame, to the arrays that models take.

Everything learned from data is inside the model; here is only what each value means (`record.contract.columns`). A
frame is read column by column and records row by row, by the same rules: the arrays are equal, bit for bit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from record.contract.arrays import Arrays
from record.contract.columns import (
    BOOLEAN_SPELLINGS,
    MISSING,
    READERS,
    BadValue,
    Column,
    Reason,
    bounded,
    read_boolean,
    read_category,
    read_category_as_written,
    read_exact_number,
    time_parts,
    too_long,
)
from record.contract.preview import nearest, preview, preview_name
from record.contract.schema import DECODER_VERSION, ProblemSchema, Schema, SeenColumn
from record.errors import MOST_FAULTS, Faults, InvalidLabel, InvalidRecord
from record.tables.reading_rules import MISSING_WORDS

if TYPE_CHECKING:
    import pandas as pd


# Comparing a name with a column's takes up to 60 µs, in the event loop: once for a request, and not with more columns.
MOST_COMPARED: Final = 200

_ABSENT: Final = object()
_MISSING: Final = "a value, or null where it is not known"
_FLOAT32: Final = np.dtype(np.float32)
_OBJECT: Final = np.dtype(np.object_)


_NUMBER, _CATEGORY, _TIME, _CARRIED = range(4)
_KINDS: Final = {"number": _NUMBER, "category": _CATEGORY, "time": _TIME, "text": _CARRIED}
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_SPELLINGS: Final = {
    value: tuple(spelling for spelling, meaning in BOOLEAN_SPELLINGS.items() if meaning == text)
    for value, text in ((True, "true"), (False, "false"))
}
_CLASS_TYPES: Final[dict[type, str]] = {str: "string", int: "integer", bool: "boolean"}

# A column's name, how a value of it is read, where what was read belongs, and whether it must be there.
_Step = tuple[str, Callable[[Any], Any], int, bool]
# A category's name, what training saw in it, and how a value of it is read.
_KnownCategories = tuple[str, frozenset[str], Callable[[Any], str]]


class Decoder:
    """Checks and decodes records of one schema. Holds nothing that changes: threads may share it.

    `longest_text` bounds the characters of a text, a category and a class, where requests are decoded; None takes
    any length, as for rows that were accepted before.
    """

    def __init__(self, schema: Schema | ProblemSchema, longest_text: int | None = None) -> None:
        self.problem = cast(ProblemSchema, getattr(schema, "problem", schema))
        self.classes: tuple[str, ...] = getattr(schema, "classes", ())
        self.class_type: str | None = getattr(schema, "class_type", None)
        self._longest_text = longest_text
        booleans: frozenset[str] = getattr(schema, "boolean_names", frozenset())
        self._normal = getattr(schema, "decoder", DECODER_VERSION) >= DECODER_VERSION
        readers = {column.name: _reader(column, booleans, normal=self._normal) for column in self.problem.columns}
        self._cell_readers = _cell_readers(readers, getattr(schema, "seen", {}))
        self._plan: list[_Step] = [_step(column, readers[column.name], longest_text) for column in self.problem.columns]
        self._times = self.problem.time_places
        self._shape = (len(self.problem.number_names), len(self.problem.category_names))
        self._ranges, self._known = _bounds(self.problem, getattr(schema, "seen", {}), readers)

    def check(self, records: Sequence[Any]) -> None:
        """Raises InvalidRecord, naming record and column, for values that cannot be used."""
        self._read_all(records, 0, [], [], [])

    def decode(self, records: Sequence[Any]) -> Arrays:
        """The records' arrays; raises InvalidRecord as `check` does."""
        numbers: list[float] = []
        categories: list[str] = []
        carried: list[Any] = []
        self._read_all(records, 0, numbers, categories, carried)
        if len(records) == 1:  # the common request; half a microsecond less than reshaping
            return Arrays(np.array([numbers], _FLOAT32), np.array([categories], _OBJECT), self._times)
        return self._arrays(numbers, categories, len(records))

    def _arrays(self, numbers: list[float], categories: list[str], count: int) -> Arrays:
        k, m = self._shape
        texts: npt.NDArray[np.object_] = np.array(categories, dtype=object)
        return Arrays(np.array(numbers, dtype=np.float32).reshape(count, k), texts.reshape(count, m), self._times)

    def digest(self, record: Any) -> bytes:
        """16 bytes that two records share when they decode to the same, carried columns included."""
        return self.decode_and_digest([record])[1][0]

    def decode_and_digest(self, records: Sequence[Any], first: int = 0) -> tuple[Arrays, list[bytes]]:
        """The records' arrays, and each one's digest: each record is read once for both.

        `first` is the place of the first of them in the request, for what is refused.
        """
        numbers: list[float] = []
        categories: list[str] = []
        carried: list[Any] = []
        self._read_all(records, first, numbers, categories, carried)
        arrays = self._arrays(numbers, categories, len(records))
        return arrays, self._digests(arrays.numbers, categories, carried, len(records))

    def _digests(
        self, numbers: npt.NDArray[np.float32], categories: list[str], carried: list[Any], count: int
    ) -> list[bytes]:
        k, m = self._shape
        c = len(carried) // count if count else 0
        held = numbers + np.float32(0.0)  # −0.0 + 0.0 is 0.0; a missing number is always the same NaN
        packed = held.astype("<f4", copy=False).tobytes()
        return [
            blake2b(
                packed[4 * k * n : 4 * k * (n + 1)]
                + repr((categories[m * n : m * (n + 1)], carried[c * n : c * (n + 1)])).encode(
                    "utf-8", "surrogatepass"
                ),
                digest_size=16,
            ).digest()
            for n in range(count)
        ]

    def marks(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, str] | None]:
        """For each record what training never saw: {column: "unseen" | "out_of_range"}, or None.

        For records that decode; a time is never out of range, since new ones are always later.
        """
        return [self._mark(record) for record in records]

    def label(self, value: Any) -> str | float:
        """The label in canonical form: a class's text, or a finite float. Raises InvalidLabel."""
        if self.problem.task == "regression":
            return _target_number(value)
        kind = _CLASS_TYPES.get(value.__class__)
        if kind is None or (self.class_type is not None and kind != self.class_type):
            wanted = f"a JSON {self.class_type}" if self.class_type else "a JSON string, integer or boolean"
            raise InvalidLabel(f"{preview(value)} is not a class; expected {wanted}{self._named_classes()}")
        if self._longest_text is not None and isinstance(value, str) and len(value) > self._longest_text:
            raise InvalidLabel(f"{preview(value)} is not a class; expected {too_long(self._longest_text)}")
        text = self._text(value) if kind == "string" else json.dumps(value)
        if len(self.classes) == 2 and text not in self.classes:
            raise InvalidLabel(f"{preview(value)} is not a class; expected {self._named_classes()[2:]}")
        return str(text)

    def label_json(self, value: Any) -> str:
        """The label as one JSON scalar: the same text for the same label (5 and 5.0 are one in a regression)."""
        canonical = self.label(value)
        return json.dumps(
            canonical if isinstance(canonical, float) or isinstance(value, str) else value, ensure_ascii=False
        )

    def _text(self, value: str) -> str:
        return normalize("NFC", value) if self._normal else value

    def decode_frame(self, frame: pd.DataFrame) -> Arrays:
        """The arrays of a training frame; DataError names the row and column that cannot be used.

        Columns beside the features are not looked at, and nothing of the frame is changed.
        """
        from record.contract.frame import decode_column  # pandas: never in a serving worker

        numbers = [np.empty((len(frame), 0), dtype=np.float32)]
        categories: list[npt.NDArray[np.object_]] = [np.empty((len(frame), 0), dtype=object)]
        for column in self.problem.features:
            values = decode_column(frame, column, self._cell_readers.get(column.name))
            (categories if column.type == "category" else numbers).append(values)
        return Arrays(np.hstack(numbers), np.hstack(categories), self._times)

    def frame_records(self, frame: pd.DataFrame) -> list[dict[str, Any]]:
        """The JSON records that an application would have sent for the frame's rows."""
        from record.contract.frame import frame_records

        return frame_records(frame, self.problem.columns)

    def faults(self, records: Sequence[Any], first: int = 0, most: int = MOST_FAULTS) -> list[InvalidRecord]:
        """What cannot be used in the records, in their order and each one's columns'; `most` of it at most."""
        found: list[InvalidRecord] = []
        advised = False
        for place, record in enumerate(records, first):
            found += islice(self._faults(place, record, advise=not advised), most - len(found))
            advised = advised or any(fault.reason == "unknown_column" for fault in found)
            if len(found) == most:
                break
        return found

    def _faults(self, place: int, record: Any, *, advise: bool) -> Iterator[InvalidRecord]:
        """What cannot be used in one record; `advise`: the first unknown column is told with the nearest known one."""
        if not isinstance(record, dict):
            yield _invalid(place, None, record, "not_an_object", "a JSON object with a value for each column")
            return
        for name, read, kind, required in self._plan:
            value = record.get(name, _ABSENT)
            try:
                if value is _ABSENT:
                    if required:
                        yield _invalid(place, name, _ABSENT, "missing", _MISSING + self._strangers(record))
                elif kind == _TIME:
                    time_parts(read(value))
                else:
                    read(value)
            except BadValue as bad:
                yield _invalid(place, name, value, bad.reason, bad.expected)
        known = {column.name for column in self.problem.columns}
        strange = (name for name in record if name not in known)
        yield from (self._unknown(place, name, advise=advise and n == 0) for n, name in enumerate(strange))

    def _read_all(
        self, records: Sequence[Any], first: int, numbers: list[float], categories: list[Any], carried: list[Any]
    ) -> None:
        """Appends the records' values; what cannot be used is told of all of them at once."""
        try:
            for place, record in enumerate(records, first):
                self._read(place, record, numbers, categories, carried)
        except InvalidRecord as error:
            raise Faults(self.faults(records, first) or [error]).error() from None

    def _read(self, place: int, record: Any, numbers: list[float], categories: list[Any], carried: list[Any]) -> None:
        """Appends one record's canonical values to the list where each belongs."""
        if not isinstance(record, dict):
            raise _invalid(place, None, record, "not_an_object", "a JSON object with a value for each column")
        get = record.get
        found = len(record)
        name, value = "", None
        try:
            for name, read, kind, required in self._plan:
                value = get(name, _ABSENT)
                if value is _ABSENT:
                    if required:
                        raise BadValue("missing", _MISSING)
                    value = None
                    found += 1
                if kind == _NUMBER:
                    numbers.append(read(value))
                elif kind == _CATEGORY:
                    categories.append(read(value))
                elif kind == _CARRIED:
                    carried.append(read(value))
                else:
                    numbers.extend(time_parts(read(value)))
        except BadValue as bad:
            expected = bad.expected + (self._strangers(record) if value is _ABSENT else "")
            raise _invalid(place, name, value, bad.reason, expected) from None
        if found != len(self._plan):
            known = {column.name for column in self.problem.columns}
            raise self._unknown(place, next(name for name in record if name not in known), advise=False)

    def _strangers(self, record: Mapping[Any, Any]) -> str:
        """The keys that are no columns: where one is missing, another may be it, misspelt."""
        known = {column.name for column in self.problem.columns}
        named = [preview(name) for name in islice((name for name in record if name not in known), 3)]
        return f"; the record has {', '.join(named)}, which no column is called" if named else ""

    def _unknown(self, place: int, name: str, *, advise: bool) -> InvalidRecord:
        known = [column.name for column in self.problem.columns]
        near = nearest(name, known) if advise and len(known) <= MOST_COMPARED else None
        expected = f"the nearest known one is {near}" if near else f"known are {', '.join(known[:20])}"
        field = f"records[{place}].{preview_name(name)}"
        return InvalidRecord(f"{field}: unknown column; {expected}", field=field, reason="unknown_column")

    def _mark(self, record: Mapping[str, Any]) -> dict[str, str] | None:
        marks: dict[str, str] | None = None
        for name, low, high in self._ranges:
            value = record.get(name)
            if value is not None and not low < value < high:
                marks = (marks or {}) | {name: "out_of_range"}
        for name, known, read in self._known:
            value = record.get(name)
            if value is not None and value not in known and read(value) not in known:
                marks = (marks or {}) | {name: "unseen"}
        return marks

    def _named_classes(self) -> str:
        return f", one of {', '.join(self.classes[:10])}" if self.classes else ""


def _reader(column: Column, booleans: frozenset[str], *, normal: bool) -> Callable[[Any], Any]:
    if column.type != "category":
        return READERS[column.type]
    if not normal:
        return read_category_as_written
    return read_boolean if column.name in booleans else read_category


def _cell_readers(
    readers: Mapping[str, Callable[[Any], Any]], seen: Mapping[str, SeenColumn]
) -> dict[str, Callable[[Any], Any]]:
    """How a frame's categories are read by a version: by what its training saw, not by the frame's other rows."""
    known = {name: frozenset(held.categories) for name, held in seen.items() if held.categories is not None}
    return {name: _cell_reader(readers[name], held) for name, held in known.items() if name in readers}


def _cell_reader(read: Callable[[Any], Any], known: frozenset[str]) -> Callable[[Any], Any]:
    """A reader of cells, which files write in more ways than applications do.

    What training saw stays. Else a boolean is that spelling of it which training saw, a word for a missing value is
    missing beside true and false, and 1.0 is 1 or 1 is 1.0, whichever training saw: pandas writes whole numbers with
    a point in a column with gaps, and another file may have none.
    """
    boolean = bool(known) and known <= {"true", "false"}

    def read_cell(value: Any) -> Any:
        text = read(value)
        if text in known:
            return text
        if boolean:
            return MISSING if text in MISSING_WORDS else text
        if value.__class__ is bool:
            return next((spelling for spelling in _SPELLINGS[value] if spelling in known), text)
        whole = text.removesuffix(".0")
        other = whole if whole != text else f"{text}.0"
        return other if other in known and _WHOLE.fullmatch(whole) else text

    return read_cell


def _step(column: Column, read: Callable[[Any], Any], longest_text: int | None) -> _Step:
    if column.type in ("category", "text") and longest_text is not None:
        read = bounded(read, longest_text)
    if column.role == "feature":
        return column.name, read, _KINDS[column.type], column.required
    return column.name, read_exact_number if column.type == "number" else read, _CARRIED, column.required


def _bounds(
    problem: ProblemSchema, seen: Mapping[str, SeenColumn], readers: Mapping[str, Callable[[Any], Any]]
) -> tuple[list[tuple[str, float, float]], list[_KnownCategories]]:
    """The open interval of each number, and the known values of each category.

    What training saw was rounded to single precision, so the interval ends one such step outside of it.
    """
    ranges: list[tuple[str, float, float]] = []
    known: list[_KnownCategories] = []
    for column in problem.features:
        held = seen.get(column.name)
        if held is None:
            continue
        if column.type == "number" and held.low is not None and held.high is not None:
            low, high = np.float32(held.low), np.float32(held.high)
            ranges.append((column.name, _beyond(low, -math.inf), _beyond(high, math.inf)))
        if column.type == "category" and held.categories is not None:
            known.append((column.name, frozenset(held.categories) | {MISSING}, readers[column.name]))
    return ranges, known


def _beyond(bound: np.float32, towards: float) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.nextafter(bound, np.float32(towards)))


def _target_number(value: Any) -> float:
    if value.__class__ not in (int, float):
        raise InvalidLabel(f"{preview(value)} is not a number; expected a finite number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidLabel(f"{preview(value)} is not finite; expected a finite number")
    return number


def _invalid(place: int, name: str | None, value: Any, reason: Reason, expected: str) -> InvalidRecord:
    field = f"records[{place}]" if name is None else f"records[{place}].{name}"
    what = "missing" if value is _ABSENT else f"{preview(value)} cannot be used"
    return InvalidRecord(f"{field}: {what}; expected {expected}", field=field, reason=reason)
