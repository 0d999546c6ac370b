"""Examples for `/docs.json`: requests that this service takes, and refusals as it words them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from record.contract.columns import Column
from record.contract.schema import SeenColumn
from service.http.request_schemas import Contract

SUMMARIES: Final[Mapping[int, str]] = {
    400: "The body is not JSON, or has a key that is not known",
    401: "The token is missing or unknown",
    403: "The token lacks the role",
    404: "There is no such thing",
    409: "The record says otherwise",
    413: "The body is too large",
    415: "The body is of a type or in an encoding that is not read",
    422: "A value cannot be used",
    429: "The token has sent as much as it may for now",
    503: "Not now: try again later",
}
# By status and code: the message and the field of a refusal.
ERRORS: Final[Mapping[int, Mapping[str, tuple[str, str | None]]]] = {
    400: {"invalid_json": ("the body is not JSON: unexpected end of data", None)},
    401: {"unauthorized": ("a token is needed: Authorization: Bearer …", None)},
    403: {"forbidden": ("the token 'app' lacks the role 'operate'", None)},
    404: {
        "not_found": ("no route '/nowhere'", "path"),
        "unknown_version": ("no model version 'v99'; `GET /models` lists them", "version"),
    },
    409: {
        "id_conflict": ("1 of the request's ids were used for other records before: 'order-17'", "ids"),
        "role_conflict": ("v1 is champion already", "version"),
        "run_active": ("run-20260131-0a1b2c3d is running", None),
    },
    413: {"too_large": ("the body is longer than 10000000 bytes (serve.max_body_mb)", None)},
    415: {"unsupported_media_type": ("Content-Encoding 'br' is not read; expected gzip, deflate or identity", None)},
    422: {
        "invalid_record": ("records[0].distance: missing; expected a value, or null where it is not known", None),
        "invalid_label": ("labels[0]: 'maybe' is not a class; expected one of no, yes", "labels[0].label"),
    },
    429: {"quota_exceeded": ("the token 'app' may send 100 requests a second", None)},
    503: {
        "no_champion": ("no champion is loaded", None),
        "overloaded": ("too many requests are under way; try again in a moment", None),
        "log_unavailable": ("the record cannot be reached; try again in a moment", None),
    },
}
_ALERT: Final = {
    "status": "firing",
    "labels": {"alertname": "UpstreamChanged", "action": "retrain"},
    "annotations": {"summary": "The source has a new version"},
    "startsAt": "2026-01-31T12:00:00Z",
    "fingerprint": "0a1b2c3d4e5f6071",
}


def request_example(body: str, contract: Contract) -> Any:
    """A body of that name that is taken; None where the columns are not known."""
    if body == "Reason":
        return {"reason": "The price list of February is in"}
    if body == "Alerts":
        return {"version": "4", "alerts": [_ALERT]}
    if contract.problem is None:
        return None
    if body == "Labels":
        label = 1.5 if contract.problem.task == "regression" else next(iter(contract.classes), "yes")
        return {"labels": [{"id": "order-17", "label": label}]}
    record = {column.name: _value(column, contract.seen(column.name)) for column in contract.columns}
    if body == "Predict":
        return {"records": [record], "ids": ["order-17"]}
    columns = [_tensor(column, record[column.name]) for column in contract.columns]
    return {"id": "batch-17", "inputs": columns}


def _value(column: Column, seen: SeenColumn) -> Any:
    if column.type == "number":
        return 1.0 if seen.low is None else seen.low
    if column.type == "time":
        return "2026-01-31T12:00:00Z"
    return seen.categories[0] if seen.categories else "any text"


def _tensor(column: Column, value: Any) -> dict[str, Any]:
    return {
        "name": column.name,
        "datatype": "FP64" if column.type == "number" else "BYTES",
        "shape": [1],
        "data": [value],
    }
