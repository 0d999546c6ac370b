"""KServe's REST client against a service: reads a task as JSON, writes what it saw as JSON.

Runs in the clients' environment, not in the service's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferResponse, RequestedOutput


def request(records: list[dict[str, Any]], id: str, binary: bool) -> InferRequest:
    count = len(records)
    distances = [np.nan if record["distance"] is None else record["distance"] for record in records]
    held = {
        "distance": ("FP64", np.array(distances, dtype=np.float64)),
        "carrier": ("BYTES", np.array([record["carrier"] for record in records], dtype=np.object_)),
        "note": ("BYTES", np.array([record["note"] for record in records], dtype=np.object_)),
    }
    inputs = []
    for name, (datatype, values) in held.items():
        column = InferInput(name, [count], datatype)
        column.set_data_from_numpy(values, binary_data=binary)
        inputs.append(column)
    outputs = [RequestedOutput(name, {"binary_data": binary}) for name in ("prediction", "probabilities")]
    return InferRequest("flights", inputs, request_id=id, request_outputs=outputs)


def shown(response: InferResponse) -> dict[str, Any]:
    found = {output.name: output.as_numpy() for output in response.outputs}
    predictions = found["prediction"].tolist()
    return {
        "id": response.id,  # its from_bytes drops model_version
        "predictions": [text.decode() if isinstance(text, bytes) else text for text in predictions],
        "probabilities": found["probabilities"].tolist(),
    }


async def main() -> None:
    task = json.load(sys.stdin)
    url, headers, records = task["url"], task["headers"], task["records"]
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        told: dict[str, Any] = {
            "live": await client.is_server_live(url, headers=headers),
            "ready": await client.is_server_ready(url, headers=headers),
            "model_ready": await client.is_model_ready(url, "flights", headers=headers),
            "other_model_ready": await client.is_model_ready(url, "trains", headers=headers),
        }
        raw = request(records, "kserve-1", True)
        told["first"] = shown(await client.infer(url, raw, "flights", headers=dict(headers)))
        full = request([record for record in records if record["distance"] is not None], "kserve-2", False)
        told["json"] = shown(await client.infer(url, full, "flights", headers=dict(headers)))
        try:
            await client.infer(url, {"inputs": []}, "flights", headers=headers)
        except httpx.HTTPStatusError as error:
            told["error"] = str(error)
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
