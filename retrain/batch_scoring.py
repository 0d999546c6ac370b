"""A file scored by a registered version: the answers that `/predict` would give, without a service and without a log.

Rows are read as training reads them, decoded by the version's own decoder, all before the first answer, and scored by
its ONNX model a part at a time, so that memory follows the file's columns and not the model's intermediate results.
What a category's cell means follows from what the version's training saw, as in a request, not from the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from record.contract.arrays import Arrays
from record.contract.frame import BadCell
from record.contract.schema import native_class
from record.errors import DataError
from record.record import Record
from record.tables.reading_rules import ReadingRules
from record.versions.model import ServedModel
from retrain.data.source import SourceRows, read_source

ROWS_AT_ONCE: Final = 20_000
PREDICTION: Final = "prediction"
PROBABILITY: Final = "probability"  # a class's column is "probability of CLASS"


@dataclass(frozen=True, slots=True)
class BatchPredictions:
    """Predictions of a file's rows, in its order; `parts` gives them as frames of at most ROWS_AT_ONCE rows.

    A frame has the file's id column, where the problem names one and the file has it, or `row` (counted from 1);
    `prediction`; and for a classification `probability of CLASS` for each class.
    """

    version: str
    rows: int
    parts: Iterator[pd.DataFrame]


def score_file(record: Record, version: str, path: Path, rules: ReadingRules) -> BatchPredictions:
    """Score a CSV or Parquet file by a version of the record.

    Raises NotFound for an unknown version, ArtifactError where its files are not what was registered, and DataError
    naming file, row and column for a value that the version's schema cannot take.
    """
    model = ServedModel.read(record.registry.open(version), version)
    problem = model.schema.problem
    identity = problem.id_column
    others = [] if identity is None else [identity]
    try:
        source = read_source(str(path), None, problem.features, others, rules=rules, raw_categories=True)
    except DataError as error:
        raise DataError(error.message.removeprefix("data.source: ")) from error
    if not len(source.frame):
        raise DataError(f"{path}: no rows; expected at least one")
    identities = source.frame[identity] if identity in source.frame.columns else None
    return BatchPredictions(version, len(source.frame), _parts(model, _decode(model, source), identities))


def _decode(model: ServedModel, source: SourceRows) -> Arrays:
    """The arrays of all rows; a cell that cannot be used is named with its file and line."""
    try:
        return model.decoder.decode_frame(source.frame)
    except BadCell as bad:
        raise BadCell(bad.row + 1, bad.column, bad.reason, source.place(bad.row)) from None


def _parts(model: ServedModel, arrays: Arrays, identities: pd.Series[Any] | None) -> Iterator[pd.DataFrame]:
    for first in range(0, len(arrays), ROWS_AT_ONCE):
        stop = first + ROWS_AT_ONCE
        answers = _answers(model, arrays.rows(first, stop))
        if identities is None or identities.name in answers.columns:
            answers.insert(0, "row", range(first + 1, first + 1 + len(answers)))
        else:
            answers.insert(0, str(identities.name), identities.iloc[first:stop].to_numpy())
        yield answers


def _answers(model: ServedModel, arrays: Arrays) -> pd.DataFrame:
    scores = model.score(arrays)
    if scores.probabilities is None:
        return pd.DataFrame({PREDICTION: scores.raw})
    classes = [native_class(name, model.schema.class_type) for name in model.schema.classes]
    columns: dict[str, Any] = {PREDICTION: [classes[place] for place in model.said(scores)]}
    for place, name in enumerate(model.schema.classes):
        columns[f"{PROBABILITY} of {name}"] = scores.probabilities[:, place]
    return pd.DataFrame(columns)
