"""The protocol's OpenAPI document, as MLServer publishes it, held against a live service by schemathesis."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx

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


def test_every_answer_is_one_that_the_protocols_document_knows(
    client_python: Path, live: LiveService, tmp_path: Path
) -> None:
    document = tmp_path / "dataplane.json"
    document.write_text(json.dumps(published(client_python)))
    done = subprocess.run(
        [
            client_python.parent / "schemathesis",
            "--no-color",
            "run",
            document,
            *("--url", live.url),
            *("--header", f"Authorization: {bearer('predictor')['Authorization']}"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
            *("--checks", "response_schema_conformance,response_headers_conformance"),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES)),
            *("--seed", "7"),
            *("--generation-database", "none"),
            *("--suppress-health-check", "all"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    label = {"labels": [{"id": "example#1", "label": "late"}]}
    labelled = httpx.post(f"{live.url}/labels", json=label, headers=bearer("labeller")).json()
    assert labelled["accepted"] == 1, "the document's example was not answered"
