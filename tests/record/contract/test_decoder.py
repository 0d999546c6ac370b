"""Records to arrays: what is accepted, what is refused and how, and that training sees the same."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from record.contract.arrays import Arrays
from record.contract.columns import FLOAT32_MAX, MISSING, Column, ColumnType, Role
from record.contract.decoder import Decoder
from record.contract.schema import ClassType, ProblemSchema, Schema, SeenColumn, Task
from record.errors import DataError, InvalidLabel, InvalidRecord
from service.bodies.json_body import parse_body

COLUMNS = (
    Column("order", "carried", "number", required=False),
    Column("distance", "feature", "number"),
    Column("carrier", "feature", "category"),
    Column("departs", "feature", "time"),
    Column("note", "carried", "text", required=False),
)
RECORD: dict[str, Any] = {"distance": 1.5, "carrier": "AA", "departs": "2013-03-01T17:30:00Z"}


def decoder(*columns: Column, task: Task = "classification", **schema: Any) -> Decoder:
    problem = ProblemSchema(task, "y", columns or COLUMNS)
    return Decoder(Schema(problem, schema.pop("seen", {}), **schema) if schema else problem)


def one(kind: ColumnType, role: Role = "feature", *, required: bool = True) -> Decoder:
    return decoder(Column("x", role, kind, required))


def same(left: Arrays, right: Arrays) -> bool:
    """Bit for bit, NaN included."""
    return left.numbers.tobytes() == right.numbers.tobytes() and bool((left.categories == right.categories).all())


def refusal(of: Decoder, *records: Any) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        of.decode(records)
    with pytest.raises(InvalidRecord, match=r"records\["):
        of.check(records)
    return caught.value


def test_a_record_becomes_arrays() -> None:
    """Numbers, times in parts and categories, in the order of the schema; the order of keys means nothing."""
    arrays = decoder().decode([RECORD, dict(reversed(RECORD.items()))])
    assert arrays.numbers.dtype == np.float32
    assert arrays.numbers[0].tolist() == [1.5, pytest.approx(4808 + 17.5 / 24), 3, 1, 4, 17, 1800]
    assert (arrays.numbers[0] == arrays.numbers[1]).all()
    assert arrays.categories.tolist() == [["AA"], ["AA"]]


def test_no_records_and_no_features() -> None:
    """Shapes hold where there is nothing."""
    assert decoder().decode([]).numbers.shape == (0, 7)
    arrays = one("text", "carried").decode([{"x": "a"}])
    assert (len(arrays), arrays.numbers.shape, arrays.categories.shape) == (1, (1, 0), (1, 0))


def test_missing_values() -> None:
    """null is missing, and so is an optional column that is left out."""
    arrays = decoder().decode([{"distance": None, "carrier": None, "departs": None}])
    assert np.isnan(arrays.numbers).all()
    assert arrays.categories.tolist() == [[MISSING]]
    optional = one("number", required=False)
    assert same(optional.decode([{}]), optional.decode([{"x": None}]))
    assert optional.digest({}) == optional.digest({"x": None})


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("number", "1", "type"),
        ("number", True, "type"),
        ("number", [1], "type"),
        ("number", {}, "type"),
        ("number", math.nan, "not_finite"),
        ("number", -math.inf, "not_finite"),
        ("number", 1e39, "range"),
        ("number", -(10**400), "range"),
        ("category", 1.0, "type"),
        ("category", ["a"], "type"),
        ("time", 17, "type"),
        ("time", "yesterday", "type"),
        ("time", "2013-02-30", "type"),
        ("time", "0001-01-01T00:00:00+14:00", "range"),
        ("time", "9999-12-31T23:59:59-01:00", "range"),
        ("text", 1, "type"),
    ],
)
def test_refused_values(kind: ColumnType, value: Any, reason: str) -> None:
    """What cannot be used is refused with record, column and one reason of a closed set."""
    error = refusal(one(kind, "carried" if kind == "text" else "feature"), {"x": None}, {"x": value})
    assert (error.field, error.reason) == ("records[1].x", reason)
    assert error.message.startswith("records[1].x: ")
    assert "expected" in error.message
    assert len(error.message) < 250


@pytest.mark.parametrize("record", [3, None, "a", [], [["x", 1]]])
def test_not_an_object(record: Any) -> None:
    """A record is an object."""
    error = refusal(one("number"), record)
    assert (error.field, error.reason) == ("records[0]", "not_an_object")


def test_missing_and_unknown_columns() -> None:
    """A required column that is absent and a column that nobody knows are told by name."""
    missing = refusal(decoder(), RECORD, {"distance": 1, "departs": None})
    assert (missing.field, missing.reason) == ("records[1].carrier", "missing")
    assert "which no column" not in missing.message
    misspelt = refusal(decoder(), RECORD, {"distance": 1, "departs": None, "carier": "AA"})
    assert misspelt.field == "records[1].carrier"
    assert misspelt.message.endswith('; the record has "carier", which no column is called')
    unknown = refusal(decoder(), RECORD | {"distanse": 1})
    assert (unknown.field, unknown.reason) == ("records[0].distanse", "unknown_column")
    assert "the nearest known one is distance" in unknown.message
    both = refusal(one("number", required=False), {"y": 1})
    assert both.reason == "unknown_column"


def test_nan_in_a_body_names_its_field() -> None:
    """NaN spelled in JSON gets as far as the decoder, which says where it stands."""
    error = refusal(one("number"), *parse_body(b'[{"x": 1}, {"x": NaN}]'))
    assert (error.field, error.reason) == ("records[1].x", "not_finite")


def test_deep_and_long_values_are_shown_short() -> None:
    """No value makes the refusal itself fail, nor long."""
    nested: Any = []
    for _ in range(5000):
        nested = [nested]
    for value in (nested, "x" * 10_000, 10**5000):
        assert len(refusal(one("number"), {"x": value}).message) < 250


@pytest.mark.parametrize(
    ("kind", "left", "right", "equal"),
    [
        ("number", 1, 1.0, True),
        ("number", 0.0, -0.0, True),
        ("number", 1.0, 1.1, False),
        ("category", True, "true", True),
        ("category", 7, "7", True),
        ("category", "a", "a ", False),
        ("category", "a", "A", False),
        ("category", None, MISSING, True),
        ("time", "2013-01-01T05:00:00Z", "2013-01-01T00:00:00-05:00", True),
        ("time", "2013-01-01", "2013-01-01T00:00:00", True),
        ("time", "2013-01-01T00:00:00", "2013-01-01T00:00:00Z", True),
        ("time", "2013-01-01T00:00:00", "2013-01-01T00:00:00.000001", False),
    ],
)
def test_canonical_forms(kind: ColumnType, left: Any, right: Any, equal: bool) -> None:
    """Two ways of writing one thing have one digest, and what differs has two."""
    for role in ("feature", "carried"):
        of = one(kind, role)
        assert (of.digest({"x": left}) == of.digest({"x": right})) is equal


def test_digest_of_carried_columns() -> None:
    """Ids beyond single precision are told apart, and columns are not confused with one another."""
    carried = one("number", "carried")
    assert carried.digest({"x": 2**24}) != carried.digest({"x": 2**24 + 1})
    assert carried.digest({"x": 2**60}) != carried.digest({"x": 2**60 + 1})
    assert carried.digest({"x": 2**60}) == carried.digest({"x": float(2**60)})
    pair = decoder(Column("a", "carried", "text"), Column("b", "feature", "category"))
    assert pair.digest({"a": "x', 'y", "b": "z"}) != pair.digest({"a": "x", "b": "y', 'z"})
    assert pair.digest({"a": "x", "b": "y"}) != pair.digest({"a": "y", "b": "x"})
    assert len(pair.digest({"a": "\ud800", "b": "\x00"})) == 16


def test_marks() -> None:
    """What training never saw is marked, missing values and the bounds themselves are not."""
    seen = {
        "distance": SeenColumn(low=float(np.float32(0.1)), high=5.0),
        "carrier": SeenColumn(categories=("AA", "true", "7")),
    }
    of = decoder(seen=seen, classes=("no", "yes"))
    changes: list[tuple[dict[str, Any], dict[str, str] | None]] = [
        ({"distance": 0.1, "carrier": True}, None),
        ({"distance": 5, "carrier": 7}, None),
        ({"distance": None, "carrier": None}, None),
        ({"distance": 5.1}, {"distance": "out_of_range"}),
        ({"carrier": "aa"}, {"carrier": "unseen"}),
        ({"distance": -1, "carrier": False}, {"distance": "out_of_range", "carrier": "unseen"}),
        ({"departs": "9999-01-01"}, None),
        ({"carrier": MISSING}, None),  # as the model reads null
        ({"carrier": ""}, {"carrier": "unseen"}),
        ({"distance": math.nextafter(5.0, 6.0)}, None),  # 5.0 as a model reads it
        ({"distance": float(np.nextafter(np.float32(5.0), np.float32(6.0)))}, {"distance": "out_of_range"}),
        ({"distance": math.nextafter(float(np.float32(0.1)), 0.0)}, None),
        ({"distance": float(np.nextafter(np.float32(0.1), np.float32(0.0)))}, {"distance": "out_of_range"}),
    ]
    assert of.marks([RECORD | change for change, _ in changes]) == [marks for _, marks in changes]
    assert decoder().marks([RECORD]) == [None]


@pytest.mark.parametrize(
    ("classes", "kind", "good", "bad"),
    [
        (("no", "yes"), "string", {"yes": "yes"}, ["maybe", True, 1, None, 1.0, ["yes"]]),
        (("0", "1"), "integer", {1: "1"}, [2, True, "1", 1.0]),
        (("false", "true"), "boolean", {True: "true"}, [1, "true"]),
        (("a", "b", "c"), "string", {"d": "d"}, [1, None]),
    ],
)
def test_class_labels(classes: tuple[str, ...], kind: ClassType, good: dict[Any, str], bad: list[Any]) -> None:
    """A label has the type of the classes; of two classes it is one; a new one of many is taken."""
    of = decoder(classes=classes, class_type=kind)
    for value, text in good.items():
        assert of.label(value) == text
        assert of.label(parse_body(of.label_json(value).encode())) == text
    for value in bad:
        with pytest.raises(InvalidLabel, match="expected"):
            of.label(value)


def test_number_labels() -> None:
    """A regression's label is a finite number; 5 and 5.0 are one."""
    of = decoder(task="regression")
    assert of.label(5) == 5.0
    assert of.label_json(5) == of.label_json(5.0) == "5.0"
    for value in (True, "5", None, math.nan, math.inf, 10**400):
        with pytest.raises(InvalidLabel, match="expected a finite number"):
            of.label(value)


