"""The data contract: what a schema says, and that it survives its own JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from record.contract.arrays import Arrays
from record.contract.columns import Column
from record.contract.decoder import Decoder
from record.contract.schema import (
    ClassType,
    ProblemSchema,
    Schema,
    SeenColumn,
    canonical_class,
    native_class,
    seen_columns,
)

PROBLEM = ProblemSchema(
    task="classification",
    target="late",
    columns=(
        Column("id", "carried", "text"),
        Column("distance", "feature", "number"),
        Column("departs", "feature", "time"),
        Column("carrier", "feature", "category"),
        Column("wind", "feature", "number", required=False),
        Column("origin", "feature", "category"),
    ),
    positive_class="yes",
    time_column="departs",
    protected=("id",),
)


def test_inputs_of_the_model() -> None:
    """Numbers stand in column order, a time as its parts; categories apart; carried columns nowhere."""
    parts = [f"departs.{part}" for part in ("days", "month", "day", "weekday", "hour", "second")]
    assert PROBLEM.number_names == ("distance", *parts, "wind")
    assert PROBLEM.category_names == ("carrier", "origin")


def test_json_round_trip() -> None:
    """A schema read from its own JSON is the same schema."""
    seen = {"distance": SeenColumn(low=1.0, high=2.5), "carrier": SeenColumn(categories=("AA", "Ü"))}
    schema = Schema(PROBLEM, seen, ("no", "yes"), "string")
    assert Schema.from_json(schema.to_json()) == schema
    assert ProblemSchema.from_json(json.loads(json.dumps(PROBLEM.to_json()))) == PROBLEM


@pytest.mark.parametrize(
    "text", ["[]", "3", "{}", '{"decoder": 1}', '{"decoder": 3}', "{", '{"decoder": 2, "problem": 3}']
)
def test_no_schema(text: str) -> None:
    """A text that is no schema, or one of a later decoder, is refused."""
    with pytest.raises(ValueError):
        Schema.from_json(text)


@pytest.mark.parametrize(
    ("value", "text", "kind"), [("yes", "yes", "string"), (7, "7", "integer"), (True, "true", "boolean")]
)
def test_classes(value: str | int | bool, text: str, kind: ClassType) -> None:
    """A class goes to its canonical text and back."""
    assert canonical_class(value) == text
    assert native_class(text, kind) == value
    assert type(native_class(text, kind)) is type(value)


def test_seen_columns() -> None:
    """Ranges and categories of what training had, missing values apart; times are not bounded."""
    records = [
        {"id": "a", "distance": 0.1, "departs": None, "carrier": "AA", "origin": None},
        {"id": "b", "distance": None, "departs": "2013-01-01", "carrier": "UA", "origin": None},
    ]
    seen = seen_columns(PROBLEM, Decoder(PROBLEM).decode(records))
    assert seen == {
        "distance": SeenColumn(low=float(np.float32(0.1)), high=float(np.float32(0.1))),
        "wind": SeenColumn(),
        "carrier": SeenColumn(categories=("AA", "UA")),
        "origin": SeenColumn(categories=()),
    }


def test_arrays_are_cut_by_rows() -> None:
    """Runs and choices of rows keep numbers and categories together."""
    arrays = Arrays(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([["a"], ["b"], ["c"]], dtype=object))
    assert len(arrays) == 3
    assert arrays.rows(1).categories.tolist() == [["b"], ["c"]]
    assert arrays.take(np.array([True, False, True])).numbers.tolist() == [[0, 1], [4, 5]]
