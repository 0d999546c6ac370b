"""A column of Parquet as pandas holds it here, and the types that are refused by name.

Imports pandas and pyarrow inside functions: a serving worker never calls them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

EXACT_BELOW = 2**53


def unreadable_type(kind: pa.DataType) -> str | None:
    """What such a column holds and what to store instead, where no JSON value says it; None where it is read."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return unreadable_type(kind.value_type)
    if types.is_duration(kind):
        return "durations (store seconds as a number)"
    if types.is_time(kind):
        return "times of day without a date (store hours as a number)"
    if types.is_interval(kind):
        return "intervals (store days as a number)"
    if types.is_nested(kind):
        return "lists, maps or structs (store each part as a column of its own)"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "bytes (store text)"
    readable = (
        types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_string, types.is_large_string,
        types.is_string_view, types.is_date, types.is_timestamp, types.is_null,
    )  # fmt: skip
    return None if any(is_it(kind) for is_it in readable) else f"values of type {kind}"


def arrow_series(column: pa.ChunkedArray, name: str) -> pd.Series[Any]:
    """The column as a series: floats and integers as numpy's, decimals as numbers, dictionaries as their values.

    Integers with gaps are floats, and Python's integers where a float could not hold them.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.types as types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_null(kind):
        return pd.Series([None] * len(column), dtype=object, name=name)
    if types.is_decimal(kind):
        return _numbers_of_decimals(column, name)
    if types.is_floating(kind):
        return pd.Series(column.cast(pa.float64()).to_numpy(), name=name)
    if types.is_integer(kind) and column.null_count and _beyond_floats(column):
        return pd.Series(column.to_pylist(), dtype=object, name=name)
    if types.is_string_view(kind):
        column = column.cast(pa.large_string())
    series: pd.Series[Any] = column.to_pandas()
    series.name = name
    return series


def _beyond_floats(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    ends = pc.min_max(column).as_py()
    return ends["max"] is not None and max(abs(ends["min"]), abs(ends["max"])) >= EXACT_BELOW


def _numbers_of_decimals(column: pa.ChunkedArray, name: str) -> pd.Series[Any]:
    """Whole ones as integers, others as the floats that are written alike; by way of text, so that they are exact."""
    import pandas as pd

    coded = column.combine_chunks().dictionary_encode()
    values: list[Decimal] = coded.dictionary.to_pylist()
    whole = column.type.scale <= 0
    known: list[Any] = [int(value) if whole else float(value) for value in values]
    cells = [None if code is None else known[code] for code in coded.indices.to_pylist()]
    if whole and any(cell is None or abs(cell) >= EXACT_BELOW for cell in cells):
        return pd.Series(cells, dtype=object, name=name)
    return pd.Series(cells, dtype="int64" if whole else "float64", name=name)
