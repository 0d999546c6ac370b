"""What becomes of a group of batches: pure, the same for every database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from record.clock import to_micros
from record.errors import IdConflict
from record.logged import Answer, Batch, LogEntry


@dataclass(frozen=True, slots=True)
class Known:
    """An id as the log knows it."""

    digest: bytes
    requested_at: int  # microseconds
    answer: Answer


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every row of one group carries."""

    xid: int
    answered_at: int  # microseconds, the machine's clock
    window: int  # microseconds: an id older than that may be used again


@dataclass(frozen=True, slots=True)
class Plan:
    outcomes: list[list[Answer] | IdConflict]  # one for each batch
    rows: list[tuple[Any, ...]]  # for `predictions`, in the order of its columns
    ids: list[tuple[str, int, bytes, int]]  # for `prediction_ids`, in the order of its columns


def plan(
    batches: Sequence[Batch], times: Sequence[int], seqs: Sequence[int], known: Mapping[str, Known], stamp: Stamp
) -> Plan:
    """Decides in the batches' order, as if each had come alone.

    `times` has one arrival for each batch, `seqs` one number for each entry of all batches (those of refused and
    repeated ones stay unused), `known` the ids of client batches that the log has.
    """
    outcomes: list[list[Answer] | IdConflict] = []
    made = Plan(outcomes, [], [])
    given: dict[str, Known] = {}  # by earlier entries of this group
    start = 0
    for batch, at in zip(batches, times, strict=True):
        own = seqs[start : start + len(batch.entries)]
        start += len(batch.entries)
        if not batch.client_ids:
            outcomes.append(
                [_log(entry, batch, at, seq, stamp, made) for entry, seq in zip(batch.entries, own, strict=True)]
            )
            continue
        earlier = _earlier(batch, at, known, given, stamp.window)
        refused = _conflicts(batch.entries, earlier)
        if refused:
            outcomes.append(IdConflict(refused))
            continue
        answers: list[Answer] = []
        for entry, seq in zip(batch.entries, own, strict=True):
            before = earlier.get(entry.id)
            if before is None:
                answer = _log(entry, batch, at, seq, stamp, made)
                earlier[entry.id] = given[entry.id] = Known(entry.digest, at, answer)
                answers.append(answer)
            else:
                answers.append(_again(before.answer))
        outcomes.append(answers)
    return made


def arrivals(batches: Sequence[Batch], now: int, clock: int | None) -> list[int]:
    """When each batch arrived, in microseconds.

    Where the clock is on the requests, `clock` is its row: it moves with the requests, and never back.
    """
    times = [now if batch.requested_at is None else to_micros(batch.requested_at) for batch in batches]
    if clock is None:
        return times
    for place, batch in enumerate(batches):
        if batch.requested_at is not None:
            clock = max(clock, times[place])
        times[place] = clock
    return times


def _earlier(
    batch: Batch, at: int, known: Mapping[str, Known], given: Mapping[str, Known], window: int
) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for entry in batch.entries:
        before = given.get(entry.id) or known.get(entry.id)
        if before is not None and before.requested_at >= at - window:
            found[entry.id] = before
    return found


def _conflicts(entries: Sequence[LogEntry], earlier: Mapping[str, Known]) -> list[str]:
    digests = {id: before.digest for id, before in earlier.items()}
    return list(dict.fromkeys(e.id for e in entries if digests.setdefault(e.id, e.digest) != e.digest))


def _again(answer: Answer) -> Answer:
    return Answer(answer.id, answer.model_version, answer.prediction, answer.probabilities, answer.seq, True)


def _log(entry: LogEntry, batch: Batch, at: int, seq: int, stamp: Stamp, made: Plan) -> Answer:
    version = batch.model_version
    made.rows.append(
        (
            seq,
            stamp.xid,
            entry.id,
            at,
            stamp.answered_at,
            version,
            entry.record,
            entry.prediction,
            entry.probabilities,
            entry.marks,
            entry.latency_micros,
        )
    )
    made.ids.append((entry.id, seq, entry.digest, at))
    return Answer(entry.id, version, entry.prediction, entry.probabilities, seq, False)
