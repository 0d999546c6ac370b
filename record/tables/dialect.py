"""How a text file writes a table: its encoding, its delimiter and its header."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from record.errors import DataError
from record.tables.encoding import text_encoding
from record.tables.file_bytes import open_bytes, unpacked
from record.tables.number_text import decimal_votes, parse_number
from record.tables.reading_rules import DELIMITERS, MISSING_WORDS, DecimalMark, ReadingRules

SAMPLE_BYTES: Final = 1 << 20
SAMPLE_ROWS: Final = 200
DECIMAL_ROWS: Final = 2_000
NUMBERS_SHARE: Final = 0.9  # of a column's different texts: fewer, and it has no say in what the decimal mark is
LONGEST_FIELD: Final = 1 << 24
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
Evidence = Literal["none", "either", "sure"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A text file's encoding (a codec of Python's), its delimiter, the fields of its header, and its decimal mark.

    `lines_before` are those before the header: empty ones, and Excel's `sep=;`; `evidence` is what the decimal
    mark follows from: numbers that only one mark can have made, numbers that either can have ("1,234"), or nothing.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    lines_before: int = 0
    decimal: DecimalMark = "."
    evidence: Evidence = "none"

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """Each row behind the header as the line on which it begins, and its fields. Slow: to find what is wrong."""
        csv.field_size_limit(LONGEST_FIELD)
        with open_bytes(path) as file, io.TextIOWrapper(file, self.encoding, errors="replace", newline="") as text:
            reader = csv.reader(text, delimiter=self.delimiter)
            for _ in range(self.lines_before + 1):
                next(reader, None)
            begin = reader.line_num + 1
            for fields in reader:
                if fields or len(self.header) == 1:
                    yield begin, fields or [""]
                begin = reader.line_num + 1


def find_dialect(path: Path, rules: ReadingRules, expected: Sequence[str] = ()) -> Dialect:
    """The file's dialect. `expected` are names of columns, by which delimiters are told apart where others are not.

    Raises DataError for an empty file, and for one that is not text.
    """
    head = _head(path)
    if not head.strip():
        raise DataError(f"{path}: empty; expected a header and rows")
    encoding = _encoding(head, rules.encoding, path)
    text = _decoded(head, encoding, whole=len(head) < SAMPLE_BYTES).removeprefix("\ufeff")
    whole = text if len(head) < SAMPLE_BYTES else text[: text.rfind("\n") + 1]
    lines = io.StringIO(whole, newline="").readlines()
    before = _empty_lines(lines)
    first = lines[before].strip() if before < len(lines) else ""
    named = first.lower().startswith("sep=") and len(first) <= 5
    if named:
        before += 1 + _empty_lines(lines[before + 1 :])
    rest = "".join(lines[before:])
    found = (first[4:] or "\t") if named else None
    delimiter = rules.delimiter or found or _delimiter(rest, path, expected)
    return _dialect(encoding, delimiter, rest, rules, path, before)


def _empty_lines(lines: Sequence[str]) -> int:
    return next((place for place, line in enumerate(lines) if line.strip(" \r\n")), len(lines))


def _head(path: Path) -> bytes:
    with unpacked(path), open_bytes(path) as file:
        return file.read(SAMPLE_BYTES)


def _dialect(encoding: str, delimiter: str, text: str, rules: ReadingRules, path: Path, lines_before: int) -> Dialect:
    rows = _fields(text, delimiter)
    header = next(rows, None)
    if header is None:
        raise DataError(f"{path}: empty; expected a header and rows")
    if rules.decimal is not None:
        return Dialect(encoding, delimiter, tuple(header), lines_before, rules.decimal, "sure")
    decimal, evidence = _decimal(list(islice(rows, DECIMAL_ROWS)), delimiter)
    return Dialect(encoding, delimiter, tuple(header), lines_before, decimal, evidence)


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> tuple[DecimalMark, Evidence]:
    """The mark by which more of the columns are numbers; "1,234" alone is a decimal where ";" stands between fields."""
    commas = points = eithers = 0
    evidence: Evidence = "none"
    for column in zip(*rows, strict=False):
        texts = {text for text in column if text.strip() not in MISSING_WORDS}
        votes = decimal_votes(texts)
        if not votes.any:
            continue
        by_comma = sum(parse_number(text, ",") is not None for text in texts)
        by_point = sum(parse_number(text, ".") is not None for text in texts)
        if max(by_comma, by_point) < NUMBERS_SHARE * len(texts):
            continue
        commas += votes.comma > 0 and by_comma > by_point
        points += votes.point > 0 and by_point > by_comma
        eithers += not votes.sure and votes.comma_or_group > 0
        evidence = "sure" if votes.sure or evidence == "sure" else "either"
    if commas > points or (commas == points == 0 and eithers and delimiter == ";"):
        return ",", evidence
    return ".", evidence


def _encoding(head: bytes, given: str | None, path: Path) -> str:
    for mark, name in _MARKS:
        if head.startswith(mark):
            return "utf-8-sig" if name == "utf-8" else name
    if given is not None:
        return given
    if _is_binary(head):
        raise DataError(f"{path}: not a text file; expected CSV or Parquet")
    if b"\0" in head:
        even, odd = head[0:4000:2].count(0), head[1:4000:2].count(0)
        if max(even, odd) > len(head[:4000]) / 4 and min(even, odd) * 4 < max(even, odd):
            return "utf-16-le" if odd > even else "utf-16-be"
    return text_encoding(path)


def _is_binary(head: bytes) -> bool:
    """Whether many bytes are control characters, of which texts have none but NUL, in UTF-16 and by accident."""
    control = sum(map(head.count, (bytes([code]) for code in (*range(1, 8), *range(14, 27)))))
    return control > len(head) / 100


def _decoded(head: bytes, encoding: str, *, whole: bool) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head, final=whole)
    except UnicodeDecodeError:
        return head.decode(encoding, errors="replace")


def _delimiter(text: str, path: Path, expected: Sequence[str]) -> str:
    """The one that splits most rows into as many fields as the header, more than one."""
    preferred = "\t" if path.suffixes and path.suffixes[0].lower() in (".tsv", ".tab") else ","
    ranked = []
    for delimiter in DELIMITERS:
        rows = list(islice(_fields(text, delimiter), SAMPLE_ROWS))
        header = rows[0] if rows else []
        if len(header) < 2:
            continue
        named = all(name in header for name in expected) and bool(expected)
        widths = Counter(len(row) for row in rows)
        share = widths[len(header)] / len(rows)
        ranked.append((named, round(share, 1), delimiter == preferred and share > 0.5, len(header), delimiter))
    return max(ranked)[4] if ranked else preferred


def _fields(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_FIELD)
    return (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
