"""Columns may have any name that Ringside's own code, tables, metrics and parts use: nothing takes them for its own."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from record.contract.columns import TIME_PARTS
from record.contract.decoder import Decoder
from record.db.database import Database
from record.db.tables import metadata
from record.versions.model import ServedModel
from retrain.data.logged_contract import column_changes
from service.explain.explainer import Question, explain
from tests.retrain.problems import make_project_like_init
from tests.retrain.test_job import carry_out

ROWS = 240
# Of code, answers, files and reports; columns of tables and parts of times are taken from where they are defined.
WORDS = (
    "prediction", "predictions", "target", "label", "labels", "id", "ids", "index", "level_0", "Unnamed: 0",
    "probability", "probability.yes", "probabilities", "record", "records", "seq", "marks", "expected", "model_version",
    "numbers", "categories", "outcome", "row", "rows", "value", "values", "column", "columns", "name", "role", "type",
    "required",
    "dummy", "linear", "champion", "challenger", "rmse", "mae", "loss", "weight", "weights", "time", "times", "x", "y",
    "missing", "__missing__", "feature", "score", "error", "none", "nan", "True", "0", "self", "dtype", "T", "size",
    "all",
)  # fmt: skip
OWN = tuple(dict.fromkeys([*WORDS, *(str(column.name) for table in metadata.tables.values() for column in table.c)]))
PARTS = tuple(f"when{dots}{part}" for dots in (".", "..") for part in TIME_PARTS)


def table(names: list[str], target: str, task: str) -> pd.DataFrame:
    """Numbers and a category under these names, beside a time `when`; the target follows the first of them."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({name: generator.normal(size=ROWS).round(4) for name in names})
    frame[names[-1]] = generator.choice(["red", "green"], ROWS)
    frame.insert(1, "when", pd.date_range("2024-01-01", periods=ROWS, freq="7h").strftime("%Y-%m-%dT%H:%M:%SZ"))
    raw = 2 * frame[names[0]] + generator.normal(0.0, 0.3, ROWS)
    frame[target] = raw.round(3) if task == "regression" else np.where(raw > 0, "yes", "no")
    return frame


def batches() -> list[tuple[list[str], str, str]]:
    """All names, some at a time, in an order by chance; each time with the parts of `when`, and one name as target."""
    names = [name for name in OWN if name != "when"]
    random.Random(0).shuffle(names)
    parts = [names[start : start + 24] for start in range(0, len(names), 24)]
    return [
        ([*part[:-1], *PARTS, "colour"], part[-1], "regression" if place % 2 else "classification")
        for place, part in enumerate(parts)
    ]


@pytest.mark.parametrize("batch", batches(), ids=lambda batch: str(batch[1]))
def test_no_name_is_taken_for_ringsides_own(
    tmp_path: Path, sqlite_database: Database, batch: tuple[list[str], str, str]
) -> None:
    """Through train, predict and explain: each column is a feature of its own, with its reference and importance."""
    names, target, task = batch
    frame = table(names, target, task)
    more = {
        "retrain": {"trials": 1, "families": ["linear"], "processes": 1, "budget": "1m"},
        "problem": {"task": task, "time_column": "when", "id_column": None, "entity_column": None, "protected": []},
        "columns": {
            name: {
                "role": "feature",
                "type": "category" if name == "colour" else "time" if name == "when" else "number",
            }
            for name in frame.columns
            if name != target
        },
        "guards": {"leakage": "warning", "class_size": "warning"},
    }
    project = make_project_like_init(tmp_path, sqlite_database, frame, target, more)
    version = carry_out(project).version
    assert version == "v1"
    record = project.record
    registered, directory = record.registry.version(version), record.registry.directory(version)
    features = [name for name in frame.columns if name != target]
    card = registered.card
    assert set(card["importances"]) == set(features)
    assert max(card["importances"], key=lambda name: card["importances"][name]) == names[0]
    reference = pd.read_parquet(directory / "reference.parquet")
    assert set(features) <= set(map(str, reference.columns))
    for name in names[:-1]:
        kept = np.sort(reference[name].to_numpy(np.float64))
        assert np.isin(kept.astype(np.float32), frame[name].to_numpy(np.float32)).all()

    model = ServedModel.load(directory, version, registered.digest)
    assert len(set(model.schema.problem.number_names)) == len(model.schema.problem.number_names)
    rows = Decoder(model.schema).frame_records(frame[features].tail(3))
    rows[0][names[0]], rows[1][names[0]] = 3.0, -3.0
    scores = model.score(model.decoder.decode(rows)).raw
    said = (
        float(scores.ravel()[0])
        if task == "regression"
        else dict(zip(model.schema.classes, scores[0].tolist(), strict=True))
    )
    told = [float(np.ravel(row)[-1]) for row in scores]
    assert told[0] > told[1]
    answer = explain(
        Question("r0", version, str(directory), registered.digest, json.dumps(rows[0]), json.dumps(said), 60.0)
    )
    assert {each["feature"] for each in answer["contributions"]} == set(features)
    assert answer["reproduced"] is not False
    assert column_changes(record, model.schema.problem, model.schema.problem) == []
    assert asdict(model.schema.problem)["target"] == target
