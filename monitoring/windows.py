"""What is compared: rows of the reference and rows of the log, as the same named columns of arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from record.artifact import REFERENCE_TIME
from record.contract.arrays import Arrays
from record.contract.columns import MISSING, TIME_PARTS
from record.contract.decoder import Decoder
from record.contract.schema import Schema, canonical_class
from record.db.database import Database
from record.log.columns import Failures, RecordColumns
from record.log.window import LogChunk, LogSpan, sample_span

if TYPE_CHECKING:
    import pandas as pd

Numbers = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
Times = npt.NDArray[np.int64]

# A shift of .02 standard deviations is found in 50,000 rows, smaller ones are harmless; a million rows would take
# Evidently 73 s.
SAMPLED_ROWS = 50_000

# A time goes on by itself: the first three parts are never distributed as they were in the reference. Which second of
# an hour it was means something beside another time only.
PASSING = (".days", ".month", ".day", ".second")

PREDICTION = "prediction"  # the name that the model's own answers have among the columns
TARGET = "target"  # and what turned out to be true


@dataclass(frozen=True, slots=True)
class Window:
    """Rows side by side as columns. `rows` counts what the window held; the arrays may be a sample of it.

    They are in request order (a reference's as its training data were); the prediction's column is shorter where
    other versions answered too. `ids` and `failures` are empty for a reference.
    """

    since: datetime | None
    until: datetime | None
    rows: int
    numbers: Mapping[str, Numbers]  # missing is NaN
    categories: Mapping[str, Texts]  # missing is None
    ids: tuple[str, ...] = ()
    failures: Mapping[str, Failures] = field(default_factory=dict)  # values that their column cannot take
    times: Mapping[str, Times] = field(default_factory=dict)  # of a reference's values: microseconds since 1970

    def __len__(self) -> int:
        """Rows that the arrays hold."""
        for name, column in (*self.numbers.items(), *self.categories.items()):
            if name not in (PREDICTION, TARGET):
                return len(column)
        return len(self.numbers.get(PREDICTION, ()))


def reference_window(reference: bytes, schema: Schema, seed: int = 0) -> Window:
    """The rows that a version's drift is measured against, as its training left them in reference.parquet."""
    import pandas as pd

    frame = pd.read_parquet(io.BytesIO(reference))
    rows = len(frame)
    if rows > SAMPLED_ROWS:
        frame = frame.sample(SAMPLED_ROWS, random_state=seed).sort_index()
    arrays = Decoder(schema).decode_frame(frame)
    numbers, categories = _of_arrays(arrays, schema)
    answers = _reference_answers(frame, schema)
    if answers is not None:
        numbers[PREDICTION] = answers
    window = Window(None, None, rows, numbers, categories)
    return _with_times(_with_target(window, _reference_target(frame, schema), schema), frame, schema)


def current_window(database: Database, span: LogSpan, schema: Schema, version: str) -> Window:
    """The span's requests as columns, a sample of SAMPLED_ROWS or a little more where it holds more.

    The prediction column holds only what `version` answered: other versions' answers are no drift of its own.
    """
    columns = RecordColumns(schema.problem.features)
    ids: list[str] = []
    answers = [np.empty(0)]
    for chunk in sample_span(database, span, SAMPLED_ROWS):
        columns.add(chunk.records)
        ids.extend(chunk.ids)
        answers.append(_answers(chunk, schema, version))
    numbers, categories = _of_columns(columns, schema)
    numbers[PREDICTION] = np.concatenate(answers)
    return Window(span.since, span.until, span.rows, numbers, categories, tuple(ids), columns.failures)


def _of_columns(columns: RecordColumns, schema: Schema) -> tuple[dict[str, Numbers], dict[str, Texts]]:
    numbers: dict[str, Numbers] = {}
    categories: dict[str, Texts] = {}
    for column in schema.problem.features:
        values = columns.column(column.name)
        if column.type == "category":
            categories[column.name] = values
        elif column.type == "number":
            numbers[column.name] = values.astype(np.float64)
        else:
            parts = {f"{column.name}.{part}": place for place, part in enumerate(TIME_PARTS)}
            numbers |= {n: values[:, p].astype(np.float64) for n, p in parts.items() if not n.endswith(PASSING)}
    return numbers, categories


def _of_arrays(arrays: Arrays, schema: Schema) -> tuple[dict[str, Numbers], dict[str, Texts]]:
    numbers = {
        name: arrays.numbers[:, place].astype(np.float64)
        for place, name in enumerate(schema.number_names)
        if not (_is_part(name, schema) and name.endswith(PASSING))
    }
    categories: dict[str, Texts] = {}
    for place, name in enumerate(schema.category_names):
        column = arrays.categories[:, place].copy()
        column[column == MISSING] = None
        categories[name] = column
    return numbers, categories


def _is_part(name: str, schema: Schema) -> bool:
    return any(column.type == "time" and name.startswith(f"{column.name}.") for column in schema.problem.features)


def _watched_class(schema: Schema) -> str:
    """The class whose probability stands for the answer: the positive one, or the last."""
    return schema.problem.positive_class or schema.classes[-1]


def _answers(chunk: LogChunk, schema: Schema, version: str) -> Numbers:
    own = [place for place, name in enumerate(chunk.model_versions) if name == version]
    decode = msgspec.json.decode
    if schema.problem.task == "regression":
        return np.array([decode(chunk.predictions[place]) for place in own], dtype=np.float64)
    name = _watched_class(schema)
    said = [chunk.probabilities[place] for place in own]
    return np.array([decode(text).get(name, np.nan) for text in said if text], dtype=np.float64)


def _reference_answers(frame: pd.DataFrame, schema: Schema) -> Numbers | None:
    """What the version answered, where training could say it honestly: on rows that it was not fitted on."""
    name = _answer_column(schema)
    if name not in frame:
        return None
    answers: Numbers = frame[name].to_numpy(dtype=np.float64)
    return answers[np.isfinite(answers)]


def with_targets(window: Window, labels: Sequence[str], schema: Schema) -> Window:
    """The window, and beside it what turned out to be true of other, matured requests, as JSON scalars."""
    told = [msgspec.json.decode(label) for label in labels]
    if schema.problem.task == "regression":
        return _with_target(window, np.array(told, dtype=np.float64), schema)
    return _with_target(window, np.array([canonical_class(value) for value in told], dtype=object), schema)


def _with_target(window: Window, target: Numbers | Texts | None, schema: Schema) -> Window:
    if target is None or TARGET in window.numbers or TARGET in window.categories:
        return window
    if schema.problem.task == "regression":
        return replace(window, numbers={**window.numbers, TARGET: target.astype(np.float64)})
    return replace(window, categories={**window.categories, TARGET: target.astype(object)})


def _reference_target(frame: pd.DataFrame, schema: Schema) -> Numbers | Texts | None:
    """The target under its own name, which no feature can have; None where a version's files lack it."""
    name = schema.problem.target
    if name not in frame:
        return None
    return np.asarray(frame[name].to_numpy(dtype=np.float64 if schema.problem.task == "regression" else object))


def _with_times(window: Window, frame: pd.DataFrame, schema: Schema) -> Window:
    if REFERENCE_TIME not in frame:
        return window
    every = frame[REFERENCE_TIME].to_numpy(dtype=np.int64)
    times = dict.fromkeys((*window.numbers, *window.categories), every)
    name = _answer_column(schema)
    if name in frame:
        times[PREDICTION] = every[np.isfinite(frame[name].to_numpy(dtype=np.float64))]
    return replace(window, times=times)


def _answer_column(schema: Schema) -> str:
    """The name that answers have in reference.parquet."""
    return "prediction" if schema.problem.task == "regression" else f"probability.{_watched_class(schema)}"
