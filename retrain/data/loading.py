"""All rows that a run may learn from, in learning order: the source's, then the log's matured and labelled requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.clock import credible_until, from_micros, machine_now, to_micros
from record.contract.columns import READERS, BadValue, Column
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema, Schema, seen_columns
from record.entity import distinct, entities_in
from record.errors import DataError
from record.log.readable import readable_rows, tell_left_out
from record.log_lines import log_line
from record.logged import LoggedRow, MaturedRow
from record.settings import Settings
from retrain.data.dataset import UNKNOWN, Dataset
from retrain.data.shared_rows import shared_rows
from retrain.data.source import EVER, Span, has_types, read_source
from retrain.data.target import Target, read_classes, read_values, unspelled

FEWEST_ROWS = 20


def load(settings: Settings, problem: ProblemSchema, logged: Sequence[MaturedRow], span: Span = EVER) -> Dataset:
    """Everything there is to learn from; raises DataError saying what is wrong with it.

    Rows without a target are left out. Source rows come in the order of the time column; without one they are
    mixed by the seed, classes spread evenly, so that any run of rows is a fair sample. Logged rows follow.
    """
    if not problem.features:
        raise DataError("no column has the role feature; a model needs at least one")
    frames, targets, times, seqs = [], [], [], []
    if settings.data.source is not None:
        source = _source(settings, problem, span)
        _expect_credible(source[2], logged, problem)
        frames.append(source[0])
        targets.append(source[1])
        times.append(source[2])
        seqs.append(np.zeros(len(source[1]), dtype=np.int64))
    known = usable_rows([row for row in logged if row.label is not None], problem)
    if known:
        frames.append(log_frame(known, problem.columns))
        targets.append([json.loads(str(row.label)) for row in known])
        times.append(np.array([to_micros(row.requested_at) for row in known], dtype=np.int64))
        seqs.append(np.array([row.seq for row in known], dtype=np.int64))
        if len(frames) == 2:
            _leave_out_shared(problem, frames, targets, times, seqs, [row.id for row in known])
    cells = [cell for part in targets for cell in part]
    if len(cells) < FEWEST_ROWS:
        raise DataError(_too_few(settings, len(cells), len(logged)))
    target = read_classes(cells) if problem.task == "classification" else read_values(cells)
    frame = frames[0] if len(frames) == 1 else _joined(frames, problem.columns)
    entities = _entities(settings, frame)
    order = _order(settings, target, len(targets[0]) if settings.data.source is not None else 0, entities)
    dated = np.concatenate(times)
    newest = order[-settings.retrain.max_rows :] if settings.retrain.max_rows else order
    if settings.retrain.window == "recent":
        newest = newest[_recent(dated[newest], settings)]
    elif settings.retrain.window == "weighted":
        _require_times(dated, settings)
    frame = frame.iloc[newest].reset_index(drop=True)
    return _dataset(
        problem,
        frame,
        replace(target, values=target.values[newest]),
        dated[newest],
        np.concatenate(seqs)[newest],
        ordered=problem.time_column is not None or bool(known),
        half_life=settings.retrain.half_life if settings.retrain.window == "weighted" else None,
        entities=None if entities is None else entities[newest],
    )


def _dataset(
    problem: ProblemSchema,
    frame: pd.DataFrame,
    target: Target,
    times: npt.NDArray[np.int64],
    seqs: npt.NDArray[np.int64],
    *,
    ordered: bool,
    half_life: timedelta | None,
    entities: npt.NDArray[np.int64] | None,
) -> Dataset:
    arrays = Decoder(problem).decode_frame(frame)
    if np.isnan(arrays.numbers).all() and not arrays.categories.size:
        raise DataError(f"every feature of all {len(frame)} rows is missing; nothing can be learned from them")
    schema = Schema(problem, seen_columns(problem, arrays), target.classes, target.class_type)
    return Dataset(schema, arrays, target.values, times, seqs, frame, ordered, half_life, entities)


def _source(
    settings: Settings, problem: ProblemSchema, span: Span
) -> tuple[pd.DataFrame, list[Any], npt.NDArray[np.int64]]:
    """The source's rows that have a target, in order of time: columns, targets, times."""
    assert settings.data.source is not None
    others = {problem.target} | ({problem.time_column} if problem.time_column else set())
    frame = read_source(settings.data.source, settings.data.query, problem.columns, others, span)
    if problem.target not in frame.columns:
        raise DataError(
            f"data.source: no column {problem.target!r}, the target; found {_listed(frame.columns)}",
            field="problem.target",
        )
    for column in problem.features:
        if column.required and column.name not in frame.columns:
            raise DataError(
                f"data.source: no column {column.name!r}, a feature; found {_listed(frame.columns)}. Expected it, or "
                f"[columns.{column.name}] required = false",
                field=f"columns.{column.name}",
            )
    if len(frame) == 0:
        raise DataError(f"data.source: {settings.data.source} has no rows")
    labelled = frame[frame[problem.target].notna()]
    if len(labelled) == 0:
        raise DataError(f"data.source: the target {problem.target!r} is missing in all {len(frame)} rows")
    times = np.full(len(labelled), UNKNOWN)
    if problem.time_column is not None:
        labelled, times = _by_time(labelled, problem.time_column)
    targets = labelled[problem.target].tolist()
    untyped = problem.task == "classification" and not has_types(settings.data.source)
    return labelled, list(unspelled(targets)) if untyped else targets, times


