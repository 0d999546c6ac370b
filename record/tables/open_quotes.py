"""Quotes that are not closed: a field that swallows the rows behind it.

Imports pyarrow inside functions: a serving worker never calls them.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from record.tables.dialect import LONGEST_FIELD, Dialect
from record.tables.file_bytes import open_bytes

if TYPE_CHECKING:
    import pyarrow as pa


def may_swallow(batch: pa.RecordBatch, dialect: Dialect) -> bool:
    """Whether a field holds a line break and as many delimiters as a row, or a line break at its end."""
    import pyarrow.compute as pc

    fewest = len(dialect.header) - 1
    for column in batch.columns:
        broken = column.filter(pc.match_substring_regex(column, "[\r\n]"))
        if not len(broken):
            continue
        rows = pc.greater_equal(pc.count_substring(broken, dialect.delimiter), fewest)
        if pc.any(pc.or_(rows, pc.match_substring_regex(broken, "[\r\n]$"))).as_py():
            return True
    return False


def open_quote(path: Path, dialect: Dialect) -> int | None:
    """The line of the first row whose quote ends lines later, before no delimiter, or not at all; None: there is none.

    Reads the whole file, by Python's parser.
    """
    csv.field_size_limit(LONGEST_FIELD)
    with open_bytes(path) as file, io.TextIOWrapper(file, dialect.encoding, errors="replace", newline="") as text:
        reader: Any = csv.reader(text, delimiter=dialect.delimiter, strict=True)
        while True:
            begin = int(reader.line_num) + 1
            try:
                next(reader)
            except StopIteration:
                return None
            except csv.Error as error:
                if reader.line_num > begin or "end of data" in str(error):
                    return begin
