"""The one way from a request's body to its answer: check, decode, score, commit, and answer what the log says.

Every transport goes through it. A request takes the champion once, so that a swap in between mixes nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from record.contract.preview import preview
from record.contract.refused_records import RefusedRecords
from record.errors import (
    MOST_FAULTS,
    Faults,
    InvalidRecord,
    LogUnavailable,
    NoChampion,
    NotFound,
    Overloaded,
    RingsideError,
)
from record.logged import Answer, Batch, LogEntry, new_ids
from record.versions.model import ServedModel
from service.arrival_time import ArrivalTime, fill
from service.bodies.body_outline import LongList
from service.bodies.json_body import SHORT_BYTES, parse_body
from service.bodies.long_body import BodyLimits, ListLimit, LongBody
from service.bodies.reader import expect_keys
from service.champion import Champion
from service.metrics import AnswerMetrics, WorkerMetrics
from service.wording import Wording

if TYPE_CHECKING:
    from service.commits.group_commit import GroupCommit

LONGEST_ID: Final = 200
MAX_BATCH: Final = "serve.max_batch"
# Up to so many records the event loop scores itself (a few hundred microseconds); more go to a thread.
INLINE_RECORDS: Final = 16
_encode = msgspec.json.Encoder().encode


Charge = Callable[[int], None]  # takes so many rows from a caller's quota; raises QuotaExceeded


@dataclass(frozen=True, slots=True)
class Asked:
    """What a predict request wants. The records come in groups, each of which exists only while it is answered."""

    groups: Iterable[list[Any]]
    count: int  # of the records; an upper bound of it where they are still to be parsed
    ids: list[str] | None
    faults: tuple[InvalidRecord, ...] = ()  # of the ids; told with the records' faults


@dataclass(frozen=True, slots=True)
class Answered:
    """What goes out. `logged` is False where the log was down and log.on_failure lets answers go without it."""

    model_version: str
    answers: Sequence[Answer]
    logged: bool


def read_asked(body: bytes | bytearray, max_batch: int) -> Asked:
    """The request in a short body; raises InvalidJson, InvalidRecord or TooLarge."""
    held = parse_body(body)
    expect_keys(held, required=("records",), optional=("ids",))
    records, ids = held["records"], held.get("ids")
    if not isinstance(records, list) or not records:
        raise _no_records()
    ListLimit(max_batch, MAX_BATCH).expect("records", len(records))
    faults = () if ids is None else _ids_faults(ids, len(records))
    return Asked((records,), len(records), ids, faults)


def read_long(body: bytes, max_batch: int, longest_text: int) -> Asked:
    """The request in a body of any length; raises as `read_asked` does, for a record once its group is asked for."""
    most = ListLimit(max_batch, MAX_BATCH)
    held = LongBody(body, BodyLimits({"records": most, "ids": most}, longest_text))
    expect_keys(held.values, required=("records",), optional=("ids",))
    records, ids = held.values["records"], held.values.get("ids")
    if not isinstance(records, LongList):
        raise _no_records()
    groups = held.groups("records")
    first = next(groups)
    if not first:
        raise _no_records()
    if ids is not None:
        ids = held.elements("ids") if isinstance(ids, LongList) else ids
    faults = () if ids is None else _ids_faults(ids, records.count)
    return Asked(chain((first,), groups), records.count, ids, faults)


def _charged(asked: Asked, charge: Charge | None) -> Asked:
    if charge is not None:
        charge(asked.count)
    return asked


def _no_records() -> InvalidRecord:
    return InvalidRecord('records: expected a list of at least one record, {"column": value, …}', field="records")


def _ids_faults(ids: Any, count: int) -> tuple[InvalidRecord, ...]:
    """What is wrong with a request's ids; nothing, as a rule."""
    if not isinstance(ids, list) or len(ids) != count:
        return (InvalidRecord(f"ids: expected a list of {count}, one id for each record", field="ids"),)
    if all(map(_is_id, ids)) and len(set(ids)) == count:
        return ()
    return tuple(islice(_wrong_ids(ids), MOST_FAULTS))


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= LONGEST_ID and value.isprintable()


