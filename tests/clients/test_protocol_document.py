"""The protocol's OpenAPI document, as MLServer publishes it, held against a live service by schemathesis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.checking import check_document
from tests.service.serving import LiveService, bearer

DOCUMENT = "mlserver/rest/openapi/dataplane.json"  # in MLServer's wheel
BEYOND = ("infer_stream", "generate", "generate_stream")  # MLServer's own, for language models
NAMES = {"model_name": "flights", "model_version": "v1"}
EXAMPLE = {
    "id": "example",
    "inputs": [
        {"name": "distance", "shape": [2], "datatype": "FP64", "data": [500.0, 1200]},
        {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": ["AA", "UA"]},
        {"name": "note", "shape": [2], "datatype": "BYTES", "data": ["one", "two"]},
    ],
}
EXAMPLES = 20  # of each operation, besides those for each keyword of the document


def published(client_python: Path) -> dict[str, Any]:
    """The document, without what is not the protocol's, and with what this service says besides."""
    found = next((client_python.parent.parent / "lib").glob(f"*/site-packages/{DOCUMENT}"))
    document: dict[str, Any] = json.loads(found.read_text())
    paths = document["paths"]
    document["paths"] = {path: held for path, held in paths.items() if path.rpartition("/")[2] not in BEYOND}
    document["components"]["schemas"]["TensorData"] = {"type": "array"}  # "bytes" is no type of OpenAPI's
    error = {"$ref": "#/components/schemas/InferenceErrorResponse"}
    refusal = {"description": "Refused", "content": {"application/json": {"schema": error}}}
    for path, held in document["paths"].items():
        for parameter in held.get("parameters", []):
            # Names at random would never meet the model: one of two is its.
            name = NAMES[parameter["name"]]
            parameter["schema"] = {"anyOf": [{"enum": [name]}, {"type": "string", "minLength": 1}]}
            parameter["example"] = name
        if path.endswith("/ready") and "model_name" in path:
            held["get"]["responses"]["404"] = refusal  # the protocol's text: a status of 4xx says "not ready"
        if path.endswith("/infer"):
            # An id used twice for different records, which other servers do not look at; and what limits refuse.
            held["post"]["responses"] |= {"409": refusal, "413": refusal}
            held["post"]["requestBody"]["content"]["application/json"]["example"] = EXAMPLE
    return document


@pytest.mark.timeout(320)
def test_every_answer_is_one_that_the_protocols_document_knows(
    client_python: Path, live: LiveService, tmp_path: Path
) -> None:
    check_document(
        client_python,
        published(client_python),
        live.url,
        bearer("predictor"),
        tmp_path,
        examples=EXAMPLES,
        # That nonsense is refused is held against /docs.json: the published document leaves out too much for it.
        options=(
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
            "response_headers_conformance",
        ),
    )
    label = {"labels": [{"id": "example#1", "label": "late"}]}
    labelled = httpx.post(f"{live.url}/labels", json=label, headers=bearer("labeller")).json()
    assert labelled["accepted"] == 1, "the document's example was not answered"
