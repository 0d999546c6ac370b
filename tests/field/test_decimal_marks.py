"""The decimal mark: one for all files, written down where it was found, and never off by a thousand in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from record.configuration.inspection import inspect
from record.contract.columns import Column
from record.errors import DataError
from record.tables.number_text import parse_number
from record.tables.reading_rules import ReadingRules
from retrain.data.source import read_source
from tests.field.tables import write

X = Column("x", "feature", "number")


def table(cells: list[str], delimiter: str = ";", **more: list[str]) -> str:
    """Forty rows of x, other columns, and a target y."""
    held = {"x": cells, **more, "y": ["yes", "no"]}
    rows = [[column[row % len(column)] for column in held.values()] for row in range(40)]
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    return "\n".join(delimiter.join(row) for row in [list(held), *quoted]) + "\n"


def numbers(source: Path, rules: ReadingRules) -> list[float]:
    return [float(value) for value in read_source(str(source), None, [X], {"y"}, rules=rules).frame["x"]]


@pytest.mark.parametrize(
    ("cells", "delimiter", "mark", "values"),
    [
        (["950.000", "1.234.567"], ";", ",", [950000, 1234567]),
        (["950,000", "1,234,567"], ";", ".", [950000, 1234567]),
        (["1,234.50", "950.25"], ";", ".", [1234.5, 950.25]),
        (["7,8", "1.234"], ";", ",", [7.8, 1234]),
        (["950.000", "1.234.567"], ",", ",", [950000, 1234567]),
        (["950,000", "12,34,567"], ";", ".", [950000, 1234567]),
        (["0,123", "0,456"], ",", ",", [0.123, 0.456]),
        (["1,234", "12,500"], ";", ",", [1.234, 12.5]),
        (["7", "8"], ";", None, [7, 8]),
        (["0.15", "1234.5"], ",", None, [0.15, 1234.5]),
    ],
)
def test_the_mark_is_found_and_written(
    tmp_path: Path, cells: list[str], delimiter: str, mark: str | None, values: list[float]
) -> None:
    path = write(tmp_path, table(cells, delimiter))
    found = inspect(path, "y").rules
    assert found.decimal == mark
    assert found.missing == ()
    assert numbers(path, found)[:2] == values
    assert numbers(path, ReadingRules())[:2] == values


def test_a_later_file_is_read_by_the_mark_that_was_found(tmp_path: Path) -> None:
    """A file with semicolons and points, and one in which a comma could be either."""
    rules = inspect(write(tmp_path, table(["1,234.50", "950.25"])), "y").rules
    later = write(tmp_path, table(["1,234", "12,500"]), "later.csv")
    assert numbers(later, rules)[:2] == [1234, 12500]


def test_the_first_file_that_shows_a_mark_gives_it(tmp_path: Path) -> None:
    """Whole numbers say nothing of the files after them."""
    write(tmp_path, table(["7", "8"]), "day1.csv")
    write(tmp_path, table(["1,234", "5,678"]), "day2.csv")
    read = numbers(tmp_path / "day*.csv", ReadingRules())
    assert sorted(set(read)) == [1.234, 5.678, 7, 8]


def test_files_with_two_marks_are_refused(tmp_path: Path) -> None:
    write(tmp_path, table(["1234.50", "950.25"]), "day1.csv")
    write(tmp_path, table(["1234,50", "950,25"]), "day2.csv")
    with pytest.raises(DataError, match=r"day2.csv: numbers have a decimal comma, those of day1.csv a decimal point"):
        read_source(str(tmp_path / "day*.csv"), None, [], {"y"})


@pytest.mark.parametrize(
    ("cells", "more", "delimiter", "words"),
    [
        (["50.100", "49.875"], {"z": ["0,34"]}, ",", "'50.100' is read as 50100; where it means 50.1"),
        (["50.100", "49.875"], {}, ";", "'50.100' is read as 50.1; where it means 50100"),
        (["1,234", "5,678"], {}, ",", "'1,234' is read as 1234; where it means 1.234"),
        (["0,123", "0,456"], {"z": ["0.15"]}, ",", "'0,123' has a decimal comma, other columns a point"),
    ],
)
def test_a_column_that_can_be_read_either_way_is_told(
    tmp_path: Path, cells: list[str], more: Any, delimiter: str, words: str
) -> None:
    found = inspect(write(tmp_path, table(cells, delimiter, **more)), "y")
    assert any(finding.column == "x" and words in finding.message for finding in found.findings)


@given(st.integers(0, 999_999_999), st.integers(0, 9_999), st.sampled_from([".", ","]), st.booleans())
def test_a_number_has_one_value_or_none(whole: int, part: int, mark: Any, grouped: bool) -> None:
    """By its own mark it is itself; by the other one nothing a thousand times off, unless it can be a group."""
    other = "," if mark == "." else "."
    text = f"{whole:,}".replace(",", other) if grouped else str(whole)
    written = f"{text}{mark}{part:04d}"
    assert parse_number(written, mark) == pytest.approx(whole + part / 10_000)
    assert parse_number(written, other) is None
    assert parse_number(f"0{mark}{part % 1000:03d}", other) is None