def _wrong_ids(ids: Sequence[Any]) -> Iterator[InvalidRecord]:
    for index, value in enumerate(ids):
        if not _is_id(value):
            yield InvalidRecord(
                f"ids[{index}]: {preview(value)} is no id; expected a string of 1 to {LONGEST_ID} printable characters",
                field=f"ids[{index}]",
            )
    for value, times in Counter(value for value in ids if isinstance(value, str)).items():
        if times > 1:
            yield InvalidRecord(
                f"ids: {preview(value)} stands twice in one request; expected each id once", field="ids"
            )


def expect_version(model: ServedModel, version: str | None) -> None:
    """Raises NotFound where another version is asked for than the one that answers."""
    if version not in (None, model.version):
        raise NotFound(
            f"version {version[:60]!r} does not answer; only the champion does: {model.version!r}",
            field="version",
        )


# The entries of a group of records, and what is counted of them, as in _Prepared.
_Part = tuple[list[LogEntry], list[int], list[float], Sequence[Mapping[str, str] | None]]


@dataclass(frozen=True, slots=True)
class _Prepared:
    batch: Batch
    places: list[int]  # each record's predicted class; 0 for a regression
    values: list[float]  # what the histogram of predictions is of
    marks: Sequence[Mapping[str, str] | None]


class _Serving:
    """One version with what its answers need besides."""

    def __init__(
        self,
        model: ServedModel,
        metrics: WorkerMetrics,
        redact: Sequence[str],
        seal: Callable[[bytes], bytes],
        arrival: ArrivalTime,
    ) -> None:
        self.model = model
        self._arrival = arrival
        self._arrival_column = arrival.column(model.schema.problem)
        self._seal = seal
        self.counts: AnswerMetrics = metrics.answers(model.version, model.schema.classes)
        self._wording = Wording(model.schema, model.point)
        self._redact = {column.name for column in model.schema.problem.columns if column.name in redact}

    def prepare(self, asked: Asked, at: datetime | None, started: float) -> _Prepared:
        """What is answered and logged; raises what cannot be answered, by its place in the request."""
        groups = iter(asked.groups)
        if asked.faults:
            raise self._refusal(asked.faults, 0, groups)
        arrival = None if self._arrival_column is None else self._arrival.read(at)
        ids = asked.ids or new_ids(asked.count)
        records = next(groups)
        parts, place = [], 0
        try:
            parts.append(self._prepare(records, ids, 0, started, arrival))
            for following in groups:
                place, records = place + len(records), following
                parts.append(self._prepare(records, ids, place, started, arrival))
        except InvalidRecord as error:
            raise self._refusal((error,), place + len(records), groups) from None
        if len(parts) == 1:
            entries, places, values, marks = parts[0]
        else:
            entries, places, values, marks = (list(chain.from_iterable(held)) for held in zip(*parts, strict=True))
        return _Prepared(Batch(entries, self.model.version, at, asked.ids is not None), places, values, marks)

    def _refusal(self, found: Sequence[InvalidRecord], first: int, groups: Iterator[list[Any]]) -> InvalidRecord:
        """The error for what was found, and for what cannot be used in the groups that follow."""
        faults = Faults(found)
        for records in groups:
            if faults.left <= 0:
                break
            faults.add(*self.model.decoder.faults(records, first, faults.left))
            first += len(records)
        return faults.error()

    def _prepare(
        self, records: list[Any], ids: Sequence[str], first: int, started: float, arrival: str | None
    ) -> _Part:
        """A group's part; `first` is the place of its first record in the request."""
        model = self.model
        arrays, digests = model.decoder.decode_and_digest(records, first)
        if arrival is not None:  # behind the digests, which are of the records as sent
            assert self._arrival_column is not None
            records = fill(records, self._arrival_column, arrival)
            arrays = model.decoder.decode(records)
        worded = self._wording.word(model.score(arrays, first))
        marks = model.decoder.marks(records)
        micros = round(1e6 * (time.perf_counter() - started))
        entries = [
            LogEntry(
                id,
                self._seal(digest),
                _text(self._without_redacted(record)),
                prediction,
                probabilities,
                None if mark is None else _text(mark),
                micros,
            )
            for id, record, digest, prediction, probabilities, mark in zip(
                ids[first : first + len(records)] if len(ids) > len(records) else ids,
                records,
                digests,
                worded.predictions,
                worded.probabilities,
                marks,
                strict=True,
            )
        ]
        return entries, worded.places, worded.shown, marks

    def _without_redacted(self, record: dict[str, Any]) -> dict[str, Any]:
        """Redacted columns as null, not gone: whoever reads the log decodes it by the same schema."""
        if not self._redact:
            return record
        return {name: None if name in self._redact else value for name, value in record.items()}


