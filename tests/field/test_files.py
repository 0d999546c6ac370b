"""Files as tools write them: delimiters, encodings, packed ones, rows that are not as wide as the header, formats."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from record.configuration.inspection import inspect
from record.errors import DataError
from record.settings import load_settings
from record.tables.csv_file import open_csv
from record.tables.reading_rules import ReadingRules
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from tests.field.tables import ROWS, csv, orders, project, with_cells, write

LINES = csv(orders()).splitlines()


def joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def packed(text: str) -> dict[str, bytes]:
    plain = text.encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("export.csv", plain)
    return {
        "rows.csv.gz": gzip.compress(plain),
        "rows.csv.bz2": bz2.compress(plain),
        "rows.csv.xz": lzma.compress(plain),
        "rows.csv.zst": pa.compress(plain, "zstd", asbytes=True),
        "rows.zip": held.getvalue(),
    }


def spellings() -> dict[str, tuple[str, bytes]]:
    """One table, written in many ways: name → (file, bytes)."""
    frame = orders(note=["a\nb, c" if n % 2 else 'say "x"' for n in range(ROWS)])
    german = csv(frame, sep=";", decimal=",")
    ways = {
        "plain": ("rows.csv", csv(frame).encode()),
        "CRLF": ("rows.csv", csv(frame).replace("\n", "\r\n").replace("a\r\nb", "a\nb").encode()),
        "semicolons": ("rows.csv", csv(frame, sep=";").encode()),
        "decimal commas": ("rows.csv", german.encode()),
        "sep=": ("rows.csv", b"sep=;\r\n" + german.encode()),
        "pipes": ("rows.txt", csv(frame, sep="|").encode()),
        "tabs": ("rows.csv", csv(frame, sep="\t").encode()),
        "tsv": ("rows.tsv", csv(frame, sep="\t").encode()),
        "byte order mark": ("rows.csv", csv(frame).encode("utf-8-sig")),
        "Latin-1": ("rows.csv", csv(frame).encode("latin-1")),
        "Windows-1252": ("rows.csv", german.encode("cp1252")),
        "UTF-16": ("rows.csv", csv(frame, sep="\t").encode("utf-16")),
        "UTF-16 without a mark": ("rows.csv", csv(frame).encode("utf-16-le")),
        "all quoted": ("rows.csv", csv(frame, quoting=1).encode()),
        "trailing delimiters": ("rows.csv", csv(frame.assign(**{"": ""})).encode()),
        "an index": ("rows.csv", frame.to_csv().encode()),
    }
    return ways | {name: (name, content) for name, content in packed(csv(frame)).items()}


@pytest.mark.parametrize("way", [way for way in spellings() if way != "plain"])
def test_one_table_is_read_alike_however_it_is_written(tmp_path: Path, way: str) -> None:
    """`;` and decimal commas (dotnet/machinelearning-modelbuilder#107), encodings, packed files, indexes."""
    plain, other = spellings()["plain"], spellings()[way]
    expected = project(tmp_path / "a", plain[1], name=plain[0])
    made = project(tmp_path / "b", other[1], name=other[0])
    assert made.inspection.columns == expected.inspection.columns
    assert made.data.fingerprint() == expected.data.fingerprint()


@pytest.mark.parametrize(
    ("way", "key", "value"),
    [
        ("decimal commas", "decimal", ","),
        ("semicolons", "delimiter", ";"),
        ("tabs", "delimiter", "\t"),
        ("Windows-1252", "encoding", "cp1252"),
        ("plain", "delimiter", None),
        ("plain", "encoding", None),
        ("byte order mark", "encoding", None),
    ],
)
def test_what_was_found_stands_in_the_settings(tmp_path: Path, way: str, key: str, value: Any) -> None:
    """Only where it is not the usual: what `init` saw is what training goes by."""
    name, content = spellings()[way]
    made = project(tmp_path, content, name=name)
    assert getattr(made.settings.data, key) == value


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([LINES[0], f"{LINES[1]},", *LINES[2:]], "line 2: row 1 has 5 fields, the header 4"),
        ([LINES[0], *(f"{line}," for line in LINES[1:])], "160 of 160 rows"),
        ([*LINES[:40], "70,Aachen", *LINES[41:]], "line 41: row 40 has 2 fields, the header 4"),
        ([LINES[0], *(f'"{n}",{line}' for n, line in enumerate(LINES[1:]))], "row.names = FALSE"),
        ([*LINES[:9], *["70,Aachen"] * 30, *LINES[39:]], "30 of 160 rows"),
        ([*LINES, *LINES], "line 162: the header again"),
        ([*LINES[:5], LINES[5].replace(",", ',"', 1), *LINES[6:]], "line 6: row 5"),
    ],
)
def test_rows_that_are_not_as_wide_as_the_header_are_refused(tmp_path: Path, lines: list[str], words: str) -> None:
    """A trailing delimiter made the first column an index (pandas-dev/pandas#14124, #9295; natcap/invest#146)."""
    with pytest.raises(DataError) as error:
        project(tmp_path, joined(lines))
    assert words in error.value.message
    trained = project(tmp_path / "before", joined(LINES))
    write(tmp_path / "before", joined(lines))
    with pytest.raises(DataError) as error:
        load(trained.settings, problem_schema(trained.settings, None), [])
    assert words in error.value.message


