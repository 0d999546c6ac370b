"""What is compared: rows of the reference and rows of the log, as the same named columns of arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from record.contract.arrays import Arrays
from record.contract.category_counts import abbreviate
from record.contract.columns import BOOLEAN_SPELLINGS, MISSING, TIME_PARTS
from record.contract.decoder import Decoder
from record.contract.refused_records import WHOLE_RECORD
from record.contract.schema import Schema, canonical_class
from record.db.database import Database
from record.log.columns import Failures, RecordColumns
from record.log.readable import is_scalar, readable_chunk
from record.log.window import LogChunk, LogSpan, sample_span
from record.versions.reference_outputs import read_reference_outputs

Numbers = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
Times = npt.NDArray[np.int64]

# A shift of .02 standard deviations is found in 50,000 rows, smaller ones are harmless; a million rows would take
# Evidently 73 s.
SAMPLED_ROWS = 50_000

# A time goes on by itself: the first three parts are never distributed as they were in the reference. Which second of
# an hour it was means something beside another time only.
PASSING = ("days", "month", "day", "second")

Kind = Literal["feature", "output"]
ColumnKey = tuple[Kind, str]  # outputs have names of their own: a feature may be called as one of them
PREDICTION = "prediction"  # the output that the model's own answers are
TARGET = "target"  # the output that turned out to be true

# Of so many classes at most, each one's probabilities are a column of their own beside the classes answered.
MOST_CLASSES = 10


@dataclass(frozen=True, slots=True)
class Window:
    """Rows side by side as columns. `rows` counts what the window held; the arrays may be a sample of it.

    They are in request order (a reference's as its training data were). `outputs` are what the model answered and
    what turned out to be true, apart from the features: shorter where other versions answered too. `ids` and
    `failures` are empty for a reference.
    """

    since: datetime | None
    until: datetime | None
    rows: int
    numbers: Mapping[str, Numbers]  # missing is NaN
    categories: Mapping[str, Texts]  # missing is None
    ids: tuple[str, ...] = ()
    failures: Mapping[str, Failures] = field(default_factory=dict)  # values that their column cannot take
    times: Mapping[str, Times] = field(default_factory=dict)  # of the features' values: microseconds since 1970
    outputs: Mapping[str, Numbers | Texts] = field(default_factory=dict)
    output_times: Mapping[str, Times] = field(default_factory=dict)

    def __len__(self) -> int:
        """Rows that the arrays hold."""
        for column in (*self.numbers.values(), *self.categories.values()):
            return len(column)
        return len(next(iter(self.outputs.values()), ()))

    @property
    def columns(self) -> Mapping[ColumnKey, Numbers | Texts]:
        """Every column under its kind and name: numbers, categories, outputs. Texts are of dtype object."""
        features: dict[ColumnKey, Numbers | Texts] = {("feature", name): v for name, v in self.numbers.items()}
        features |= {("feature", name): values for name, values in self.categories.items()}
        return features | {("output", name): values for name, values in self.outputs.items()}

    def times_of(self, key: ColumnKey) -> Times | None:
        """The time of each of the column's values; None where that is not known."""
        found = (self.times if key[0] == "feature" else self.output_times).get(key[1])
        return found if found is not None and len(found) == len(self.columns[key]) else None


def is_text(column: Numbers | Texts) -> bool:
    return column.dtype == object


def reference_window(reference: bytes, schema: Schema, outputs: bytes | None = None, seed: int = 0) -> Window:
    """The rows that a version's drift is measured against, as its training left them in reference.parquet.

    `outputs` is the file of what these rows were answered; None of a version that has none.
    """
    import pandas as pd

    frame = pd.read_parquet(io.BytesIO(reference))
    rows = len(frame)
    if rows > SAMPLED_ROWS:
        frame = frame.sample(SAMPLED_ROWS, random_state=seed).sort_index()
    arrays = Decoder(schema).decode_frame(frame)
    numbers, categories = _of_arrays(arrays, schema)
    held = read_reference_outputs(outputs, frame, schema)
    features: dict[str, Times] = {}
    if held.times is not None:
        features = dict.fromkeys((*numbers, *categories), held.times)
    window = Window(None, None, rows, numbers, categories, times=features)
    answered = answer_columns(schema, held.numbers, held.shares)
    known = held.answered
    columns: dict[str, Numbers | Texts] = {name: column[known] for name, column in answered.items()}
    if held.target is not None:
        columns[TARGET] = held.target
    times: dict[str, Times] = {}
    if held.times is not None:
        times = {name: held.times if name == TARGET else held.times[known] for name in columns}
    return replace(window, outputs=columns, output_times=times)


def current_window(database: Database, span: LogSpan, schema: Schema, version: str) -> Window:
    """The span's requests as columns, a sample of SAMPLED_ROWS or a little more where it holds more.

    The prediction column holds only what `version` answered: other versions' answers are no drift of its own.
    """
    columns = RecordColumns(schema.problem.features)
    ids: list[str] = []
    times: list[int] = []
    own_times: list[int] = []
    answers: list[dict[str, Numbers | Texts]] = []
    numeric, unreadable = schema.problem.task == "regression", 0
    for held in sample_span(database, span, SAMPLED_ROWS):
        chunk, left_out = readable_chunk(held, numeric=numeric, job="window")
        unreadable += left_out
        columns.add(chunk.records)
        ids.extend(chunk.ids)
        times.extend(chunk.requested_at)
        own = [place for place, name in enumerate(chunk.model_versions) if name == version]
        own_times.extend(chunk.requested_at[place] for place in own)
        answers.append(_answers(chunk, own, schema))
    numbers, categories = _of_columns(columns, schema)
    at, own_at = np.array(times, dtype=np.int64), np.array(own_times, dtype=np.int64)
    outputs: dict[str, Numbers | Texts] = {}
    if answers:
        outputs = {name: np.concatenate([part[name] for part in answers]) for name in answers[0]}
    return Window(
        span.since,
        span.until,
        span.rows,
        numbers,
        categories,
        tuple(ids),
        columns.failures | ({WHOLE_RECORD: Failures(unreadable)} if unreadable else {}),
        times=dict.fromkeys((*numbers, *categories), at),
        outputs=outputs,
        output_times=dict.fromkeys(outputs, own_at),
    )


def _of_columns(columns: RecordColumns, schema: Schema) -> tuple[dict[str, Numbers], dict[str, Texts]]:
    numbers: dict[str, Numbers] = {}
    categories: dict[str, Texts] = {}
    booleans = schema.boolean_names
    for column in schema.problem.features:
        values = columns.column(column.name)
        if column.type == "category":
            categories[column.name] = _one_spelling(values) if column.name in booleans else values
        elif column.type == "number":
            numbers[column.name] = values.astype(np.float64)
        else:
            parts = [(name, part) for name, owner, part in schema.problem.number_inputs if owner == column.name]
            numbers |= {
                name: values[:, TIME_PARTS.index(str(part))].astype(np.float64)
                for name, part in parts
                if part not in PASSING
            }
    return numbers, categories


def _one_spelling(values: Texts) -> Texts:
    """True and false as training read them, however requests spell them."""
    found: Texts = np.array([BOOLEAN_SPELLINGS.get(value, value) for value in values.tolist()] + [None], dtype=object)
    return found[:-1]


def _of_arrays(arrays: Arrays, schema: Schema) -> tuple[dict[str, Numbers], dict[str, Texts]]:
    numbers = {
        name: arrays.numbers[:, place].astype(np.float64)
        for place, (name, _, part) in enumerate(schema.problem.number_inputs)
        if part not in PASSING
    }
    categories: dict[str, Texts] = {}
    for place, name in enumerate(schema.category_names):
        column = arrays.categories[:, place].copy()
        column[:] = [None if text == MISSING else abbreviate(text) for text in column.tolist()]
        categories[name] = column
    return numbers, categories


def answer_columns(schema: Schema, numbers: Numbers, shares: Numbers) -> dict[str, Numbers | Texts]:
    """What was answered, as output columns: of a regression the number, of two classes the watched one's probability.

    Of more classes the class of the highest probability, and each one's probability (of MOST_CLASSES at most). A
    version whose files know one class's probability only (`shares` has one column) has that.
    """
    name = PREDICTION
    if schema.problem.task == "regression":
        return {name: numbers}
    if shares.shape[1] == 1:
        return {name if schema.watched is not None else f"{name}.{schema.classes[-1]}": shares[:, 0]}
    if schema.watched is not None:
        return {name: shares[:, schema.watched]}
    classes = np.array(schema.classes, dtype=object)
    answered = np.full(len(shares), None, dtype=object)
    known = np.isfinite(shares).all(axis=1)
    answered[known] = classes[shares[known].argmax(axis=1)]
    found: dict[str, Numbers | Texts] = {name: answered}
    if len(classes) <= MOST_CLASSES:
        found |= {f"{name}.{label}": shares[:, place] for place, label in enumerate(schema.classes)}
    return found


def _answers(chunk: LogChunk, own: Sequence[int], schema: Schema) -> dict[str, Numbers | Texts]:
    decode = msgspec.json.decode
    if schema.problem.task == "regression":
        numbers = np.array([decode(chunk.predictions[place]) for place in own], dtype=np.float64)
        return answer_columns(schema, numbers, np.empty((len(own), 0)))
    said = [decode(chunk.probabilities[place] or "{}") for place in own]
    shares = np.array([[row.get(name, np.nan) for name in schema.classes] for row in said], dtype=np.float64)
    return answer_columns(schema, np.empty(0), shares.reshape(len(own), len(schema.classes)))


def with_targets(window: Window, times: Sequence[int], labels: Sequence[str], schema: Schema) -> Window:
    """The window, and beside it what turned out to be true of other, matured requests: their times, JSON scalars."""
    numeric = schema.problem.task == "regression"
    readable = [place for place, label in enumerate(labels) if is_scalar(label, numeric)]
    times = [times[place] for place in readable]
    told = [msgspec.json.decode(labels[place]) for place in readable]
    target: Numbers | Texts
    if schema.problem.task == "regression":
        target = np.array(told, dtype=np.float64)
    else:
        target = np.array([canonical_class(value) for value in told], dtype=object)
    at = np.array(times, dtype=np.int64)
    return replace(
        window,
        outputs={**window.outputs, TARGET: target},
        output_times={**window.output_times, TARGET: at},
    )
