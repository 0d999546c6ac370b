"""Triton's HTTP client against a service: reads a task as JSON, writes what it saw as JSON.

Runs in the clients' environment, not in the service's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def columns(records: list[dict[str, Any]], binary: bool) -> list[triton.InferInput]:
    count = len(records)
    distances = [np.nan if record["distance"] is None else record["distance"] for record in records]
    held = {
        "distance": np.array(distances, dtype=np.float64),
        "carrier": np.array([record["carrier"] for record in records], dtype=np.object_),
        "note": np.array([record["note"].encode() for record in records], dtype=np.object_),
    }
    inputs = []
    for name, values in held.items():
        column = triton.InferInput(name, [count, 1], "FP64" if name == "distance" else "BYTES")
        inputs.append(column.set_data_from_numpy(values.reshape(count, 1), binary_data=binary))
    return inputs


def shown(result: triton.InferResult) -> dict[str, Any]:
    response = result.get_response()
    predictions = result.as_numpy("prediction")
    return {
        "id": response["id"],
        "version": response["model_version"],
        "predictions": [text.decode() if isinstance(text, bytes) else str(text) for text in predictions.tolist()],
        "probabilities": result.as_numpy("probabilities").tolist(),
        "raw": "binary_data_size" in response["outputs"][0].get("parameters", {}),
    }


def main() -> None:
    task = json.load(sys.stdin)
    headers, records = task["headers"], task["records"]
    client = triton.InferenceServerClient(task["url"].removeprefix("http://"))
    told: dict[str, Any] = {
        "live": client.is_server_live(headers=headers),
        "ready": client.is_server_ready(headers=headers),
        "model_ready": client.is_model_ready("flights", headers=headers),
        "version_ready": client.is_model_ready("flights", "v1", headers=headers),
        "other_version_ready": client.is_model_ready("flights", "v9", headers=headers),
        "server": client.get_server_metadata(headers=headers),
        "model": client.get_model_metadata("flights", headers=headers),
    }
    # The client writes into the headers that it is given: each call gets its own.
    for attempt in ("first", "again"):
        result = client.infer("flights", columns(records, True), headers=dict(headers), request_id="triton-1")
        told[attempt] = shown(result)
    wanted = [triton.InferRequestedOutput(name, binary_data=False) for name in ("prediction", "probabilities")]
    full = [record for record in records if record["distance"] is not None]
    told["json"] = shown(
        client.infer(
            "flights", columns(full, False), "v1", outputs=wanted, headers=dict(headers), request_id="triton-2"
        )
    )
    try:
        client.infer("flights", columns(records, True)[1:], headers=dict(headers))
    except InferenceServerException as error:
        told["error"] = {"message": error.message(), "status": error.status()}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
