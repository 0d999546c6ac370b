"""All rows that a run may learn from, in learning order: the source's, then the log's matured and labelled requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from record.clock import credible_until, from_micros, machine_now, to_micros
from record.contract.columns import BOOLEAN_SPELLINGS, EARLIEST, LATEST, READERS, BadValue, Column
from record.contract.decoder import Decoder
from record.contract.frame import BadCell
from record.contract.schema import ProblemSchema, Schema, seen_columns
from record.entity import distinct, entities_in
from record.errors import DataError
from record.log.readable import readable_rows, tell_left_out
from record.log_lines import log_line
from record.logged import LoggedRow, MaturedRow
from record.settings import Settings
from record.tables.number_text import parse_number
from record.tables.reading_rules import ReadingRules
from record.tables.text_column import read_category_cells, read_time_cells
from retrain.data.dataset import UNKNOWN, Dataset
from retrain.data.shared_rows import shared_rows
from retrain.data.source import EVER, SourceRows, Span, read_source
from retrain.data.target import Target, read_classes, read_text_target, read_values

FEWEST_ROWS = 20
FIRST_COMPACT_DATE, LAST_COMPACT_DATE = 19000101, 21001231  # dates that are written as numbers


def load(settings: Settings, problem: ProblemSchema, logged: Sequence[MaturedRow], span: Span = EVER) -> Dataset:
    """Everything there is to learn from; raises DataError saying what is wrong with it.

    Rows without a target are left out. Source rows come in the order of the time column; without one they are
    mixed by the seed, classes spread evenly, so that any run of rows is a fair sample. Logged rows follow.
    """
    if not problem.features:
        raise DataError("no column has the role feature; a model needs at least one")
    frames, targets, times, seqs = [], [], [], []
    source: SourceRows | None = None
    if settings.data.source is not None:
        source = _read(settings, problem, span)
        labelled, labels, dated_rows = _labelled(problem, source)
        _expect_credible(dated_rows, logged, problem)
        frames.append(labelled)
        targets.append(labels)
        times.append(dated_rows)
        seqs.append(np.zeros(len(labels), dtype=np.int64))
    known = usable_rows([row for row in logged if row.label is not None], problem)
    if known:
        frames.append(log_frame(known, problem.columns))
        targets.append([json.loads(str(row.label)) for row in known])
        times.append(np.array([to_micros(row.requested_at) for row in known], dtype=np.int64))
        seqs.append(np.array([row.seq for row in known], dtype=np.int64))
        if len(frames) == 2:
            with _located(source, frames[0].index.to_numpy()):
                _leave_out_shared(problem, frames, targets, times, seqs, [row.id for row in known])
    cells = [cell for part in targets for cell in part]
    if len(cells) < FEWEST_ROWS:
        raise DataError(_too_few(settings, len(cells), len(logged)))
    target = read_classes(cells) if problem.task == "classification" else read_values(cells)
    origins = np.full(len(cells), -1)  # the row of the source that each one is; -1: a logged one
    if source is not None:
        origins[: len(targets[0])] = frames[0].index.to_numpy()
    frame = frames[0] if len(frames) == 1 else _joined(frames, problem.columns)
    frame = _with_booleans(frame, problem)
    entities = _entities(settings, frame)
    order = _order(settings, target, len(targets[0]) if settings.data.source is not None else 0, entities)
    dated = np.concatenate(times)
    newest = order[-settings.retrain.max_rows :] if settings.retrain.max_rows else order
    if settings.retrain.window == "recent":
        newest = newest[_recent(dated[newest], settings)]
    elif settings.retrain.window == "weighted":
        _require_times(dated, settings)
    frame = frame.iloc[newest].reset_index(drop=True)
    with _located(source, origins[newest]):
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


@contextmanager
def _located(source: SourceRows | None, origins: npt.NDArray[np.int64]) -> Iterator[None]:
    """Names a cell that cannot be used by its row and line in the source, not by where it was moved to."""
    try:
        yield
    except BadCell as bad:
        row = int(origins[bad.row])
        if source is None or row < 0:
            raise
        raise BadCell(row, bad.column, bad.reason, source.place(row)) from None


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


def _read(settings: Settings, problem: ProblemSchema, span: Span) -> SourceRows:
    """The source's rows; raises DataError where the target or a required feature is not among its columns."""
    assert settings.data.source is not None
    others = {problem.target} | ({problem.time_column} if problem.time_column else set())
    data = settings.data
    source = read_source(settings.data.source, data.query, problem.columns, others, span, data.reading_rules())
    if problem.target not in source.names:
        raise DataError(
            f"data.source: no column {problem.target!r}, the target; {_found(problem.target, source.names)}",
            field="problem.target",
        )
    for column in problem.features:
        if column.required_in_tables and column.name not in source.names:
            alternative = "arrival = false" if column.arrival else "required = false"
            raise DataError(
                f"data.source: no column {column.name!r}, a feature; {_found(column.name, source.names)}. Expected it, "
                f"or [columns.{column.name}] {alternative}",
                field=f"columns.{column.name}",
            )
    if len(source.frame) == 0:
        raise DataError(f"data.source: {settings.data.source} has no rows")
    return source


