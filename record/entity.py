"""Entities as numbers: who or what a row is about, where one customer, machine or patient comes again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

ALONE = -1  # a row without an entity stands for itself


def entity_number(value: Any) -> int | None:
    """A value of the entity column as a number of 63 bits; None where there is no value."""
    if value is None:
        return None
    spelled = json.dumps(value, sort_keys=True)  # 7 and "7" are two entities
    return int.from_bytes(blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def entity_of(record: str, column: str | None) -> int | None:
    """A request's entity; None where the column has no value, or none is named."""
    return None if column is None else entity_number(json.loads(record).get(column))


def entities_of(records: Sequence[str], column: str | None) -> Integers:
    """The entity of each request; ALONE where it has none."""
    if column is None:
        return np.full(len(records), ALONE, np.int64)
    found = (entity_of(record, column) for record in records)
    return np.array([ALONE if number is None else number for number in found], np.int64)


def entities_in(values: Iterable[Any]) -> Integers:
    """The entity of each value of a column that is read from files and from requests: 7, 7.0 and "7" are one."""
    known: dict[Any, int] = {}
    found = []
    for value in values:
        if value is None or value != value:  # NaN and NaT
            found.append(ALONE)
            continue
        key = (type(value), value)
        if key not in known:
            number = entity_number(_spelled(value))
            known[key] = ALONE if number is None else number
        found.append(known[key])
    return np.array(found, np.int64)


def distinct(entities: Integers) -> Integers:
    """The clusters of rows: each entity one, each row without an entity one of its own."""
    alone = entities == ALONE
    held = np.where(alone, -1 - np.arange(len(entities)), entities)
    return np.asarray(np.unique(held, return_inverse=True)[1], np.int64)


def _spelled(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
