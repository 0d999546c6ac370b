"""In MLflow's environment: loads a registered model by its alias with MLflow's own client, and answers with it.

One JSON object in: {"url", "model", "numbers", "categories"}; one out: {"outputs", "unpickled"}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

task = json.loads(sys.stdin.read())
os.environ["MLFLOW_TRACKING_URI"] = task["url"]

import mlflow.onnx  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

unpickled: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        unpickled.append(".".join(map(str, arguments)))


sys.addaudithook(watch)
model = mlflow.onnx.load_model(task["model"])
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
given = {
    "numbers": np.array(task["numbers"], dtype=np.float32),
    "categories": np.array(task["categories"], dtype=object),
}
wanted = {held.name: given[held.name] for held in session.get_inputs()}
outputs = session.run(None, wanted)
print(json.dumps({"outputs": [np.asarray(held).tolist() for held in outputs], "unpickled": unpickled}))
