"""The source's rows as one frame: files of CSV or Parquet, or a database's answer to a query."""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.contract.columns import Column
from record.db.database_url import create_engine, parse_database_url
from record.errors import DataError
from record.log_lines import log_line
from record.redaction import describe_address, redact
from record.tables.csv_file import CsvFile, open_csv
from record.tables.file_bytes import is_parquet, refuse_foreign
from record.tables.parquet_file import parquet_names, read_parquet
from record.tables.reading_rules import USUAL, ReadingRules
from record.tables.table_sample import refuse_repeated_header
from record.tables.text_column import exact_numbers, read_category_cells, read_numbers, read_time_cells


@dataclass(frozen=True, slots=True)
class Span:
    """The times that a query may ask for by `:since` and `:until`, both included."""

    since: datetime = datetime(1, 1, 1, tzinfo=UTC)
    until: datetime = datetime(9999, 12, 31, tzinfo=UTC)


EVER = Span()


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of a source in its order, indexed from 0; `names` are all columns that it has, read or not."""

    frame: pd.DataFrame
    names: tuple[str, ...]
    typed: bool  # whether the source says what is a number and what is text: a CSV file does not
    files: tuple[tuple[Path | CsvFile, int], ...] = ()  # each file, and the number of its rows
    rules: ReadingRules = USUAL  # with the decimal mark that was found

    def place(self, row: int) -> str:
        """The file, and the line of a CSV file, on which a row stands; empty for a database's."""
        for file, rows in self.files:
            if row < rows:
                return f"{file.path}, line {file.line_of(row)}" if isinstance(file, CsvFile) else f"{file}, row {row}"
            row -= rows
        return ""


def read_source(
    source: str,
    query: str | None,
    columns: Sequence[Column],
    others: Collection[str],
    span: Span = EVER,
    rules: ReadingRules = USUAL,
    *,
    raw_categories: bool = False,
) -> SourceRows:
    """The source's columns named in `columns` or `others`, the rows in file order, files in order of their names.

    In text files numbers are read by `rules`, and what a category's cells mean follows from the whole column (see
    `record.tables.text_column`); with `raw_categories` they stay texts, for a version's decoder to read. The target
    stays texts. Columns that the source lacks are lacking in the frame. A database's query that names `:since` or
    `:until` is given the span's, so that a large table is read by its newest part. Raises DataError saying what could
    not be read.
    """
    wanted = {column.name for column in columns} | set(others)
    kinds = {column.name: column.type for column in columns}
    if "://" in source:
        return _read_database(source, query, wanted, span)
    paths = source_files(source)
    reader = _Reader(wanted, kinds, rules, raw_categories)
    for path in paths:
        reader.read(path)
    features = {column.name for column in columns if column.required_in_tables and column.role == "feature"}
    reader.require_alike(features | set(others))
    return reader.rows()


def source_files(source: str) -> list[Path]:
    """The files that a path or glob names, by name; raises DataError where there is none."""
    if Path(source).is_file():  # also where its name would be a pattern: rows[1].csv
        return [Path(source)]
    found = [Path(name) for name in sorted(glob.glob(source, recursive=True)) if Path(name).is_file()]
    if not found:
        raise DataError(f"data.source: no file {source}; expected CSV or Parquet files, or an SQLAlchemy URL")
    return found