# What JSON can say in each type of column, and the frames that hold the same.

integers = st.integers(-(2**63), 2**63 - 1)


def test_a_request_of_strange_names_is_compared_with_the_columns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing is slow, and done in the event loop: however many keys and records are wrong, one suggestion."""
    compared: list[object] = []
    monkeypatch.setattr("record.contract.decoder.nearest", lambda name, known: compared.append(name))
    records = [{f"x{n}_{m}": 1 for n in range(30)} for m in range(30)]
    assert len(decoder().faults(records)) == 20
    with pytest.raises(InvalidRecord):
        decoder().decode(records)
    assert len(compared) == 2
    wide = Decoder(ProblemSchema("regression", "y", tuple(Column(f"c{n}", "feature", "number") for n in range(201))))
    with pytest.raises(InvalidRecord, match="known are c0"):
        wide.decode([{f"c{n}": 0 for n in range(201)} | {"c0x": 1}])
    assert len(compared) == 2


numbers = st.one_of(st.floats(-FLOAT32_MAX, FLOAT32_MAX), integers, st.just(16_777_217), st.none())
texts = st.text(st.characters(codec="utf-8"), max_size=8)
zones: Any = st.sampled_from([None, UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=45))])
times = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001
cells = st.tuples(
    numbers,
    st.one_of(texts, st.booleans(), st.integers(), st.none()),
    st.one_of(times.map(datetime.isoformat), st.none()),
)


@given(st.lists(cells, max_size=12))
@example([(0.0, None, None), (-0.0, None, None), (0, False, None)])
@example([(-0.0, "0", None), (0.0, 0, None)])
def test_frames_decode_as_records_do(rows: list[tuple[Any, ...]]) -> None:
    """Training's arrays of a frame are serving's arrays of the records in it, bit for bit."""
    of, names = decoder(), ["distance", "carrier", "departs"]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    frame = pd.DataFrame({name: pd.Series([r[name] for r in records], dtype=object) for name in names})
    assert same(of.decode_frame(frame), of.decode(records))
    assert same(of.decode(of.frame_records(frame)), of.decode(records))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False) | st.none(), min_size=1))
def test_float_columns(values: list[float | None]) -> None:
    """pandas' own floats, NaN for missing."""
    of = one("number")
    frame = pd.DataFrame({"x": np.array(values, dtype=np.float64)})
    assert same(of.decode_frame(frame), of.decode([{"x": value} for value in values]))
    assert of.frame_records(frame) == [{"x": value} for value in values]


