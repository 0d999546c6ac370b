"""What a run learns from: which rows, in which order, and what is refused with which words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from record.contract.decoder import Decoder
from record.errors import DataError
from record.prediction_log import MaturedRow
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.data.source import EVER, Span
from tests.retrain.problems import START, Kind, make_frame, write_settings


def dataset(
    folder: Path,
    frame: pd.DataFrame | None,
    logged: list[MaturedRow] | None = None,
    kind: Kind = "binary",
    **more: Mapping[str, Any],
) -> Dataset:
    if frame is not None:
        frame.to_parquet(folder / "rows.parquet", index=False)
    settings = write_settings(folder, kind, None if frame is None else "rows.parquet", more)
    return load(settings, problem_schema(settings, None), logged or [])


def row(seq: int, at: datetime, label: Any, **record: Any) -> MaturedRow:
    blank = {"distance": 1.0, "seats": None, "carrier": "AA", "gate": None, "note": None}
    text = None if label is None else json.dumps(label)
    return MaturedRow(seq, 0, str(seq), at, "v1", json.dumps(blank | record), '"late"', None, None, text, at)


def test_rows_are_ordered_by_time(tmp_path: Path) -> None:
    """However the file has them."""
    frame = make_frame("binary", 100)
    data = dataset(tmp_path, frame.sample(frac=1, random_state=3))
    np.testing.assert_array_equal(data.arrays.numbers[:, 0], frame["distance"].to_numpy(dtype=np.float32))
    assert data.ordered
    assert data.data_from == START
    assert data.data_until == START + timedelta(hours=99)


def test_logged_rows_come_after_the_sources(tmp_path: Path) -> None:
    """In request order, with their numbers and times; those without a label are left out."""
    later = START + timedelta(days=90)
    logged = [row(7, later, "late", distance=5), row(8, later, None), row(9, later + timedelta(1), "on_time")]
    data = dataset(tmp_path, make_frame("binary", 50), logged)
    assert len(data) == 52
    assert data.seqs[-3:].tolist() == [0, 7, 9]
    assert data.arrays.numbers[-2:, 0].tolist() == [5.0, 1.0]
    assert data.data_until == later + timedelta(1)
    assert data.schema.classes == ("late", "on_time")


def test_the_log_alone_is_enough(tmp_path: Path) -> None:
    """Where no source is named."""
    logged = [row(n, START + timedelta(hours=n), n % 2 == 0) for n in range(1, 41)]
    data = dataset(tmp_path, None, logged)
    assert len(data) == 40
    assert (data.schema.classes, data.schema.class_type) == (("false", "true"), "boolean")


def test_redacted_columns_of_the_log_are_missing(tmp_path: Path) -> None:
    """They are carried: nothing that learns needs them."""
    logged = [row(n, START, "late" if n % 2 else "on_time") for n in range(1, 41)]
    for number, held in enumerate(logged):
        record = json.loads(held.record)
        del record["note"]
        object.__setattr__(held, "record", json.dumps(record))
        assert logged[number] is held
    assert len(dataset(tmp_path, make_frame("binary", 30), logged)) == 70


@pytest.mark.parametrize("count", [30, 2000])
@pytest.mark.parametrize("spelling", [("True", "FALSE"), ("t", "f"), ("true", False)])
def test_booleans_of_the_source_and_of_the_log_are_one_wherever_they_stand(
    tmp_path: Path, count: int, spelling: tuple[Any, Any]
) -> None:
    frame = make_frame("binary", count).assign(carrier=[n % 2 == 0 for n in range(count)])
    later = START + timedelta(days=200)
    logged = [row(7 + n, later, "late", carrier=spelling[n % 2]) for n in range(10)]
    data = dataset(tmp_path, frame, logged)
    assert data.schema.seen["carrier"].categories == ("false", "true")
    place = data.schema.problem.category_names.index("carrier")
    assert data.arrays.categories[-10:, place].tolist() == ["true", "false"] * 5


def test_without_a_time_every_run_of_rows_is_a_fair_sample(tmp_path: Path) -> None:
    """Classes are spread evenly, in an order that the seed decides."""
    frame = make_frame("several", 600).sort_values("outcome")
    data = dataset(tmp_path, frame, kind="several", problem={"time_column": None})
    whole = np.bincount(data.target) / len(data)
    newest = np.bincount(data.rows(480).target) / 120
    np.testing.assert_allclose(newest, whole, atol=0.01)
    assert not data.ordered
    assert data.data_until is None
    again = dataset(tmp_path, frame, kind="several", problem={"time_column": None})
    assert again.fingerprint() == data.fingerprint()
    other = dataset(tmp_path, frame, kind="several", problem={"time_column": None}, retrain={"seed": 1})
    assert other.fingerprint() != data.fingerprint()


def test_a_csv_files_categories_are_read_to_the_letter(tmp_path: Path) -> None:
    """ "NA" may be North America and "007" is no number; only an empty field is missing."""
    rows = ["distance,seats,carrier,gate,note,at,outcome"]
    rows += [f"{n},NA,007,NA,,2024-01-01T{n % 24:02d}:00:00Z,{n % 2}" for n in range(30)]
    (tmp_path / "rows.csv").write_text("\n".join([*rows, "1,2,,1.0,x,2024-01-02,1"]), encoding="utf-8")
    settings = write_settings(tmp_path, "binary", "rows.csv", {})
    data = load(settings, problem_schema(settings, None), [])
    assert data.arrays.categories[0].tolist() == ["007", "NA"]
    assert data.arrays.categories[-1].tolist() == ["__missing__", "1.0"]
    assert np.isnan(data.arrays.numbers[0, 1])
    assert (data.schema.classes, data.schema.class_type) == (("0", "1"), "integer")


@pytest.mark.parametrize(
    ("classes", "kind"), [(["1", "2"], "string"), (["True", "False"], "string"), ([1, 2], "integer")]
)
def test_a_source_with_types_says_what_its_classes_are(tmp_path: Path, classes: list[Any], kind: str) -> None:
    """Digits that are text there stay text, since applications will send them so; logged labels agree."""
    frame = make_frame("binary", 40)
    frame["outcome"] = [classes[n % 2] for n in range(len(frame))]
    logged = [row(n, START + timedelta(days=90 + n), classes[n % 2]) for n in range(1, 5)]
    data = dataset(tmp_path, frame, logged)
    assert (data.schema.classes, data.schema.class_type) == (tuple(sorted(map(str, classes))), kind)


def test_several_files_are_one_source(tmp_path: Path) -> None:
    """Of both kinds, in the order of their names."""
    frame = make_frame("binary", 60)
    frame[:40].to_parquet(tmp_path / "part-1.parquet", index=False)
    frame[40:].to_csv(tmp_path / "part-2.csv", index=False)
    settings = write_settings(tmp_path, "binary", "part-*", {})
    data = load(settings, problem_schema(settings, None), [])
    whole = dataset(tmp_path, frame)
    assert data.fingerprint() == whole.fingerprint()


def test_a_database_answers_the_query(tmp_path: Path) -> None:
    """By any SQLAlchemy URL."""
    frame = make_frame("binary", 60)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/warehouse.db")
    frame.assign(at=frame["at"].map(lambda at: at.isoformat())).to_sql("flights", engine, index=False)
    engine.dispose()
    source = {"source": f"sqlite:///{tmp_path}/warehouse.db", "query": "SELECT * FROM flights"}
    settings = write_settings(tmp_path, "binary", None, {"data": source})
    data = load(settings, problem_schema(settings, None), [])
    assert data.fingerprint() == dataset(tmp_path, frame).fingerprint()
    broken = write_settings(tmp_path, "binary", None, {"data": source | {"query": "SELECT * FROM trains"}})
    with pytest.raises(DataError, match="no such table: trains"):
        load(broken, problem_schema(broken, None), [])


def test_a_query_may_ask_for_a_span_of_time(tmp_path: Path) -> None:
    """By :since and :until: a large table is read by its newest part, and again as it stood."""
    frame = make_frame("binary", 100)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/warehouse.db")
    frame.assign(at=frame["at"].map(lambda at: at.isoformat())).to_sql("flights", engine, index=False)
    engine.dispose()

    def read(query: str, span: Span) -> Dataset:
        source = {"source": f"sqlite:///{tmp_path}/warehouse.db", "query": query}
        settings = write_settings(tmp_path, "binary", None, {"data": source})
        return load(settings, problem_schema(settings, None), [], span)

    part = Span(START + timedelta(hours=20), START + timedelta(hours=59))
    both = read("SELECT * FROM flights WHERE at >= :since AND at <= :until", part)
    assert (len(both), both.data_from, both.data_until) == (40, part.since, part.until)
    assert len(read("SELECT * FROM flights WHERE at <= :until", part)) == 60
    assert len(read("SELECT * FROM flights WHERE at >= :since", EVER)) == 100
    with pytest.raises(DataError, match="no value for :from; expected :since or :until"):
        read("SELECT * FROM flights WHERE at >= :from", part)


def test_only_the_newest_rows_where_a_number_is_set(tmp_path: Path) -> None:
    """retrain.max_rows counts logged rows first."""
    logged = [row(1, START + timedelta(days=90), "late")]
    data = dataset(tmp_path, make_frame("binary", 50), logged, retrain={"max_rows": 30})
    assert len(data) == 30
    assert data.seqs[-1] == 1
    assert data.data_from == START + timedelta(hours=21)


def test_fresh_rows_are_those_that_another_run_had_not_read(tmp_path: Path) -> None:
    """By number for logged rows, by date for the source's."""
    logged = [row(n, START + timedelta(days=90 + n), "late") for n in (1, 2)]
    data = dataset(tmp_path, make_frame("binary", 50), logged)
    assert data.fresh(1, START + timedelta(hours=48)).tolist() == [False] * 49 + [True, False, True]
    assert data.fresh(2, None).sum() == 0


