"""The first rows of a file as a typed frame, what was left out of it, and the rules by which it was read.

What a column of a text file is follows from `record.tables.text_column`, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from record.errors import DataError
from record.tables.column_names import is_nameless
from record.tables.csv_file import CsvFile, open_csv
from record.tables.file_bytes import is_parquet, refuse_foreign
from record.tables.number_text import decimal_votes, has_sign, parse_number
from record.tables.parquet_file import is_index, read_parquet
from record.tables.reading_rules import MISSING_WORDS, USUAL, DecimalMark, ReadingRules
from record.tables.text_column import (
    EXACT_BELOW,
    ColumnMeaning,
    column_meaning,
    exact_numbers,
    example,
    read_class_cells,
    read_numbers,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MIXED_SHARE: Final = 0.5  # of a text column's cells that are numbers: from here on, that is told


@dataclass(frozen=True, slots=True)
class TableSample:
    """Rows of a file; `notes` are (column, what a person should know), `rules` what differs from the usual."""

    frame: pd.DataFrame
    rules: ReadingRules = USUAL
    notes: tuple[tuple[str, str], ...] = ()
    classes: pd.Series[Any] | None = None  # the target of a text file, as the classes that training would read

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(str(name) for name in self.frame.columns)


@dataclass
class _Reading:
    """A text file's columns on their way to a typed frame."""

    file: CsvFile
    missing: frozenset[str]
    cells: dict[str, Any] = field(default_factory=dict)  # dictionary-encoded arrays
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    meanings: dict[str, ColumnMeaning] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def read_table_sample(path: Path, rows: int, target: str | None = None, rules: ReadingRules = USUAL) -> TableSample:
    """The first `rows` rows; a target is read as classes, too. Raises DataError for what cannot be read."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a CSV or Parquet file")
    if path.stat().st_size and is_parquet(path):
        return _parquet_sample(path, rows)
    refuse_foreign(path)
    return _csv_sample(path, rows, target, rules)


def _parquet_sample(path: Path, rows: int) -> TableSample:
    frame, unreadable = read_parquet(path, rows=rows)
    notes = [(name, f"holds {why}: left out") for name, why in unreadable.items()]
    indexes = [name for name in frame.columns if is_index(name)]
    notes += [(name, "an index without a name, as pandas writes it: left out") for name in indexes]
    return TableSample(frame.drop(columns=indexes), notes=tuple(notes))


def _csv_sample(path: Path, rows: int, target: str | None, rules: ReadingRules) -> TableSample:
    file = open_csv(path, rules, expected=[] if target is None else [target])
    table = _first_rows(file, rows)
    reading = _Reading(file, rules.words)
    for name in file.names:
        reading.cells[name] = _coded(table.column(name), frozenset(rules.missing))
        reading.counts[name] = _counts(reading.cells[name])
    refuse_repeated_header(file, table)
    names = [name for name in file.names if not _left_out(reading, name, target)]
    _find_meanings(reading, names, target)
    series = {name: _series(reading, name) for name in names}
    _note_the_file(reading)
    words = tuple(dict.fromkeys((*rules.missing, *reading.odd)))
    classes = None
    if target in series:
        cells = read_class_cells(reading.cells[target].to_pylist(), frozenset(words))
        classes = _object_series(cells, target)
    import pandas as pd

    frame = pd.DataFrame(series, index=pd.RangeIndex(table.num_rows))
    return TableSample(frame, _found_rules(file, words), tuple(reading.notes), classes)


def _found_rules(file: CsvFile, words: tuple[str, ...]) -> ReadingRules:
    dialect = file.dialect
    usual = dialect.encoding in ("utf-8", "utf-8-sig")
    point = dialect.decimal == "." and (dialect.delimiter == "," or dialect.evidence == "none")
    return ReadingRules(
        None if dialect.delimiter == "," else dialect.delimiter,
        None if point else dialect.decimal,
        None if usual else dialect.encoding,
        words,
    )


def _first_rows(file: CsvFile, rows: int) -> pa.Table:
    import pyarrow as pa

    batches, held = [], 0
    for batch in file.batches():
        batches.append(batch)
        held += batch.num_rows
        if held >= rows:
            break
    if not batches:
        return pa.table({name: pa.array([], pa.string()) for name in file.names})
    return pa.Table.from_batches(batches).slice(0, rows)


def refuse_repeated_header(file: CsvFile, table: pa.Table | pa.RecordBatch, before: int = 0) -> None:
    """Raises DataError where a row is the header again: two files, one pasted below the other."""
    import pyarrow.compute as pc

    same: Any = None
    for name, written in zip(file.names, file.dialect.header, strict=True):
        if not written or name not in table.schema.names:
            continue
        equal = pc.fill_null(pc.equal(table.column(name), written), False)
        same = equal if same is None else pc.and_(same, equal)
        if not pc.any(same).as_py():
            return
    if same is not None and table.num_columns > 1:
        row = before + int(same.to_numpy(zero_copy_only=False).argmax())
        raise DataError(
            f"{file.path}, line {file.line_of(row)}: the header again; expected one header, in the first line"
        )


def _coded(column: pa.ChunkedArray, missing: frozenset[str]) -> pa.DictionaryArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks()
    if missing:
        whole = pc.if_else(pc.is_in(whole, pa.array(sorted(missing))), pa.scalar(None, pa.string()), whole)
    return whole.dictionary_encode()


def _counts(coded: pa.DictionaryArray) -> dict[str, int]:
    import pyarrow.compute as pc

    codes = pc.drop_null(coded.indices).to_numpy(zero_copy_only=False)
    return dict(
        zip(coded.dictionary.to_pylist(), np.bincount(codes, minlength=len(coded.dictionary)).tolist(), strict=True)
    )


def _left_out(reading: _Reading, name: str, target: str | None) -> bool:
    """A column without a name: an index, or what a delimiter at the end of each row makes."""
    if not is_nameless(name) or name == target or name in reading.file.dialect.header:
        return False
    counts, place = reading.counts[name], reading.file.names.index(name)
    if not counts:
        reason = "no name and no value: a delimiter at the end of each row; left out"
    elif place == 0 and max(counts.values()) == 1:
        reason = "no name and another value in each row: an index; left out"
    else:
        reason = "no name: left out; give it one to use it"
    reading.notes.append((name, reason))
    return True


def _find_meanings(reading: _Reading, names: Sequence[str], target: str | None) -> None:
    """Each column's. A word that is odd among numbers and a value elsewhere cannot be missing in one of them only."""
    decimal = reading.file.dialect.decimal
    found = {
        name: column_meaning(reading.counts[name], decimal, reading.missing, letters=name != target) for name in names
    }
    values: set[str] = set()
    if any(meaning.kind == "number" and meaning.odd for meaning in found.values()):
        values = {text.strip() for name in names if found[name].kind != "number" for text in reading.counts[name]}
    for name, meaning in found.items():
        if meaning.kind == "number" and any(text.strip() in values for text, _ in meaning.odd):
            found[name] = ColumnMeaning("text", meaning.odd, meaning.number_share)
    reading.meanings = found


