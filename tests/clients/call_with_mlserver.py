"""Requests built and answers read with MLServer's types and codecs: reads a task as JSON, writes JSON.

Runs in the clients' environment, not in the service's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx
import numpy as np
import pandas as pd
from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse, MetadataServerResponse


def shown(response: InferenceResponse) -> dict[str, Any]:
    found = {output.name: output for output in response.outputs}
    return {
        "id": response.id,
        "version": response.model_version,
        "predictions": StringCodec.decode_output(found["prediction"]),
        "probabilities": NumpyCodec.decode_output(found["probabilities"]).tolist(),
    }


def main() -> None:
    task = json.load(sys.stdin)
    records = task["records"]
    with httpx.Client(base_url=task["url"], headers=task["headers"]) as http:

        def infer(request: InferenceRequest) -> dict[str, Any]:
            response = http.post("/v2/models/flights/infer", content=request.model_dump_json(exclude_none=True))
            assert response.status_code == 200, response.text
            return shown(InferenceResponse.model_validate_json(response.text))

        frame = PandasCodec.encode_request(pd.DataFrame(records), use_bytes=False)
        frame.id = "mlserver-1"
        distances = np.array([[np.nan if record["distance"] is None else record["distance"]] for record in records])
        typed = InferenceRequest(
            id="mlserver-2",
            inputs=[
                NumpyCodec.encode_input("distance", distances),
                StringCodec.encode_input("carrier", [record["carrier"] for record in records], use_bytes=False),
                StringCodec.encode_input("note", [record["note"] for record in records], use_bytes=False),
            ],
        )
        told = {
            "server": MetadataServerResponse.model_validate_json(http.get("/v2").text).name,
            "inputs": [
                held.name
                for held in MetadataModelResponse.model_validate_json(http.get("/v2/models/flights").text).inputs
            ],
            "frame": infer(frame),
            "typed": infer(typed),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
