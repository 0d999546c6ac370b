"""What is wrong with a request is told all at once: `error.details`, of which `field` and `message` are the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from record.contract.decoder import Decoder
from record.errors import MOST_FAULTS
from record.record import open_record
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running

GOOD = record_of()
WRONG: Mapping[str, tuple[Any, ...]] = {"distance": ("500", True, 1e39, [1]), "carrier": (1.5, {}), "note": (7, [])}
FAULTS = [(column, value) for column, values in WRONG.items() for value in values]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = make_settings(tmp_path_factory.mktemp("faults"))
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with running(settings) as (_, client):
        yield client


def details(client: Client, path: str, body: Any, status: int = 422) -> list[tuple[str | None, str]]:
    """The faults that the answer names, one or several."""
    response = client.post(path, body)
    assert response.status_code == status, response.text
    error = response.json() if path.startswith("/v2") else response.json()["error"]
    first = (error["field"], error["error"] if path.startswith("/v2") else error["message"])
    found = [(fault["field"], fault["message"]) for fault in error.get("details", [])]
    assert not found or (found[0] == first and len(found) > 1)
    return found or [first]


def fields(client: Client, path: str, body: Any, status: int = 422) -> list[str | None]:
    return [field for field, _ in details(client, path, body, status)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.tuples(st.integers(0, 30), st.sampled_from(sorted(WRONG))), st.integers(0, 3), max_size=30))
def test_each_fault_is_told_as_if_it_were_the_only_one(client: Client, faults: dict[tuple[int, str], int]) -> None:
    """In the order of the records and their columns, at most twenty."""
    records = [dict(GOOD) for _ in range(31)]
    wanted = []
    for (place, column), number in sorted(faults.items(), key=lambda item: (item[0][0], list(WRONG).index(item[0][1]))):
        value = WRONG[column][number % len(WRONG[column])]
        records[place][column] = value
        alone = [dict(GOOD) for _ in range(31)]
        alone[place][column] = value
        if len(wanted) < MOST_FAULTS:
            wanted += details(client, "/predict", {"records": alone})
    if wanted:
        assert details(client, "/predict", {"records": records}) == wanted
    else:
        assert client.post("/predict", {"records": records}).status_code == 200


def test_all_kinds_of_faults_of_a_record_are_told(client: Client) -> None:
    """Of several records, and of the ids beside them."""
    body = {"records": [{"distance": "far", "carier": "AA"}, [], GOOD], "ids": ["", "order-1", 7]}
    assert fields(client, "/predict", body) == [
        "ids[0]",
        "ids[2]",
        "records[0].distance",
        "records[0].carrier",
        "records[0].note",
        "records[0].carier",
        "records[1]",
    ]


@pytest.mark.parametrize("count", [20, 2_000, 9_000])
def test_faults_are_told_in_requests_of_any_length(client: Client, count: int) -> None:
    """Also where the records are read in groups: of the first and of the last."""
    records = [dict(GOOD) for _ in range(count)]
    for place in (0, count // 2, count - 1):
        records[place]["distance"] = "far"
    places = [f"records[{place}].distance" for place in (0, count // 2, count - 1)]
    assert fields(client, "/predict", {"records": records}) == places
    ids = [f"order-{n}" for n in range(count - 1)] + [""]
    assert fields(client, "/predict", {"records": records, "ids": ids}) == [f"ids[{count - 1}]", *places]
    for record in records:
        record["distance"] = "far"
    assert fields(client, "/predict", {"records": records}) == [f"records[{n}].distance" for n in range(MOST_FAULTS)]


def test_all_faults_of_keys_are_told(client: Client) -> None:
    """A missing key is not told where a key is taken for its misspelling."""
    assert fields(client, "/predict", {"recods": [], "id": []}, 400) == ["recods", "id"]
    assert fields(client, "/predict", {"rows": [], "more": 1}, 400) == ["rows", "more", "records"]
    assert fields(client, "/rollback", {"why": "x", "who": "y"}, 400) == ["why", "who", "reason"]


def test_all_faults_of_labels_are_told(client: Client) -> None:
    labels: list[Any] = [{"id": "", "label": "maybe", "correct": 1}, {"id": "a"}, {"id": "b", "label": "late"}, 7]
    assert fields(client, "/labels", {"labels": labels}) == [
        "labels[0].id",
        "labels[0].correct",
        "labels[0].label",
        "labels[1]",
        "labels[3]",
    ]
    assert len(fields(client, "/labels", {"labels": [7] * 50})) == MOST_FAULTS


def test_all_faults_of_alerts_are_told(client: Client) -> None:
    alerts: list[Any] = [
        {"labels": {}, "status": "new", "annotations": 7, "fingerprint": []},
        {},
        {"labels": {}, "startsAt": "x"},
    ]
    assert fields(client, "/alerts", {"version": "3", "alerts": alerts}) == [
        "version",
        "alerts[0].status",
        "alerts[0].startsAt",
        "alerts[0].annotations",
        "alerts[0].fingerprint",
        "alerts[1]",
        "alerts[2].startsAt",
    ]


def tensor(name: str, data: list[Any], datatype: str = "BYTES") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def test_all_faults_of_tensors_are_told(client: Client) -> None:
    """Of the request's form first; then of its values, by tensor and row."""
    infer = "/v2/models/flights/infer"
    body: dict[str, Any] = {
        "id": 7,
        "inputs": [{"name": "", "datatype": "TEXT", "shape": [0, 0]}, tensor("carrier", [1]), 7],
        "outputs": [{"name": "score"}, {"name": "prediction", "parameters": 0}],
        "parameters": [],
    }
    assert fields(client, infer, body, 400) == [
        "inputs[0].name",
        "inputs[0].datatype",
        "inputs[0].shape",
        "inputs[1].data[0]",
        "inputs[2]",
        "parameters",
        "id",
        "outputs[0].name",
        "outputs[1].parameters",
    ]
    columns = [tensor("distance", [1.0, 1e39], "FP64"), tensor("carrier", ["AA"]), tensor("carrier", ["AA", "UA"])]
    assert fields(client, infer, {"inputs": columns}, 400) == ["inputs[1].shape", "inputs[2].name"]
    columns = [tensor("distance", ["x", "y"]), tensor("carrier", ["AA", "UA"]), tensor("note", [None, None])]
    found = details(client, infer, {"inputs": columns}, 400)
    assert [field for field, _ in found] == ["inputs.distance[0]", "inputs.distance[1]"]
    assert all(message.startswith(f"{field}: ") for field, message in found)


def test_all_faults_of_a_query_are_told(client: Client) -> None:
    """A parameter that is not known, or given twice; and of those that are known, what each says."""
    for path, wanted in {
        "/events?modle=v1&actor=a&actor=b&limit=1&page=2": ["modle", "actor", "page"],
        "/events?since=yesterday&until=now&limit=0": ["since", "until", "limit"],
        f"/events?kind=nope&q={'x' * 1001}&limit=0&cursor=x": ["limit", "kind", "q", "cursor"],
        "/explain?attribution=x&limit=0&cursor=x": ["id", "attribution", "limit", "cursor"],
        "/models?limit=0&cursor=x": ["limit", "cursor"],
    }.items():
        answered = client.get(path)
        assert answered.status_code == 422
        assert [fault["field"] for fault in answered.json()["error"]["details"]] == wanted


def test_a_good_request_is_not_read_twice(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what was refused is looked through for more."""

    def never(*_: Any) -> Any:
        raise AssertionError("looked for faults")

    monkeypatch.setattr(Decoder, "faults", never)
    body = {"records": [GOOD] * 300, "ids": [f"read-once-{n}" for n in range(300)]}
    assert client.post("/predict", body).status_code == 200
