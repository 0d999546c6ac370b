"""The floor of the technique: uvicorn, Starlette, msgspec and onnxruntime, and nothing else.

No checking, no metrics, no log. Run as `uvicorn floor:app` in the model's folder (RINGSIDE_BENCH_MODEL).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(os.environ["RINGSIDE_BENCH_MODEL"])
COLUMNS = json.loads((FOLDER / "columns.json").read_text())
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession((FOLDER / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"])
decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode
HEADERS = {"content-type": "application/json"}
MISSING = COLUMNS["missing"]
NAN = float("nan")


async def predict(request: Request) -> Response:
    records = decode(await request.body())["records"]
    numbers = np.array([[NAN if r[c] is None else r[c] for c in COLUMNS["numbers"]] for r in records], dtype=np.float32)
    categories = np.array([[r[c] or MISSING for c in COLUMNS["categories"]] for r in records], dtype=object)
    (probabilities,) = session.run(["probabilities"], {"numbers": numbers, "categories": categories})
    answers = [{"probability": float(p[1])} for p in probabilities]
    return Response(encode({"predictions": answers}), headers=HEADERS)


async def echo(request: Request) -> Response:
    await request.body()
    return Response(b'{"predictions":[]}', headers=HEADERS)


app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/echo", echo, methods=["POST"])])