@given(st.lists(integers, min_size=1))
def test_integer_columns(values: list[int]) -> None:
    """Integers reach single precision by way of double precision, as JSON's do."""
    of, frame = one("number"), pd.DataFrame({"x": np.array(values, dtype=np.int64)})
    assert same(of.decode_frame(frame), of.decode([{"x": value} for value in values]))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "Asia/Kathmandu"])
def test_time_columns(unit: Literal["s", "ms", "us", "ns"], zone: str | None) -> None:
    """Times of any unit and zone, before and after 1970, give what their ISO 8601 text gives."""
    stamps = ["1969-12-31T23:59:59.999999", "2013-03-10T12:00:01.5", "2024-02-29T23:00:00", None]
    naive = pd.to_datetime(pd.Series(stamps), format="ISO8601")
    series = naive.dt.tz_localize(zone).dt.as_unit(unit)
    of, frame = one("time"), pd.DataFrame({"x": series})
    expected = [{"x": None if pd.isna(value) else value.isoformat()} for value in series]
    assert same(of.decode_frame(frame), of.decode(expected))
    assert same(of.decode(of.frame_records(frame)), of.decode(expected))


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(["a", None, "b"]),
        pd.Series(["a", None, "b"], dtype="category"),
        pd.Series([True, None, False], dtype="boolean"),
        pd.Series([True, False, True]),
        pd.Series([1, None, 2], dtype="Int64"),
        pd.Series([1.0, None, 2.0]),
        pd.Series([1, "1", True], dtype=object),
    ],
    ids=lambda series: str(series.dtype),
)
def test_category_columns(series: pd.Series[Any]) -> None:
    """However pandas holds categories, they read as the application would have sent them."""
    of, frame = one("category"), pd.DataFrame({"x": series})
    records = of.frame_records(frame)
    assert all(record["x"] is None or type(record["x"]) in (str, bool, int) for record in records)
    assert same(of.decode_frame(frame), of.decode(records))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("number", [1.0, math.inf]),
        ("number", [1.0, 1e39]),
        ("number", ["1", "b"]),
        ("number", [True, False]),
        ("category", [1.5, 2.0]),
        ("category", [["a"], ["b"]]),
        ("time", ["2013-01-01", "1/2/2013"]),
        ("time", [20130101, 20130102]),
    ],
)
def test_frames_that_records_could_not_be(kind: ColumnType, values: list[Any]) -> None:
    """A frame is refused where its records would be, with the row and the column."""
    with pytest.raises(DataError, match="of column 'x'"):
        one(kind).decode_frame(pd.DataFrame({"x": pd.Series(values)}))


def test_columns_that_a_frame_lacks() -> None:
    """An optional column may be absent from the data, a required one may not."""
    frame = pd.DataFrame({"other": [1, 2]})
    assert np.isnan(one("number", required=False).decode_frame(frame).numbers).all()
    with pytest.raises(DataError, match="'x' is not in the data"):
        one("number").decode_frame(frame)
    assert one("number", required=False).frame_records(frame) == [{}, {}]