def test_the_line_counts_line_breaks_within_quotes(tmp_path: Path) -> None:
    """The line is the one that an editor shows."""
    lines = [LINES[0], LINES[1].replace("Aachen", '"Aa\nchen"').replace("Bonn", '"Bo\nnn"'), "1,2", *LINES[3:]]
    begun = 3 + "".join(lines[:2]).count("\n")
    with pytest.raises(DataError, match=f"line {begun}: row 2 has 2 fields"):
        project(tmp_path, joined(lines))


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Duplicate headers were renamed in silence, or clobbered (pandas-dev/pandas#14704, #7160)."""
    with pytest.raises(DataError, match="'age' stands 2 times"):
        project(tmp_path, joined([f"{LINES[0]},age", *(f"{line},1" for line in LINES[1:])]))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.xlsx", b"PK\x03\x04rest", "an Excel workbook.*CSV UTF-8"),
        ("rows.json", b"[]", r"JSON.*read_json\('rows.json'\)"),
        ("rows.jsonl", b"{}", "lines of JSON"),
        ("rows.sav", b"$FL2", "SPSS.*read_spss"),
        ("rows.csv", b"$FL2@(#)", "SPSS"),
        ("rows.dta", b"x", "Stata"),
        ("rows.pkl", b"\x80\x04\x95", "pickle"),
        ("rows.db", b"SQLite format 3\0", "sqlite:///rows.db"),
        ("rows.csv", b"", "empty"),
        ("rows.csv", bytes(range(256)) * 8, "not a text file"),
        ("rows.csv.gz", gzip.compress(csv(orders()).encode())[:600], "cannot be unpacked"),
        ("rows.parquet", b"PAR1 and no more", "cannot be read as Parquet"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        inspect(write(tmp_path, content, name), "y")


def test_a_workbook_under_another_name_is_refused(tmp_path: Path) -> None:
    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("[Content_Types].xml", "<x/>")

    with pytest.raises(DataError, match="a spreadsheet"):
        inspect(write(tmp_path, save), "y")


@pytest.mark.parametrize(
    ("written", "asked", "words"),
    [("Y", "y", "did you mean Y"), ("y ", "y", "did you mean 'y '"), ("z", "y", "found age, city, amount, z")],
)
def test_a_column_that_is_not_there_is_told_beside_those_that_are(
    tmp_path: Path, written: str, asked: str, words: str
) -> None:
    with pytest.raises(DataError) as error:
        project(tmp_path, csv(orders().rename(columns={"y": written})), target=asked)
    assert words in error.value.message


def test_training_names_the_columns_of_the_file_too(tmp_path: Path) -> None:
    made = project(tmp_path, csv(orders()))
    write(tmp_path, csv(orders().rename(columns={"y": "Y", "age": "Age"})))
    with pytest.raises(DataError, match="no column 'y', the target; found Age, city, amount, Y; did you mean 'Y'"):
        load(made.settings, problem_schema(made.settings, None), [])


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_cell_that_cannot_be_used_is_named_by_its_row_in_the_file(tmp_path: Path, name: str) -> None:
    """Rows are mixed before they are decoded (learningequality/kolibri#6850, prime-reportstream#4677)."""
    rows = 400
    hours = pd.date_range("2024-01-01", periods=rows, freq="h").astype(str).to_numpy()[::-1]
    frame = orders(rows, seen=hours, other=hours)
    content = csv(frame) if name == "rows.csv" else (lambda path: frame.to_parquet(path))
    made = project(tmp_path, content, name=name)
    bad = with_cells(frame, "other", "soon", (311,))
    write(tmp_path, csv(bad) if name == "rows.csv" else (lambda path: bad.to_parquet(path)), name)
    place = "line 313" if name == "rows.csv" else "row 311"
    with pytest.raises(DataError, match=f"row 311 of column 'other': 'soon' cannot be used.*{name}, {place}"):
        load(made.settings, problem_schema(made.settings, None), [])


def test_a_file_of_several_that_spells_a_column_otherwise_is_named(tmp_path: Path) -> None:
    """Half of the column would be missing."""
    made = project(tmp_path, csv(orders()), name="part-1.csv")
    write(tmp_path, csv(orders().rename(columns={"amount": "Amount"})), "part-2.csv")
    text = (tmp_path / "ringside.toml").read_text(encoding="utf-8").replace("part-1.csv", "part-*.csv")
    (tmp_path / "ringside.toml").write_text(text, encoding="utf-8")
    settings = load_settings(tmp_path / "ringside.toml")
    with pytest.raises(DataError, match=r"part-2.csv: no column 'amount', which other files have; found 'Amount'"):
        load(settings, problem_schema(settings, None), [])
    assert made.types["amount"] == ("feature", "number")


PARQUET_TYPES = {
    "int8": (pa.int8(), lambda n: n % 3, ("number", 2.0)),
    "uint64": (pa.uint64(), lambda n: n % 3, ("number", 2.0)),
    "int64 with gaps": (pa.int64(), lambda n: None if n % 5 == 0 else n % 3, ("number", 2.0)),
    "float16": (pa.float16(), lambda n: np.float16(n % 3 + 0.5), ("number", 2.5)),
    "decimal": (pa.decimal128(10, 2), lambda n: Decimal(n % 3) + Decimal("0.25"), ("number", 2.25)),
    "whole decimal": (pa.decimal128(10, 0), lambda n: Decimal(n % 3), ("number", 2.0)),
    "bool": (pa.bool_(), lambda n: n % 3 == 0, ("category", ("false", "true"))),
    "bool with gaps": (pa.bool_(), lambda n: None if n % 5 == 0 else n % 3 == 0, ("category", ("false", "true"))),
    "string": (pa.string(), lambda n: "abc"[n % 3], ("category", ("a", "b", "c"))),
    "large_string": (pa.large_string(), lambda n: "abc"[n % 3], ("category", ("a", "b", "c"))),
    "string_view": (pa.string_view(), lambda n: "abc"[n % 3], ("category", ("a", "b", "c"))),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), lambda n: "abc"[n % 3], ("category", ("a", "b", "c"))),
    "dictionary of numbers": (pa.dictionary(pa.int8(), pa.int64()), lambda n: n % 3, ("number", 2.0)),
    "date32": (pa.date32(), lambda n: n, ("time", None)),
    "timestamp[s]": (pa.timestamp("s"), lambda n: n * 86_400, ("time", None)),
    "timestamp[ns, zone]": (pa.timestamp("ns", "Europe/Berlin"), lambda n: n * 10**15, ("time", None)),
    "null": (pa.null(), lambda n: None, ("category", None)),
    "list": (pa.list_(pa.int64()), lambda n: [n], "lists, maps or structs"),
    "struct": (pa.struct([("a", pa.int64())]), lambda n: {"a": n}, "lists, maps or structs"),
    "duration": (pa.duration("s"), lambda n: n, "durations"),
    "time64": (pa.time64("us"), lambda n: n, "times of day"),
    "binary": (pa.binary(), lambda n: b"x", "bytes"),
    "the year 20001": (pa.timestamp("ms"), lambda n: 569_000_000_000_000 + n, "beyond 9999"),
}


