"""The data contract: which columns a record has, what training saw in them, and which classes are answered.

The schema belongs to the problem, not to a model version; what training saw (ranges, categories, classes) belongs
to each version's `schema.json`. What a value may be stands in `record.contract.columns`; reading records in
`record.contract.decoder`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from record.contract.arrays import Arrays
from record.contract.columns import MISSING, TIME_PARTS, Column

Task = Literal["classification", "regression"]
ClassType = Literal["string", "integer", "boolean"]

DECODER_VERSION = 3
# Decoder 2 compared texts to the letter, not in NFC, and knew no other spellings of booleans; its versions still serve.
READ_DECODERS = (2, 3)


@dataclass(frozen=True, slots=True)
class ProblemSchema:
    """What applications send, and what is predicted from it."""

    task: Task
    target: str
    columns: tuple[Column, ...]
    positive_class: str | None = None  # canonical text
    time_column: str | None = None
    id_column: str | None = None
    protected: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == "feature")

    @property
    def number_names(self) -> tuple[str, ...]:
        """The model's numeric inputs in order, each name once; a time stands there as its parts: NAME.days …"""
        return tuple(name for name, _, _ in self.number_inputs)

    @property
    def number_inputs(self) -> tuple[tuple[str, str, str | None], ...]:
        """The model's numeric inputs in order: name, column, and the part of a time."""
        taken = {column.name for column in self.columns}
        found: list[tuple[str, str, str | None]] = []
        for column in self.features:
            if column.type == "number":
                found.append((column.name, column.name, None))
            elif column.type == "time":
                found.extend((_part_name(column.name, part, taken), column.name, part) for part in TIME_PARTS)
        return tuple(found)

    @property
    def time_places(self) -> tuple[int, ...]:
        """Where each time's parts begin among the numeric inputs."""
        return tuple(place for place, (_, _, part) in enumerate(self.number_inputs) if part == TIME_PARTS[0])

    @property
    def category_names(self) -> tuple[str, ...]:
        """The model's text inputs in order."""
        return tuple(column.name for column in self.features if column.type == "category")

    @property
    def arrival_column(self) -> str | None:
        """The column that the service fills with the request's arrival time."""
        return next((column.name for column in self.columns if column.arrival), None)

    def to_json(self) -> dict[str, Any]:
        """`arrival` stands in its column only: the schema of a problem without one is the same as ever."""
        columns = [asdict(column) for column in self.columns]
        for column in columns:
            if not column["arrival"]:
                del column["arrival"]
        return {**asdict(self), "columns": columns}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> ProblemSchema:
        columns = tuple(Column(**column) for column in held["columns"])
        return cls(**{**held, "columns": columns, "protected": tuple(held["protected"])})


def _part_name(column: str, part: str, taken: Collection[str]) -> str:
    """NAME.days, and NAME.days' where a column is called so already."""
    name = f"{column}.{part}"
    while name in taken:
        name += "'"
    return name


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """What training saw in one feature: a number's range, or a category's values."""

    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A version's schema.json: the problem's schema, and what this version's training saw."""

    problem: ProblemSchema
    seen: Mapping[str, SeenColumn]
    classes: tuple[str, ...] = ()  # canonical text, in the order of the model's probabilities; empty for regression
    class_type: ClassType = "string"
    decoder: int = DECODER_VERSION

    @property
    def number_names(self) -> tuple[str, ...]:
        return self.problem.number_names

    @property
    def category_names(self) -> tuple[str, ...]:
        return self.problem.category_names

    @property
    def boolean_names(self) -> frozenset[str]:
        """The categories of which training saw true and false only."""
        if self.decoder < DECODER_VERSION:
            return frozenset()
        held = {name: frozenset(seen.categories or ()) for name, seen in self.seen.items()}
        return frozenset(name for name, known in held.items() if known and known <= {"true", "false"})

    @property
    def watched(self) -> int | None:
        """Of two classes the place of the one that is looked for; the second where none of them is named."""
        if len(self.classes) != 2:
            return None
        positive = self.problem.positive_class
        return self.classes.index(positive) if positive in self.classes else 1

    def to_json(self) -> str:
        """One JSON text, the same for the same schema."""
        return json.dumps({**asdict(self), "problem": self.problem.to_json()}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Schema:
        """Raises ValueError for a text that is no schema, or one of another decoder version."""
        held = json.loads(text)
        if not isinstance(held, dict) or held.get("decoder") not in READ_DECODERS:
            raise ValueError(f"a schema for decoder {DECODER_VERSION} was expected")
        try:
            return cls(
                problem=ProblemSchema.from_json(held["problem"]),
                seen={name: _seen(column) for name, column in held["seen"].items()},
                classes=tuple(held["classes"]),
                class_type=held["class_type"],
                decoder=held["decoder"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a schema: {error!r}") from None


def _seen(held: Mapping[str, Any]) -> SeenColumn:
    categories = held["categories"]
    return SeenColumn(held["low"], held["high"], None if categories is None else tuple(categories))


def canonical_class(value: str | int | bool) -> str:
    """A class as text, to the letter: true → "true", 7 → "7"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def native_class(text: str, class_type: ClassType) -> str | int | bool:
    """A class as JSON answers carry it: the opposite of `canonical_class`."""
    if class_type == "integer":
        return int(text)
    return text == "true" if class_type == "boolean" else text


def seen_columns(problem: ProblemSchema, arrays: Arrays) -> dict[str, SeenColumn]:
    """The ranges and categories in a training set's arrays. A time has none: new ones are later, as they should be."""
    held: dict[str, SeenColumn] = {}
    for place, (name, _, part) in enumerate(problem.number_inputs):
        present = arrays.numbers[:, place]
        present = present[present == present]  # NaN is missing
        if part is None:
            held[name] = SeenColumn(float(present.min()), float(present.max())) if len(present) else SeenColumn()
    for place, name in enumerate(problem.category_names):
        held[name] = SeenColumn(categories=tuple(sorted(set(arrays.categories[:, place].tolist()) - {MISSING})))
    return held