def _series(reading: _Reading, name: str) -> pd.Series[Any]:
    import pandas as pd

    cells, meaning = reading.cells[name], reading.meanings[name]
    _note_the_column(reading, name, meaning)
    if meaning.kind == "number":
        return pd.Series(_numbers(cells, reading), name=name)
    missing = frozenset() if meaning.kind == "text" else reading.missing
    texts = [None if text is None or text.strip() in missing else text for text in cells.to_pylist()]
    if meaning.kind == "boolean":
        return _object_series([None if text is None else text.lower() in ("true", "t") for text in texts], name)
    if meaning.kind == "empty":
        return pd.Series([None] * len(texts), dtype=object, name=name)
    return pd.Series(texts, dtype="str", name=name)


def _numbers(cells: pa.DictionaryArray, reading: _Reading) -> Any:
    values, _ = read_numbers(cells, reading.file.dialect.decimal, reading.missing)
    present = values[~np.isnan(values)]
    whole = len(present) == len(values) > 0 and bool((present % 1 == 0).all()) and float(np.abs(present).max()) < 2**53
    if whole:
        return values.astype(np.int64)
    return exact_numbers(cells.to_pylist(), values) if np.abs(present).max(initial=0) >= EXACT_BELOW else values


def _object_series(cells: Sequence[Any], name: str) -> pd.Series[Any]:
    import pandas as pd

    kinds = {type(cell) for cell in cells}
    dtype: Any = object
    if kinds == {bool}:
        dtype = "bool"
    elif kinds == {int} and all(abs(cell) < 2**63 for cell in cells):
        dtype = "int64"
    elif kinds <= {str, type(None)}:
        dtype = "str"
    series: pd.Series[Any] = pd.Series(list(cells), dtype=dtype, name=name)
    return series