def _by_time(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """The rows by time, those without one first, and their times; plain numbers order rows but date none."""
    if name not in frame.columns:
        raise DataError(f"data.source: no column {name!r}, the time; found {_listed(frame.columns)}")
    column = frame[name]
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=-np.inf)
        return frame.iloc[np.argsort(numbers, kind="stable")], np.full(len(frame), UNKNOWN)
    try:
        dates = pd.to_datetime(column, utc=True, format=None if column.dtype.kind == "M" else "ISO8601")
    except (ValueError, TypeError) as error:
        raise DataError(f"data.source: the time {name!r} cannot be read as ISO 8601: {str(error)[:150]}") from error
    micros = dates.dt.tz_localize(None).dt.as_unit("us").to_numpy().astype(np.int64)
    order = np.argsort(micros, kind="stable")
    return frame.iloc[order], micros[order]


def _expect_credible(times: npt.NDArray[np.int64], logged: Sequence[MaturedRow], problem: ProblemSchema) -> None:
    """Raise DataError for rows from the far future: no request would ever count as later than what the run knew."""
    end = credible_until(machine_now(), max((row.requested_at for row in logged), default=None))
    late = times[times > to_micros(end)]
    if len(late):
        raise DataError(
            f"data.source: the time {problem.time_column!r} of {len(late)} rows is more than a year ahead, the latest "
            f"is {from_micros(int(late.max())).isoformat()}; expected times up to {end.isoformat(timespec='seconds')}, "
            "or none where it is not known",
            field="problem.time_column",
        )


def usable_rows(rows: Sequence[MaturedRow], problem: ProblemSchema) -> Sequence[MaturedRow]:
    """Those that can be read and whose values their columns take; the others are left out and counted."""
    readable = readable_rows(rows, numeric=problem.task == "regression", job="retrain")
    features = [(column.name, READERS[column.type]) for column in problem.features]
    kept = [row for row in readable if _fits(json.loads(row.record), features)]
    if len(kept) < len(readable):
        tell_left_out("retrain", len(readable) - len(kept), len(rows))
    return kept


def _fits(record: Mapping[str, Any], features: Sequence[tuple[str, Callable[[Any], Any]]]) -> bool:
    try:
        for name, read in features:
            read(record.get(name))
    except BadValue:
        return False
    return True


def _leave_out_shared(
    problem: ProblemSchema,
    frames: list[pd.DataFrame],
    targets: list[list[Any]],
    times: list[npt.NDArray[np.int64]],
    seqs: list[npt.NDArray[np.int64]],
    ids: Sequence[str],
) -> None:
    """Of a row that stands in the source and in the log the logged one is kept: it knows its number and its time."""
    shared = shared_rows(frames[0], targets[0], times[0], frames[1], targets[1], times[1], ids, problem)
    if not shared.any():
        return
    kept = np.flatnonzero(~shared)
    frames[0], targets[0] = frames[0].iloc[kept], [targets[0][place] for place in kept]
    times[0], seqs[0] = times[0][kept], seqs[0][kept]
    log_line("source rows that stand in the log too", rows=int(shared.sum()))


