"""Reference and window are the same columns, read by the same decode step."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.windows import SAMPLED_ROWS, current_rows, current_window, reference_window
from service.logged import LoggedRow
from service.schema import Column, ProblemSchema, Schema

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


def row(x: float | None, colour: str | None = "red", version: str = "v1", hours: float = 1.0) -> LoggedRow:
    record = {"x": x, "colour": colour, "at": "2013-05-31T12:00:00Z"}  # "who" was redacted
    at = AS_OF - timedelta(hours=hours)
    return LoggedRow(1, 0, "a", at, version, json.dumps(record), '"yes"', '{"no": 0.25, "yes": 0.75}', None)


class HeldLog:
    """A log of these rows."""

    def __init__(self, rows: list[LoggedRow]) -> None:
        self.rows = sorted(rows, key=lambda row: row.requested_at)
        self.asked = 0

    def window(self, after: datetime, until: datetime, limit: int | None = None) -> list[LoggedRow]:
        self.asked += 1
        return [row for row in self.rows if after < row.requested_at <= until][:limit]


def test_logged_records_become_columns_without_what_was_redacted() -> None:
    window = current_window([row(1.5), row(None, None)], SCHEMA, "v1")
    assert window.rows == len(window) == 2
    np.testing.assert_array_equal(window.numbers["x"], [1.5, np.nan])
    assert window.categories["colour"].tolist() == ["red", None]
    assert (window.since, window.until) == (AS_OF - timedelta(hours=1),) * 2


def test_a_time_is_compared_by_its_hour_and_weekday_only() -> None:
    """Its day goes on by itself, and would always have drifted."""
    window = current_window([row(1.0)], SCHEMA, "v1")
    assert set(window.numbers) == {"x", "at.hour", "at.weekday", "prediction"}


def test_the_prediction_column_holds_this_versions_answers_only() -> None:
    window = current_window([row(1.0), row(1.0, version="v0")], SCHEMA, "v1")
    assert window.numbers["prediction"].tolist() == [0.75]


def test_a_large_window_is_sampled_evenly() -> None:
    rows = [row(float(place)) for place in range(SAMPLED_ROWS * 2)]
    window = current_window(rows, SCHEMA, "v1")
    assert (window.rows, len(window)) == (SAMPLED_ROWS * 2, SAMPLED_ROWS)
    assert window.numbers["x"].mean() == pytest.approx(SAMPLED_ROWS, rel=0.02)


def test_a_window_with_enough_rows_is_taken_as_it_is() -> None:
    log = HeldLog([row(1.0, hours=hour + 0.5) for hour in range(48)])
    assert len(current_rows(log, AS_OF, timedelta(days=1), 10)) == 24
    assert log.asked == 1


def test_on_low_traffic_the_window_reaches_back_to_the_rows_it_needs() -> None:
    log = HeldLog([row(1.0, hours=24 * day + 1) for day in range(100)])
    rows = current_rows(log, AS_OF, timedelta(days=1), 30)
    assert len(rows) == 30
    assert rows[0].requested_at == AS_OF - timedelta(hours=24 * 29 + 1)


def test_reaching_back_ends_at_the_logs_beginning() -> None:
    log = HeldLog([row(1.0)])
    assert len(current_rows(log, AS_OF, timedelta(days=1), 30)) == 1
    assert log.asked < 20


def test_the_reference_is_read_by_the_decode_step_and_keeps_honest_answers_only(tmp_path: Path) -> None:
    """A row without an answer has NaN there: a missing answer is no missing value."""
    frame = {
        "x": [1.0, np.nan],
        "colour": ["red", None],
        "at": ["2013-05-31T12:00:00Z"] * 2,
        "probability.yes": [np.nan, 0.5],
    }
    pd.DataFrame(frame).to_parquet(tmp_path / "reference.parquet")
    window = reference_window(tmp_path, SCHEMA)
    np.testing.assert_array_equal(window.numbers["x"], [1.0, np.nan])
    assert window.categories["colour"].tolist() == ["red", None]
    assert window.numbers["prediction"].tolist() == [0.5]
    assert window.rows == 2
