"""The parameters of queries as JSON Schema, for `/docs.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from record.events import KINDS

_PAGE: Final[Mapping[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    "cursor": {"type": "string", "pattern": "^[0-9]{1,18}$", "description": "`next` of an earlier page"},
}
_KIND: Final = "|".join(KINDS)
QUERIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "/models": _PAGE,
    "/runs": {**_PAGE, "cursor": {"type": "string", "description": "`next` of an earlier page"}},
    "/events": {
        "kind": {
            "type": "string",
            "pattern": f"^({_KIND})(,({_KIND}))*$",
            "description": "One kind, or several with commas: " + ", ".join(KINDS),
        },
        "model": {"type": "string", "description": "A version, such as v3"},
        "actor": {"type": "string", "description": "A token's name, watcher or retrain"},
        "since": {"type": "string", "format": "date-time"},
        "until": {"type": "string", "format": "date-time"},
        "q": {"type": "string", "description": "Found anywhere in the event"},
        **_PAGE,
    },
    "/explain": {
        "id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Of an answered prediction"},
        "attribution": {
            "enum": ["true", "false"],
            "default": "true",
            "description": "false: without what moved the prediction, for which the model is asked again",
        },
        **_PAGE,
    },
}
