"""The Open Inference Protocol, version 2, over REST: what KServe's, MLServer's and Triton's clients speak.

A request brings one tensor for each column; they become records, and take the one way from a request to its answer
(`service.predict`). Row n of request R is logged under the id `R#n`, so that a request sent again with its id is
answered from the log. There is one model, named as the problem, and one version of it, the champion.

Errors are the protocol's, {"error": "<what is wrong>"}, with this service's `code` and `field` beside it, and 400
where other routes say 422: the protocol has no other status for input that cannot be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from record.contract.schema import Schema
from record.errors import InvalidRecord, NoChampion, NotFound
from record.product_version import product_version
from service.bodies.json_body import SHORT_BYTES
from service.http.call import Call
from service.http.inference_request import HEADER_LENGTH, Question, read_question
from service.http.replies import Reply, json_reply
from service.predict import Asked, Charge, expect_version

if TYPE_CHECKING:
    from record.versions.model import ServedModel
    from service.worker import Worker

EXTENSIONS: Final = ("binary_tensor_data",)
PLATFORM: Final = "onnx_onnxv1"  # the protocol's word for an ONNX model


def live(worker: Worker, call: Call) -> Reply:
    return json_reply(200, {"live": True})


def ready(worker: Worker, call: Call) -> Reply:
    _champion(worker)
    return json_reply(200, {"ready": True})


def server(worker: Worker, call: Call) -> Reply:
    return json_reply(200, {"name": "ringside", "version": product_version(), "extensions": list(EXTENSIONS)})


def model_ready(worker: Worker, call: Call) -> Reply:
    served = _named(worker, call.path["name"], call.path.get("version"))
    return json_reply(200, {"name": worker.settings.problem.name, "ready": True, "model_version": served.version})


def model(worker: Worker, call: Call) -> Reply:
    served = _named(worker, call.path["name"], call.path.get("version"))
    inputs = [
        {
            "name": column.name,
            "datatype": "FP64" if column.type == "number" else "BYTES",
            "shape": [-1],
            "parameters": {"type": column.type, "role": column.role, "required": column.required},
        }
        for column in served.schema.problem.columns
    ]
    told = {
        "name": worker.settings.problem.name,
        "versions": [served.version],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": _outputs(served.schema),
    }
    return json_reply(200, told)


def _outputs(schema: Schema) -> list[dict[str, Any]]:
    if not schema.classes:
        return [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]
    datatype = {"string": "BYTES", "integer": "INT64", "boolean": "BOOL"}[schema.class_type]
    return [
        {"name": "prediction", "datatype": datatype, "shape": [-1]},
        {
            "name": "probabilities",
            "datatype": "FP64",
            "shape": [-1, len(schema.classes)],
            "parameters": {"classes": list(schema.classes)},
        },
    ]


def _champion(worker: Worker) -> ServedModel:
    served = worker.champion.current
    if served is None:
        raise NoChampion("not ready: no champion is loaded")
    return served


def _named(worker: Worker, name: str, version: str | None) -> ServedModel:
    expect_name(worker, name)
    served = _champion(worker)
    expect_version(served, version)
    return served


def expect_name(worker: Worker, name: str) -> None:
    """Raises NotFound for a model of another name."""
    if name != worker.settings.problem.name:
        raise NotFound(
            f"no model {name[:60]!r}; this service answers for {worker.settings.problem.name!r}", field="name"
        )


async def infer(
    worker: Worker,
    path: str,
    headers: Mapping[bytes, bytes],
    body: bytes,
    at: datetime | None,
    started: float,
    charge: Charge | None = None,
) -> Reply:
    """The reply to an inference request; `path` is that of one of the two infer routes."""
    _, _, _, name, *rest = path.split("/")
    version = rest[1] if rest[0] == "versions" else None
    expect_name(worker, name)
    if len(body) > SHORT_BYTES:
        return await _infer_long(worker, name, version, headers, body, at, started, charge)
    question = _question(worker, headers, body, charge)
    try:
        answered = await worker.predictor.answer_asked(question.asked(), at, started, version)
    except InvalidRecord as error:
        raise question.in_tensors(error) from None
    return question.reply(name, answered)


async def _infer_long(
    worker: Worker,
    name: str,
    version: str | None,
    headers: Mapping[bytes, bytes],
    body: bytes,
    at: datetime | None,
    started: float,
    charge: Charge | None,
) -> Reply:
    """As `infer`, with the body read and the reply written in threads."""
    questions: list[Question] = []

    def read() -> Asked:
        questions.append(_question(worker, headers, body, charge))
        return questions[0].asked()

    try:
        answered = await worker.predictor.answer_long(read, at, started, version)
    except InvalidRecord as error:
        raise (questions[0].in_tensors(error) if questions else error) from None
    return await asyncio.to_thread(questions[0].reply, name, answered)


def _question(worker: Worker, headers: Mapping[bytes, bytes], body: bytes, charge: Charge | None) -> Question:
    serve = worker.settings.serve
    question = read_question(body, headers.get(HEADER_LENGTH), serve.max_batch, serve.max_text)
    if charge is not None:
        charge(question.columns[0].shape[0])
    if "probabilities" in question.outputs and worker.settings.problem.task == "regression":
        raise InvalidRecord("outputs: a regression has no 'probabilities'; expected 'prediction'", field="outputs")
    return question