@pytest.mark.parametrize("kind", PARQUET_TYPES)
def test_every_type_of_parquet_is_read_or_refused_by_name(tmp_path: Path, kind: str) -> None:
    """Decimals (AMLDataPrepDocs#60, h2oai/h2o-3#2619), nullable and Arrow types (autogluon#4978, arrow#44112)."""
    arrow, value, expected = PARQUET_TYPES[kind]
    column = pa.array([value(n) for n in range(ROWS)], arrow)

    def save(path: Path) -> None:
        table = pa.Table.from_pandas(orders(), preserve_index=False).append_column("x", column)
        pyarrow.parquet.write_table(table, path)

    made = project(tmp_path, save, name="rows.parquet")
    if isinstance(expected, str):
        assert "x" not in made.types
        assert expected in made.notes
        text = (tmp_path / "ringside.toml").read_text(encoding="utf-8")
        (tmp_path / "ringside.toml").write_text(text + '\n[columns.x]\ntype = "time"\n', encoding="utf-8")
        settings = load_settings(tmp_path / "ringside.toml")
        with pytest.raises(DataError, match="column 'x'"):
            load(settings, problem_schema(settings, None), [])
        return
    type_, held = expected
    assert made.types["x"][1] == type_
    if made.types["x"][0] == "feature" and held is not None:
        seen = made.seen("x")
        assert (seen.high if type_ == "number" else seen.categories) == held


