"""The Open Inference Protocol's bodies in `/docs.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.http.inference_request import LONGEST_REQUEST_ID, OUTPUTS
from service.http.tensors import DATATYPES

_TEXT = {"type": "string"}
_PARAMETERS = {"type": ["object", "null"]}
_VALUE = {"type": ["string", "number", "boolean", "null"]}
_SHAPE = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0},
    "minItems": 1,
    "maxItems": 2,
    "description": "[n] or [n, 1]",
}


def protocol_schemas() -> dict[str, Any]:
    """Request and answer. Unknown keys are ignored; that tensors fit together is beyond a schema."""
    tensor = _object(
        {
            "name": {"type": "string", "minLength": 1, "description": "A column's"},
            "datatype": {"enum": list(DATATYPES)},
            "shape": _SHAPE,
            "data": {"type": ["array", "null"], "items": {"anyOf": [_VALUE, {"type": "array", "items": _VALUE}]}},
            "parameters": _PARAMETERS,
        },
        ["name", "datatype", "shape"],
    )
    wanted = _object({"name": {"enum": list(OUTPUTS)}, "parameters": _PARAMETERS}, ["name"])
    output = _object(
        {
            "name": {"enum": list(OUTPUTS)},
            "datatype": {"enum": list(DATATYPES)},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array", "items": _VALUE},
            "parameters": {"type": "object"},
        },
        ["name", "datatype", "shape"],
    )
    return {
        "InferRequest": _object(
            {
                "id": {"type": ["string", "null"], "maxLength": LONGEST_REQUEST_ID},
                "parameters": _PARAMETERS,
                "inputs": {"type": "array", "items": tensor, "minItems": 1},
                "outputs": {"type": ["array", "null"], "items": wanted},
            },
            ["inputs"],
        ),
        "InferAnswer": _object(
            {
                "model_name": _TEXT,
                "model_version": _TEXT,
                "id": _TEXT,
                "parameters": {"type": "object"},
                "outputs": {"type": "array", "items": output},
            },
            ["model_name", "model_version", "id", "outputs"],
        ),
    }


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": required}