def _note_the_column(reading: _Reading, name: str, meaning: ColumnMeaning) -> None:
    counts = reading.counts[name]
    if meaning.kind == "number":
        signs = [] if meaning.plain else [text for text in counts if has_sign(text)]
        if signs:
            percent = " (12% as 12)" if any("%" in text for text in signs) else ""
            reading.notes.append((name, f"numbers written as {example(signs[0])}: read without the sign{percent}"))
        if meaning.odd:
            _note_odd(reading, name, meaning)
        if not meaning.plain or reading.file.dialect.evidence == "either":
            _note_either_mark(reading, name)
    elif meaning.kind == "text" and meaning.odd:
        _note_other_mark(reading, name, meaning)
    if meaning.kind == "text" and meaning.number_share >= MIXED_SHARE:
        shown = ", ".join(f"{example(text)}" for text, _ in meaning.odd[:3])
        reading.notes.append(
            (name, f"{meaning.number_share:.0%} numbers, and others such as {shown}: read as texts, numbers too")
        )
    if meaning.kind == "text":
        words = {text: n for text, n in counts.items() if text.strip() in MISSING_WORDS and text.strip()[:1].isalpha()}
        if words and len(words) < len(counts):
            word, rows = max(words.items(), key=lambda pair: pair[1])
            reading.notes.append(
                (name, f"{example(word)} in {rows} rows is a value like others; missing if data.missing names it")
            )


def _note_either_mark(reading: _Reading, name: str) -> None:
    """Numbers that all could be a thousand times larger or smaller with the other decimal mark: "1,234"."""
    dialect = reading.file.dialect
    texts = [text for text in reading.counts[name] if text.strip() not in reading.missing]
    votes = decimal_votes(texts)
    grouped = votes.comma_or_group if dialect.decimal == "." else votes.point_or_group
    if votes.sure or not votes.any or not (grouped or dialect.evidence == "either"):
        return
    shown = next(text for text in texts if decimal_votes([text]).any)
    by_point = parse_number(shown, ".")
    by_comma = parse_number(shown, ",")
    read, other = (by_point, by_comma) if dialect.decimal == "." else (by_comma, by_point)
    mark = "," if dialect.decimal == "." else "."
    reading.notes.append(
        (name, f'{example(shown)} is read as {read:.15g}; where it means {other:.15g}: data.decimal = "{mark}"')
    )


def _note_other_mark(reading: _Reading, name: str, meaning: ColumnMeaning) -> None:
    """A column of texts that would be one of numbers with the other decimal mark."""
    dialect = reading.file.dialect
    other: DecimalMark = "," if dialect.decimal == "." else "."
    if column_meaning(reading.counts[name], other, reading.missing).kind != "number":
        return
    shown = next(text for text, _ in meaning.odd)
    mark, others = ("comma", "point") if other == "," else ("point", "comma")
    reading.notes.append(
        (name, f"{example(shown)} has a decimal {mark}, other columns a {others}: read as texts; expected one mark")
    )


def _note_odd(reading: _Reading, name: str, meaning: ColumnMeaning) -> None:
    """Values that are no numbers are missing, by a list that training reads by, too."""
    rows = sum(count for _, count in meaning.odd)
    shown = ", ".join(example(text) for text, _ in meaning.odd[:3])
    reading.odd += [word for text, _ in meaning.odd if (word := text.strip()) not in reading.odd]
    reading.notes.append((name, f"numbers but for {rows} values such as {shown}: read as missing (data.missing)"))


def _note_the_file(reading: _Reading) -> None:
    dialect, notes = reading.file.dialect, []
    if dialect.delimiter != ",":
        notes.append(f"fields are separated by {_delimiter_name(dialect.delimiter)}")
    if dialect.encoding not in ("utf-8", "utf-8-sig"):
        guess = (
            "; another, if letters look wrong: data.encoding" if dialect.encoding in ("cp1252", "iso-8859-1") else ""
        )
        notes.append(f"encoded in {reading.file.encoding_name}{guess}")
    if dialect.decimal == ",":
        notes.append("numbers have a decimal comma")
    reading.notes[:0] = [("", note) for note in notes]


def _delimiter_name(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else repr(delimiter)


__all__ = ["TableSample", "read_table_sample", "refuse_repeated_header"]
