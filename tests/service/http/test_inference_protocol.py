"""The Open Inference Protocol: tensors in, the same answers as POST /predict out, each row logged once."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from struct import pack
from typing import Any, Literal

import httpx
import numpy as np
import pytest

from record.record import open_record
from service.worker import Worker
from tests.record.models import answer, record_of, register_model
from tests.service.serving import Client, bearer, make_settings, running, tokens
from tests.waiting import wait_until

INFER = "/v2/models/flights/infer"
RECORDS = [
    record_of(500.0, "AA", "first"),
    record_of(None, "UA"),
    record_of(1200, None),
    record_of(0.1, "ZZ", "naïve ☕"),
]


class Service:
    """A worker in this process, and a client that reaches it."""

    def __init__(self, worker: Worker, client: Client) -> None:
        self.worker, self._client = worker, client

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._client.get(path, **options)

    def post(self, path: str, held: Any, **options: Any) -> httpx.Response:
        content = held if isinstance(held, bytes) else json.dumps(held).encode()
        return self._client.post(path, content=content, **options)

    def infer(self, held: Any, path: str = INFER) -> dict[str, Any]:
        response = self.post(path, held)
        assert response.status_code == 200, response.text
        told: dict[str, Any] = response.json()
        return told

    def refused(self, held: Any, path: str = INFER, status: int = 400) -> dict[str, Any]:
        """What is said about a request that is not answered."""
        response = self.post(path, held)
        assert response.status_code == status, response.text
        told: dict[str, Any] = response.json()
        assert isinstance(told["error"], str)
        assert set(told) - {"details"} == {"error", "code", "field"}
        return told

    def promote(self, version: str) -> None:
        self.worker.record.registry.promote(version, actor="test", reason="a test")
        wait_until(lambda: self.get("/readyz").json()["model_version"] == version)

    def logged(self) -> int:
        return self.worker.record.log.last_seq()


@contextmanager
def serving(
    folder: Path, task: Literal["classification", "regression"] = "classification", champion: bool = True, **more: Any
) -> Iterator[Service]:
    settings = make_settings(folder, {"problem": {"name": "flights", "task": task, "target": "arrival"}, **more})
    if champion:
        record = open_record(settings)
        register_model(record, task=task, as_champion=True)
        record.close()
    with running(settings) as (worker, client):
        yield Service(worker, client)


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    with serving(tmp_path, **getattr(request, "param", {})) as service:
        yield service


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for tests that leave nothing behind."""
    with serving(tmp_path_factory.mktemp("shared")) as service:
        yield service


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def tensors(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        tensor("distance", "FP64", [record["distance"] for record in records]),
        tensor("carrier", "BYTES", [record["carrier"] for record in records]),
        tensor("note", "BYTES", [record["note"] for record in records]),
    ]