def _labelled(problem: ProblemSchema, source: SourceRows) -> tuple[pd.DataFrame, list[Any], npt.NDArray[np.int64]]:
    """The rows that have a target, in order of time: columns, targets, times."""
    frame = source.frame
    if not source.typed:
        cells = read_text_target(frame[problem.target].tolist(), problem.task, source.rules, source.place)
        frame = frame.assign(**{problem.target: pd.Series(cells, dtype=object, index=frame.index)})
    labelled = frame[frame[problem.target].notna()]
    if len(labelled) == 0:
        raise DataError(f"data.source: the target {problem.target!r} is missing in all {len(frame)} rows")
    times = np.full(len(labelled), UNKNOWN)
    if problem.time_column is not None:
        labelled, times = _by_time(labelled, problem.time_column, source)
    return labelled, labelled[problem.target].tolist(), times


def _by_time(frame: pd.DataFrame, name: str, source: SourceRows) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """The rows by time, those without one first, and their times; plain numbers order rows but date none."""
    if name not in frame.columns:
        raise DataError(f"data.source: no column {name!r}, the time; {_found(name, source.names)}")
    column = _time_values(frame[name], source)
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=-np.inf)
        numbers = np.where(np.isnan(numbers), -np.inf, numbers)
        return frame.iloc[np.argsort(numbers, kind="stable")], np.full(len(frame), UNKNOWN)
    iso = None if column.dtype.kind == "M" else "ISO8601"
    dates = pd.to_datetime(column, utc=True, format=iso, errors="coerce")
    micros = dates.dt.tz_localize(None).dt.as_unit("us").to_numpy().astype(np.int64)
    wrong = (dates.isna() & column.notna()).to_numpy() | (
        (micros != UNKNOWN) & ((micros < EARLIEST) | (micros > LATEST))
    )
    if wrong.any():
        row = int(frame.index[int(wrong.argmax())])
        value, place = str(column.loc[row])[:60], source.place(row)
        where = f" ({place})" if place else ""
        raise DataError(
            f"data.source: the time {name!r} cannot be read as ISO 8601: {value!r} in row {row}{where}; expected times "
            'such as "2024-05-01T13:45:00Z", or plain numbers'
        )
    order = np.argsort(micros, kind="stable")
    return frame.iloc[order], micros[order]


def _time_values(column: pd.Series[Any], source: SourceRows) -> pd.Series[Any]:
    """A text file's times as numbers where all are; numbers of the form 20240131 as dates."""
    if not source.typed and not pd.api.types.is_numeric_dtype(column) and column.dtype.kind != "M":
        column = pd.Series(read_time_cells(column.tolist(), source.rules.words), index=column.index, dtype=object)
        known = _all_numbers({text for text in column.dropna() if isinstance(text, str)}, source.rules)
        if known:
            column = column.map(known).astype("float64")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        dates = pd.to_datetime(column.astype("float64").map("{:.0f}".format), format="%Y%m%d", errors="coerce")
        compact = (column % 1 == 0) & (column >= FIRST_COMPACT_DATE) & (column <= LAST_COMPACT_DATE) & dates.notna()
        if len(column) and bool((compact | column.isna()).all()) and bool(compact.any()):
            return dates
    return column


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


def _all_numbers(texts: Iterable[str], rules: ReadingRules) -> dict[str, float]:
    """Each text's number; empty where one of them is none."""
    known: dict[str, float] = {}
    for text in texts:
        number = parse_number(text, rules.decimal or ".")
        if number is None:
            return {}
        known[text] = number
    return known


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


def _with_booleans(frame: pd.DataFrame, problem: ProblemSchema) -> pd.DataFrame:
    """Categories of true and false in one spelling, wherever the rows come from."""
    booleans: dict[str, pd.Series[Any]] = {}
    for column in problem.features:
        if column.type != "category" or column.name not in frame.columns or frame[column.name].dtype.kind in " biufM":
            continue
        cells = [
            None if cell is None or cell is pd.NA or cell != cell else cell for cell in frame[column.name].tolist()
        ]
        if not BOOLEAN_SPELLINGS.keys().isdisjoint({cell for cell in cells if isinstance(cell, str)}):
            booleans[column.name] = pd.Series(read_category_cells(cells), index=frame.index, dtype=object)
    return frame.assign(**booleans) if booleans else frame


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


def _found(name: str, names: Sequence[str]) -> str:
    """The columns that there are, and the one that is most like the wanted one."""
    near = get_close_matches(name.casefold(), [other.strip().casefold() for other in names], n=1, cutoff=0.8)
    alike = [other for other in names if near and other.strip().casefold() == near[0]]
    shown = ", ".join(str(other) for other in names[:20]) + (" and more" if len(names) > 20 else "")
    return f"found {shown}" + (f"; did you mean {alike[0]!r}?" if alike else "")
