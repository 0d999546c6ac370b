"""The meaning of a text file's cells, taken as one column: numbers, booleans, times, class codes, or texts.

The same functions read a column for `ringside init` and for training, so that what the one says the other does.
Cells are texts, and None where the field is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from record.tables.number_text import bare_number, parse_number
from record.tables.reading_rules import MISSING_WORDS, DecimalMark

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_WHOLE_WITH_POINT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.0*)?", re.ASCII)
_CODE: Final = re.compile(r"[+-]?0[0-9]+", re.ASCII)
_BOOLEANS: Final = frozenset({"True", "False", "true", "false", "TRUE", "FALSE"})
_ISO_DATE: Final = re.compile(r"\d{4}-?\d{2}-?\d{2}([T ].*)?|\d{4}-W.*", re.ASCII)
EXACT_BELOW: Final = 2**53
ODD_SHARE: Final = 0.1  # of the cells that are present: more, and the column is no column of numbers
MOST_ODD_WORDS: Final = 20  # different ones: with more, the next file has new ones, that no list of words knows
LONGEST_WHOLE: Final = 300  # characters of a class code: Python reads no integer of more than 4,300 digits

Meaning = Literal["empty", "boolean", "number", "time", "text"]


@dataclass(frozen=True, slots=True)
class ColumnMeaning:
    """What a column's cells are; `odd` are those that are not, and no words for a missing value, with their counts."""

    kind: Meaning
    odd: tuple[tuple[str, int], ...] = ()
    number_share: float = 0.0
    plain: bool = False  # numbers, all written as programs write them


def column_meaning(
    counts: dict[str, int], decimal: DecimalMark, missing: frozenset[str], *, letters: bool = True
) -> ColumnMeaning:
    """The meaning of a column, by its different texts and how often each stands there.

    `letters` is whether t and f are true and false: in a feature they are, in a target they are texts.
    """
    core = {text: count for text, count in counts.items() if text.strip() not in missing}
    if not core:
        return ColumnMeaning("text" if counts else "empty")
    if is_boolean(core) or (letters and set(core) == {"t", "f"}):
        return ColumnMeaning("boolean")
    if any(_CODE.fullmatch(text.strip()) for text in core):
        return ColumnMeaning("text")
    if decimal == "." and _all_floats(core):
        return ColumnMeaning("number", (), 1.0, plain=True)
    first = next(iter(core))
    if "-" in first[1:] and is_time(first) and all(is_time(text) for text in core):
        return ColumnMeaning("time")
    odd = {text: count for text, count in core.items() if parse_number(text, decimal) is None}
    total = sum(core.values())
    share = 1 - sum(odd.values()) / total
    if share >= 1 - ODD_SHARE and len({text.strip() for text in odd}) <= MOST_ODD_WORDS:
        return ColumnMeaning("number", tuple(odd.items()), share)
    if all(is_time(text) for text in core):
        return ColumnMeaning("time")
    return ColumnMeaning("text", tuple(odd.items()), share)


def _all_floats(texts: Iterable[str]) -> bool:
    """Whether all are finite numbers as programs write them: the quick way for the common column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = pc.cast(pa.array(texts, pa.string()), pa.float64())
    except pa.ArrowInvalid:
        return False
    return bool(pc.all(pc.is_finite(values)).as_py())


def is_boolean(texts: Iterable[str]) -> bool:
    """Whether all texts are true or false, in Python's, SQL's or JSON's spelling."""
    held = set(texts)
    return bool(held) and held <= _BOOLEANS


