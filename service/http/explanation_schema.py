"""The answer of `GET /explain` as JSON Schema, for `/docs.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_TEXT: Final = {"type": "string"}
EXPLAIN_QUERY: Final = {
    "id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Of an answered prediction"},
    "attribution": {
        "enum": ["true", "false"],
        "default": "true",
        "description": "false: without what moved the prediction, for which the model is asked again",
    },
}


def explanation_schema() -> dict[str, Any]:
    """Of the whole answer; classes are the document's `Class`."""
    number: dict[str, Any] = {"type": "number"}
    time: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
    nothing = {"type": "null"}
    said = {"prediction": {}, "probabilities": {"type": ["object", "null"]}}
    contribution = {"feature": _TEXT, "value": {}, "contribution": number, "error": {"type": ["number", "null"]}}
    champion = {
        "how": {"enum": ["first_version", "bout", "operator", "rollback", "unknown"]},
        "since": time,
        "until": time | {"description": "null where the version has the role still"},
        "event": {"type": ["object", "null"], "description": "The audit trail's, as in GET /events"},
        "bout": {"type": ["object", "null"], "description": "What decided it, with its evidence then"},
        "history": {"type": "array", "items": {"type": "object"}},
    }
    challenger: dict[str, Any] = dict.fromkeys(("version", "bout", "kind", "challenger", "champion", "state"), _TEXT)
    challenger |= {"outcome": {"type": ["string", "null"]}, "said": {"enum": ["scored", "failed", "sampled_out"]}}
    attribution = {
        "method": _TEXT,
        "of": {"enum": ["probability", "value"]},
        "class": {"description": "Whose probability; null for a value"},
        "base": number | {"description": "The mean answer over the background"},
        "prediction": number | {"description": "base plus all contributions"},
        "reproduced": {"type": "boolean", "description": "Whether the model says again what was logged"},
        "contributions": {"type": "array", "items": closed_object(contribution), "description": "The largest first"},
        "background_rows": {"type": "integer", "minimum": 1},
        "exact": {"type": "boolean"},
        "complete": {"type": "boolean", "description": "false where the time was over before all was asked"},
    }
    label = {
        "label": {"$ref": "#/components/schemas/Class"},
        "received_at": time,
        "history": {"type": "array", "items": {"type": "object"}},
    }
    return closed_object(
        {
            "id": _TEXT,
            "requested_at": time,
            "model_version": _TEXT,
            "record": {"type": "object", "description": "As logged: redacted columns are null"},
            "redacted": {"type": "array", "items": _TEXT},
            "marks": {"type": ["object", "null"]},
            **said,
            "model": {"type": "object"},
            "champion": closed_object(champion),
            "challengers": {"type": "array", "items": closed_object(challenger | said)},
            "label": {"anyOf": [closed_object(label), nothing]},
            "attribution": {"anyOf": [closed_object(attribution), nothing]},
        }
    )


def closed_object(properties: Mapping[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """An object of these properties and no others; all are required unless said otherwise."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }
