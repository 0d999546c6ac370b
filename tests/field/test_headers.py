"""Headers and files' names: empty lines, names that stand twice, and names that are patterns."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from record.configuration.inspection import inspect
from record.contract.columns import Column
from record.errors import DataError
from record.tables.column_names import column_names, is_nameless
from record.tables.csv_file import open_csv
from record.tables.reading_rules import ReadingRules
from retrain.data.source import read_source, source_files
from tests.field.tables import csv, orders, project, write


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["\n", "\n\n\n", "  \n", "sep=;\n", "\nsep=;\n", "sep=;\n\n", "\n\nsep=;\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_empty_lines_before_the_header_are_no_rows(tmp_path: Path, before: str, end: str, encoding: str) -> None:
    text = csv(orders(), sep=";")
    plain = project(tmp_path / "a", text)
    made = project(tmp_path / "b", (before + text).replace("\n", end).encode(encoding))
    assert made.inspection.columns == plain.inspection.columns
    assert made.data.fingerprint() == plain.data.fingerprint()


def test_lines_are_counted_from_the_files_first(tmp_path: Path) -> None:
    path = write(tmp_path, "\nsep=,\n\na,y\n1,yes\n\n2\n")
    with pytest.raises(DataError, match="line 7: row 2 has 1 field, the header 2"):
        inspect(path, "y")


@pytest.mark.parametrize("lines", [["1", "", "3"], ["", "2", "3"], ["1", "2", ""]])
def test_an_empty_line_in_a_file_of_one_column_is_a_row(tmp_path: Path, lines: list[str]) -> None:
    """As `ringside predict` answers it: an answer for each row."""
    path = write(tmp_path, "\n".join(["x", *lines]) + "\n")
    frame = read_source(str(path), None, [Column("x", "feature", "number")], []).frame
    assert [None if value != value else str(int(value)) for value in frame["x"]] == [line or None for line in lines]
    assert open_csv(path, ReadingRules()).line_of(2) == 4
    two = write(tmp_path, "\n".join(["x,z", *(line and f"{line},1" for line in lines)]) + "\n")
    assert len(read_source(str(two), None, [Column("x", "feature", "number")], []).frame) == 2


@given(st.lists(st.sampled_from(["age", "age.1", "age.2", "", " ", "Unnamed: 1", "b"]), min_size=1, max_size=8))
def test_each_column_has_a_name_of_its_own(header: list[str]) -> None:
    names = column_names(header, Path("rows.csv"), set())
    assert len(set(names)) == len(names) == len(header)
    for name, written in zip(names, header, strict=True):
        first = header.index(written) == names.index(name)
        assert name == written if written.strip() and first else name.startswith(written) or is_nameless(name)


@pytest.mark.parametrize(
    ("wanted", "value"), [({"age.1"}, "2"), ({"age.2"}, "3"), ({"age", "age.1"}, None), (None, None)]
)
def test_a_name_that_a_column_has_is_not_given_to_another(
    tmp_path: Path, wanted: set[str] | None, value: str | None
) -> None:
    path = write(tmp_path, "age,age.1,age\n1,2,3\n")
    if value is None:
        with pytest.raises(DataError, match="'age' stands 2 times"):
            open_csv(path, ReadingRules(), wanted)
        return
    (name,) = wanted or set()
    batch = next(open_csv(path, ReadingRules(), wanted).batches(wanted))
    assert batch.column(name).to_pylist() == [value]


@pytest.mark.parametrize("name", ["rows[1].csv", "rows?.csv", "rows*.csv", "[ab].csv"])
def test_a_file_is_itself_also_where_its_name_is_a_pattern(tmp_path: Path, name: str) -> None:
    for other in ("rows1.csv", "rows2.csv", "a.csv"):
        write(tmp_path, "x\n1\n", other)
    path = write(tmp_path, "x\n7\n", name)
    assert source_files(str(path)) == [path]
    path.unlink()
    assert source_files(str(path))[0].name in ("rows1.csv", "a.csv")