def is_time(text: str) -> bool:
    """Whether a text is a date or a time by ISO 8601."""
    if not _ISO_DATE.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def read_numbers(
    cells: pa.Array, decimal: DecimalMark, missing: frozenset[str]
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Floats [rows], NaN where missing, and the rows that hold neither a number nor a word for a missing one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if decimal == ".":
        try:
            return _finite(cells, _floats(pc.cast(cells, pa.float64())), missing)
        except pa.ArrowInvalid:
            pass
    coded = cells.dictionary_encode() if not isinstance(cells, pa.DictionaryArray) else cells
    texts: list[str] = coded.dictionary.to_pylist()
    values = np.full(len(texts) + 1, np.nan)
    bad = np.zeros(len(texts) + 1, dtype=bool)
    for place, text in enumerate(texts):
        if text.strip() in missing:
            continue
        number = parse_number(text, decimal)
        values[place], bad[place] = (np.nan, True) if number is None else (number, False)
    codes = pc.fill_null(coded.indices, len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
    return values[codes], np.flatnonzero(bad[codes]).tolist()


def _finite(
    cells: pa.Array, values: npt.NDArray[np.float64], missing: frozenset[str]
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Arrow reads inf and nan as numbers, and what is too large as inf: here they are words, missing or not."""
    others = np.flatnonzero(~np.isfinite(values))
    if len(others) == cells.null_count:
        return values, []
    texts = cells.take(others).to_pylist()
    held = np.where(np.isfinite(values), values, np.nan)
    return held, [row for row, text in zip(others.tolist(), texts, strict=True) if text and text.strip() not in missing]


def _floats(array: pa.Array) -> npt.NDArray[np.float64]:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


def exact_numbers(cells: Sequence[str | None], values: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """`values`, as Python's integers where some are too large for a float to hold: ids."""
    with np.errstate(invalid="ignore"):
        large = np.flatnonzero((np.abs(values) >= EXACT_BELOW) & np.isfinite(values))
    if not len(large) or not all(_WHOLE.fullmatch(str(cells[row]).strip()) for row in large.tolist()):
        return values
    held = values.astype(object)
    held[np.isnan(values)] = None
    for row in large.tolist():
        held[row] = int(str(cells[row]))
    return held


def read_category_cells(cells: Sequence[Any], missing: frozenset[str] = frozenset()) -> list[Any]:
    """A category's cells: booleans are true and false, 1.0 and 2.0 with gaps are 1 and 2, the rest stays to the letter.

    `missing` are words that are missing in texts, too.
    """
    held = [None if cell in missing else cell for cell in cells] if missing else list(cells)
    kinds = {type(cell) for cell in held if cell is not None}
    if not kinds <= {str, bool}:
        return held
    texts = {cell for cell in held if isinstance(cell, str)}
    core = {text for text in texts if text not in MISSING_WORDS}
    if is_boolean(core) or core == {"t", "f"}:
        known: dict[Any, Any] = {text: text.lower().startswith("t") for text in core}
        return [cell if isinstance(cell, bool) else known.get(cell) for cell in held]
    if bool in kinds:
        return held
    gaps = len(texts) > 0 and any(cell is None for cell in held)
    if gaps and texts and all(text.endswith(".0") and _WHOLE_WITH_POINT.fullmatch(text) for text in texts):
        return [None if cell is None else int(cell[:-2]) for cell in held]
    return held


def read_class_cells(cells: Sequence[Any], missing: frozenset[str] = frozenset()) -> list[Any]:
    """The classes that a file without types means: all whole numbers, all true and false, or all texts.

    Words for a missing value are missing beside numbers and booleans; among texts they are classes. Blanks around
    numbers and booleans make no other class.
    """
    words = {word.strip() for word in missing}
    held = [None if isinstance(cell, str) and cell.strip() in words else cell for cell in cells]
    present = {cell for cell in held if cell is not None}
    texts = {cell for cell in present if isinstance(cell, str)}
    others = {type(cell) for cell in present if not isinstance(cell, str)}
    core = {text: text.strip() for text in texts if text.strip() not in MISSING_WORDS}
    bare = set(core.values())
    if bare and all(_is_class_code(text) for text in bare) and others <= {int, float}:
        known: dict[Any, Any] = {text: int(plain.partition(".")[0]) for text, plain in core.items()}
    elif is_boolean(bare) and others <= {bool}:
        known = {text: plain.lower() == "true" for text, plain in core.items()}
    elif bare and not others and all(is_number_text(text) for text in bare):
        known = dict(core)
    else:
        return held
    return [known.get(cell) if isinstance(cell, str) else cell for cell in held]


def _is_class_code(text: str) -> bool:
    return len(text) <= LONGEST_WHOLE and _WHOLE_WITH_POINT.fullmatch(text) is not None


def is_number_text(text: str) -> bool:
    """Whether a text is a number with either decimal mark, and no code with a leading zero."""
    numbers = (parse_number(text, mark) for mark in (".", ","))
    return not _CODE.fullmatch(text.strip()) and any(number is not None for number in numbers)


def read_time_cells(cells: Sequence[Any], missing: frozenset[str]) -> list[Any]:
    """Times as they are written, None for a word that stands for a missing one."""
    return [None if isinstance(cell, str) and cell.strip() in missing else cell for cell in cells]


def example(text: str) -> str:
    """A cell as a message shows it."""
    return repr(text if len(text) <= 40 else text[:39] + "…")


__all__ = [
    "ColumnMeaning", "bare_number", "column_meaning", "exact_numbers", "example", "is_boolean", "is_time",
    "read_category_cells", "read_class_cells", "read_numbers", "read_time_cells",
]  # fmt: skip
