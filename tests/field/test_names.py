"""Names that Ringside uses itself are names like others among the columns."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.windows import Window, reference_window
from record.configuration.inspection import inspect
from record.contract.columns import TIME_PARTS, Column
from record.contract.feature_places import feature_places
from record.contract.schema import ProblemSchema
from record.db.database import Database
from record.db.tables import metadata
from record.versions.model import ServedModel
from record.versions.reference_outputs import NUMBER, SHARE, TIME
from retrain.data.variable import variables
from service.explain.explainer import Question, explain
from tests.retrain.problems import START, make_project_like_init
from tests.retrain.test_job import ONE_TRIAL, carry_out

ROWS = 240
COLUMNS = sorted({column.name for table in metadata.tables.values() for column in table.columns})
PARTS = [f"when.{part}" for part in TIME_PARTS]
OWN = [
    "prediction", "target", "probability", "probabilities", "prediction.yes", "probability.yes", TIME, NUMBER,
    f"{SHARE}yes", "share.no", "id", "ids", "record", "records", "label", "labels", "index", "level_0", "row", "rows",
    "name", "columns", "feature", "*", "self", "class", "None", "output:prediction", "when.days'", "x\x1fy", *PARTS,
]  # fmt: skip


def named(names: list[str], task: str) -> pd.DataFrame:
    """A table whose columns are called so; the first of them gives the target, with noise."""
    random = np.random.default_rng(3)
    held: dict[str, Any] = {name: random.normal(size=ROWS).round(3) for name in names}
    held["when"] = [(START + timedelta(hours=7 * n)).isoformat() for n in random.permutation(ROWS).tolist()]
    raw = held[names[0]] + held[names[-1]] + random.normal(0, 0.3, ROWS)
    held["y"] = np.where(raw > 0, "yes", "no") if task == "classification" else raw
    return pd.DataFrame(held)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("names", [OWN, [name for name in COLUMNS if name != "y"][:60]], ids=["own", "tables"])
def test_a_problem_whose_columns_are_called_like_ours(
    tmp_path: Path, sqlite_database: Database, task: str, names: list[str]
) -> None:
    """Reserved names among features lost the features (Arize-ai/phoenix#632, apache/spark#31472)."""
    frame = named(names, task)
    project = make_project_like_init(tmp_path, sqlite_database, frame, "y", ONE_TRIAL)
    problem = project.settings.problem_schema()
    assert problem is not None
    features = {column.name for column in problem.features}
    assert set(names) <= features
    result = carry_out(project)
    assert result.version == "v1"
    registry = project.record.registry
    directory, version = registry.directory("v1"), registry.version("v1")
    model = ServedModel.load(directory, "v1", version.digest)

    window = whole_reference(directory, model)
    for name in names:
        assert len(window.numbers[name]) == ROWS
        assert set(np.round(window.numbers[name], 3)) == set(frame[name])
    assert {"prediction", "target"} <= set(window.outputs)

    record = model.decoder.frame_records(frame[:1])[0]
    answered = model.score(model.decoder.decode([record])).raw[0]
    classes = model.schema.classes
    said: Any = (
        dict(zip(classes, np.ravel(answered).tolist(), strict=True)) if classes else float(np.ravel(answered)[0])
    )
    told = explain(Question("r0", "v1", str(directory), version.digest, json.dumps(record), json.dumps(said), 600.0))
    assert {each["feature"] for each in told["contributions"]} == features


def whole_reference(directory: Path, model: ServedModel) -> Window:
    outputs = next((path.read_bytes() for path in directory.glob("reference_outputs*")), None)
    return reference_window((directory / "reference.parquet").read_bytes(), model.schema, outputs)


def test_parts_of_a_time_have_names_that_no_column_has() -> None:
    """A number `when.days` beside a time `when` was taken for its first part."""
    columns = [
        Column("when", "feature", "time"),
        *(Column(name, "feature", "number") for name in (*PARTS, "when.days'")),
    ]
    for order in (columns, columns[::-1]):
        problem = ProblemSchema("classification", "y", tuple(order))
        names = problem.number_names
        assert len(set(names)) == len(names) == 2 * len(TIME_PARTS) + 1
        places = {held.name: held.numbers for held in feature_places(problem)}
        start = names.index("when.days''")
        assert places["when"] == tuple(range(start, start + len(TIME_PARTS)))
        assert problem.time_places == (start,)
        assert all(places[name] == (names.index(name),) for name in PARTS)


def test_variables_of_such_columns_are_their_own(tmp_path: Path, sqlite_database: Database) -> None:
    from retrain.data.loading import load

    frame = named(["when.days", "when.hour"], "classification")
    project = make_project_like_init(tmp_path, sqlite_database, frame, "y", ONE_TRIAL)
    problem = project.settings.problem_schema()
    assert problem is not None
    data = load(project.settings, problem, [])
    own = {held.name: held for held in variables(data) if held.column == "when.days"}
    assert set(own) == {"when.days"}
    assert set(np.round(own["when.days"].values, 3)) == set(frame["when.days"])


def test_init_sees_such_names(tmp_path: Path) -> None:
    named(OWN, "classification").to_csv(tmp_path / "rows.csv", index=False)
    assert {column.name for column in inspect(tmp_path / "rows.csv", "y").columns} == {*OWN, "when"}
