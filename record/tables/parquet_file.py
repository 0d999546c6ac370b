"""A Parquet file's columns, read a group of rows at a time; pandas' own notes about types and indexes do not count."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from record.errors import DataError
from record.tables.arrow_column import arrow_series, unreadable_type

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_INDEX = re.compile(r"__index_level_\d+__")


def parquet_names(path: Path) -> tuple[str, ...]:
    """The names of the file's columns, named indexes among them. Raises DataError where one stands twice."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = tuple(str(name) for name in pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0][:200]}") from None
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise DataError(f"{path}: column {twice!r} stands twice in the data; expected different names")
    return names


def is_index(name: str) -> bool:
    """Whether the column is an index that pandas wrote and that has no name."""
    return bool(_INDEX.fullmatch(name))


def read_parquet(
    path: Path, wanted: Collection[str] | None = None, rows: int | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The wanted columns (None: all) of the first `rows` rows, and why columns that cannot be read are not there."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [name for name in parquet_names(path) if wanted is None or name in wanted]
    try:
        with pq.ParquetFile(path) as file:
            kinds = {name: file.schema_arrow.field(name).type for name in names}
            unreadable = {name: why for name, kind in kinds.items() if (why := unreadable_type(kind)) is not None}
            chosen = [name for name in names if name not in unreadable]
            table = _table(file, chosen, rows)
            count = table.num_rows if chosen else min(file.metadata.num_rows, rows or file.metadata.num_rows)
            held: dict[str, pd.Series[Any]] = {name: arrow_series(table.column(name), name) for name in chosen}
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0][:200]}") from None
    return pd.DataFrame(held, columns=chosen, index=pd.RangeIndex(count)), unreadable


def _table(file: Any, names: list[str], rows: int | None) -> pa.Table:
    import pyarrow as pa

    if rows is None:
        return file.read(columns=names, use_pandas_metadata=False).select(names)
    batches, held = [], 0
    for batch in file.iter_batches(batch_size=min(max(rows, 1), 65_536), columns=names, use_pandas_metadata=False):
        batches.append(batch)
        held += batch.num_rows
        if held >= rows:
            break
    if not batches:
        return pa.schema([file.schema_arrow.field(name) for name in names]).empty_table()
    return pa.Table.from_batches(batches).select(names).slice(0, rows)
