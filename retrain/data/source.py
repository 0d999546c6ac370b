"""The source's rows as one frame: files of CSV or Parquet, or a database's answer to a query."""

from __future__ import annotations

import glob
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from record.contract.columns import Column
from record.db.database_url import create_engine, parse_database_url
from record.errors import DataError
from record.redaction import describe_address, redact

# What stands for a missing number in a CSV file. In every other column only an empty field is missing: "NA" may be
# North America.
NO_NUMBER = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-")


@dataclass(frozen=True, slots=True)
class Span:
    """The times that a query may ask for by `:since` and `:until`, both included."""

    since: datetime = datetime(1, 1, 1, tzinfo=UTC)
    until: datetime = datetime(9999, 12, 31, tzinfo=UTC)


EVER = Span()


def read_source(
    source: str, query: str | None, columns: Sequence[Column], others: Collection[str], span: Span = EVER
) -> pd.DataFrame:
    """The source's columns named in `columns` or `others`, the rows in file order, files in order of their names.

    In CSV files everything but numbers is read as text, to the letter; `others` (target, time) too. Columns that
    the source lacks are lacking in the frame. A database's query that names `:since` or `:until` is given the span's,
    so that a large table is read by its newest part. Raises DataError saying what could not be read.
    """
    wanted = {column.name for column in columns} | set(others)
    numbers = {column.name for column in columns if column.type == "number"} - set(others)
    if "://" in source:
        return _read_database(source, query, wanted, span)
    frames = [_read_file(path, wanted, numbers) for path in source_files(source)]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    return frame.reset_index(drop=True)


def has_types(source: str) -> bool:
    """Whether the source says what is a number and what is text: a CSV file does not."""
    return "://" in source or all(_is_parquet(path) for path in source_files(source))


def source_files(source: str) -> list[Path]:
    """The files that a path or glob names, by name; raises DataError where there is none."""
    found = [Path(name) for name in sorted(glob.glob(source, recursive=True)) if Path(name).is_file()]
    if not found and Path(source).is_file():  # a name with brackets in it, which are no pattern
        found = [Path(source)]
    if not found:
        raise DataError(f"data.source: no file {source}; expected CSV or Parquet files, or an SQLAlchemy URL")
    return found


def _read_file(path: Path, wanted: set[str], numbers: set[str]) -> pd.DataFrame:
    try:
        if _is_parquet(path):
            return _read_parquet(path, wanted)
        return _read_csv(path, wanted, numbers)
    except DataError:
        raise
    except Exception as error:  # pandas and pyarrow raise a dozen kinds for what they cannot read
        raise DataError(f"data.source: {path} cannot be read: {str(error).splitlines()[0][:200]}") from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _read_parquet(path: Path, wanted: set[str]) -> pd.DataFrame:
    import pyarrow.parquet

    present = pyarrow.parquet.read_schema(path).names
    return pd.read_parquet(path, columns=[name for name in present if name in wanted])


def _read_csv(path: Path, wanted: set[str], numbers: set[str]) -> pd.DataFrame:
    texts: pd.DataFrame = pd.read_csv(
        path,
        usecols=lambda name: name in wanted,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        sep="\t" if path.suffix.lower() == ".tsv" else ",",
        encoding="utf-8-sig",
    )
    for name in numbers & set(texts.columns):
        texts[name] = _numbers(texts[name], path)
    return texts


def _numbers(texts: pd.Series[Any], path: Path) -> pd.Series[Any]:
    present = texts.where(~texts.isin(NO_NUMBER))
    parsed: pd.Series[Any] = pd.to_numeric(present, errors="coerce").astype("float64")
    bad = present.notna() & parsed.isna()
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise DataError(
            f"data.source: {path}, row {row + 1}: {texts.iloc[row]!r} in column {texts.name!r} is no number; "
            f'expected numbers, or [columns.{texts.name}] type = "category"'
        )
    return parsed


def count_rows(url: str, query: str | None) -> int:
    """How many rows a database's query gives."""
    frame = _query(url, f"SELECT COUNT(*) AS rows_held FROM ({(query or '').strip().rstrip(';')}) AS asked")
    return int(frame.iloc[0].astype("int64").iloc[0])


def _read_database(url: str, query: str | None, wanted: set[str], span: Span) -> pd.DataFrame:
    if query is None:
        raise DataError("data.query: missing; a database as data.source needs the SQL that reads its rows")
    frame = _query(url, query, span)
    return frame[[name for name in frame.columns if name in wanted]]


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
