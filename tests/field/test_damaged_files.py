"""Damaged files: quotes left open, stray bytes, broken archives. Each is refused by name, and the line said."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from record.configuration.inspection import inspect
from record.errors import DataError
from record.tables.csv_file import open_csv
from record.tables.reading_rules import ReadingRules
from tests.field.tables import write

NOTES = ["fine", "5in", '"two\nlines, and, more, commas"', '"say ""no"" to it"', 'a 5" pipe']


def table(**cells: str) -> str:
    """Thirty rows of i, y, b; `row10="…"` is another text for the cell of b in that row."""
    rows = (f"{n},{n % 2},{cells.get(f'row{n}', 'b')}" for n in range(1, 31))
    return "\n".join(["i,y,b", *rows]) + "\n"


def count_rows(path: Path) -> int:
    return sum(batch.num_rows for batch in open_csv(path, ReadingRules()).batches({"i", "y"}))


@pytest.mark.parametrize(
    "cells",
    [
        {"row10": '"5in'},
        {"row30": '"5in'},
        {"row10": '"5in', "row20": '"6in'},
        {"row10": '"5in', "row11": '"6in'},
        {"row10": '"5in', "row5": NOTES[2]},
        {"row10": '"'},
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_quote_that_is_not_closed_is_refused_with_its_line(
    tmp_path: Path, cells: dict[str, str], packed: bool
) -> None:
    """The rows behind it were part of the field."""
    text = table(**cells)
    opened = min(row for name, cell in cells.items() if cell.count('"') == 1 and (row := int(name[3:])))
    line = opened + 1 + sum(cell.count("\n") for name, cell in cells.items() if int(name[3:]) < opened)
    path = write(tmp_path, gzip.compress(text.encode()) if packed else text, "rows.csv.gz" if packed else "rows.csv")
    with pytest.raises(DataError, match=f"line {line}: a quote is not closed"):
        count_rows(path)
    with pytest.raises(DataError, match=f"line {line}: a quote is not closed"):
        inspect(path, "y")


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("place", [1, 10, 30])
def test_quotes_that_are_closed_are_no_fault(tmp_path: Path, note: str, place: int) -> None:
    path = write(tmp_path, table(**{f"row{place}": note}))
    assert count_rows(path) == 30


@pytest.mark.parametrize("row", [3, 200, 299])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_stray_byte_in_utf_8_is_named_by_its_line(tmp_path: Path, row: int, packed: bool, mark: bytes) -> None:
    """One of them made every Zürich a ZÃ¼rich."""
    lines = [b"i,y,city", *(f"{n},{n % 2},Zürich".encode() for n in range(300))]
    lines[row] = lines[row].replace("ü".encode(), b"\xfc")
    content = mark + b"\n".join(lines) + b"\n"
    path = write(tmp_path, gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=f"line {row + 1}: .*UTF-8"):
        inspect(path, "y")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_file_of_one_byte_a_character_is_read_as_it_is(tmp_path: Path, packed: bool, late: bool) -> None:
    """Packed or not, and wherever its first letter beyond ASCII stands; "Ü–" is one character of UTF-8 by chance."""
    cities = ["Bonn"] * (150_000 if late else 10) + ["Köln", "Zürich", "Gruß", "Ärger", "Fläche"] * 3 + ["Ü–"]
    content = "".join(["i,y,city\n", *(f"{n},{n % 2},{city}\n" for n, city in enumerate(cities))]).encode("cp1252")
    file = open_csv(write(tmp_path, gzip.compress(content) if packed else content), ReadingRules())
    assert file.encoding_name == "Windows-1252"
    read = [text for batch in file.batches({"city"}) for text in batch.column("city").to_pylist()]
    assert read == cities


def zip_of(text: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("rows.csv", text)
    return held.getvalue()


def encrypted(content: bytes) -> bytes:
    """With the flags of a file that needs a password, in both of its headers."""
    data = bytearray(content)
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def unknown_method(content: bytes) -> bytes:
    data = bytearray(content)
    data[8] = 99
    data[data.index(b"PK\x01\x02") + 10] = 99
    return bytes(data)


LONG = table() + "1,0,b\n" * 400_000


@pytest.mark.parametrize(
    "content",
    [
        encrypted(zip_of(table())),
        unknown_method(zip_of(table())),
        zip_of(table()).replace(b"20,0,b", b"21,0,b", 1),
        zip_of(LONG)[:-200_000] + zip_of(LONG)[-200_000:].replace(b"1,0,b", b"1,0,c", 1),
        zip_of(table())[:200],
        gzip.compress(table().encode())[:-8] + b"\0" * 8,
    ],
    ids=["encrypted", "unknown method", "damaged", "damaged late", "cut", "wrong sum"],
)
def test_archives_that_cannot_be_unpacked_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"rows.zip: cannot be unpacked: \S+"):
        count_rows(write(tmp_path, content, "rows.zip"))


@pytest.mark.parametrize("content", ["a,y", "a,y\n", "a;y", "sep=;\na;y", '"a","y"'])
def test_a_header_without_rows_is_told(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"no value in 0 rows"):
        inspect(write(tmp_path, content), "y")
