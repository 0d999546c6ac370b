"""Reference and window are the same columns, read by the same decode step."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.drifting.replay import replay_days, window_of_arrays
from monitoring.windows import SAMPLED_ROWS, Window, answer_columns, current_window, reference_window
from record.clock import ManualClock
from record.contract.columns import MISSING, Column
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema, Schema
from record.db.database import Database
from record.log.window import log_span
from record.prediction_log import Batch, LogEntry, PredictionLog, new_id
from record.versions.reference_outputs import write_reference_outputs

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
SCHEMA = Schema(
    ProblemSchema(
        "classification",
        "late",
        (
            Column("x", "feature", "number"),
            Column("colour", "feature", "category", required=False),
            Column("at", "feature", "time"),
            Column("who", "carried", "text"),
        ),
        positive_class="yes",
    ),
    {},
    classes=("no", "yes"),
)


VERSION_ANSWER = '{"no": 0.25, "yes": 0.75}'


def row(x: object, colour: object = "red", **changed: object) -> LogEntry:
    record = {"x": x, "colour": colour, "at": "2013-05-31T12:00:00Z"} | changed  # "who" was redacted
    return LogEntry(new_id(), b"", json.dumps(record), '"yes"', VERSION_ANSWER)


def logged(database: Database, rows: list[LogEntry], *, version: str = "v1", hours: float = 1.0) -> None:
    PredictionLog(database, ManualClock(AS_OF - timedelta(hours=hours)), timedelta(days=30)).append(
        [Batch(rows, version)]
    )


def read(database: Database, min_rows: int = 1) -> Window:
    return current_window(database, log_span(database, AS_OF, timedelta(days=1), min_rows), SCHEMA, "v1")


def test_logged_records_become_columns_without_what_was_redacted(database: Database) -> None:
    rows = [row(1.5), row(None, None)]
    logged(database, rows)
    window = read(database)
    assert window.rows == len(window) == 2
    np.testing.assert_array_equal(window.numbers["x"], [1.5, np.nan])
    assert window.categories["colour"].tolist() == ["red", None]
    assert (window.since, window.until) == (AS_OF - timedelta(hours=1),) * 2
    assert window.ids == tuple(entry.id for entry in rows)
    assert window.failures == {}


def test_columns_are_what_the_decode_step_gives_bit_for_bit(sqlite_database: Database) -> None:
    """Requests are decoded one by one, windows in bulk: the same numbers, or drift would be the decoder's."""
    values = [0, -0.0, 1, 1e-45, 3.4028234663852886e38, 0.1, 16777217, None]
    colours = ["red", "", "__missing__", None, "Ω", "7", "true", "red "]
    times = ["2024-05-01T13:45:00Z", "2024-05-01", None, "1969-12-31T23:59:59.999999+05:30"] * 2
    rows = [row(x, colour, at=at) for x, colour, at in zip(values, colours, times, strict=True)]
    rows += [row(1.0, colour) for colour in (True, 7, False, 0)]
    logged(sqlite_database, rows)
    window = read(sqlite_database)
    arrays = Decoder(replace(SCHEMA.problem, columns=SCHEMA.problem.features)).decode(
        [json.loads(entry.record) for entry in rows]
    )
    for place, name in enumerate(SCHEMA.number_names):
        if name in window.numbers:
            assert window.numbers[name].tobytes() == arrays.numbers[:, place].astype(np.float64).tobytes()
    expected = [None if text == MISSING else text for text in arrays.categories[:, 0].tolist()]
    assert window.categories["colour"].tolist() == expected
    assert window.failures == {}


def test_what_a_column_cannot_take_is_missing_and_counted_with_its_row(sqlite_database: Database) -> None:
    """Such as rows that were logged before the schema moved: they must not end the watching."""
    logged(sqlite_database, [row(1.0), row("1.5"), row(1e39), row(10**400), row(2.0, 1.5), row(3.0, at="yesterday")])
    window = read(sqlite_database)
    np.testing.assert_array_equal(window.numbers["x"], [1.0, np.nan, np.nan, np.nan, 2.0, 3.0])
    assert window.categories["colour"].tolist() == ["red", "red", "red", "red", None, "red"]
    counts = {name: failures.count for name, failures in window.failures.items()}
    assert counts == {"x": 3, "colour": 1, "at": 1}
    assert window.failures["x"].examples[:2] == [(1, '"1.5"'), (2, "1e+39")]


def test_a_time_is_compared_by_its_hour_and_weekday_only(sqlite_database: Database) -> None:
    """Its day goes on by itself, and would always have drifted."""
    logged(sqlite_database, [row(1.0)])
    assert set(read(sqlite_database).numbers) == {"x", "at.hour", "at.weekday"}


def test_the_prediction_column_holds_this_versions_answers_only(sqlite_database: Database) -> None:
    logged(sqlite_database, [row(1.0)])
    logged(sqlite_database, [row(1.0)], version="v0")
    window = read(sqlite_database)
    assert window.outputs["prediction"].tolist() == [0.75]
    assert len(window) == 2


def test_a_large_window_is_sampled_evenly(sqlite_database: Database) -> None:
    """At least as many rows as it says, and no more than a twentieth beyond."""
    logged(sqlite_database, [row(float(place)) for place in range(SAMPLED_ROWS * 2)])
    window = read(sqlite_database)
    assert window.rows == SAMPLED_ROWS * 2
    assert SAMPLED_ROWS <= len(window) <= 1.05 * SAMPLED_ROWS
    assert window.numbers["x"].mean() == pytest.approx(SAMPLED_ROWS, rel=0.001)
    for period in (2, 7, 24, 34, 60, 100):  # no part of a rhythm is preferred
        share = np.bincount(window.numbers["x"].astype(int) % period, minlength=period) / len(window) * period
        assert share.min() > 0.9
        assert share.max() < 1.1


