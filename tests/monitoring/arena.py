"""A small real world for bouts: an SQLite record, logistic ONNX models of one number, requests and labels."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from onnx import TensorProto, helper

from monitoring.bout import open_due_bouts, settle_bouts
from monitoring.bouts.decision import PromotionDecision
from monitoring.shadow import Shadow
from record.bouts.bout import Bout
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn
from record.log.labels import add_labels
from record.logged import Batch, LabelGiven, LogEntry
from record.record import Record, open_record
from record.settings import Settings, load_settings
from record.versions.model import ServedModel
from record.versions.model_version import ModelVersion

START = datetime(2013, 3, 1, tzinfo=UTC)
HORIZON = timedelta(hours=1)

PROBLEM = ProblemSchema(
    task="classification",
    target="late",
    columns=(Column("x", "feature", "number"), Column("who", "carried", "text")),
    positive_class="yes",
)
SCHEMA = Schema(PROBLEM, {"x": SeenColumn(-10.0, 10.0)}, classes=("no", "yes"))

TOML = """
[problem]
task = "classification"
target = "late"
[columns.x]
role = "feature"
type = "number"
[columns.who]
role = "carried"
type = "text"
[quality]
label_horizon = "1h"
"""
PROMOTION = {"min_pairs": 50, "rollback_watch": 500, "deadline": "30d"}


def logistic(slope: float, *, undefined_above: float | None = None, shift: float = 0.0) -> bytes:
    """P(yes) = 1 / (1 + exp(−slope x − shift)); NaN for x above `undefined_above`."""
    nodes = [
        helper.make_node("Mul", ["numbers", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "shift"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["plain"]),
    ]
    constants = [helper.make_tensor("slope", TensorProto.FLOAT, [1, 1], [slope])]
    constants.append(helper.make_tensor("shift", TensorProto.FLOAT, [1, 1], [shift]))
    if undefined_above is not None:
        constants.append(helper.make_tensor("edge", TensorProto.FLOAT, [1, 1], [undefined_above]))
        constants.append(helper.make_tensor("nothing", TensorProto.FLOAT, [1, 1], [0.0]))
        nodes += [
            helper.make_node("Sub", ["edge", "numbers"], ["left"]),
            helper.make_node("Sqrt", ["left"], ["root"]),
            helper.make_node("Mul", ["root", "nothing"], ["zero"]),
            helper.make_node("Add", ["plain", "zero"], ["yes"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["plain"], ["yes"]))
    constants.append(helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]))
    nodes += [
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "logistic",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


@dataclass
class Arena:
    settings: Settings
    record: Record
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    asked: int = 0

    @classmethod
    def build(cls, folder: Path, *, toml: str = TOML, **promotion: Any) -> Arena:
        lines = [f"{key} = {json.dumps(value)}" for key, value in (PROMOTION | promotion).items()]
        (folder / "ringside.toml").write_text("\n".join([toml.strip(), "[promotion]", *lines]))
        return cls.reopen(folder)

    @classmethod
    def reopen(cls, folder: Path) -> Arena:
        settings = load_settings(folder / "ringside.toml")
        return cls(settings, open_record(settings))

    def register(
        self, model: bytes, *, read_until: int | None = None, data_until: datetime | None = None, middle: float = 0.0
    ) -> ModelVersion:
        """A version of that model, champion where there is none; it has read the log up to now, or `read_until`."""
        stage = self.record.artifacts.stage()
        (stage / "model.onnx").write_bytes(model)
        (stage / "schema.json").write_text(SCHEMA.to_json())
        golden = {"record": [json.dumps({"x": middle, "who": None})], "expected": ["[0.5, 0.5]"]}
        parquet.write_table(pa.table(golden), stage / "golden.parquet")
        return self.record.registry.register(
            stage,
            run_id=None,
            parent=None,
            card={},
            read_until_seq=self.record.log.last_seq() if read_until is None else read_until,
            data_until=data_until,
            actor="test",
            as_champion=True,
        )

    def challenge(self, slope: float, at: datetime, **options: Any) -> Bout:
        self.register(logistic(slope, **options), middle=-options.get("shift", 0.0) / slope if slope else 0.0)
        return self.open(at)[-1]

    def open(self, at: datetime) -> list[Bout]:
        return open_due_bouts(self.record, self.settings, None, at)

    def model(self, version: str) -> ServedModel:
        held = self.record.registry.version(version)
        return ServedModel.load(self.record.registry.directory(version), version, held.digest)

    def ask(
        self,
        count: int,
        start: datetime,
        *,
        every: timedelta = timedelta(seconds=10),
        values: NDArray[np.float64] | None = None,
        whos: Sequence[str] | None = None,
    ) -> list[Asked]:
        """Requests to the champion, one after the other, each with the truth that a label will tell."""
        version = self.record.registry.roles().champion
        assert version is not None
        model = self.model(version)
        asked = []
        values = self.rng.normal(0, 2, count) if values is None else values
        truths = self.rng.random(count) < 1 / (1 + np.exp(-values))
        records = [{"x": float(np.float32(value)), "who": "somebody"} for value in values]
        shares = model.score(model.decoder.decode(records)).raw
        batches = []
        for place, record in enumerate(records):
            self.asked += 1
            at = start + place * every
            entry = LogEntry(
                id=f"r{self.asked}",
                digest=model.decoder.digest(record),
                record=json.dumps({"x": record["x"]} | ({} if whos is None else {"who": whos[place]})),
                prediction=json.dumps(SCHEMA.classes[int(shares[place].argmax())]),
                probabilities=json.dumps(dict(zip(SCHEMA.classes, shares[place].tolist(), strict=True))),
            )
            batches.append(Batch([entry], version, at, client_ids=True))
            asked.append(Asked(entry.id, at, bool(truths[place])))
        self.record.log.append(batches)
        return asked

    def label(self, asked: Sequence[Asked], after: timedelta = timedelta(minutes=5)) -> None:
        """The truth of each, so long after its request."""
        self.tell([(item.at + after, item.id, "yes" if item.truth else "no") for item in asked])

    def tell(self, labels: Sequence[tuple[datetime, str, str]], *, correct: bool = False) -> None:
        """Labels in the order of their times, each received at its own; in one transaction, as that is quicker."""
        with self.record.database.write() as connection:
            for at, id, label in sorted(labels):
                given = LabelGiven(id, json.dumps(label), correct)
                add_labels(connection, [given], {"received_at": at, "machine_at": at})

    def shadow(self, bout: Bout) -> None:
        """Scores all that was logged, in this process."""
        with ThreadPoolExecutor(1) as idle:
            shadow = Shadow(self.record, self.record.bouts.get(bout.bout), None, 512, idle)
            while shadow.step():
                pass

    def settle(self, at: datetime) -> list[PromotionDecision]:
        """Scores what was logged for every open bout, then settles."""
        for bout in self.record.bouts.opened():
            self.shadow(bout)
        return settle_bouts(self.record, self.settings, None, at)

    def differences(self, bout: Bout) -> NDArray[np.float64]:
        return self.record.bouts.pairs(bout.bout)[1]

    def look(self, bout: Bout) -> dict[str, Any]:
        held = self.record.bouts.get(bout.bout).look
        assert held is not None
        return held

    def kinds(self) -> list[str]:
        return [event.kind for event in self.record.events.page(limit=1000)[0]]


@dataclass(frozen=True)
class Asked:
    id: str
    at: datetime
    truth: bool


def brier(slope: float, x: float, truth: bool) -> float:
    return (1 / (1 + math.exp(-slope * x)) - truth) ** 2