@pytest.mark.parametrize("cells", [[Decimal(n % 2) for n in range(ROWS)], [n % 2 for n in range(ROWS)]])
@pytest.mark.parametrize("backend", [None, "pyarrow"])
def test_a_target_of_decimals_or_of_arrows_integers_is_of_classes(tmp_path: Path, cells: Any, backend: Any) -> None:
    """As Snowflake, Oracle and Spark write it (microsoft/AMLDataPrepDocs#60; autogluon#4978)."""
    frame = orders(y=cells)
    if backend and not isinstance(cells[0], Decimal):
        frame = frame.convert_dtypes(dtype_backend="pyarrow")
    made = project(tmp_path, lambda path: frame.to_parquet(path), name="rows.parquet")
    assert made.classes == (("0", "1"), "integer")
    assert made.inspection.positive_class == 1


def test_names_that_are_no_text_and_named_indexes_are_columns(tmp_path: Path) -> None:
    """pandas writes 0, 1, 2 (mlflow/mlflow#26069), and a target may be the index (pandas-dev/pandas#64298)."""
    numbered = orders().set_axis([0, 1, 2, 3], axis=1)
    made = project(tmp_path / "a", lambda path: numbered.to_parquet(path), target="3", name="rows.parquet")
    assert set(made.types) == {"0", "1", "2"}
    made = project(tmp_path / "b", lambda path: orders().set_index("y").to_parquet(path), name="rows.parquet")
    assert made.inspection.target == "y"


def test_large_files_are_read_in_parts(tmp_path: Path) -> None:
    """What is in memory is a block of the file, whatever the file's size."""
    path = write(tmp_path, csv(orders(600_000)))
    assert path.stat().st_size > 8_000_000
    file = open_csv(path, ReadingRules())
    largest = max(batch.nbytes for batch in file.batches({"amount"}, block=1 << 20))
    assert largest < 2_000_000


def test_bytes_that_are_no_utf_8_may_come_late(tmp_path: Path) -> None:
    """Beyond what was looked at first."""
    text = csv(orders(60_000, city="Bonn")) + "30,Köln,5.5,yes\n"
    made = project(tmp_path, text.encode("latin-1"))
    assert made.seen("city").categories == ("Bonn", "Köln")


def test_duplicate_columns_of_a_query_are_refused(tmp_path: Path) -> None:
    """SELECT * FROM t JOIN u gives two columns of one name."""
    import sqlite3

    from record.contract.columns import Column
    from retrain.data.source import read_source

    with sqlite3.connect(tmp_path / "t.db") as connection:
        orders().to_sql("t", connection, index=False)
    connection.close()
    query = "SELECT a.age, b.age, a.y FROM t AS a JOIN t AS b ON a.age = b.age"
    with pytest.raises(DataError, match="'age' stands twice"):
        read_source(f"sqlite:///{tmp_path}/t.db", query, [Column("age", "feature", "number")], {"y"})
