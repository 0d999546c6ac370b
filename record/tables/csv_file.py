"""A CSV file's fields as text, column by column, read in parts; each row has as many fields as the header.

Imports pyarrow inside functions: a serving worker never calls them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from record.errors import DataError
from record.tables.column_names import column_names
from record.tables.dialect import Dialect, find_dialect
from record.tables.encoding import stray_line
from record.tables.file_bytes import open_bytes, unpacked
from record.tables.open_quotes import may_swallow, open_quote
from record.tables.reading_rules import ReadingRules

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES: Final = 16 << 20
LARGEST_BLOCK: Final = 1 << 30
_NAMES = {"utf-8-sig": "UTF-8", "utf-8": "UTF-8", "cp1252": "Windows-1252", "iso-8859-1": "Latin-1"}


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file, its dialect, and the names of its columns in the file's order."""

    path: Path
    dialect: Dialect
    names: tuple[str, ...]

    @property
    def encoding_name(self) -> str:
        return _NAMES.get(self.dialect.encoding, self.dialect.encoding.upper())

    def batches(self, wanted: Collection[str] | None = None, *, block: int = BLOCK_BYTES) -> Iterator[pa.RecordBatch]:
        """The wanted columns (None: all) as strings, an empty field as null. Raises DataError naming the line.

        Memory is that of one block of the file, however large the file is.
        """
        yielded = False
        try:
            for batch in _batches(self, wanted, block):
                yielded = True
                yield batch
        except _TooLong:
            if yielded:
                raise DataError(f"{self.path}: a field of more than {block:,} bytes; is a quote not closed?") from None
            try:
                yield from _batches(self, wanted, LARGEST_BLOCK)
            except _TooLong:
                if next(self.dialect.rows(self.path), None) is None:
                    return  # a header without the line's end
                raise DataError(
                    f"{self.path}: a field of more than {LARGEST_BLOCK:,} bytes; is a quote not closed?"
                ) from None

    def line_of(self, row: int) -> int:
        """The line on which a row (from 0, the header not counted) begins."""
        for place, (line, _) in enumerate(self.dialect.rows(self.path)):
            if place == row:
                return line
        return row + 2


class _TooLong(Exception):
    pass


def open_csv(
    path: Path, rules: ReadingRules, wanted: Collection[str] | None = None, expected: Collection[str] = ()
) -> CsvFile:
    """The file with its dialect found; `wanted` are the only columns that are needed (None: all)."""
    dialect = find_dialect(path, rules, tuple(expected))
    names = column_names(dialect.header, path, wanted)
    return CsvFile(path, dialect, tuple(names))


def _batches(file: CsvFile, wanted: Collection[str] | None, block: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.csv as pc

    dialect = file.dialect
    chosen = [name for name in file.names if wanted is None or name in wanted]
    kept = chosen or [file.names[0]]
    looked_for_quotes = False
    wrong: list[Any] = []

    def keep(row: Any) -> str:
        wrong.append(row)
        return "skip"

    read = pc.ReadOptions(
        use_threads=False,
        block_size=block,
        skip_rows=dialect.lines_before,
        column_names=list(file.names),
        skip_rows_after_names=1,
        encoding="utf-8" if dialect.encoding == "utf-8-sig" else dialect.encoding,
    )
    parse = pc.ParseOptions(
        delimiter=dialect.delimiter,
        newlines_in_values=True,
        ignore_empty_lines=len(file.names) > 1,  # in a file of one column an empty line is a row without a value
        invalid_row_handler=keep,
    )
    convert = pc.ConvertOptions(
        column_types=dict.fromkeys(file.names, pa.string()),
        include_columns=list(dict.fromkeys([*kept, file.names[-1]])),  # a quote left open swallows rows into the last
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    with _errors(file), open_bytes(file.path) as stream:
        with pc.open_csv(stream, read, parse, convert) as reader:
            for batch in reader:
                if wrong:
                    raise _ragged(file)
                if not looked_for_quotes and may_swallow(batch, dialect):
                    looked_for_quotes = True
                    _refuse_open_quote(file)
                yield batch.select(kept)
        if wrong:
            raise _ragged(file)


@contextmanager
def _errors(file: CsvFile) -> Iterator[None]:
    import pyarrow as pa

    try:
        with unpacked(file.path):
            yield
    except pa.ArrowInvalid as error:
        text = str(error)
        if "straddling" in text or "block size" in text:
            raise _TooLong from None
        if "Empty CSV" in text:
            return
        if "UTF8" in text or "decode" in text:
            raise _undecodable(file) from None
        raise DataError(f"{file.path}: cannot be read as CSV: {text.splitlines()[0][:200]}") from None
    except (UnicodeError, LookupError):
        raise _undecodable(file) from None


def _refuse_open_quote(file: CsvFile) -> None:
    line = open_quote(file.path, file.dialect)
    if line is not None:
        raise DataError(
            f"{file.path}, line {line}: a quote is not closed, and the field goes on in the next line; expected a "
            'quote at its end, followed by a delimiter or the end of the line, and a quote within it twice: "5"" pipe"'
        )


def _undecodable(file: CsvFile) -> DataError:
    line = stray_line(file.path) if file.encoding_name == "UTF-8" else None
    place = f"{file.path}, line {line}" if line else f"{file.path}"
    return DataError(
        f'{place}: not {file.encoding_name}; expected another data.encoding, such as "cp1252", or the file saved '
        "as UTF-8"
    )


def _ragged(file: CsvFile) -> DataError:
    """Names the first row that is not as wide as the header, and how many there are."""
    width = len(file.dialect.header)
    first: tuple[int, int, int] | None = None
    total = several = 0
    widest_last = True
    for row, (line, fields) in enumerate(file.dialect.rows(file.path), 1):
        total += 1
        if len(fields) == width:
            continue
        first = first or (line, row, len(fields))
        several += 1
        widest_last &= len(fields) == width + 1 and not fields[-1].strip()
    assert first is not None
    line, row, found = first
    what = f"{file.path}, line {line}: row {row} has {_fields(found)}, the header {width}"
    if several > 1:
        what += f" ({several} of {total} rows are not as wide as the header)"
    if widest_last:
        todo = "a delimiter at the end of the row that the header has not; take it away, or add one to the header"
    elif several == total and found == width + 1:
        todo = "is there a column of row names without a name? Give it one, or write without it (R: row.names = FALSE)"
    else:
        todo = "expected as many; a field that holds the delimiter or a line break has to stand in double quotes"
    return DataError(f"{what}: {todo}")


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"
