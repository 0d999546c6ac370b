"""A real model, small enough to be checked by hand: made with onnx.helper, packaged as a version is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as parquet
from onnx import TensorProto, helper, numpy_helper

from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn
from record.record import Record
from record.registry import ModelVersion

Task = Literal["classification", "regression"]
CARRIERS = {"AA": 0.5, "UA": -0.25}  # anything else: 0
SLOPE = 0.001
MISSING_DISTANCE = 1000.0
POISON = -1e30  # a distance that makes the model answer NaN


def answer(record: dict[str, Any], bias: float, task: Task = "classification") -> float:
    """What the model says: the probability of "late", or the value."""
    distance = MISSING_DISTANCE if record["distance"] is None else float(np.float32(record["distance"]))
    score = SLOPE * distance + CARRIERS.get(record["carrier"], 0.0) + bias
    return 1 / (1 + math.exp(-score)) if task == "classification" else score


def record_of(distance: float | None = 500.0, carrier: str | None = "AA", note: str | None = None) -> dict[str, Any]:
    return {"distance": distance, "carrier": carrier, "note": note}


def make_schema(task: Task = "classification") -> Schema:
    columns = (
        Column("distance", "feature", "number"),
        Column("carrier", "feature", "category"),
        Column("note", "carried", "text"),
    )
    positive = "late" if task == "classification" else None
    problem = ProblemSchema(task=task, target="arrival", columns=columns, positive_class=positive)
    seen = {
        "distance": SeenColumn(low=0.0, high=5000.0),
        "carrier": SeenColumn(categories=tuple(sorted(CARRIERS))),
    }
    classes = ("late", "on time") if task == "classification" else ()
    return Schema(problem=problem, seen=seen, classes=classes)


def make_model(bias: float = 0.0, task: Task = "classification") -> bytes:
    """The formula of `answer` as a graph, in double precision."""

    def constant(name: str, value: Any, kind: Any = np.float64) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, dtype=kind), name)

    nodes = [
        helper.make_node("Cast", ["numbers"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("IsNaN", ["wide"], ["missing"]),
        helper.make_node("Where", ["missing", "usual", "wide"], ["filled"]),
        helper.make_node("Less", ["filled", "poison"], ["poisoned"]),
        helper.make_node("Where", ["poisoned", "nan", "filled"], ["distance"]),
        helper.make_node("Mul", ["distance", "slope"], ["sloped"]),
        helper.make_node(
            "LabelEncoder",
            ["categories"],
            ["carrier"],
            domain="ai.onnx.ml",
            keys_strings=list(CARRIERS),
            values_floats=list(CARRIERS.values()),
            default_float=0.0,
        ),
        helper.make_node("Cast", ["carrier"], ["carrier_wide"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["sloped", "carrier_wide"], ["both"]),
        helper.make_node("Add", ["both", "bias"], ["score"]),
    ]
    if task == "classification":
        nodes += [
            helper.make_node("Sigmoid", ["score"], ["late"]),
            helper.make_node("Sub", ["one", "late"], ["on_time"]),
            helper.make_node("Concat", ["late", "on_time"], ["probabilities"], axis=1),
        ]
    else:
        nodes += [helper.make_node("Identity", ["score"], ["value"])]
    width, name = (2, "probabilities") if task == "classification" else (1, "value")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("categories", TensorProto.STRING, [None, 1]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, width])],
        [
            constant("usual", MISSING_DISTANCE),
            constant("poison", POISON / 10),
            constant("nan", math.nan),
            constant("slope", SLOPE),
            constant("bias", bias),
            constant("one", 1.0),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_model(
    folder: Path, bias: float = 0.0, task: Task = "classification", *, golden_error: float = 0.0
) -> dict[str, Any]:
    """Writes a version's files but for its card and manifest, and gives the card."""
    records = [record_of(100.0 * n, carrier) for n in range(8) for carrier in ("AA", "UA", "XX", None)]
    records.append(record_of(None))
    truth = [answer(record, bias, task) + golden_error for record in records]
    expected = [[p, 1 - p] if task == "classification" else p for p in truth]
    table = {"record": [json.dumps(r) for r in records], "expected": [json.dumps(e) for e in expected]}
    parquet.write_table(pa.table(table), folder / "golden.parquet")
    parquet.write_table(pa.table({"distance": [1.0], "carrier": ["AA"]}), folder / "reference.parquet")
    (folder / "model.onnx").write_bytes(make_model(bias, task))
    (folder / "schema.json").write_text(make_schema(task).to_json())
    (folder / "estimator.skops").write_bytes(b"none")
    (folder / "report.html").write_text("<!doctype html><title>report</title><script>document.title = 'ran'</script>")
    return {"task": task, "family": "linear", "target_sd": 1.0, "metrics": {}, "lineage": {}}


def register_model(
    record: Record,
    bias: float = 0.0,
    task: Task = "classification",
    *,
    as_champion: bool = False,
    golden_error: float = 0.0,
) -> ModelVersion:
    """The next version: its answers tell `bias`, and so which version gave them."""
    stage = record.artifacts.stage()
    card = write_model(stage, bias, task, golden_error=golden_error)
    return record.registry.register(
        stage,
        run_id=None,
        parent=record.registry.roles().champion,
        card=card,
        read_until_seq=0,
        data_until=None,
        actor="test",
        as_champion=as_champion,
    )