def _text(value: Any) -> str:
    try:
        return _encode(value).decode()
    except OverflowError:  # integers beyond 64 bits, which msgspec does not write
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _LongWork:
    """Work in a thread that ends at its next step once nobody waits for it."""

    def __init__(self, work: Callable[[], _Prepared]) -> None:
        self._work = work
        self.stopped = False

    def run(self) -> _Prepared:
        self.expect_wanted()
        return self._work()

    def expect_wanted(self) -> None:
        if self.stopped:
            raise Overloaded("the request was given up")


def _stoppable(asked: Asked, work: _LongWork) -> Asked:
    def groups() -> Iterator[list[Any]]:
        for group in asked.groups:
            work.expect_wanted()
            yield group

    return Asked(groups(), asked.count, asked.ids, asked.faults)


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that is scored, and waits for the log."""

    serving: _Serving
    prepared: _Prepared
    coming: asyncio.Future[list[Answer]] | None  # None: it is answered without the log


class Predictor:
    """Answers predict requests in one worker."""

    def __init__(
        self,
        champion: Champion,
        commits: GroupCommit,
        metrics: WorkerMetrics,
        refused: RefusedRecords,
        *,
        max_batch: int,
        longest_text: int,
        redact: Sequence[str],
        seal: Callable[[bytes], bytes],
        on_failure: Literal["refuse", "serve"],
        arrival: ArrivalTime,
        threads: Executor | None = None,
    ) -> None:
        self._champion = champion
        self._commits = commits
        self._metrics = metrics
        self._refused = refused
        self._max_batch = max_batch
        self._longest_text = longest_text
        self._threads = threads  # for long bodies; None: the loop's own
        self._redact = redact
        self._seal = seal  # makes of a record's digest what the log keeps
        self._arrival = arrival
        self._serves_unlogged = on_failure == "serve"
        self._serving: _Serving | None = None

    async def answer(self, body: bytes, at: datetime | None, started: float, charge: Charge | None = None) -> Answered:
        """The answers to a body, committed to the log before this returns.

        `started` is the request's first moment by time.perf_counter(); `at` its own time, where the clock follows
        the requests; `charge` hears how many records there are. Raises what cannot be answered, with nothing logged.
        """
        if len(body) <= SHORT_BYTES:
            asked = _charged(read_asked(body, self._max_batch), charge)
            return await self._answer(self._current(), asked, at, started)

        def read() -> Asked:
            return _charged(read_long(body, self._max_batch, self._longest_text), charge)

        return await self.answer_long(read, at, started)

    async def answer_asked(
        self, asked: Asked, at: datetime | None, started: float, version: str | None = None
    ) -> Answered:
        """As `answer`, for what was read already; NotFound where a version is asked for that is not the champion."""
        serving = self._current()
        expect_version(serving.model, version)
        return await self._answer(serving, asked, at, started)

    async def answer_long(
        self, read: Callable[[], Asked], at: datetime | None, started: float, version: str | None = None
    ) -> Answered:
        """As `answer_asked`, for what takes long to read: read in a thread, a few of them at one time."""
        serving = self._current()
        expect_version(serving.model, version)
        work = _LongWork(lambda: serving.prepare(_stoppable(read(), work), at, started))
        with self._telling(serving):
            try:
                prepared = await asyncio.get_running_loop().run_in_executor(self._threads, work.run)
            except asyncio.CancelledError:
                work.stopped = True
                raise
        return await self._logged(serving, prepared)

    def begin(
        self, body: bytes | bytearray, at: datetime | None, started: float, charge: Charge | None = None
    ) -> Begun | None:
        """`answer` without waiting: scored and on its way to the log. None where there are too many for one go."""
        serving = self._current()
        asked = read_asked(body, self._max_batch)
        if asked.count > INLINE_RECORDS:
            return None
        if charge is not None:
            charge(asked.count)
        with self._telling(serving):
            prepared = serving.prepare(asked, at, started)
        return Begun(serving, prepared, self._take(prepared.batch))

    def end(self, begun: Begun) -> Answered:
        """What `answer` returns or raises, once the log has spoken."""
        answers = None if begun.coming is None else self._outcome(begun.coming, begun.prepared.batch)
        return self._answered(begun.serving, begun.prepared, answers)

    async def _answer(self, serving: _Serving, asked: Asked, at: datetime | None, started: float) -> Answered:
        with self._telling(serving):
            if asked.count <= INLINE_RECORDS:
                prepared = serving.prepare(asked, at, started)
            else:
                prepared = await asyncio.to_thread(serving.prepare, asked, at, started)
        return await self._logged(serving, prepared)

    async def _logged(self, serving: _Serving, prepared: _Prepared) -> Answered:
        coming = self._take(prepared.batch)
        if coming is not None:
            with suppress(RingsideError):  # `end` raises it
                await coming
        return self.end(Begun(serving, prepared, coming))

    @contextmanager
    def _telling(self, serving: _Serving) -> Iterator[None]:
        """Counts what it refuses."""
        try:
            yield
        except InvalidRecord as error:
            self._metrics.invalid(error.reason)
            self._refused.add(error, serving.model.schema.problem)
            raise

    def _answered(self, serving: _Serving, prepared: _Prepared, answers: Sequence[Answer] | None) -> Answered:
        logged = answers is not None
        if answers is None:
            answers = [_unlogged(entry, serving.model.version) for entry in prepared.batch.entries]
        self._count(serving, prepared, answers)
        return Answered(serving.model.version, answers, logged)

    def _current(self) -> _Serving:
        model = self._champion.current
        if model is None:
            raise NoChampion(
                "no champion is loaded; `GET /status` and the service's log say why, `ringside train` makes one"
            )
        if self._serving is None or self._serving.model is not model:
            self._serving = _Serving(model, self._metrics, self._redact, self._seal, self._arrival)
        return self._serving

    def _take(self, batch: Batch) -> asyncio.Future[list[Answer]] | None:
        """None where it cannot be logged, and is to be answered all the same."""
        try:
            return self._commits.take(batch)
        except (LogUnavailable, Overloaded):  # it cannot be written, or not as fast as requests come
            if not self._goes_unlogged(batch):
                raise
            return None

    def _outcome(self, coming: asyncio.Future[list[Answer]], batch: Batch) -> list[Answer] | None:
        try:
            return coming.result()
        except (LogUnavailable, Overloaded):
            if not self._goes_unlogged(batch):
                raise
            return None

    def _goes_unlogged(self, batch: Batch) -> bool:
        """Whether answers may go out without the log; then these are counted."""
        if self._serves_unlogged:
            self._metrics.unlogged.inc(len(batch.entries))
        return self._serves_unlogged

    def _count(self, serving: _Serving, prepared: _Prepared, answers: Sequence[Answer]) -> None:
        self._metrics.unusual(prepared.marks)
        fresh = [place for place, answer in enumerate(answers) if not answer.repeated]
        if len(fresh) == len(answers):
            serving.counts.count(prepared.places, prepared.values)
        elif fresh:
            serving.counts.count([prepared.places[n] for n in fresh], [prepared.values[n] for n in fresh])


def _unlogged(entry: LogEntry, version: str) -> Answer:
    return Answer(entry.id, version, entry.prediction, entry.probabilities, 0, False)


def answer_body(answered: Answered) -> bytes:
    """The answer as JSON; one that the log repeated carries the version that gave it."""
    parts: list[str] = []
    for answer in answered.answers:
        text = f'{{"id":{_id(answer.id)},"prediction":{answer.prediction}'
        if answer.probabilities is not None:
            text += f',"probabilities":{answer.probabilities}'
        if answer.repeated:
            text += f',"model_version":"{answer.model_version}"'
        parts.append(text + "}")
    return f'{{"model_version":"{answered.model_version}","predictions":[{",".join(parts)}]}}'.encode()


def _id(text: str) -> str:
    return _encode(text).decode()
