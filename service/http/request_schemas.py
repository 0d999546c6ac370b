"""The bodies of requests as JSON Schema, for `/docs.json`: the columns are those of the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from record.contract.columns import Column
from record.contract.schema import ProblemSchema, Schema, SeenColumn, native_class

_ID: Final = {"type": "string", "minLength": 1, "maxLength": 200}
_CLASS: Final = {"$ref": "#/components/schemas/Class"}


@dataclass(frozen=True, slots=True)
class Contract:
    """What a record of this service is. `schema` is None without a champion, `problem` where no columns are set."""

    problem: ProblemSchema | None
    schema: Schema | None
    max_batch: int

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.problem.columns if self.problem is not None else ()

    def seen(self, name: str) -> SeenColumn:
        """What the champion's training saw in a column; nothing where that is not known."""
        held = self.schema.seen.get(name) if self.schema is not None else None
        return held or SeenColumn()

    @property
    def classes(self) -> list[str | int | bool]:
        """The classes as JSON has them; none for a regression, or without a champion."""
        return [native_class(name, self.schema.class_type) for name in self.schema.classes] if self.schema else []


def request_schemas(contract: Contract) -> dict[str, Any]:
    """Every request's body by its name, and the record and the class that they hold."""
    records = {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Record"},
        "minItems": 1,
        "maxItems": contract.max_batch,
    }
    ids = {"type": ["array", "null"], "items": _ID, "minItems": 1, "maxItems": contract.max_batch}
    # No default: generators make a property that has one mandatory.
    correct = {"type": "boolean", "description": "true: it replaces the label that the id has (absent: false)"}
    label = closed_object({"id": _ID, "label": _CLASS, "correct": correct}, ["id", "label"])
    reason = {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": r"\S", "description": "For the trail"}
    return {
        "Record": _record(contract),
        "Class": _class(contract),
        "Predict": closed_object({"records": records, "ids": ids}, ["records"]),
        "Labels": closed_object({"labels": {"type": "array", "items": label, "maxItems": contract.max_batch}}),
        "Reason": closed_object({"reason": reason}),
        "Alerts": _alerts(),
    }


def closed_object(properties: Mapping[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """An object of these properties and no others; all are required unless said otherwise."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def _alerts() -> dict[str, Any]:
    alert = {
        "type": "object",
        "properties": {
            "status": {"enum": ["firing", "resolved"]},
            "labels": {"type": "object"},
            "annotations": {"type": ["object", "null"]},
            "startsAt": {"type": "string", "format": "date-time"},
            "fingerprint": {"type": ["string", "null"]},
        },
        "required": ["labels", "startsAt"],
    }
    return {
        "type": "object",
        "properties": {"version": {"const": "4"}, "alerts": {"type": "array", "items": alert, "maxItems": 1000}},
        "required": ["alerts"],
    }


def _record(contract: Contract) -> dict[str, Any]:
    if contract.problem is None:
        return {"type": "object", "description": "No champion yet: its columns are not known"}
    return closed_object(
        {column.name: _column(column, contract.seen(column.name)) for column in contract.columns},
        [column.name for column in contract.columns if column.required],
    )


_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "number": {"type": ["number", "null"], "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
    "category": {"type": ["string", "integer", "boolean", "null"]},
    "time": {"type": ["string", "null"], "format": "date-time"},
    "text": {"type": ["string", "null"]},
}


def _column(column: Column, seen: SeenColumn) -> dict[str, Any]:
    held = dict(_KINDS[column.type])
    words = ["Not fed to the model."] if column.role == "carried" else []
    if column.arrival:
        words.append("The request's arrival time where it has no value.")
    if seen.low is not None:
        words.append(f"Training saw {seen.low:g} to {seen.high:g}.")
        held["examples"] = [seen.low]
    if seen.categories:
        words.append(f"Training saw {', '.join(seen.categories[:10])}{' …' if len(seen.categories) > 10 else ''}.")
        held["examples"] = [seen.categories[0]]
    return held | ({"description": " ".join(words)} if words else {})


def _class(contract: Contract) -> dict[str, Any]:
    if contract.problem is not None and contract.problem.task == "regression":
        return {"type": "number"}
    if len(contract.classes) == 2:
        return {"enum": contract.classes}
    return {"type": contract.schema.class_type if contract.schema is not None else ["string", "integer", "boolean"]}
