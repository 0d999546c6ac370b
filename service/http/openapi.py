"""`/docs.json`: OpenAPI 3.1 of every route, from the route table and the champion's schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn, native_class
from record.events import KINDS
from record.product_version import product_version
from service.http.explanation_schema import EXPLAIN_QUERY, closed_object, explanation_schema
from service.http.inference_schemas import protocol_schemas
from service.http.replies import speaks_protocol
from service.http.rule import Rule

if TYPE_CHECKING:
    from service.worker import Worker

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_ID: Final = {"type": "string", "minLength": 1, "maxLength": 200}
_REASON: Final = {
    "type": "object",
    "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 1000}},
    "required": ["reason"],
    "additionalProperties": False,
}
_CODES: Final = {
    400: "invalid_json",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found or unknown_version",
    405: "method_not_allowed",
    409: "id_conflict, role_conflict or run_active",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_record or invalid_label",
    503: "no_champion, overloaded or log_unavailable",
}
_EVENTS: Final = {
    "kind": {"type": "string", "description": "One kind, or several with commas: " + ", ".join(KINDS)},
    "model": {"type": "string", "description": "A version, such as v3"},
    "actor": {"type": "string", "description": "A token's name, watcher or retrain"},
    "since": {"type": "string", "format": "date-time"},
    "until": {"type": "string", "format": "date-time"},
    "q": {"type": "string", "description": "Found anywhere in the event"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    "cursor": {"type": "string", "pattern": "^[0-9]{1,18}$", "description": "`next` of an earlier page"},
}
_QUERIES: Final[Mapping[str, Mapping[str, Any]]] = {"/events": _EVENTS, "/explain": EXPLAIN_QUERY}


def document(worker: Worker, rules: Sequence[Rule]) -> dict[str, Any]:
    """The document of these routes for what this worker serves now."""
    model = worker.champion.current
    schema = model.schema if model is not None else None
    problem = schema.problem if schema is not None else worker.settings.problem_schema()
    paths: dict[str, dict[str, Any]] = {}
    for rule in rules:
        if rule.path == "/" or not rule.path.endswith("/"):  # the same as without
            paths.setdefault(rule.path, {})[rule.method.lower()] = _operation(rule, worker)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Ringside: {worker.settings.problem.name}", "version": product_version()},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": _error(),
                "Record": _record(problem, schema),
                "Class": _class(problem, schema),
                **_bodies(worker.settings.serve.max_batch),
                **protocol_schemas(),
            },
        },
    }


def _operation(rule: Rule, worker: Worker) -> dict[str, Any]:
    # A parameter that a route does not know.
    refused = [*rule.refuses, 400 if speaks_protocol(rule.path) else 422, 503]
    refused += [] if rule.role is None else [401, 403]
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{rule.method.lower()}{rule.path}").strip("_"),
        "summary": rule.summary,
        "responses": {
            str(rule.answers): {"description": "Done", "content": _answer(rule)},
            **{str(status): _refusal(status, rule) for status in sorted(set(refused))},
        },
        "security": [] if rule.role is None or worker.gate.open else [{"token": []}],
    }
    if rule.role is not None:
        operation["description"] = f"Needs the role `{rule.role}`."
    names = re.findall(r"\{(\w+)\}", rule.path)
    parameters = [_path_parameter(name, rule, worker) for name in names]
    parameters += [
        {"name": name, "in": "query", "required": name == "id", "schema": held}
        for name, held in _QUERIES.get(rule.path, {}).items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if rule.method == "POST":
        operation["requestBody"] = {"required": True, "content": _json(_ref(_body(rule)))}
    return operation


def _path_parameter(name: str, rule: Rule, worker: Worker) -> dict[str, Any]:
    """A part of the path; the protocol's routes know one name and one version."""
    model = worker.champion.current
    known = {"name": worker.settings.problem.name, "version": model.version if model is not None else None}.get(name)
    held = {"name": name, "in": "path", "required": True, "schema": _TEXT}
    if known is None:
        return held
    return held | ({"schema": {"enum": [known]}} if speaks_protocol(rule.path) else {"example": known})


_BODIES: Final = {"/predict": "Predict", "/labels": "Labels", "/alerts": "Alerts"}


def _body(rule: Rule) -> str:
    return "InferRequest" if speaks_protocol(rule.path) else _BODIES.get(rule.path, "Reason")


_ANSWERS: Final = {
    "/predict": "Answers",
    "/labels": "LabelsTaken",
    "/alerts": "AlertsTaken",
    "/retrain": "RunRequested",
    "/explain": "Explanation",
}


