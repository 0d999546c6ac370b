"""Group commit: requests that wait at the same time share one commit of the prediction log."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from service.errors import LogUnavailable, Overloaded, RingsideError
from service.logged import Answer, Batch, Outcome
from service.prediction_log import PredictionLog

LOGGER = logging.getLogger(__name__)
_Answered = asyncio.Future[list[Answer]]
# Two of the largest requests (10,000 records each), or a second of single ones at full speed.
QUEUE_ROWS = 20_000
# A group of this size takes some 50 ms: as long as the first in it should wait for the last.
GROUP_ROWS = 2_000
RETRY_SECONDS = 0.5  # between attempts to write what was answered already ("async")
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    answered: _Answered | None  # None: it was answered when it was queued


class GroupCommit:
    """For one event loop: `submit` waits for the commit, which a thread of its own makes.

    With `durability` "async" it answers at once, with seq 0 and without looking for the id in the log; what then
    cannot be written counts in `lost_rows`. `on_commit(seconds, rows)` is called by the thread after each group.
    A database that fails refuses the requests of that moment; the next group tries anew.
    """

    def __init__(
        self,
        log: PredictionLog,
        *,
        durability: Literal["commit", "fsync", "async"] = "commit",
        queue_rows: int = QUEUE_ROWS,
        on_commit: Callable[[float, int], None] | None = None,
    ) -> None:
        self._log = log
        self._waits = durability != "async"
        self._queue_rows = queue_rows
        self._on_commit = on_commit
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Each is written by one thread only, so that neither needs a lock.
        self._rows_in = 0
        self._rows_out = 0
        self.lost_rows = 0

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
        self._queue.put(None)
        thread.join(STOP_SECONDS)
        self._log.close()

    def depth(self) -> int:
        """Rows taken and not yet committed."""
        return self._rows_in - self._rows_out

    async def submit(self, batch: Batch) -> list[Answer]:
        """The answers to give, which then are in the log.

        Raises IdConflict or InvalidRecord for this batch alone, LogUnavailable when the database fails, Overloaded
        when too many rows wait already. A caller that is cancelled may find its rows logged.
        """
        if self._thread is None:
            raise LogUnavailable("the prediction log is not open: the service is starting or stopping")
        rows, waiting = len(batch.entries), self.depth()
        if waiting and waiting + rows > self._queue_rows:
            raise Overloaded(
                f"{waiting} rows wait for the prediction log; {rows} more would be over {self._queue_rows}"
            )
        answered: _Answered | None = asyncio.get_running_loop().create_future() if self._waits else None
        self._rows_in += rows
        self._queue.put(_Waiting(batch, answered))
        if answered is None:
            version = batch.model_version
            return [Answer(e.id, version, e.prediction, e.probabilities, 0, False) for e in batch.entries]
        return await answered

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            started = time.perf_counter()
            outcomes = self._write(group)
            rows = sum(len(waiting.batch.entries) for waiting in group)
            self._rows_out += rows
            self._answer(group, outcomes)
            if self._on_commit is not None:
                self._on_commit(time.perf_counter() - started, rows)

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
                return self._log.append([waiting.batch for waiting in group])
            except LogUnavailable as error:
                LOGGER.warning("prediction log unavailable", extra={"error": str(error), "batches": len(group)})
                if self._waits or self._stopping.wait(RETRY_SECONDS):
                    return [error] * len(group)
            except Exception:  # the thread must outlive it: without it no request is ever answered again
                LOGGER.exception("prediction log failed")
                return [LogUnavailable("the prediction log failed")] * len(group)

    def _answer(self, group: Sequence[_Waiting], outcomes: Sequence[Outcome | RingsideError]) -> None:
        if not self._waits:
            for waiting, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, RingsideError):
                    self.lost_rows += len(waiting.batch.entries)
            return
        ended = [(w.answered, outcome) for w, outcome in zip(group, outcomes, strict=True) if w.answered is not None]
        try:
            ended[0][0].get_loop().call_soon_threadsafe(_wake, ended)
        except RuntimeError:
            LOGGER.warning("answers after the event loop's end", extra={"batches": len(group)})


def _wake(ended: Sequence[tuple[_Answered, Outcome | RingsideError]]) -> None:
    for answered, outcome in ended:
        if answered.done():  # its request was cancelled
            continue
        if isinstance(outcome, RingsideError):
            answered.set_exception(outcome)
        else:
            answered.set_result(outcome)
