"""A training frame read by the rules for records. Imports pandas: serving workers never call it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.contract.columns import (
    EARLIEST,
    FLOAT32_MAX,
    LATEST,
    READERS,
    TIME_PARTS,
    BadValue,
    Column,
    ColumnType,
    read_time,
    time_parts,
)
from record.errors import DataError


class BadCell(DataError):
    """A cell that its column cannot take; `row` is its place in the frame, `reason` what is wrong with it."""

    def __init__(self, row: int, column: str, reason: str, place: str = "") -> None:
        where = f" ({place})" if place else ""
        super().__init__(f"row {row} of column {column!r}: {reason}{where}")
        self.row, self.column, self.reason = row, column, reason


def decode_column(frame: pd.DataFrame, column: Column, read: Callable[[Any], Any] | None = None) -> npt.NDArray[Any]:
    """One feature as an array [n, 1], or [n, parts] for a time: what the column's values give in records.

    `read` is how a version reads a category; None: as a record without one.
    """
    if column.name not in frame.columns:
        if column.required_in_tables:
            alternative = "arrival = false" if column.arrival else "required = false"
            raise DataError(f"column {column.name!r} is not in the data; expected it, or {alternative}")
        values: pd.Series[Any] = pd.Series([None] * len(frame), dtype=object)
    else:
        values = frame[column.name]
    if column.type == "number" and _is_plain_number(values):
        return _numbers(values, column.name)
    if column.type == "time" and _is_datetime(values):
        return _times(values, column.name)
    if column.type == "time":
        parts = _distinct(values, column, lambda value: time_parts(read_time(value)))
        return np.array(parts, dtype=np.float32).reshape(len(values), len(TIME_PARTS))
    dtype: Any = np.float32 if column.type == "number" else object
    return np.array(_distinct(values, column, read or READERS[column.type]), dtype=dtype).reshape(len(values), 1)


def frame_records(frame: pd.DataFrame, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """One JSON record for each row, of those columns that the frame has; missing is null."""
    held = [column for column in columns if column.name in frame.columns]
    lists = [[json_value(value, column.type) for value in frame[column.name].tolist()] for column in held]
    names = [column.name for column in held]
    return (
        [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)] if held else [{} for _ in frame.index]
    )


def json_value(value: Any, kind: ColumnType) -> Any:
    """A cell as the JSON value that says the same; what JSON cannot say is left for the reader to refuse."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, date):
        return value.isoformat()
    # pandas has no missing integer, and so keeps integer categories with gaps as 1.0, 2.0, NaN.
    if kind in ("category", "text") and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind == "text" and isinstance(value, bool | int):
        return str(value).lower()
    return value


def _iso(at: datetime) -> str:
    """To the microsecond, in UTC; what knows no zone is UTC."""
    at = at.to_pydatetime(warn=False) if isinstance(at, pd.Timestamp) else at
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat().replace("+00:00", "Z")


def _is_plain_number(values: pd.Series[Any]) -> bool:
    return isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf"


def _is_datetime(values: pd.Series[Any]) -> bool:
    return values.dtype.kind == "M"


def _numbers(values: pd.Series[Any], name: str) -> npt.NDArray[Any]:
    # By way of double precision, as JSON numbers come: a large integer cast straight to single rounds differently.
    doubles = values.to_numpy(dtype=np.float64)
    bad = np.flatnonzero(np.abs(doubles) > FLOAT32_MAX)
    if len(bad):
        raise _unusable(name, int(bad[0]), doubles[bad[0]], "a finite number within ±3.4028235e38")
    return doubles.astype(np.float32).reshape(-1, 1)


def _times(values: pd.Series[Any], name: str) -> npt.NDArray[Any]:
    aware = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
    naive = aware.dt.tz_localize(None).dt.as_unit("us")
    codes, distinct = pd.factorize(naive.to_numpy().astype("int64"))
    missing = values.isna().to_numpy()
    unset = np.iinfo(np.int64).min  # NaT
    far = (distinct != unset) & ((distinct < EARLIEST) | (distinct > LATEST))
    if far.any():
        row = int(np.flatnonzero(far[codes])[0])
        raise _unusable(name, row, naive.iloc[row], "a time between the years 1 and 9999 in UTC")
    parts = np.array([time_parts(None if m == unset else int(m)) for m in distinct], dtype=np.float32)
    held = parts.reshape(len(distinct), len(TIME_PARTS))[codes]
    held[missing] = np.nan
    return held


def _distinct(values: pd.Series[Any], column: Column, read: Callable[[Any], Any]) -> list[Any]:
    """Each value read once, however often it stands in the column."""
    known: dict[tuple[type, Any], Any] = {}
    held: list[Any] = []
    for row, cell in enumerate(values.tolist()):
        value = json_value(cell, column.type)
        zero = value.__class__ is float and not value
        key = (value.__class__, repr(value) if zero else value)  # 1, 1.0 and true are equal, as 0.0 and -0.0 are
        try:
            if key not in known:
                known[key] = read(value)
        except BadValue as bad:
            raise _unusable(column.name, row, value, bad.expected) from None
        except TypeError:  # a list or a dict in a cell
            raise _unusable(column.name, row, value, f"a {column.type}") from None
        held.append(known[key])
    return held


def _unusable(name: str, row: int, value: Any, expected: str) -> BadCell:
    return BadCell(row, name, f"{str(value)[:60]!r} cannot be used; expected {expected}")


def frame_labels(values: pd.Series[Any], task: Literal["classification", "regression"]) -> list[Any]:
    """The target's cells as the JSON values that labels would bring, ready for `Decoder.label`; None is missing."""
    if task == "classification":
        return [json_value(value, "category") for value in values.tolist()]
    return [json_value(value, "number") for value in values.tolist()]