def _answer(rule: Rule) -> dict[str, Any]:
    if rule.path == "/metrics":
        return {"text/plain": {"schema": _TEXT}}
    if rule.path == "/reports/{id}":
        return {"text/html": {"schema": _TEXT}}
    name = "InferAnswer" if rule.path.endswith("/infer") else _ANSWERS.get(rule.path)
    return _json(_ref(name) if name else {"type": "object"})


def _refusal(status: int, rule: Rule) -> dict[str, Any]:
    if not speaks_protocol(rule.path):
        return {"description": _CODES[status], "content": _json(_ref("Error"))}
    described = f"{_CODES[status]} or {_CODES[422]}" if status == 400 else _CODES[status]
    return {"description": described, "content": _json(_ref("ProtocolError"))}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _error() -> dict[str, Any]:
    held = {"code": _TEXT, "message": _TEXT, "field": {"type": ["string", "null"]}}
    inner = {"type": "object", "properties": held, "required": list(held)}
    return {"type": "object", "properties": {"error": inner}, "required": ["error"]}


def _bodies(max_batch: int) -> dict[str, Any]:
    label = {
        "type": "object",
        "properties": {"id": _ID, "label": _ref("Class"), "correct": {"type": "boolean", "default": False}},
        "required": ["id", "label"],
        "additionalProperties": False,
    }
    answer = {
        "type": "object",
        "properties": {
            "id": _ID,
            "prediction": _ref("Class"),
            "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
            "model_version": _TEXT | {"description": "Where the answer was repeated from the log: who gave it"},
        },
        "required": ["id", "prediction"],
    }
    alert = {
        "type": "object",
        "properties": {
            "status": {"enum": ["firing", "resolved"]},
            "labels": {"type": "object"},
            "annotations": {"type": ["object", "null"]},
            "startsAt": {"type": "string", "minLength": 1},
            "fingerprint": {"type": ["string", "null"]},
        },
        "required": ["labels", "startsAt"],
    }
    records = {"type": "array", "items": _ref("Record"), "minItems": 1, "maxItems": max_batch}
    return {
        "Reason": _REASON,
        "Predict": closed_object({"records": records, "ids": {"type": ["array", "null"], "items": _ID}}, ["records"]),
        "Answers": closed_object({"model_version": _TEXT, "predictions": {"type": "array", "items": answer}}),
        "Labels": closed_object({"labels": {"type": "array", "items": label}}),
        "LabelsTaken": closed_object(
            {
                "accepted": _COUNT,
                "duplicates": _COUNT,
                "conflicts": {"type": "array", "items": _TEXT},
                "unknown": {"type": "array", "items": _TEXT},
            }
        ),
        "Alerts": {
            "type": "object",
            "properties": {"version": {"const": "4"}, "alerts": {"type": "array", "items": alert}},
            "required": ["alerts"],
        },
        "AlertsTaken": closed_object({"accepted": _COUNT, "duplicates": _COUNT, "ignored": _COUNT}),
        "RunRequested": closed_object({"run_id": _TEXT}),
        "Explanation": explanation_schema(),
    }


def _record(problem: ProblemSchema | None, schema: Schema | None) -> dict[str, Any]:
    if problem is None:
        return {"type": "object", "description": "No champion yet: its columns are not known"}
    seen = schema.seen if schema is not None else {}
    return {
        "type": "object",
        "properties": {column.name: _column(column, seen.get(column.name)) for column in problem.columns},
        "required": [column.name for column in problem.columns if column.required],
        "additionalProperties": False,
    }


def _column(column: Column, seen: SeenColumn | None) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "number": {"type": ["number", "null"], "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
        "category": {"type": ["string", "integer", "boolean", "null"]},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "text": {"type": ["string", "null"]},
    }
    held = dict(kinds[column.type])
    words = ["Not fed to the model."] if column.role == "carried" else []
    if seen is not None and seen.low is not None:
        words.append(f"Training saw {seen.low:g} to {seen.high:g}.")
        held["examples"] = [seen.low]
    if seen is not None and seen.categories:
        words.append(f"Training saw {', '.join(seen.categories[:10])}{' …' if len(seen.categories) > 10 else ''}.")
        held["examples"] = [seen.categories[0]]
    return held | ({"description": " ".join(words)} if words else {})


def _class(problem: ProblemSchema | None, schema: Schema | None) -> dict[str, Any]:
    if problem is not None and problem.task == "regression":
        return {"type": "number"}
    if schema is not None and len(schema.classes) == 2:
        return {"enum": [native_class(name, schema.class_type) for name in schema.classes]}
    return {"type": schema.class_type if schema is not None else ["string", "integer", "boolean"]}