def outputs(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {output["name"]: output for output in told["outputs"]}


def test_tensors_are_answered_as_the_same_records_are(service: Service) -> None:
    told = service.infer({"id": "r1", "inputs": tensors(RECORDS)})
    plain = service.post("/predict", {"records": RECORDS}).json()
    assert (told["model_name"], told["model_version"], told["id"]) == ("flights", plain["model_version"], "r1")
    found = outputs(told)
    assert found["prediction"]["datatype"] == "BYTES"
    assert found["prediction"]["shape"] == [4]
    assert found["prediction"]["data"] == [row["prediction"] for row in plain["predictions"]]
    assert found["probabilities"]["shape"] == [4, 2]
    assert found["probabilities"]["parameters"] == {"classes": ["late", "on time"]}
    assert found["probabilities"]["data"] == [p for row in plain["predictions"] for p in row["probabilities"].values()]
    assert found["probabilities"]["data"][0] == pytest.approx(answer(RECORDS[0], 0.0), abs=1e-6)


def test_each_row_is_logged_under_the_requests_id_and_its_number(service: Service) -> None:
    service.infer({"id": "order", "inputs": tensors(RECORDS)})
    rows = [service.worker.record.log.find(f"order#{row}") for row in range(4)]
    assert [json.loads(row.record) for row in rows if row is not None] == RECORDS


def test_a_request_sent_again_is_answered_from_the_log_by_the_version_that_answered_it(service: Service) -> None:
    first = service.infer({"id": "again", "inputs": tensors(RECORDS)})
    register_model(service.worker.record, bias=2.0)
    service.promote("v2")
    assert service.infer({"id": "again", "inputs": tensors(RECORDS)}) == first
    assert service.logged() == len(RECORDS)
    fresh = service.infer({"id": "new", "inputs": tensors(RECORDS)})
    assert fresh["model_version"] == "v2"
    assert outputs(fresh)["probabilities"]["data"] != outputs(first)["probabilities"]["data"]


def test_a_longer_request_under_the_same_id_says_which_version_answered_each_row(service: Service) -> None:
    service.infer({"id": "again", "inputs": tensors(RECORDS[:2])})
    register_model(service.worker.record, bias=2.0)
    service.promote("v2")
    told = service.infer({"id": "again", "inputs": tensors(RECORDS)})
    assert told["model_version"] == "v2"
    assert told["parameters"] == {"row_versions": ["v1", "v1", "v2", "v2"]}


def test_an_id_used_for_other_records_is_a_conflict(service: Service) -> None:
    service.infer({"id": "taken", "inputs": tensors(RECORDS[:1])})
    told = service.refused({"id": "taken", "inputs": tensors(RECORDS[1:2])}, status=409)
    assert told["code"] == "id_conflict"
    assert "'taken#0'" in told["error"]


@pytest.mark.parametrize("given", [{}, {"id": ""}, {"id": None}], ids=["no id", "an empty id", "null"])
def test_a_request_without_an_id_gets_one_that_labels_can_name(service: Service, given: dict[str, Any]) -> None:
    told = service.infer({**given, "inputs": tensors(RECORDS[:1])})
    label = {"labels": [{"id": f"{told['id']}#0", "label": "late"}]}
    assert service.post("/labels", label).json()["accepted"] == 1


@pytest.mark.parametrize(
    "distance",
    [
        tensor("distance", "FP32", [500.0]),
        tensor("distance", "FP16", [500.0]),
        tensor("distance", "INT64", [500]),
        tensor("distance", "UINT16", [500], [1, 1]),
        tensor("distance", "FP64", [[500]], [1, 1]),
        {**tensor("distance", "FP64", [500]), "parameters": {"content_type": "np", "anything": {"else": 1}}},
    ],
    ids=["FP32", "FP16", "INT64", "a column", "a nested column", "with parameters"],
)
def test_a_number_may_come_in_any_numeric_tensor(service: Service, distance: dict[str, Any]) -> None:
    others = [tensor("carrier", "BYTES", ["AA"]), tensor("note", "BYTES", [None])]
    told = service.infer({"inputs": [distance, *others], "parameters": {"content_type": "pd"}, "model_name": "ignored"})
    assert outputs(told)["probabilities"]["data"][0] == pytest.approx(answer(record_of(500.0, "AA"), 0.0), abs=1e-6)


def test_missing_is_null_and_in_a_float_tensor_nan(service: Service) -> None:
    others = [tensor("carrier", "BYTES", ["AA", "AA"]), tensor("note", "BYTES", [None, None])]
    told = service.infer({"inputs": [tensor("distance", "FP32", [None, float("nan")]), *others]})
    data = outputs(told)["probabilities"]["data"]
    assert data[0] == data[2] == pytest.approx(answer(record_of(None, "AA"), 0.0), abs=1e-6)


def test_a_data_frames_mixed_column_comes_as_json_in_texts(service: Service) -> None:
    """MLServer's PandasCodec writes a column of several types so."""
    carriers = {**tensor("carrier", "BYTES", ['"AA"', "7", None, "true"]), "parameters": {"content_type": "pd_json"}}
    inputs = [held for held in tensors(RECORDS) if held["name"] != "carrier"]
    told = service.infer({"id": "frame", "inputs": [carriers, *inputs]})
    rows = [service.worker.record.log.find(f"{told['id']}#{row}") for row in range(4)]
    assert [json.loads(row.record)["carrier"] for row in rows if row is not None] == ["AA", 7, None, True]
    wrong = {**carriers, "data": ["AA"] * 4}
    assert "is not JSON" in service.refused({"inputs": [wrong, *inputs]})["error"]


def test_only_the_outputs_asked_for_are_answered(service: Service) -> None:
    told = service.infer({"inputs": tensors(RECORDS), "outputs": [{"name": "probabilities"}]})
    assert list(outputs(told)) == ["probabilities"]
    assert list(outputs(service.infer({"inputs": tensors(RECORDS), "outputs": []}))) == ["prediction", "probabilities"]


@pytest.mark.parametrize(("encoding", "window"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_compressed_requests_are_read(service: Service, encoding: str, window: int) -> None:
    """As JSON, and with raw tensors, whose header's length is that of the body before; predictions come back plain."""

    def packed(body: bytes) -> bytes:
        packer = zlib.compressobj(wbits=window)
        return packer.compress(body) + packer.flush()

    held = {"inputs": tensors(RECORDS)}
    expected = outputs(service.infer(held))["probabilities"]["data"]
    distances = np.array([record["distance"] for record in RECORDS], dtype="<f8").tobytes()
    raw = {"name": "distance", "datatype": "FP64", "shape": [4], "parameters": {"binary_data_size": len(distances)}}
    others = [each for each in held["inputs"] if each["name"] != "distance"]
    head = json.dumps({"inputs": [raw, *others]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    for body, headers in ((json.dumps(held).encode(), {}), (head + distances, length)):
        coded = headers | {"Content-Encoding": encoding, "Accept-Encoding": encoding}
        response = service.post(INFER, packed(body), headers=coded)
        assert response.status_code == 200, response.text
        assert outputs(response.json())["probabilities"]["data"] == expected
        assert "content-encoding" not in response.headers


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [("br", b"{}", 415), ("gzip", b"{}", 400), ("gzip", gzip.compress(b" " * 50_000_000, 1), 413)],
    ids=["unknown", "not compressed", "bomb"],
)
def test_what_cannot_be_unpacked_is_refused(shared: Service, encoding: str, body: bytes, status: int) -> None:
    response = shared.post(INFER, body, headers={"Content-Encoding": encoding})
    assert response.status_code == status, response.text
    assert isinstance(response.json()["error"], str)


def test_raw_tensors_are_read_and_written(service: Service) -> None:
    """The protocol's binary extension, which Triton's client uses if it is not told otherwise."""
    distances = np.array([record["distance"] for record in RECORDS], dtype="<f8").tobytes()  # None becomes NaN
    carriers = b"".join(pack("<I", len(name)) + name for name in (b"AA", b"UA", b"AA", b"ZZ"))
    inputs = [
        {"name": "distance", "datatype": "FP64", "shape": [4, 1], "parameters": {"binary_data_size": len(distances)}},
        tensor("note", "BYTES", [None] * 4),
        {"name": "carrier", "datatype": "BYTES", "shape": [4], "parameters": {"binary_data_size": len(carriers)}},
    ]
    wanted = [{"name": "prediction", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    head = json.dumps({"id": "raw", "inputs": inputs, "outputs": wanted}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = service.post(INFER, head + distances + carriers, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    found = outputs(json.loads(response.content[:length]))
    raw = response.content[length:]
    assert found["prediction"]["parameters"] == {"binary_data_size": len(raw)}
    assert "data" not in found["prediction"]
    records = [{**record, "carrier": record["carrier"] or "AA", "note": None} for record in RECORDS]
    plain = service.post("/predict", {"records": records}).json()["predictions"]
    assert raw == b"".join(pack("<I", len(row["prediction"])) + row["prediction"].encode() for row in plain)
    assert found["probabilities"]["data"] == [p for row in plain for p in row["probabilities"].values()]


@pytest.mark.parametrize("service", [{"task": "regression"}], indirect=True)
def test_a_regression_answers_numbers(service: Service) -> None:
    told = service.infer({"inputs": tensors(RECORDS)})
    assert list(outputs(told)) == ["prediction"]
    found = outputs(told)["prediction"]
    assert found["datatype"] == "FP64"
    assert found["data"] == pytest.approx([answer(record, 0.0, "regression") for record in RECORDS], abs=1e-5)
    assert [output["name"] for output in service.get("/v2/models/flights").json()["outputs"]] == ["prediction"]
    told = service.refused({"inputs": tensors(RECORDS), "outputs": [{"name": "probabilities"}]})
    assert told["field"] == "outputs"


def test_the_server_and_its_model_describe_themselves(service: Service) -> None:
    server = service.get("/v2").json()
    assert server["name"] == "ringside"
    assert server["extensions"] == ["binary_tensor_data"]
    assert service.get("/v2/").json() == server
    assert service.get("/v2/health/live").json() == {"live": True}
    assert service.get("/v2/health/ready").json() == {"ready": True}
    model = service.get("/v2/models/flights").json()
    assert (model["name"], model["versions"], model["platform"]) == ("flights", ["v1"], "onnx_onnxv1")
    assert {held["name"]: held["datatype"] for held in model["inputs"]} == {
        "distance": "FP64",
        "carrier": "BYTES",
        "note": "BYTES",
    }
    assert model["outputs"][1]["shape"] == [-1, 2]
    assert service.get("/v2/models/flights/versions/v1").json() == model
    for path in ("/v2/models/flights/ready", "/v2/models/flights/versions/v1/ready"):
        assert service.get(path).json() == {"name": "flights", "ready": True, "model_version": "v1"}
    assert outputs(service.infer({"inputs": tensors(RECORDS)}, "/v2/models/flights/versions/v1/infer"))


@pytest.mark.parametrize("tail", ["", "/ready", "/infer"])
def test_another_model_and_another_version_are_not_found(service: Service, tail: str) -> None:
    register_model(service.worker.record, bias=2.0)
    for path, named in (("/v2/models/trains", "'trains'"), ("/v2/models/flights/versions/v2", "'v2'")):
        body = {"inputs": tensors(RECORDS)}
        response = service.post(path + tail, body) if tail == "/infer" else service.get(path + tail)
        assert response.status_code == 404
        assert named in response.json()["error"]
    assert service.logged() == 0


def without(name: str) -> list[dict[str, Any]]:
    return [held for held in tensors(RECORDS) if held["name"] != name]


def replaced(name: str, held: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": [*without(name), held]}


REFUSED: dict[str, tuple[Any, str, str]] = {
    "no JSON": (b"{", "invalid_json", "not JSON"),
    "no object": ([], "invalid_json", "no JSON object"),
    "no inputs": ({}, "invalid_record", "inputs: expected a list"),
    "nothing in them": ({"inputs": []}, "invalid_record", "inputs: expected a list"),
    "no tensor": ({"inputs": [1]}, "invalid_record", "inputs[0]: expected a tensor"),
    "an odd name": (
        replaced("note", tensor("note", "BYTES", [None] * 4) | {"name": 7}),
        "invalid_record",
        "inputs[2].name",
    ),
    "an unknown datatype": (
        replaced("note", tensor("note", "BF16", [1] * 4)),
        "invalid_record",
        "expected one of BYTES",
    ),
    "a matrix": (
        replaced("note", tensor("note", "BYTES", [None] * 4, [2, 2])),
        "invalid_record",
        "expected [n] or [n, 1]",
    ),
    "a wrong shape": (replaced("note", tensor("note", "BYTES", [None] * 4, [5])), "invalid_record", "the shape says 5"),
    "no shape": (replaced("note", {"name": "note", "datatype": "BYTES", "data": []}), "invalid_record", "expected [n]"),
    "no data": (replaced("note", {"name": "note", "datatype": "BYTES", "shape": [4]}), "invalid_record", "a list of 4"),
    "other lengths": (replaced("note", tensor("note", "BYTES", ["a"])), "invalid_record", "the same number of records"),
    "nothing to answer": ({"inputs": [tensor("note", "BYTES", [], [0])]}, "invalid_record", "at least one"),
    "a column twice": ({"inputs": tensors(RECORDS) * 2}, "invalid_record", "stands twice"),
    "ragged rows": (
        replaced("note", tensor("note", "BYTES", [["a", "b"]] * 4, [4, 1])),
        "invalid_record",
        "one value each",
    ),
    "text in an integer tensor": (
        replaced("distance", tensor("distance", "INT8", ["1"] * 4)),
        "invalid_record",
        "integers",
    ),
    "a boolean in an integer tensor": (
        replaced("distance", tensor("distance", "INT8", [True] * 4)),
        "invalid_record",
        "is no INT8",
    ),
    "beyond the datatype": (
        replaced("distance", tensor("distance", "INT8", [1, 2, 3, 128])),
        "invalid_record",
        "inputs[2].data[3]: 128 lies outside of INT8",
    ),
    "a missing column": ({"inputs": without("distance")}, "invalid_record", "inputs.distance[0]: missing"),
    "an unknown column": (
        {"inputs": [*tensors(RECORDS), tensor("distnce", "FP32", [1] * 4)]},
        "invalid_record",
        "inputs.distnce[0]: unknown column; the nearest known one is distance",
    ),
    "text for a number": (
        replaced("distance", tensor("distance", "BYTES", ["1"] * 4)),
        "invalid_record",
        'inputs.distance[0]: "1" cannot be used',
    ),
    "infinity": (
        replaced("distance", tensor("distance", "FP64", [1, 1, 1, 1e999])),
        "invalid_record",
        "inputs.distance[3]",
    ),
    "a fraction for a category": (
        replaced("carrier", tensor("carrier", "FP64", [1.5] * 4)),
        "invalid_record",
        "inputs.carrier[0]: 1.5 cannot be used",
    ),
    "shared memory": (
        replaced("note", tensor("note", "BYTES", [None] * 4) | {"parameters": {"shared_memory_region": "x"}}),
        "invalid_record",
        "shared memory is not offered",
    ),
    "base64": (
        replaced("note", tensor("note", "BYTES", ["eA=="] * 4) | {"parameters": {"content_type": "base64"}}),
        "invalid_record",
        "base64",
    ),
    "raw bytes that are not there": (
        replaced("note", {"name": "note", "datatype": "BYTES", "shape": [4], "parameters": {"binary_data_size": 9}}),
        "invalid_record",
        "the 0 bytes that are left",
    ),
    "an id of another type": ({"id": 5, "inputs": tensors(RECORDS)}, "invalid_record", "id: expected"),
    "a long id": ({"id": "x" * 200, "inputs": tensors(RECORDS)}, "invalid_record", "id: expected"),
    "odd parameters": ({"parameters": [1], "inputs": tensors(RECORDS)}, "invalid_record", "parameters: [1]; expected"),
    "odd outputs": ({"outputs": {}, "inputs": tensors(RECORDS)}, "invalid_record", "outputs: expected a list"),
    "an unknown output": (
        {"outputs": [{"name": "x"}], "inputs": tensors(RECORDS)},
        "invalid_record",
        "outputs[0].name",
    ),
    "classification": (
        {"outputs": [{"name": "prediction", "parameters": {"classification": 1}}], "inputs": tensors(RECORDS)},
        "invalid_record",
        "outputs[0].parameters",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_whole_and_says_why(shared: Service, case: str) -> None:
    held, code, said = REFUSED[case]
    told = shared.refused(held)
    assert told["code"] == code
    assert said in told["error"]
    assert shared.logged() == 0


RAW: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "a short number": ({"datatype": "FP32", "shape": [2]}, b"\0" * 4, "2 values of FP32 take 8"),
    "a cut text": ({"datatype": "BYTES", "shape": [1]}, pack("<I", 9) + b"x", "is cut off"),
    "a cut length": ({"datatype": "BYTES", "shape": [1]}, b"\1\0", "no length in four bytes"),
    "no UTF-8": ({"datatype": "BYTES", "shape": [1]}, pack("<I", 1) + b"\xff", "that much UTF-8"),
    "too few texts": ({"datatype": "BYTES", "shape": [2]}, pack("<I", 1) + b"x", "has 1 texts; the shape says 2"),
}


@pytest.mark.parametrize("case", RAW)
def test_raw_bytes_that_are_not_what_the_shape_says_are_refused(shared: Service, case: str) -> None:
    held, raw, said = RAW[case]
    head = json.dumps({"inputs": [{"name": "x", **held, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    response = shared.post(INFER, head + raw, headers={"Inference-Header-Content-Length": str(len(head))})
    assert response.status_code == 400
    assert said in response.json()["error"]


def test_raw_bytes_that_nobody_claims_and_wrong_lengths_are_refused(shared: Service) -> None:
    head = json.dumps({"inputs": tensors(RECORDS)}).encode()
    for length, body in ((str(len(head)), head + b"left"), (str(len(head) + 1), head), ("-1", head), ("²", head)):
        headers = {b"Inference-Header-Content-Length": length.encode()}
        response = shared.post(INFER, body, headers=headers)
        assert response.status_code == 400
    assert shared.logged() == 0


@pytest.mark.parametrize("service", [{"serve": {"max_batch": 3}}], indirect=True)
def test_more_records_than_a_batch_may_have_are_too_large(service: Service) -> None:
    told = service.refused({"inputs": tensors(RECORDS)}, status=413)
    assert told["code"] == "too_large"


@pytest.mark.parametrize("service", [{"champion": False}], indirect=True)
def test_without_a_champion_the_server_lives_and_is_not_ready(service: Service) -> None:
    assert service.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/flights", "/v2/models/flights/ready"):
        assert service.get(path).json()["code"] == "no_champion"
    response = service.post(INFER, {"inputs": tensors(RECORDS)})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("service", [{"serve": {"tokens": tokens()}}], indirect=True)
def test_the_protocol_needs_the_role_predict_and_refuses_in_its_own_form(service: Service) -> None:
    for name, status in (("predictor", 200), ("reader", 403)):
        response = service.post(INFER, {"inputs": tensors(RECORDS)}, headers=bearer(name))
        assert response.status_code == status
        assert service.get("/v2/models/flights", headers=bearer(name)).status_code == status
    told = service.get("/v2/models/flights").json()
    assert (told["code"], type(told["error"])) == ("unauthorized", str)


def test_a_path_that_the_protocol_does_not_have_is_refused_in_its_own_form(shared: Service) -> None:
    assert isinstance(shared.get("/v2/repository/index").json()["error"], str)
    assert shared.post("/v2/models/flights", {}).status_code == 405
    assert isinstance(shared.get("/v2/models/flights/versions/v%0A1/ready").json()["error"], str)
