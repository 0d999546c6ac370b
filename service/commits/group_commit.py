"""Group commit: requests that wait at the same time share one commit of the prediction log.

Small groups are committed by the event loop itself where nobody else is writing in that moment: handing them to a
thread and back costs more than the commit. Everything that may take its time, or fail, is the thread's.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from record.errors import LogUnavailable, Overloaded, RingsideError
from record.log_lines import log_line
from record.logged import Answer, Batch, Outcome
from record.prediction_log import PATIENCE_SECONDS, PredictionLog

_Answered = asyncio.Future[list[Answer]]
# Two of the largest requests (10,000 records each), or a second of single ones at full speed.
QUEUE_ROWS = 20_000
# A group of this size takes some 50 ms: as long as the first in it should wait for the last.
GROUP_ROWS = 2_000
RETRY_SECONDS = 0.5  # between looks whether the log is back
STOP_SECONDS = 30.0
# What the event loop commits itself: a group of this size takes about a millisecond,
INLINE_ROWS = 32
# and longer than that it does not try to find the log free.
INLINE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    answered: _Answered | None  # None: it was answered when it was queued
    outcome: Outcome | None = None  # of one that is committed, and waits for the disk


class GroupCommit:
    """For one event loop: `submit` waits for the commit, which the loop makes, or a thread of its own.

    With `durability` "async" it answers at once, with seq 0 and without looking for the id in the log; what then
    cannot be written counts in `lost_rows`, and `on_lost(rows)` is told. `on_commit(seconds, rows)` is called by
    the thread after each group.

    A database that fails at once refuses the requests of that moment, and the next group tries anew. One that
    hangs, on a lock or behind a network, refuses everybody from `patience_seconds` on, at once, until a probe in
    the background finds it back; for that, `look` wants to be called a few times a second.
    """

    def __init__(
        self,
        log: PredictionLog,
        *,
        durability: Literal["commit", "fsync", "async"] = "commit",
        queue_rows: int = QUEUE_ROWS,
        patience_seconds: float = PATIENCE_SECONDS,
        on_commit: Callable[[float, int], None] | None = None,
        on_lost: Callable[[int], None] | None = None,
    ) -> None:
        self._log = log
        self._waits = durability != "async"
        # To wait for a disk that takes its time is for the thread: the loop answers others meanwhile.
        self._syncs = durability == "fsync"
        self._queue_rows = queue_rows
        self._patience_seconds = patience_seconds
        self._on_commit = on_commit
        self._on_lost = on_lost
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Each of these is written by one thread only, so that none needs a lock.
        self._rows_in = 0
        self._rows_out = 0
        self._rows_inline = 0
        self._rows_refused = 0
        self.lost_rows = 0
        self._pending: list[_Waiting] = []  # for the loop to commit, at the end of this round of it
        self._taking = threading.Lock()
        self._group: Sequence[_Waiting] = ()  # what the thread is writing,
        self._since: float | None = None  # and since when
        self._away = False  # it hung, and the thread looks for it
        self._failing = False

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Takes nothing more, and returns when all that was taken is committed, or after 30 seconds."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        for waiting in self._take_pending():
            self._queue.put(waiting)
        self._queue.put(None)
        thread.join(STOP_SECONDS)
        self._log.close()

    def depth(self) -> int:
        """Rows taken and not yet committed."""
        return self._rows_in - self._rows_out - self._rows_inline - self._rows_refused

    async def submit(self, batch: Batch) -> list[Answer]:
        """As `take`, for who waits."""
        return await self.take(batch)

    def take(self, batch: Batch) -> _Answered:
        """The answers to give, once they are in the log. For the event loop.

        Raises, or the future does: IdConflict or InvalidRecord for this batch alone, LogUnavailable when the database
        fails, Overloaded when too many rows wait already. A caller that is cancelled, or refused because the database
        hung, may find its rows logged.
        """
        if self._thread is None:
            raise LogUnavailable("the prediction log is not open: the service is starting or stopping")
        if self._waits and self._hangs():
            raise _hung()
        rows, waiting = len(batch.entries), self.depth()
        if waiting and waiting + rows > self._queue_rows:
            raise Overloaded(
                f"{waiting} rows wait for the prediction log; {rows} more would be over {self._queue_rows}"
            )
        loop = asyncio.get_running_loop()
        answered: _Answered = loop.create_future()
        self._rows_in += rows
        if not self._waits:
            self._queue.put(_Waiting(batch, None))
            version = batch.model_version
            answered.set_result([Answer(e.id, version, e.prediction, e.probabilities, 0, False) for e in batch.entries])
        elif rows <= INLINE_ROWS and (self._pending or self._loop_commits(rows)):
            if not self._pending:
                loop.call_soon(self._commit_pending, loop, loop.time() + INLINE_SECONDS)
            self._pending.append(_Waiting(batch, answered))
        else:
            self._queue.put(_Waiting(batch, answered))
        return answered

    def _loop_commits(self, arriving: int) -> bool:
        """Whether it is for the loop: not while the thread writes, behind which the next group gathers.

        Unless the thread does nothing but wait for a disk that the loop finds quick.
        """
        return not self._away and (self.depth() == arriving or (self._syncs and self._log.syncs_now))

    def _take_pending(self) -> list[_Waiting]:
        with self._taking:
            taken, self._pending = self._pending, []
        return taken

    def _commit_pending(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """In the event loop: commits what waits, tries again in its next round, or leaves it to the thread."""
        group, started = self._take_pending(), time.perf_counter()
        if not group:  # taken by `stop`
            return
        rows = _rows(group)
        outcomes = self._log.append_now([waiting.batch for waiting in group]) if rows <= GROUP_ROWS else None
        if outcomes is not None:
            self._rows_inline += rows
            if self._syncs and not self._log.syncs_now:
                self._leave_to_sync(group, outcomes)  # the thread tells how long it took
                return
            self._answer_here(group, self._synced(outcomes) if self._syncs else outcomes)
            self._took(time.perf_counter() - started, rows)
        elif self._thread is None:
            self._rows_inline += rows
            self._answer_here(group, [LogUnavailable("the prediction log is closing")] * len(group))
        elif loop.time() < deadline:
            with self._taking:
                self._pending = group + self._pending
            loop.call_soon(self._commit_pending, loop, deadline)
        else:
            for waiting in group:
                self._queue.put(waiting)

    def _synced(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome | RingsideError]:
        """What became of them, once the disk has them."""
        try:
            self._log.sync_now()
        except LogUnavailable as error:
            return [error] * len(outcomes)
        return outcomes

    def _leave_to_sync(self, group: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        """To the thread, which waits for the disk once for all that were committed meanwhile, here and elsewhere."""
        for waiting, outcome in zip(group, outcomes, strict=True):
            self._queue.put(_Waiting(waiting.batch, waiting.answered, outcome))
        if self._thread is None:  # it has stopped, or is about to
            committed = self._drain()
            self._answer_here(committed, self._write(committed))

    def _took(self, seconds: float, rows: int) -> None:
        if self._on_commit is not None:
            self._on_commit(seconds, rows)

    def _answer_here(self, group: Sequence[_Waiting], outcomes: Sequence[Outcome | RingsideError]) -> None:
        _wake([(w.answered, outcome) for w, outcome in zip(group, outcomes, strict=True) if w.answered is not None])

    def look(self) -> None:
        """Refuses those who wait for a log that hangs. For the event loop's own thread."""
        if self._waits and self._hangs():
            queued = self._drain()
            self._rows_refused += _rows(waiting for waiting in queued if waiting.outcome is None)
            _wake([(w.answered, _hung()) for w in (*self._group, *queued) if w.answered is not None])

    def _hangs(self) -> bool:
        since = self._since
        return self._away or (since is not None and time.monotonic() - since > self._patience_seconds)

    def _drain(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        while True:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                return taken
            if waiting is None:
                self._queue.put(None)
                return taken
            taken.append(waiting)

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            started = time.perf_counter()
            self._group, self._since = group, time.monotonic()
            outcomes = self._write(group)
            self._away = self._waits and self._failing and time.monotonic() - self._since > self._patience_seconds / 2
            self._group, self._since = (), None
            self._rows_out += _rows(waiting for waiting in group if waiting.outcome is None)
            self._answer(group, outcomes)
            self._took(time.perf_counter() - started, _rows(group))
            if self._away:
                self._await_return()

    def _await_return(self) -> None:
        """Until the log can be written again, without anybody waiting for that."""
        while not self._stopping.wait(RETRY_SECONDS):
            try:
                self._log.probe()
            except LogUnavailable:
                continue
            except Exception:  # noqa: BLE001 - the thread must outlive it, as in `_write`, which will say what it is
                pass
            break
        self._away = False

    def _next_group(self) -> list[_Waiting] | None:
        """Whoever waits now, but at least one; None at the end."""
        first = self._queue.get()
        if first is None:
            return None
        group, rows = [first], len(first.batch.entries)
        while rows < GROUP_ROWS and not self._queue.empty():
            following = self._queue.get()
            if following is None:
                self._queue.put(None)  # nothing comes behind the end
                break
            group.append(following)
            rows += len(following.batch.entries)
        return group

    def _write(self, group: Sequence[_Waiting]) -> Sequence[Outcome | RingsideError]:
        while True:
            try:
                outcomes = self._committed(group)
                self._tell(None)
                return outcomes
            except LogUnavailable as error:
                self._tell(error)
                if self._waits or self._stopping.wait(RETRY_SECONDS):
                    return [error] * len(group)
            except Exception:  # noqa: BLE001 - the thread must outlive it: without it no request is ever answered again
                log_line("prediction log failed", level=logging.ERROR, exc_info=True)
                return [LogUnavailable("the prediction log failed")] * len(group)

    def _committed(self, group: Sequence[_Waiting]) -> Sequence[Outcome]:
        """What became of each, all of it as safe as durability promises: an append waits for the whole log's disk."""
        new = [waiting.batch for waiting in group if waiting.outcome is None]
        if not new:
            self._log.sync()
        appended = iter(self._log.append(new))
        return [waiting.outcome if waiting.outcome is not None else next(appended) for waiting in group]

    def _tell(self, error: LogUnavailable | None) -> None:
        """Logs that the log went away, and that it is back; not each request in between."""
        if error is not None and not self._failing:
            log_line("prediction log unavailable", level=logging.ERROR, reason=error.reason or error.message)
        if error is None and self._failing:
            log_line("prediction log back")
        self._failing = error is not None

    def _answer(self, group: Sequence[_Waiting], outcomes: Sequence[Outcome | RingsideError]) -> None:
        if not self._waits:
            self._lose([w for w, outcome in zip(group, outcomes, strict=True) if isinstance(outcome, RingsideError)])
            return
        ended = [(w.answered, outcome) for w, outcome in zip(group, outcomes, strict=True) if w.answered is not None]
        try:
            ended[0][0].get_loop().call_soon_threadsafe(_wake, ended)
        except RuntimeError:
            log_line("answers after the event loop's end", level=logging.WARNING, batches=len(group))

    def _lose(self, lost: Sequence[_Waiting]) -> None:
        if lost:
            self.lost_rows += _rows(lost)
            if self._on_lost is not None:
                self._on_lost(_rows(lost))


def _rows(several: Iterable[_Waiting]) -> int:
    return sum(len(waiting.batch.entries) for waiting in several)


def _hung() -> LogUnavailable:
    return LogUnavailable("the prediction log does not answer just now")


def _wake(ended: Sequence[tuple[_Answered, Outcome | RingsideError]]) -> None:
    for answered, outcome in ended:
        if answered.done():  # its request was cancelled
            continue
        if isinstance(outcome, RingsideError):
            answered.set_exception(outcome)
        else:
            answered.set_result(outcome)
