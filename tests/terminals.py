"""A problem that changes: flights of terminal A, then those of a new terminal B, which at first are seldom late."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from onnx import TensorProto, helper

from record.record import Record
from record.settings import Settings, load_settings
from tests.replaying import Replay

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY, HOUR, HORIZON = timedelta(days=1), timedelta(hours=1), timedelta(hours=1)
SLOT, FLIGHTS_IN_SLOT = timedelta(minutes=30), 8
HISTORY_ROWS = 600

# P(late) = 1 / (1 + exp(−(2x + usual))); a model that never saw B takes it for any terminal.
USUAL, SELDOM = 1.0, -3.0

TOML = """
[problem]
task = "classification"
target = "late"
time_column = "at"
positive_class = "yes"
[columns.x]
type = "number"
[columns.terminal]
type = "category"
[columns.who]
role = "carried"
type = "text"
[data]
source = "history.csv"
[clock]
source = "requests"
[serve]
workers = 1
refresh = "100ms"
[drift]
every = "1d"
window = "1d"
min_rows = 200
triggers_retrain = true
[quality]
label_horizon = "1h"
every = "1d"
window = "1d"
min_labels = 100
triggers_retrain = false
[retrain]
trials = 2
families = ["linear"]
check_every = "1d"
cooldown = "2d"
max_age = "300d"
[promotion]
every = "6h"
min_pairs = 100
rollback_watch = 1000
latency_limit_ms = 10000
"""


@dataclass
class Airport:
    """Makes flights, and remembers the truth about each."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    terminal: Literal["A", "B"] = "A"
    offset: float = USUAL
    truths: dict[str, bool] = field(default_factory=dict)

    def flights(self, count: int) -> dict[str, dict[str, Any]]:
        """Records by id."""
        values = self.rng.normal(0, 1, count)
        late = self.rng.random(count) < 1 / (1 + np.exp(-(2 * values + self.offset)))
        first = len(self.truths)
        ids = [f"f{first + place}" for place in range(count)]
        self.truths |= {id: bool(truth) for id, truth in zip(ids, late, strict=True)}
        return {
            id: {"x": float(np.float32(value)), "terminal": self.terminal, "who": "somebody"}
            for id, value in zip(ids, values, strict=True)
        }

    def labels(self, ids: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"id": id, "label": "yes" if self.truths[id] else "no"} for id in ids]


def make_project(folder: Path, more: str = "") -> Settings:
    """A folder with ringside.toml and what was known before: the month before START, terminal A only."""
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, HISTORY_ROWS)
    late = rng.random(HISTORY_ROWS) < 1 / (1 + np.exp(-(2 * values + USUAL)))
    frame = pd.DataFrame(
        {
            "x": values.astype(np.float32),
            "terminal": "A",
            "who": "somebody",
            "at": [(START - (HISTORY_ROWS - row) * HOUR).isoformat() for row in range(HISTORY_ROWS)],
            "late": np.where(late, "yes", "no"),
        }
    )
    frame.to_csv(folder / "history.csv", index=False)
    (folder / "ringside.toml").write_text(TOML + more)
    return load_settings(folder / "ringside.toml")


def fly(replay: Replay, airport: Airport, start: datetime, until: datetime) -> Iterator[datetime]:
    """Flights in every half hour of the time, each labelled half an hour after its request; stops at each slot."""
    waiting: dict[str, Any] = {}
    at = start + SLOT / 2
    while at < until:
        if waiting:
            replay.label(at, airport.labels(waiting))
        waiting = airport.flights(FLIGHTS_IN_SLOT)
        replay.predict(at, waiting)
        at += SLOT
        yield at - SLOT / 2
    replay.label(at - SLOT / 2, airport.labels(waiting))


def register_contrary(record: Record) -> str:
    """A challenger that says the opposite of what is known about x, put in past the gate; its version."""
    champion = record.registry.roles().champion
    assert champion is not None
    schema = record.registry.directory(champion) / "schema.json"
    stage = record.artifacts.stage()
    (stage / "schema.json").write_bytes(schema.read_bytes())
    (stage / "model.onnx").write_bytes(_contrary())
    golden = {
        "record": [json.dumps({"x": 0.0, "terminal": "A", "who": None})],
        "expected": ["[0.5, 0.5]"],
    }
    parquet.write_table(pa.table(golden), stage / "golden.parquet")
    registered = record.registry.register(
        stage,
        run_id=None,
        parent=champion,
        card={},
        read_until_seq=record.log.last_seq(),
        data_until=None,
        actor="saboteur",
    )
    return registered.version


def _contrary() -> bytes:
    """P(yes) = 1 / (1 + exp(2x)), whatever the terminal."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["numbers", "slope"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["yes"]),
            helper.make_node("Sub", ["one", "yes"], ["no"]),
            helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        ],
        "contrary",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("categories", TensorProto.STRING, [None, 1]),
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor("slope", TensorProto.FLOAT, [1, 1], [-2.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
