"""How rows become a pipeline, so that it can be done again: before the holdout, on all rows, years later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from record.contract.schema import Schema
from record.record import Record
from record.versions.model_version import ModelVersion
from retrain.data.dataset import Dataset
from retrain.models.configuration import Configuration
from retrain.models.continuation import cannot_continue, continue_fit
from retrain.models.pipeline import build, fit
from retrain.package import read_estimator


@dataclass(frozen=True, slots=True)
class Origin:
    """The version that an incremental run goes on from: its estimator, and what it knows."""

    estimator: bytes  # estimator.skops
    schema: Schema
    rows: int
    read_until_seq: int
    data_until: datetime | None

    @classmethod
    def read(cls, record: Record, version: ModelVersion) -> Origin:
        """Raises ArtifactError where the version's files are not what was registered."""
        manifest = record.registry.open(version.version)
        schema = Schema.from_json(manifest.read("schema.json").decode())
        rows = int(version.card.get("rows", 0))
        return cls(manifest.read("estimator.skops"), schema, rows, version.read_until_seq, version.data_until)

    def new(self, rows: Dataset) -> Dataset:
        """Those of the rows that it has not seen."""
        return rows.take(np.flatnonzero(rows.fresh(self.read_until_seq, self.data_until)))

    def obstacle(self, learn: Dataset) -> str | None:
        """Why it cannot go on with what is new among these rows; None where it can."""
        same = learn.schema.problem.features == self.schema.problem.features and (
            learn.schema.classes == self.schema.classes
        )
        new = self.new(learn)
        if learn.classes and len(np.unique(new.target)) < learn.classes:
            return "not every class is among the new rows"
        return cannot_continue(read_estimator(self.estimator), self.rows, len(new), same)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A configuration to fit, or, with an origin, an estimator to go on with."""

    configuration: Configuration
    seed: int
    origin: Origin | None = field(default=None, repr=False)

    def make(self, rows: Dataset) -> Pipeline:
        """The pipeline fitted on these rows. The same rows give the same pipeline, bit for bit, in one thread."""
        if self.origin is not None:
            return continue_fit(read_estimator(self.origin.estimator), self.origin.new(rows), self.origin.rows)
        pipeline = build(self.configuration, rows.schema.problem.task, self.seed)
        return fit(pipeline, rows.arrays, rows.target, rows.weights)


def champions_configuration(card: Mapping[str, Any]) -> Configuration | None:
    """None for a card that says none, as of a version that was not made here."""
    return Configuration.from_json(card)
