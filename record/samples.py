"""The watcher's gauges, as every replica's `/metrics` shows them: they survive restarts, and work across hosts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from record.canonical import canonical_json
from record.db.database import Database
from record.db.tables import samples
from record.db.upsert import insert


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    labels: dict[str, str]
    value: float
    at: datetime


class Samples:
    """The way to the samples. Safe to share between threads. A value of NaN says that there is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, values: Iterable[tuple[str, Mapping[str, str], float]], at: datetime) -> None:
        """Sets (name, labels, value) each; other label sets stay as they are."""
        with self._database.write() as connection:
            for name, labels, value in values:
                _put(connection, name, labels, value, at)

    def replace(self, name: str, values: Iterable[tuple[Mapping[str, str], float]], at: datetime) -> None:
        """Sets a whole family: label sets that are not among `values` are gone."""
        with self._database.write() as connection:
            connection.execute(sa.delete(samples).where(samples.c.name == name))
            for labels, value in values:
                _put(connection, name, labels, value, at)

    def all(self) -> list[Sample]:
        """Every sample, by name and labels."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(samples).order_by(samples.c.name, samples.c.labels))
            return [Sample(row.name, json.loads(row.labels), row.value, row.at) for row in rows]


def _put(connection: sa.Connection, name: str, labels: Mapping[str, str], value: float, at: datetime) -> None:
    key = canonical_json(dict(labels))
    if math.isnan(value):
        connection.execute(sa.delete(samples).where(samples.c.name == name, samples.c.labels == key))
        return
    statement = insert(connection, samples).values(name=name, labels=key, value=float(value), at=at)
    said = {"value": statement.excluded.value, "at": statement.excluded.at}
    connection.execute(statement.on_conflict_do_update(index_elements=["name", "labels"], set_=said))
