"""What is compared: rows of the reference and rows of the log, as the same named columns of arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from service.clock import EPOCH
from service.schema import MISSING, Arrays, Decoder, Schema

if TYPE_CHECKING:
    import pandas as pd

    from service.prediction_log import LoggedRow

Numbers = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]

# More rows find smaller shifts than anybody wants to hear of, and Evidently takes 73 s for a million.
SAMPLED_ROWS = 20_000

# A time goes on by itself: these parts of it are never distributed as they were in the reference.
PASSING = (".days", ".month", ".day")

PREDICTION = "prediction"  # the name that the model's own answers have among the columns


@dataclass(frozen=True, slots=True)
class Window:
    """Rows side by side as columns. `rows` counts what the window held; the arrays may be a sample of it."""

    since: datetime | None
    until: datetime | None
    rows: int
    numbers: Mapping[str, Numbers]  # missing is NaN
    categories: Mapping[str, Texts]  # missing is None

    def __len__(self) -> int:
        for column in (*self.numbers.values(), *self.categories.values()):
            return len(column)
        return 0


class Log(Protocol):
    """The part of the prediction log that windows are read from."""

    def window(self, after: datetime, until: datetime, limit: int | None = None) -> list[LoggedRow]: ...


def reference_window(directory: Path, schema: Schema, seed: int = 0) -> Window:
    """The rows that a version's drift is measured against, as its training left them in reference.parquet."""
    import pandas as pd

    frame = pd.read_parquet(directory / "reference.parquet")
    rows = len(frame)
    if rows > SAMPLED_ROWS:
        frame = frame.sample(SAMPLED_ROWS, random_state=seed)
    arrays = Decoder(schema).decode_frame(frame)
    return _window(None, None, rows, arrays, schema, _reference_answers(frame, schema))


def current_rows(log: Log, as_of: datetime, length: timedelta, min_rows: int) -> list[LoggedRow]:
    """The rows of the last `length`; where these are fewer than `min_rows`, the last `min_rows` before `as_of`.

    On low traffic the window reaches back, doubling its length until it holds enough or the log's beginning.
    """
    after = as_of - length
    rows = log.window(after, as_of)
    while len(rows) < min_rows and after > EPOCH:
        length *= 2
        after = as_of - length if length < as_of - EPOCH else EPOCH
        rows = log.window(after, as_of)[-min_rows:]
    return rows


def current_window(rows: Sequence[LoggedRow], schema: Schema, version: str, seed: int = 0) -> Window:
    """The logged rows as columns, at most SAMPLED_ROWS of them, drawn evenly over the window.

    The prediction column holds only what `version` answered: other versions' answers are no drift of its own.
    """
    chosen = rows
    if len(rows) > SAMPLED_ROWS:
        places = np.sort(np.random.default_rng(seed).choice(len(rows), SAMPLED_ROWS, replace=False))
        chosen = [rows[place] for place in places]
    features = [column.name for column in schema.problem.features]
    records = [_features(json.loads(row.record), features) for row in chosen]
    decoder = Decoder(replace(schema.problem, columns=schema.problem.features))
    answers = _answers([row for row in chosen if row.model_version == version], schema)
    since, until = (rows[0].requested_at, rows[-1].requested_at) if rows else (None, None)
    return _window(since, until, len(rows), decoder.decode(records), schema, answers)


def _features(record: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    """Without the carried columns, which may be redacted from the log."""
    return {name: record.get(name) for name in names}


def _window(
    since: datetime | None,
    until: datetime | None,
    rows: int,
    arrays: Arrays,
    schema: Schema,
    answers: Numbers | None,
) -> Window:
    numbers = {
        name: arrays.numbers[:, place].astype(np.float64)
        for place, name in enumerate(schema.number_names)
        if not (_is_part(name, schema) and name.endswith(PASSING))
    }
    if answers is not None:
        numbers[PREDICTION] = answers
    categories = {}
    for place, name in enumerate(schema.category_names):
        column = arrays.categories[:, place].copy()
        column[column == MISSING] = None
        categories[name] = column
    return Window(since, until, rows, numbers, categories)


def _is_part(name: str, schema: Schema) -> bool:
    return any(column.type == "time" and name.startswith(f"{column.name}.") for column in schema.problem.features)


def _watched_class(schema: Schema) -> str:
    """The class whose probability stands for the answer: the positive one, or the last."""
    return schema.problem.positive_class or schema.classes[-1]


def _answers(rows: Sequence[LoggedRow], schema: Schema) -> Numbers:
    if schema.problem.task == "regression":
        return np.array([float(json.loads(row.prediction)) for row in rows], dtype=np.float64)
    name = _watched_class(schema)
    found = [json.loads(row.probabilities).get(name, np.nan) for row in rows if row.probabilities]
    return np.array(found, dtype=np.float64)


def _reference_answers(frame: pd.DataFrame, schema: Schema) -> Numbers | None:
    """What the version answered, where training could say it honestly: on rows that it was not fitted on."""
    name = "prediction" if schema.problem.task == "regression" else f"probability.{_watched_class(schema)}"
    if name not in frame:
        return None
    answers: Numbers = frame[name].to_numpy(dtype=np.float64)
    return answers[np.isfinite(answers)]