def test_what_is_learned_from_is_what_records_would_say(tmp_path: Path) -> None:
    """One decode step for both."""
    frame = make_frame("binary", 80)
    data = dataset(tmp_path, frame)
    records = Decoder(data.schema).frame_records(data.frame)
    decoded = Decoder(data.schema).decode(records)
    np.testing.assert_array_equal(decoded.numbers, data.arrays.numbers)
    np.testing.assert_array_equal(decoded.categories, data.arrays.categories)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="outcome"), "no column 'outcome', the target; found distance"),
        (lambda f: f.drop(columns="at"), "no column 'at', the time"),
        (lambda f: f.drop(columns="seats"), "no column 'seats', a feature"),
        (lambda f: f[:0], "has no rows"),
        (lambda f: f[:7], "7 rows with a target; expected at least 20"),
        (lambda f: f.assign(outcome="late"), "the target is 'late' in all 50 rows; expected two classes"),
        (lambda f: f.assign(outcome=None), "'outcome' is missing in all 50 rows"),
        (lambda f: f.assign(at="yesterday"), "the time 'at' cannot be read as ISO 8601"),
        (lambda f: f.assign(distance="far"), "row 0 of column 'distance': 'far'"),
        (lambda f: f.assign(distance=np.inf), "column 'distance'"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    """With what, which value, and what was expected."""
    with pytest.raises(DataError) as error:
        dataset(tmp_path, change(make_frame("binary", 50)))
    assert words in error.value.message


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, broken, or not what its name says."""
    for source, words in (("absent*.csv", "no file"), ("broken.parquet", "cannot be read"), ("broken.csv", "expected")):
        if source.startswith("broken"):
            (tmp_path / source).write_bytes(b"distance,seats\n1,x\n")
        settings = write_settings(tmp_path, "binary", source, {})
        with pytest.raises(DataError, match=words):
            load(settings, problem_schema(settings, None), [])


def test_a_regressions_target_is_finite_numbers(tmp_path: Path) -> None:
    """And not always the same one."""
    frame = make_frame("regression", 50)
    assert dataset(tmp_path, frame, kind="regression").classes == 0
    with pytest.raises(DataError, match="expected finite numbers"):
        dataset(tmp_path, frame.assign(outcome="dear"), kind="regression")
    with pytest.raises(DataError, match="in all 50 rows"):
        dataset(tmp_path, frame.assign(outcome=3.0), kind="regression")


def test_nothing_at_all_is_said_so(tmp_path: Path) -> None:
    """No source, and a log whose labels never came."""
    with pytest.raises(DataError, match="none of 2 matured requests has a label"):
        dataset(tmp_path, None, [row(1, START, None), row(2, START, None)])


def test_columns_that_nobody_named_are_found_in_the_data(tmp_path: Path) -> None:
    """By the first training."""
    make_frame("binary", 60).to_parquet(tmp_path / "rows.parquet", index=False)
    (tmp_path / "ringside.toml").write_text(
        '[problem]\ntask = "classification"\ntarget = "outcome"\ntime_column = "at"\n[data]\nsource = "rows.parquet"\n'
    )
    from record.settings import load_settings

    settings = load_settings(tmp_path / "ringside.toml")
    problem = problem_schema(settings, None)
    assert {"distance", "seats", "carrier"} <= {column.name for column in problem.features}
    assert len(load(settings, problem, [])) == 60


def test_rows_from_the_far_future_are_refused(tmp_path: Path) -> None:
    """No request would count as later than what such a run knew: its challenger could never win."""
    frame = make_frame("binary", 50)
    frame["at"] = frame["at"].dt.as_unit("us")
    frame.loc[7, "at"] = pd.Timestamp("9999-12-31T00:00:00Z").as_unit("us")
    with pytest.raises(DataError, match=r"of 1 rows is more than a year ahead, the latest is 9999-12-31") as caught:
        dataset(tmp_path, frame)
    assert caught.value.field == "problem.time_column"


def test_a_replay_may_be_ahead_of_the_machine(tmp_path: Path) -> None:
    """What counts is the later one of the machine's clock and the log."""
    frame = make_frame("binary", 50)
    frame["at"] += pd.Timedelta(days=365 * 100)
    ahead = START + timedelta(days=365 * 100)
    with pytest.raises(DataError, match="more than a year ahead"):
        dataset(tmp_path, frame)
    assert len(dataset(tmp_path, frame, [row(7, ahead, "late")])) == 51