@dataclass
class _Reader:
    """Files read one below the other: the wanted columns' values, and every file's names."""

    wanted: set[str]
    kinds: Mapping[str, str]
    rules: ReadingRules
    raw_categories: bool = False
    frames: list[pd.DataFrame] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    files: list[tuple[Path | CsvFile, int]] = field(default_factory=list)
    lacking: list[tuple[Path, set[str], tuple[str, ...]]] = field(default_factory=list)
    typed: bool = True
    marked: CsvFile | None = None  # the first whose numbers show a decimal mark

    def read(self, path: Path) -> None:
        try:
            found, names = self._read_parquet(path) if is_parquet(path) else self._read_csv(path)
        except DataError as error:
            raise DataError(f"data.source: {error.message}") from error
        except Exception as error:  # pandas and pyarrow raise a dozen kinds for what they cannot read
            raise DataError(f"data.source: {path} cannot be read: {str(error).splitlines()[0][:200]}") from error
        self.frames.append(found)
        self.names.update(dict.fromkeys(names))
        self.lacking.append((path, self.wanted - set(names), names))

    def _read_parquet(self, path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
        frame, unreadable = read_parquet(path, self.wanted)
        for name, what in unreadable.items():
            raise DataError(f"{path}: column {name!r} holds {what}, which no record could carry")
        self.files.append((path, len(frame)))
        return frame, parquet_names(path)

    def _read_csv(self, path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
        refuse_foreign(path)
        self.typed = False
        file = open_csv(path, self.rules, self.wanted, [])
        rules = self._one_mark(file)
        frame = read_csv_frame(file, self.wanted, self.kinds, rules)
        self.files.append((file, len(frame)))
        if file.dialect.encoding not in ("utf-8", "utf-8-sig") and self.rules.encoding is None:
            log_line("text file read in another encoding than UTF-8", file=path.name, encoding=file.encoding_name)
        return frame, file.names

    def _one_mark(self, file: CsvFile) -> ReadingRules:
        """The rules with the decimal mark of the first file that shows one; DataError where this one has another.

        A file that shows none, of whole numbers, is read alike by either.
        """
        if self.rules.decimal is not None:
            return self.rules
        dialect = file.dialect
        if self.marked is None and dialect.evidence != "none":
            self.marked = file
        first = self.marked or file
        if dialect.evidence == "sure" and dialect.decimal != first.dialect.decimal:
            here, there = _mark_name(dialect.decimal), _mark_name(first.dialect.decimal)
            raise DataError(
                f"{file.path}: numbers have {here}, those of {first.path.name} {there}; expected one mark in all "
                "files, or data.decimal, which says how numbers such as '1,234' are read"
            )
        return replace(self.rules, decimal=first.dialect.decimal)

    def require_alike(self, required: set[str]) -> None:
        """Raises DataError for a file that lacks a required column which another one has, or spells it otherwise."""
        for path, lacking, names in self.lacking:
            for name in sorted(lacking & set(self.names)):
                alike = next((other for other in names if _same_words(other, name) and other not in self.wanted), None)
                if alike is None and name not in required:
                    continue
                found = f"found {alike!r}" if alike else f"found {', '.join(map(repr, names[:20]))}"
                raise DataError(f"data.source: {path}: no column {name!r}, which other files have; {found}")

    def rows(self) -> SourceRows:
        frames = [frame for frame in self.frames if len(frame)] or self.frames
        frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        frame = frame.reset_index(drop=True)
        if not self.typed:
            missing = frozenset(self.rules.missing)
            for name in frame.columns:
                if self.kinds.get(name) == "category" and frame[name].dtype.kind == "O":
                    cells = _cells(frame[name])
                    if self.raw_categories:
                        cells = [None if cell in missing else cell for cell in cells]
                    else:
                        cells = read_category_cells(cells, missing)
                    frame[name] = pd.Series(cells, dtype=object)
        rules = self.rules
        if rules.decimal is None and not self.typed:
            rules = replace(rules, decimal=self.marked.dialect.decimal if self.marked else ".")
        return SourceRows(frame, tuple(self.names), self.typed, tuple(self.files), rules)


def _mark_name(mark: str) -> str:
    return "a decimal comma" if mark == "," else "a decimal point"


def _same_words(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _cells(values: pd.Series[Any]) -> list[Any]:
    return [None if cell is None or cell is pd.NA or cell != cell else cell for cell in values.tolist()]


def read_csv_frame(
    file: CsvFile, wanted: Collection[str], kinds: Mapping[str, str], rules: ReadingRules
) -> pd.DataFrame:
    """The wanted columns, read in parts: numbers as floats, everything else as texts, each different text once."""
    parts: dict[str, list[Any]] = {name: [] for name in file.names if name in wanted}
    known: dict[str, dict[str, str]] = {name: {} for name in parts}
    rows = 0
    for batch in file.batches(wanted):
        refuse_repeated_header(file, batch, rows)
        for name, held in parts.items():
            column = batch.column(batch.schema.get_field_index(name))
            if kinds.get(name) == "number":
                held.append(_numbers(column, name, file, rows, rules))
            else:
                held.append(_texts(column, name, known[name], kinds, rules))
        rows += batch.num_rows
    index = pd.RangeIndex(rows)
    return pd.DataFrame({name: _joined(held, kinds.get(name) == "number") for name, held in parts.items()}, index=index)


def _joined(parts: list[npt.NDArray[Any]], numbers: bool) -> pd.Series[Any]:
    """One series; texts as objects, since pandas would guess another type for them."""
    values = np.concatenate(parts) if parts else np.empty(0, np.float64 if numbers else object)
    return pd.Series(values, dtype=values.dtype)


def _numbers(column: Any, name: str, file: CsvFile, before: int, rules: ReadingRules) -> npt.NDArray[Any]:
    values, bad = read_numbers(column, rules.decimal or ".", rules.words)
    if bad:
        text, line = column[bad[0]].as_py()[:60], file.line_of(before + bad[0])
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise DataError(
            f"{file.path}, line {line}: {text!r} in column {name!r} is no number{others}; expected numbers, "
            f'[data] missing = [{text!r}] where it stands for a missing one, or [columns.{name}] type = "category"'
        )
    return exact_numbers(column.to_pylist(), values) if np.nanmax(np.abs(values), initial=0) >= 2**53 else values


def _texts(
    column: Any, name: str, known: dict[str, str], kinds: Mapping[str, str], rules: ReadingRules
) -> npt.NDArray[Any]:
    coded = column.dictionary_encode()
    levels: list[Any] = [known.setdefault(text, text) for text in coded.dictionary.to_pylist()]
    if kinds.get(name) == "time":
        levels = read_time_cells(levels, rules.words)
    elif kinds.get(name) == "text":
        levels = [None if text in rules.missing else text for text in levels]
    held = np.empty(len(levels) + 1, dtype=object)
    held[:-1] = levels
    codes = coded.indices.fill_null(len(levels)).to_numpy(zero_copy_only=False)
    found: npt.NDArray[Any] = held[codes]
    return found


def count_rows(url: str, query: str | None) -> int:
    """How many rows a database's query gives."""
    frame = _query(url, f"SELECT COUNT(*) AS rows_held FROM ({(query or '').strip().rstrip(';')}) AS asked")
    return int(frame.iloc[0].astype("int64").iloc[0])


def _read_database(url: str, query: str | None, wanted: set[str], span: Span) -> SourceRows:
    if query is None:
        raise DataError("data.query: missing; a database as data.source needs the SQL that reads its rows")
    frame = _query(url, query, span)
    names = tuple(str(name) for name in frame.columns)
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise DataError(
            f"data.query: column {twice!r} stands twice in the answer; expected different names, by AS or without *",
            field="data.query",
        )
    return SourceRows(frame[[name for name in frame.columns if name in wanted]], names, typed=True)


def _query(url: str, query: str, span: Span = EVER) -> pd.DataFrame:
    import sqlalchemy as sa

    asked = sa.text(query)
    times = {"since": span.since.isoformat(), "until": span.until.isoformat()}
    named = list(asked.compile().params)
    unknown = next((name for name in named if name not in times), None)
    if unknown is not None:
        raise DataError(f"data.query: no value for :{unknown}; expected :since or :until", field="data.query")
    try:
        engine = create_engine(parse_database_url(url, "data.source"), "data.source")
        try:
            with engine.connect() as connection:
                frame: pd.DataFrame = pd.read_sql(asked, connection, params={name: times[name] for name in named})
                return frame
        finally:
            engine.dispose()
    except (sa.exc.SQLAlchemyError, pd.errors.DatabaseError, ImportError) as error:
        cause = error.__cause__ if isinstance(error, pd.errors.DatabaseError) else error
        reason = redact(str(getattr(cause, "orig", None) or cause).splitlines()[0][:200])
        raise DataError(f"data.source: {describe_address(url)} cannot be read: {reason}") from error