def log_frame(rows: Sequence[LoggedRow], columns: Sequence[Column]) -> pd.DataFrame:
    """Logged records as columns. Redacted ones are missing; they are carried, and no model sees them."""
    records = [json.loads(row.record) for row in rows]
    held: dict[str, pd.Series[Any]] = {}
    for column in columns:
        values = [record.get(column.name) for record in records]
        # As objects, since pandas would make floats of whole numbers with gaps.
        held[column.name] = pd.Series(values, dtype="float64" if column.type == "number" else object)
    return pd.DataFrame(held)


def _joined(frames: Sequence[pd.DataFrame], columns: Sequence[Column]) -> pd.DataFrame:
    """The frames' rows one below the other; a column that one of them lacks is missing there."""
    held: dict[str, Any] = {}
    for column in columns:
        parts = [frame[column.name] if column.name in frame else _absent(len(frame)) for frame in frames]
        plain = column.type == "number" and all(pd.api.types.is_numeric_dtype(part) for part in parts)
        kind: Any = np.float64 if plain else object
        gap: Any = np.nan if plain else None
        held[column.name] = np.concatenate([part.to_numpy(dtype=kind, na_value=gap) for part in parts])
    return pd.DataFrame(held)


def _absent(rows: int) -> pd.Series[Any]:
    return pd.Series([None] * rows, dtype=object)


def _entities(settings: Settings, frame: pd.DataFrame) -> npt.NDArray[np.int64] | None:
    """Who each row is about; None where no column says it, or the source lacks that column."""
    name = settings.problem.entity_column
    return None if name is None or name not in frame else entities_in(frame[name])


def _order(
    settings: Settings, target: Target, source_rows: int, entities: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.int64]:
    """Row numbers in learning order; rows behind the source's are logged, and in order already.

    Mixed rows of one entity stay together, so that a cut between rows cuts through one entity at most.
    """
    everything = np.arange(len(target.values))
    if settings.problem.time_column is not None or source_rows == 0:
        return everything
    generator = np.random.default_rng(settings.retrain.seed)
    mixed = generator.permutation(source_rows)
    if target.classes:
        # The i-th of n rows of a class stands at (i + ½)/n: every run of rows has its share of every class.
        values = target.values[mixed]
        places = np.empty(source_rows)
        for code in range(len(target.classes)):
            own = np.flatnonzero(values == code)
            places[own] = (np.arange(len(own)) + 0.5) / max(1, len(own))
        mixed = mixed[np.argsort(places, kind="stable")]
    if entities is not None:
        own = distinct(entities[mixed])
        first = np.full(int(own.max(initial=-1)) + 1, source_rows)
        np.minimum.at(first, own, np.arange(source_rows))
        mixed = mixed[np.argsort(first[own], kind="stable")]
    return np.concatenate([mixed, everything[source_rows:]])


def _recent(times: npt.NDArray[np.int64], settings: Settings) -> npt.NDArray[np.int64]:
    """The places of rows within retrain.window_length of the newest."""
    _require_times(times, settings)
    length = settings.retrain.window_length // timedelta(microseconds=1)
    places = np.flatnonzero((times != UNKNOWN) & (times >= times.max() - length))
    if len(places) < FEWEST_ROWS:
        raise DataError(
            f"{len(places)} rows within retrain.window_length of the newest; expected at least {FEWEST_ROWS}",
            field="retrain.window_length",
        )
    return places


def _require_times(times: npt.NDArray[np.int64], settings: Settings) -> None:
    if not (times != UNKNOWN).any():
        raise DataError(
            f'retrain.window = "{settings.retrain.window}" needs rows with a time; '
            'expected problem.time_column to name a column of dates, or "expanding"',
            field="retrain.window",
        )


def _too_few(settings: Settings, rows: int, logged: int) -> str:
    if settings.data.source is None and rows == 0:
        return f"nothing to learn from: no data.source, and none of {logged} matured requests has a label"
    return f"{rows} rows with a target; expected at least {FEWEST_ROWS} to learn from"


def _listed(names: Any) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:20]) + (" and more" if len(shown) > 20 else "")
