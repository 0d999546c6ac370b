"""The arrival time as a feature: filled in where a request has none, logged, and read by everybody from the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from monitoring.bouts.shadow_scorer import ShadowScorer
from record.clock import ManualClock
from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema
from record.db.database import Database
from record.errors import DataError, SettingsError
from record.logged import LoggedRow
from record.record import Record, open_record
from record.settings import load_settings
from record.versions.model import ServedModel
from retrain.data.rows import read_rows
from service.arrival_time import ArrivalTime, fill
from tests.retrain.problems import START, make_frame, make_project
from tests.retrain.test_job import ONE_TRIAL, carry_out
from tests.service.serving import LiveService, live_service, wait_ready

ARRIVAL: dict[str, Any] = {"columns.at": {"type": "time", "arrival": True}}
FIRST = START + timedelta(days=500, hours=3, milliseconds=250)
Records = Sequence[dict[str, Any]]
Send = Callable[["Loop", Records, Sequence[str], datetime], list[Any]]


@dataclass(frozen=True, slots=True)
class Loop:
    """A running service, and its record beside it."""

    service: LiveService
    record: Record
    model: ServedModel

    def post(self, path: str, body: Any, at: datetime) -> httpx.Response:
        return httpx.post(
            self.service.url + path, json=body, headers={"Ringside-Time": at.isoformat()}, timeout=60, trust_env=False
        )

    def rows(self, ids: Sequence[str]) -> list[LoggedRow]:
        found = [self.record.log.find(id) for id in ids]
        return [row for row in found if row is not None]


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A model of values that rise with the hour, learned from a source that has the times, and served."""
    folder = tmp_path_factory.mktemp("arrival")
    frame = make_frame("regression", 400)
    frame = frame.assign(outcome=frame["at"].dt.hour * 10.0 + frame["distance"] / 100.0)
    more = {**ONE_TRIAL, **ARRIVAL, "clock": {"source": "requests"}, "serve": {"workers": 1}}
    database = Database(f"sqlite:///{folder / 'record.db'}")
    open_record(make_project(folder, database, "regression", more=more, frame=frame).settings).close()
    project = make_project(folder, database, "regression", more=more, frame=frame)
    assert carry_out(project).version == "v1"
    database.close()
    record = open_record(project.settings)
    try:
        model = ServedModel.load(record.registry.directory("v1"), "v1", record.registry.version("v1").digest)
        with live_service(project.settings, folder) as service:
            wait_ready(service, 1)
            yield Loop(service, record, model)
    finally:
        record.close()


def without_time(count: int) -> list[dict[str, Any]]:
    return [
        {"distance": 400.5 + n, "seats": None, "carrier": "AA", "gate": "g2", "note": f"{n:080}"} for n in range(count)
    ]


def predict(loop: Loop, records: Records, ids: Sequence[str], at: datetime) -> list[Any]:
    response = loop.post("/predict", {"records": list(records), "ids": list(ids)}, at)
    assert response.status_code == 200, response.text
    return [told["prediction"] for told in response.json()["predictions"]]


def infer(loop: Loop, records: Records, ids: Sequence[str], at: datetime) -> list[Any]:
    inputs = [
        {
            "name": name,
            "datatype": "FP64" if name in ("distance", "seats") else "BYTES",
            "shape": [len(records)],
            "data": [record[name] for record in records],
        }
        for name in records[0]
    ]
    body = {"id": ids[0].partition("#")[0], "inputs": inputs}
    response = loop.post("/v2/models/flights/infer", body, at)
    assert response.status_code == 200, response.text
    (found,) = [output for output in response.json()["outputs"] if output["name"] == "prediction"]
    return list(found["data"])


@pytest.mark.parametrize(
    ("send", "count"),
    [(predict, 1), (predict, 40), (predict, 900), (infer, 2), (infer, 900)],
    ids=["a record", "a batch", "a long body", "tensors", "long tensors"],
)
def test_a_retry_gets_the_answer_that_the_arrival_time_gave(loop: Loop, send: Send, count: int) -> None:
    """By every entrance; the log holds the record with the time, and whoever scores it reads the same input."""
    records = without_time(count)
    ids = [f"{send.__name__}-{count}#{n}" for n in range(count)]
    given = send(loop, records, ids, FIRST + timedelta(hours=count))
    rows = loop.rows(ids)
    held = [json.loads(row.record) for row in rows]
    (arrival,) = {record["at"] for record in held}
    at = datetime.fromisoformat(arrival)
    assert at >= FIRST + timedelta(hours=count)  # the clock does not go back
    assert all(timedelta() <= row.requested_at - at < timedelta(milliseconds=1) for row in rows)
    assert [record | {"at": None} for record in held] == [record | {"at": None} for record in records]
    scores = loop.model.score(loop.model.decoder.decode(held)).raw.ravel()
    np.testing.assert_allclose(given, scores, rtol=1e-6)
    later = at + timedelta(hours=7)
    other = loop.model.score(loop.model.decoder.decode(fill(records, "at", later.isoformat()))).raw.ravel()
    assert not np.allclose(given, other, rtol=1e-3)  # the time counts
    shadow = ShadowScorer(loop.model, "a bout", 1.0).score(rows)
    assert [json.loads(score.prediction or "") for score in shadow] == pytest.approx(given, rel=1e-9)

    assert send(loop, records, ids, later) == given
    assert [row.record for row in loop.rows(ids)] == [row.record for row in rows]
    asked = {"id": ids[0], "attribution": "false"}
    explained = httpx.get(f"{loop.service.url}/explain", params=asked, timeout=60, trust_env=False).json()
    assert explained["record"] == held[0]


