"""A column is added, removed or changed: what that means for logged requests is said, and the steps work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.contract.columns import Column
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema
from record.db.database import Database
from record.errors import DataError, InvalidRecord
from record.logged import Batch, LogEntry
from record.versions.model import ServedModel
from retrain.data.logged_contract import column_changes
from ringside.terminal.record_commands import retrain
from tests.monitoring.arena import Arena
from tests.retrain.problems import START, Project, make_frame, make_project, write_settings
from tests.retrain.test_job import ONE_TRIAL, carry_out

WEATHER = "columns.wind"
ABSENT = object()  # a request without the column


def changed(project: Project, columns: Mapping[str, Mapping[str, Any]]) -> Project:
    """The same project with other columns."""
    more = {"store": {"database": project.settings.store.database}, **ONE_TRIAL, **columns}
    settings = write_settings(project.folder, "binary", "flights.parquet", more)
    return replace(project, settings=settings)


def serve(project: Project, frame: pd.DataFrame, *, wind: bool, name: str) -> None:
    """The frame's rows as requests to the champion, which checks them as the service does, and logs them."""
    champion = project.record.registry.roles().champion
    assert champion is not None
    version = project.record.registry.version(champion)
    model = ServedModel.load(project.record.registry.directory(champion), champion, version.digest)
    columns = ["distance", "seats", "carrier", "gate", "note", *(["wind"] if wind else [])]
    records = [
        {key: None if value != value else value for key, value in row.items()}
        for row in frame[columns].to_dict("records")
    ]
    model.decoder.check(records)
    at = START + timedelta(days=100)
    entries = [LogEntry(f"{name}-{n}", bytes(16), json.dumps(held), '"late"') for n, held in enumerate(records)]
    project.record.log.append([Batch(entries, champion, at)])