def test_the_reference_is_read_by_the_decode_step_and_keeps_honest_answers_only(tmp_path: Path) -> None:
    """A row without an answer has NaN there: a missing answer is no missing value."""
    frame = {
        "x": [1.0, np.nan],
        "colour": ["red", None],
        "at": ["2013-05-31T12:00:00Z"] * 2,
        "probability.yes": [np.nan, 0.5],
    }
    pd.DataFrame(frame).to_parquet(tmp_path / "reference.parquet")
    window = reference_window((tmp_path / "reference.parquet").read_bytes(), SCHEMA)
    np.testing.assert_array_equal(window.numbers["x"], [1.0, np.nan])
    assert window.categories["colour"].tolist() == ["red", None]
    assert window.outputs["prediction"].tolist() == [0.5]
    assert window.rows == 2


NAMES = ("prediction", "target", "time", "number", "share.0", "probability.yes", "ringside.time", "output:prediction")


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_features_with_our_own_names_are_features(sqlite_database: Database, tmp_path: Path, task: str) -> None:
    """Reference and window hold them under the same keys, and the outputs apart from them."""
    classes = () if task == "regression" else ("a", "b", "c")
    columns = tuple(Column(name, "feature", "number") for name in NAMES)
    schema = Schema(ProblemSchema("regression" if not classes else "classification", "y", columns), {}, classes)
    features = np.arange(3 * len(NAMES), dtype=np.float64).reshape(3, len(NAMES))
    pd.DataFrame(features, columns=list(NAMES)).to_parquet(tmp_path / "reference.parquet")
    answers = (
        np.array([0.5, np.nan, 1.5]) if not classes else np.array([[0.7, 0.2, 0.1], [np.nan] * 3, [0.1, 0.8, 0.1]])
    )
    target = np.array([1.0, 2.0, 3.0]) if not classes else np.array(["a", "b", "c"], dtype=object)
    write_reference_outputs(tmp_path / "reference_outputs.parquet", answers, target, np.array([1, 2, 3]))
    content = [(tmp_path / name).read_bytes() for name in ("reference.parquet", "reference_outputs.parquet")]
    reference = reference_window(content[0], schema, content[1])
    record = json.dumps(dict.fromkeys(NAMES, 1000.0))
    answer = "7.5" if not classes else '"b"'
    shares = None if not classes else '{"a": 0.05, "b": 0.9, "c": 0.05}'
    logged(sqlite_database, [LogEntry(new_id(), b"", record, answer, shares)])
    span = log_span(sqlite_database, AS_OF, timedelta(days=1), 1)
    current = current_window(sqlite_database, span, schema, "v1")
    for place, name in enumerate(NAMES):
        assert reference.columns["feature", name].tolist() == features[:, place].tolist()
        assert current.columns["feature", name].tolist() == [1000.0]
    assert reference.outputs["target"].tolist() == target.tolist()
    if classes:
        assert reference.outputs["prediction"].tolist() == ["a", "b"]
        assert current.outputs["prediction"].tolist() == ["b"]
        assert current.outputs["prediction.b"].tolist() == [0.9]
    else:
        assert reference.outputs["prediction"].tolist() == [0.5, 1.5]
        assert current.outputs["prediction"].tolist() == [7.5]
    assert set(reference.outputs) - {"target"} == set(current.outputs)


def test_an_old_version_of_three_classes_keeps_the_one_probability_that_its_files_know(tmp_path: Path) -> None:
    schema = Schema(ProblemSchema("classification", "y", (Column("x", "feature", "number"),)), {}, ("a", "b", "c"))
    frame = {"x": [1.0, 2.0], "y": ["a", "b"], "ringside.time": [1, 2], "probability.c": [np.nan, 0.25]}
    pd.DataFrame(frame).to_parquet(tmp_path / "reference.parquet")
    window = reference_window((tmp_path / "reference.parquet").read_bytes(), schema)
    assert {name: values.tolist() for name, values in window.outputs.items()} == {
        "prediction.c": [0.25], "target": ["a", "b"],
    }  # fmt: skip
    assert window.times["x"].tolist() == [1, 2]


def test_answers_that_move_from_one_class_to_another_are_drift() -> None:
    """Of three classes none of which is looked for: every answer turns from a to b, and the last class stays."""
    schema = Schema(ProblemSchema("classification", "y", (Column("x", "feature", "number"),)), {}, ("a", "b", "c"))
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 0.02, (3000, 1)) * np.array([[-1.0, 1.0, 0.0]])
    before, after = np.array([[0.9, 0.05, 0.05]]) + noise, np.array([[0.06, 0.89, 0.05]]) + noise
    times = np.repeat(np.arange(30), 100) * 86_400_000_000
    reference = window_of_arrays({}, times, outputs=answer_columns(schema, np.empty(0), before))
    days = [
        window_of_arrays(
            {}, times[:100] + (30 + day) * 86_400_000_000, outputs=answer_columns(schema, np.empty(0), half)
        )
        for day, half in enumerate((after[:100], after[100:200]))
    ]
    found = replay_days(reference, days)
    assert found.first == 1
    assert found.days[0] is not None
    assert found.days[0].drifted == (("output", "prediction"),)
