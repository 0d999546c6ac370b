"""`/docs.json`: OpenAPI 3.1 of every route, from the route table, the answers' types and the champion's schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from record.contract.schema import ProblemSchema
from record.product_version import product_version
from service.http.answers import ANSWERS, Error, ProtocolError
from service.http.examples import ERRORS, SUMMARIES, request_example
from service.http.inference_schemas import protocol_schemas
from service.http.parameters import QUERIES
from service.http.replies import speaks_protocol
from service.http.request_schemas import Contract, request_schemas
from service.http.rule import Rule

if TYPE_CHECKING:
    from service.worker import Worker

_TEXT: Final = {"type": "string"}
_SCHEMAS: Final = "#/components/schemas/"
_TAGS: Final = {
    "predict": "Predictions, and the labels that come later",
    "inference protocol": "The Open Inference Protocol, version 2: KServe's, MLServer's and Triton's clients",
    "observe": "What is going on, and what happened",
    "operate": "Retraining, and the champion's role",
    "probe": "Health checks, metrics and this document",
}
_DESCRIPTION: Final = (
    "A tabular model in production: predictions, labels, monitoring, retraining and promotion. "
    'A refusal is `{"error": {code, message, field}}`; its message says what, which value, and what was expected.'
)
_CONTACT: Final = {"name": "The operators of this service"}


def document(worker: Worker, rules: Sequence[Rule]) -> dict[str, Any]:
    """The document of these routes for what this worker serves now."""
    model = worker.champion.current
    schema = model.schema if model is not None else None
    problem: ProblemSchema | None = schema.problem if schema is not None else worker.settings.problem_schema()
    contract = Contract(problem, schema, worker.settings.serve.max_batch)
    paths: dict[str, dict[str, Any]] = {}
    for rule in rules:
        if rule.path == "/" or not rule.path.endswith("/"):  # the same as without
            paths.setdefault(rule.path, {})[rule.method.lower()] = _operation(rule, worker, contract)
    _, answers = msgspec.json.schema_components(
        [*dict.fromkeys(ANSWERS.values()), Error, ProtocolError], ref_template=_SCHEMAS + "{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Ringside: {worker.settings.problem.name}",
            "version": product_version(),
            "description": _DESCRIPTION,
            "contact": _CONTACT,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ".", "description": "Where this document was found, also behind a proxy's path prefix"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            **({} if worker.gate.open else {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}),
            "schemas": {**request_schemas(contract), **protocol_schemas(), **answers},
        },
    }


def _operation(rule: Rule, worker: Worker, contract: Contract) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{rule.method.lower()}{rule.path}").strip("_"),
        "tags": [_tag(rule)],
        "summary": rule.summary,
        "description": _described(rule),
        "responses": {
            str(rule.answers): _success(rule),
            **{str(status): _refusal(status, rule) for status in refusals(rule)},
        },
        "security": [] if rule.role is None or worker.gate.open else [{"token": []}],
    }
    parameters = [_path_parameter(name, worker, speaks_protocol(rule.path)) for name in rule.parameters]
    parameters += [
        {"name": name, "in": "query", "required": name == "id", "schema": schema}
        for name, schema in QUERIES.get(rule.path, {}).items()
    ]
    if rule.method == "POST":
        parameters += [_TIME_HEADER] if worker.follows_requests and rule.path != "/alerts" else []
        held: dict[str, Any] = {"schema": {"$ref": _SCHEMAS + _body(rule)}}
        example = request_example(_body(rule), contract)
        if example is not None:
            held["examples"] = {"usual": {"value": example}}
        operation["requestBody"] = {"required": True, "content": {"application/json": held}}
    if parameters:
        operation["parameters"] = parameters
    return operation


def refusals(rule: Rule) -> list[int]:
    """The statuses by which a route refuses, in order."""
    # A query's parameter that no route knows is refused by every one.
    found = {*rule.refuses, 400 if speaks_protocol(rule.path) else 422}
    if rule.role is not None:
        found |= {401, 403, 429, 503}
    if rule.path == "/readyz":
        found.add(503)
    return sorted(found)


def _tag(rule: Rule) -> str:
    if speaks_protocol(rule.path):
        return "inference protocol"
    if rule.role is None or rule.path in ("/metrics", "/docs.json"):
        return "probe"
    return {"read": "observe", "operate": "operate"}.get(rule.role, "predict")


def _described(rule: Rule) -> str:
    return f"{rule.summary}. " + (f"Needs the role `{rule.role}`." if rule.role else "Needs no token.")


_TIME_HEADER: Final = {
    "name": "Ringside-Time",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "format": "date-time"},
    "description": "The request's own time, since this service's clock follows its requests",
}


def _path_parameter(name: str, worker: Worker, protocol: bool) -> dict[str, Any]:
    """A part of the path; the protocol's routes know one name and one version."""
    model = worker.champion.current
    known = {"name": worker.settings.problem.name, "version": model.version if model is not None else None}.get(name)
    held = {"name": name, "in": "path", "required": True, "schema": _TEXT}
    if known is None:
        return held
    return held | ({"schema": {"enum": [known]}} if protocol else {"example": known})


_BODIES: Final = {"/predict": "Predict", "/labels": "Labels", "/alerts": "Alerts"}


def _body(rule: Rule) -> str:
    return "InferRequest" if speaks_protocol(rule.path) else _BODIES.get(rule.path, "Reason")


def _success(rule: Rule) -> dict[str, Any]:
    held: dict[str, Any] = {"description": "Done", "content": _content(rule)}
    if rule.predicts:
        logged = "`no`: the log was down, and the answer was given without it (`log.on_failure`)"
        held["headers"] = {"Ringside-Logged": {"schema": {"enum": ["no"]}, "description": logged}}
    return held


def _content(rule: Rule) -> dict[str, Any]:
    if rule.path == "/metrics":
        return {"text/plain": {"schema": _TEXT}}
    if rule.path == "/reports/{id}":
        return {"text/html": {"schema": _TEXT}}
    if rule.path.endswith("/infer"):
        raw: dict[str, Any] = {"application/octet-stream": {"schema": {}}}
        return {"application/json": {"schema": {"$ref": _SCHEMAS + "InferAnswer"}}} | raw
    return {"application/json": {"schema": {"$ref": _SCHEMAS + ANSWERS[rule.method, rule.path].__name__}}}


def _refusal(status: int, rule: Rule) -> dict[str, Any]:
    protocol = speaks_protocol(rule.path)
    examples = {**ERRORS[422], **ERRORS[400]} if protocol and status == 400 else ERRORS[status]
    shown = {code: {"value": _example(code, message, field, protocol)} for code, (message, field) in examples.items()}
    name = "ProtocolError" if protocol else "Error"
    held: dict[str, Any] = {
        "description": SUMMARIES[status],
        "content": {"application/json": {"schema": {"$ref": _SCHEMAS + name}, "examples": shown}},
    }
    headers = _HEADERS.get(status)
    return held | ({"headers": headers} if headers else {})


def _example(code: str, message: str, field: str | None, protocol: bool) -> dict[str, Any]:
    if protocol:
        return {"error": message, "code": code, "field": field}
    return {"error": {"code": code, "message": message, "field": field}}


_RETRY_AFTER: Final = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait"}}
_HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {"WWW-Authenticate": {"schema": {"const": "Bearer"}, "description": "How to say who calls"}},
    413: {"Connection": {"schema": {"const": "close"}, "description": "What is left of the body is not read"}},
    415: {"Accept-Encoding": {"schema": _TEXT, "description": "The encodings of a body that are read"}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