def test_a_time_that_the_request_sends_wins(loop: Loop) -> None:
    """Null is the same as absent; another value under the same id is another request."""
    (record,) = without_time(1)
    sent = "2024-03-01T17:00:00+02:00"
    predict(loop, [record | {"at": sent}], ["own"], FIRST)
    assert json.loads(loop.rows(["own"])[0].record)["at"] == sent
    given = predict(loop, [record], ["absent"], FIRST + timedelta(days=100))
    assert predict(loop, [record | {"at": None}], ["absent"], FIRST + timedelta(days=100, hours=5)) == given
    again = {"records": [record | {"at": sent}], "ids": ["absent"]}
    assert loop.post("/predict", again, FIRST + timedelta(days=100)).status_code == 409
    wrong = loop.post("/predict", {"records": [record | {"at": "soon"}]}, FIRST)
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "records[0].at")


def test_the_contract_says_that_the_time_is_optional(loop: Loop) -> None:
    document = httpx.get(f"{loop.service.url}/docs.json", timeout=30, trust_env=False).json()
    described = document["components"]["schemas"]["Record"]
    assert set(described["properties"]) - set(described["required"]) == {"at"}
    assert described["properties"]["at"]["description"] == "The request's arrival time where it has no value."
    inputs = httpx.get(f"{loop.service.url}/v2/models/flights", timeout=30, trust_env=False).json()["inputs"]
    assert {held["name"] for held in inputs if not held["parameters"]["required"]} == {"at"}


def test_training_reads_the_arrival_time_from_the_log(loop: Loop) -> None:
    """The arrays of the logged rows are those that the champion answered from."""
    at = FIRST + timedelta(days=200)
    predict(loop, without_time(3), ["l0", "l1", "l2"], at)
    labels = {"labels": [{"id": f"l{n}", "label": 50.0 + n} for n in range(3)]}
    assert loop.post("/labels", labels, at + timedelta(minutes=1)).status_code == 200
    data = read_rows(loop.service.settings, loop.record, loop.model.schema.problem, at + timedelta(days=300))
    labelled = np.isin(data.seqs, [row.seq for row in loop.rows(["l0", "l1", "l2"])])
    assert labelled.sum() == 3
    records = [json.loads(row.record) for row in loop.rows(["l0", "l1", "l2"])]
    expected = loop.model.decoder.decode(records).numbers
    np.testing.assert_array_equal(data.arrays.numbers[labelled], expected)


def test_a_source_without_the_time_is_refused(tmp_path: Path, sqlite_database: Database) -> None:
    """A model that never saw a time would be fed one."""
    frame = make_frame("binary", 200).rename(columns={"at": "when"})
    project = make_project(
        tmp_path, sqlite_database, frame=frame, more={**ONE_TRIAL, **ARRIVAL, "problem": {"time_column": "when"}}
    )
    with pytest.raises(DataError, match=r"no column 'at', a feature.*\[columns\.at\] arrival = false"):
        carry_out(project)


PROBLEM = '[problem]\ntask = "classification"\ntarget = "late"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[columns.a]\ntype = "number"\narrival = true',
            'columns.a.arrival: true with type "number"; expected type "time"',
        ),
        ('[columns.a]\ntype = "time"\nrole = "carried"\narrival = true', 'columns.a.arrival: true with role "carried"'),
        (
            '[columns.a]\ntype = "time"\narrival = true\n[columns.b]\ntype = "time"\narrival = true',
            "columns.b.arrival: true, and columns.a.arrival, too; expected one such column at most",
        ),
        (
            'time_column = "a"\ntime_features = false\n[columns.a]\ntype = "time"\narrival = true',
            "columns.a.arrival: true, but problem.time_features = false",
        ),
        ('[columns.a]\ntype = "time"\narrival = "now"', "columns.a.arrival"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "ringside.toml").write_text(PROBLEM + text, encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_settings(tmp_path / "ringside.toml")
    assert sentence in refused.value.message


def problem(*columns: Column) -> ProblemSchema:
    return ProblemSchema("regression", "y", columns)


def test_the_champion_or_settings_name_the_column() -> None:
    """Settings' column is filled where the champion takes it: the log must hold it before a challenger is judged."""
    arrival = ArrivalTime(ManualClock(START), "at")
    assert arrival.column(problem(Column("at", "feature", "time", False, True))) == "at"
    assert arrival.column(problem(Column("at", "carried", "time", False))) == "at"
    for unfit in (
        Column("at", "feature", "time"),
        Column("at", "carried", "text", False),
        Column("x", "feature", "time"),
    ):
        assert arrival.column(problem(unfit)) is None
    off = ArrivalTime(ManualClock(START), None)
    assert off.column(problem(Column("at", "feature", "time", False, True))) == "at"
    assert off.column(problem(Column("at", "carried", "time", False))) is None


def test_the_clock_does_not_go_back_to_a_request() -> None:
    clock = ManualClock(START)
    arrival = ArrivalTime(clock, None)
    assert arrival.read(None) == arrival.read(START - timedelta(days=1)) == "2024-01-01T00:00:00.000Z"
    assert arrival.read(START + timedelta(microseconds=1_999)) == "2024-01-01T00:00:00.001Z"


def test_a_schema_without_an_arrival_column_is_written_as_before() -> None:
    """An older Ringside reads it, and refuses one that it would serve without the time."""
    plain = Schema(problem(Column("x", "feature", "number")), {})
    assert "arrival" not in plain.to_json()
    filled = Schema(problem(Column("at", "feature", "time", False, True)), {})
    assert json.loads(filled.to_json())["problem"]["columns"][0]["arrival"] is True
    for schema in (plain, filled):
        assert Schema.from_json(schema.to_json()) == schema
