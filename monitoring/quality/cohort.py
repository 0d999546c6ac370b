"""Answered requests as columns: what was asked and said, and the labels that came; read a day at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from monitoring.quality.loss import WORST, Loss
from record.clock import EPOCH, to_micros
from record.contract.columns import MISSING
from record.contract.losses import bout_losses
from record.contract.schema import Schema, canonical_class
from record.dependence import Clusters
from record.entity import entities_of
from record.feed_faults import FeedFaults
from record.log.columns import RecordColumns
from record.log.readable import readable_rows
from record.logged import LoggedRow, MaturedRow
from record.prediction_log import PredictionLog

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

DAY = timedelta(days=1)
DAY_MICROS = 86_400_000_000
UNSEEN = -1  # the code of a class that training never saw

_decode: Callable[[str], Any] = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Cohort:
    """Rows in request order, one entry per row in every column. Class codes are those of `schema.classes`."""

    schema: Schema
    seqs: Integers
    times: Integers  # of the requests, microseconds since 1970
    labelled: Flags
    labels: npt.NDArray[Any]  # canonical class (str, None without a label), or float64 (NaN)
    delays: Floats  # seconds from request to label; NaN without
    answers: npt.NDArray[Any]  # class code (UNSEEN for none of them), or float64
    shares: Floats  # [n, K] probabilities; [n, 0] for a regression
    entities: Integers  # who asks (`record.entity`)
    said: Flags  # whether the answer has a number to be judged by: one without is the worst
    features: Mapping[str, npt.NDArray[Any]]  # as `RecordColumns` gives them
    carried: Mapping[str, npt.NDArray[np.object_]]  # asked-for carried columns as text; missing is None

    def __len__(self) -> int:
        return len(self.seqs)

    @property
    def days(self) -> Integers:
        """Each request's day since 1970, UTC."""
        return np.asarray(self.times // DAY_MICROS, dtype=np.int64)

    @property
    def clusters(self) -> Clusters:
        """What the rows share."""
        return Clusters(self.days, self.entities)

    @property
    def codes(self) -> Integers:
        """Each label's class code; UNSEEN also where there is no label."""
        place = {name: code for code, name in enumerate(self.schema.classes)}
        return np.array([place.get(label, UNSEEN) for label in self.labels.tolist()], dtype=np.int64)

    def take(self, chosen: npt.NDArray[Any]) -> Self:
        """The rows at these places, or where a flag is set."""
        columns: dict[str, Any] = {name: getattr(self, name)[chosen] for name in _ROWS}
        return replace(
            self,
            **columns,
            features={name: column[chosen] for name, column in self.features.items()},
            carried={name: column[chosen] for name, column in self.carried.items()},
        )

    def known(self) -> Self:
        """The labelled rows."""
        return self if bool(self.labelled.all()) else self.take(self.labelled)

    def losses(self, loss: Loss) -> Floats:
        """What each labelled row's answer cost, as `Loss` says it row by row."""
        if loss.name == "absolute":
            found = bout_losses("absolute", np.nan_to_num(self.answers), np.nan_to_num(self.labels), loss.scale)
            return np.where(self.said, found, WORST)
        codes = self.codes
        if loss.name == "cost":
            raise ValueError("quality is scored by promotion.scoring, never by the cost of decisions")
        if loss.name == "zero_one":
            return np.asarray((self.answers != codes) | (codes == UNSEEN), dtype=np.float64)
        # A class that was never named had no probability: it stands behind all others.
        padded = np.column_stack([self.shares, np.zeros(len(self))])
        found = bout_losses(loss.name, np.nan_to_num(padded), np.where(codes == UNSEEN, padded.shape[1] - 1, codes), 1)
        return np.where(self.said, found, WORST)

    def answered(self, schema: Schema, predictions: Sequence[str], probabilities: Sequence[str | None]) -> Cohort:
        """The same requests with another version's answers, given as the record's JSON."""
        answers, shares, said = _answers(schema, predictions, probabilities)
        return replace(self, schema=schema, answers=answers, shares=shares, said=said)


_ROWS = ("seqs", "times", "labelled", "labels", "delays", "answers", "shares", "entities", "said")


def cohort_of(
    rows: Sequence[LoggedRow], schema: Schema, carried: Sequence[str] = (), entity: str | None = None
) -> Cohort:
    """The rows as columns; `entity` names the one that says who asks.

    Those that are no `MaturedRow` have no label. What cannot be read is left out.
    """
    rows = readable_rows(rows, numeric=schema.problem.task == "regression", job="quality")
    given = [row.label if isinstance(row, MaturedRow) else None for row in rows]
    came = [row.label_received_at if isinstance(row, MaturedRow) else None for row in rows]
    times = np.array([to_micros(row.requested_at) for row in rows], dtype=np.int64)
    received = np.array([np.nan if at is None else float(to_micros(at)) for at in came], dtype=np.float64)
    answers, shares, said = _answers(schema, [row.prediction for row in rows], [row.probabilities for row in rows])
    columns = RecordColumns(schema.problem.features)
    records = [row.record for row in rows]
    if records:
        columns.add(records)
    return Cohort(
        schema=schema,
        seqs=np.array([row.seq for row in rows], dtype=np.int64),
        times=times,
        labelled=np.array([label is not None for label in given], dtype=np.bool_),
        labels=_labels(given, schema),
        delays=(received - times) / 1e6,
        answers=answers,
        shares=shares,
        entities=entities_of(records, entity),
        said=said,
        features={column.name: columns.column(column.name) for column in schema.problem.features},
        carried=_carried(records, carried),
    )


def joined(parts: Sequence[Cohort]) -> Cohort:
    """Cohorts of one schema, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ROWS}
    return replace(
        first,
        **columns,
        features={name: np.concatenate([part.features[name] for part in parts]) for name in first.features},
        carried={name: np.concatenate([part.carried[name] for part in parts]) for name in first.carried},
    )


def read_mature(
    log: PredictionLog,
    schema: Schema,
    version: str,
    after: datetime,
    until: datetime,
    horizon: timedelta,
    carried: Sequence[str] = (),
    share: float = 1.0,
    faults: FeedFaults | None = None,
    entity: str | None = None,
) -> tuple[Cohort, int]:
    """What `version` answered to requests with after < time ≤ until, each with the label that came in `horizon`.

    Of a `share` below 1 they are an even sample, drawn by the database. What `faults` set aside is left
    out, and counted.
    """
    parts: list[Cohort] = []
    aside = 0
    for start, end in _spans(after, until):
        rows = log.matured(end + horizon, horizon, after=start, model_version=version, share=share)
        sound = rows if faults is None else faults.sound(rows)
        aside += len(rows) - len(sound)
        parts.append(cohort_of(sound, schema, carried, entity))
    return joined([*(part for part in parts if len(part)), cohort_of([], schema, carried)]), aside


def read_answers(
    log: PredictionLog,
    schema: Schema,
    version: str,
    after: datetime,
    until: datetime,
    share: float = 1.0,
    faults: FeedFaults | None = None,
    entity: str | None = None,
) -> Cohort:
    """What `version` answered to requests with after < time ≤ until, whatever became of them; or a share of it.

    What `faults` set aside is left out.
    """
    kept = faults or FeedFaults()
    parts = [
        cohort_of(kept.sound(log.window(start, end, model_version=version, share=share)), schema, (), entity)
        for start, end in _spans(after, until)
    ]
    return joined([*(part for part in parts if len(part)), cohort_of([], schema)])


def _spans(after: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Days, so that a month's rows of JSON are never held at one time."""
    start = max(after, EPOCH)
    while start < until:
        end = min(start + DAY, until)
        yield start, end
        start = end


def _answers(
    schema: Schema, predictions: Sequence[str], probabilities: Sequence[str | None]
) -> tuple[npt.NDArray[Any], Floats, Flags]:
    held = [_decode(text) for text in predictions]
    if schema.problem.task == "regression":
        numbers = [value if isinstance(value, int | float) and value is not True else np.nan for value in held]
        answers = np.array(numbers, dtype=np.float64)
        return answers, np.empty((len(answers), 0)), np.isfinite(answers)
    place = {name: code for code, name in enumerate(schema.classes)}
    codes = np.array([place.get(canonical_class(value), UNSEEN) for value in held], dtype=np.int64)
    named: list[dict[str, float]] = [_decode(text) if text else {} for text in probabilities]
    shares = np.array([[row.get(name, 0.0) for name in schema.classes] for row in named], dtype=np.float64)
    shares = shares.reshape(len(held), len(schema.classes))
    said = np.array([bool(text) for text in probabilities], dtype=np.bool_) & np.isfinite(shares).all(axis=1)
    return codes, shares, said


def _labels(given: Sequence[str | None], schema: Schema) -> npt.NDArray[Any]:
    if schema.problem.task == "regression":
        return np.array([np.nan if text is None else float(_decode(text)) for text in given], dtype=np.float64)
    held: npt.NDArray[np.object_] = np.empty(len(given), dtype=object)
    held[:] = [None if text is None else canonical_class(_decode(text)) for text in given]
    return held


def _carried(records: Sequence[str], names: Sequence[str]) -> dict[str, npt.NDArray[np.object_]]:
    found: dict[str, npt.NDArray[np.object_]] = {}
    held = [json.loads(record) for record in records] if names else []
    for name in names:
        column: npt.NDArray[np.object_] = np.empty(len(records), dtype=object)
        values = [record.get(name) for record in held]
        column[:] = [None if value is None or value == MISSING else _text(value) for value in values]
        found[name] = column
    return found


def _text(value: Any) -> str:
    return canonical_class(value) if isinstance(value, str | bool | int) else json.dumps(value)