def test_a_feature_is_added_by_the_steps_that_are_told(
    tmp_path: Path, sqlite_database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused at once, with the steps; carried first, then sent, then a feature: and each step works."""
    frame = make_frame("binary", 400).assign(wind=np.random.default_rng(3).normal(size=400))
    project = make_project(tmp_path, sqlite_database, frame=frame, more=ONE_TRIAL)
    assert carry_out(project).version == "v1"
    serve(project, frame.head(40), wind=False, name="old")
    with pytest.raises(InvalidRecord, match="wind: unknown column"):
        serve(project, frame.head(1), wind=True, name="early")

    hasty = changed(project, {WEATHER: {"type": "number"}})
    with pytest.raises(DataError, match='Set role = "carried" and required = false; retrain') as refused:
        carry_out(hasty)
    assert refused.value.field == "columns.wind.role"
    with pytest.raises(DataError, match="40 of the newest 40 logged requests do not"):
        retrain("a new column", config=hasty.settings.path)
    project.record.runs.fail(project.record.runs.active().run_id, "refused")  # type: ignore[union-attr]

    carried = changed(project, {WEATHER: {"type": "number", "role": "carried", "required": False}})
    assert carry_out(carried).version == "v2"
    project.record.registry.promote("v2", actor="ann", reason="the contract has a new column")
    serve(carried, frame.head(30), wind=True, name="new")
    serve(carried, frame.head(5), wind=False, name="slow")  # an application that has not followed yet

    feature = changed(project, {WEATHER: {"type": "number", "required": False}})
    assert carry_out(feature).version == "v3"
    version = project.record.registry.version("v3")
    model = ServedModel.load(project.record.registry.directory("v3"), "v3", version.digest)
    assert "wind" in [column.name for column in model.schema.problem.features]
    for row in project.record.log.between(0, project.record.log.last_seq()):
        features = {column.name for column in model.schema.problem.features}
        held = {name: value for name, value in json.loads(row.record).items() if name in features}
        assert np.isfinite(model.score(model.decoder.decode([{**held, "note": None}])).raw).all()
    capsys.readouterr()
    retrain("look again", config=feature.settings.path)
    assert "columns.wind.role: a feature now" in capsys.readouterr().err


def test_a_column_is_removed_by_the_steps_that_are_told(tmp_path: Path, sqlite_database: Database) -> None:
    """At once, requests that carry it would be refused; carried and optional first, they are answered all along."""
    frame = make_frame("binary", 400)
    project = make_project(tmp_path, sqlite_database, frame=frame, more=ONE_TRIAL)
    assert carry_out(project).version == "v1"
    serve(project, frame.head(40), wind=False, name="old")
    left = {name: column for name, column in project.settings.columns.items() if name != "gate"}
    hasty = replace(project, settings=project.settings.model_copy(update={"columns": left}))
    with pytest.raises(DataError, match=r"columns\.gate: removed, and \d+ of the newest 40 logged requests carry it"):
        carry_out(hasty)
    project.record.runs.fail(project.record.runs.active().run_id, "refused")  # type: ignore[union-attr]
    carried = changed(project, {"columns.gate": {"type": "category", "role": "carried", "required": False}})
    assert carry_out(carried).version == "v2"
    project.record.registry.promote("v2", actor="ann", reason="gate goes")
    serve(carried, frame.head(3), wind=False, name="with")


def problem(*columns: Column) -> ProblemSchema:
    return ProblemSchema("classification", "late", (Column("y", "feature", "number"), *columns))


@pytest.mark.parametrize(
    ("was", "now", "values", "refused"),
    [
        (None, Column("x", "feature", "number"), [None], "role"),
        (None, Column("x", "feature", "number", False), [None], "role"),
        (None, Column("x", "carried", "number"), [None], "required"),
        (None, Column("x", "carried", "number", False), [None], None),
        (Column("x", "feature", "number"), None, [1.0, None], ""),
        (Column("x", "feature", "number"), None, [None], ""),
        (Column("x", "carried", "text", False), None, [None, ABSENT], ""),
        (Column("x", "carried", "text", False), None, [ABSENT, ABSENT], None),
        (Column("x", "carried", "number"), Column("x", "feature", "number"), [None], "role"),
        (Column("x", "carried", "number"), Column("x", "feature", "number"), [1.0, None], None),
        (Column("x", "feature", "number"), Column("x", "carried", "number"), [1.0], None),
        (Column("x", "feature", "number", False), Column("x", "feature", "number"), [1.0, ABSENT], "required"),
        (Column("x", "feature", "number", False), Column("x", "feature", "number"), [1.0, None], None),
        (Column("x", "feature", "number", False), Column("x", "feature", "number"), [1.0], None),
        (Column("x", "carried", "number", False), Column("x", "feature", "number"), [1.0, ABSENT], "required"),
        (Column("x", "carried", "number", False), Column("x", "feature", "number"), [1.0, None], None),
        (None, Column("x", "feature", "number"), [1.0, None], None),
        (None, Column("x", "feature", "number"), [1.0, ABSENT], "role"),
        (None, Column("x", "feature", "number", False), [1.0, ABSENT], None),
        (Column("x", "feature", "number"), Column("x", "feature", "category"), [1.5], "type"),
        (None, Column("x", "feature", "time", False, True), [None], "role"),
        (Column("x", "carried", "time", False), Column("x", "feature", "time", False, True), [None], "role"),
        (Column("x", "carried", "time", False), Column("x", "feature", "time", False, True), ["2024-01-01"], None),
        (Column("x", "feature", "time", False, True), Column("x", "feature", "time"), ["2024-01-01"], "required"),
        (Column("x", "feature", "time", False, True), Column("x", "carried", "time"), ["2024-01-01"], "required"),
        (Column("x", "feature", "time", False, True), Column("x", "feature", "time", False), ["2024-01-01"], None),
    ],
)
def test_each_change_is_judged_by_the_log(
    tmp_path: Path, was: Column | None, now: Column | None, values: list[Any], refused: str | None
) -> None:
    """Only what a challenger or a request would fail for is refused; everything else is told."""
    arena = Arena.build(tmp_path)
    entries = [
        LogEntry(
            id=f"r{n}",
            digest=b"-",
            record=json.dumps({**({} if value is ABSENT else {"x": value}), "y": 1.0}),
            prediction='"no"',
        )
        for n, value in enumerate(values)
    ]
    arena.record.log.append([Batch(entries, "v1", START, client_ids=True)])
    before, after = (problem(*([] if column is None else [column])) for column in (was, now))
    (change,) = column_changes(arena.record, before, after)
    assert change.refused == (refused is not None)
    if refused is not None:
        assert change.field == ".".join(["columns.x", *([refused] if refused else [])])
        assert "xpected" in change.message or "Set " in change.message
    assert column_changes(arena.record, after, after) == []


OPTIONAL, REQUIRED = (Column("x", "carried", "text", required) for required in (False, True))


@pytest.mark.parametrize(
    ("was", "now"), [(OPTIONAL, None), (OPTIONAL, REQUIRED), (REQUIRED, OPTIONAL), (None, REQUIRED)]
)
@pytest.mark.parametrize("value", ["a", None, ABSENT])
def test_what_is_told_as_safe_is_answered_by_the_new_contract(
    tmp_path: Path, was: Column | None, now: Column | None, value: Any
) -> None:
    """A redacted value is null in the log, and a null is sent: the new contract's own decoder is the judge."""
    arena = Arena.build(tmp_path)
    record = {**({} if value is ABSENT else {"x": value}), "y": 1.0}
    before, after = (problem(*([] if column is None else [column])) for column in (was, now))
    arena.record.log.append([Batch([LogEntry("r", b"-", json.dumps(record), '"no"')], "v1", START, client_ids=True)])
    (change,) = column_changes(arena.record, before, after)
    try:
        Decoder(after).check([record])
    except InvalidRecord:
        assert change.refused
    else:
        assert not change.refused or was is None  # a new required column is carried by nobody yet
