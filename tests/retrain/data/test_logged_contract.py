"""A type that changes under the log is refused before anything is searched, and what to do is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from record.contract.columns import Column, ColumnType
from record.contract.schema import ProblemSchema
from record.errors import DataError
from record.logged import Batch, LogEntry
from retrain.data.logged_contract import expect_readable_log
from tests.monitoring.arena import START, Arena

SAMPLES: dict[ColumnType, Sequence[Any]] = {
    "number": [1.5, 2.25],
    "category": ["AA", "B7"],
    "time": ["2013-03-01T10:00:00Z", "2013-03-02T11:30:00Z"],
}


def problem(type: ColumnType) -> ProblemSchema:
    return ProblemSchema("classification", "late", (Column("x", "feature", type), Column("y", "feature", "number")))


def logged(folder: Path, values: Sequence[Any]) -> Arena:
    arena = Arena.build(folder)
    entries = [
        LogEntry(id=f"r{n}", digest=b"-", record=json.dumps({"x": value, "y": 1.0}), prediction='"no"')
        for n, value in enumerate(values)
    ]
    arena.record.log.append([Batch(entries, "v1", START, client_ids=True)])
    return arena


@pytest.mark.parametrize(
    ("was", "now"),
    [("number", "category"), ("number", "time"), ("category", "number"), ("category", "time"), ("time", "number")],
)
def test_a_type_that_logged_values_are_not_of_is_refused(tmp_path: Path, was: ColumnType, now: ColumnType) -> None:
    arena = logged(tmp_path, SAMPLES[was])
    with pytest.raises(DataError) as refused:
        expect_readable_log(arena.record, problem(was), problem(now))
    assert refused.value.field == "columns.x.type"
    assert f'"{now}", and "{was}" for the champion: 2 of the newest 2 logged requests' in refused.value.message
    assert f'Set type = "{was}" again' in refused.value.message


@pytest.mark.parametrize(
    ("was", "now", "values"),
    [
        ("number", "category", [7, 12]),  # whole numbers are categories as well
        ("time", "category", SAMPLES["time"]),
        ("number", "category", [None, None]),
        ("number", "number", [1.5]),
        ("number", "category", []),
    ],
)
def test_what_the_new_type_reads_too_goes_on(
    tmp_path: Path, was: ColumnType, now: ColumnType, values: Sequence[Any]
) -> None:
    arena = logged(tmp_path, values)
    expect_readable_log(arena.record, problem(was), problem(now))
