"""The shadow: a child process of the watcher that scores logged requests with a challenger, seconds behind.

python -m monitoring.shadow --bout b7 --lease-token 3 --batch 512

It reads the same log as everything else, so that the predict path never meets the challenger. It replays what was
logged behind the bout's `after_seq`, then follows live, and ends when its parent's pipe closes.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from logging import ERROR, WARNING

import sqlalchemy as sa

from monitoring.bouts.shadow_codes import ENDED, LARGEST_BATCH, LEASE_LOST, RECORD_UNAVAILABLE, UNLOADABLE
from monitoring.bouts.shadow_scorer import ShadowScorer
from record.bouts.bout import Bout
from record.errors import ArtifactError, StaleLease
from record.failpoint import fail_point
from record.log_lines import log_line, write_json_lines
from record.priority import yield_session, yield_thread
from record.process import begin_process, restart_without_telemetry
from record.record import Record, open_record
from record.settings import load_settings
from record.versions.model import ModelMemory, ServedModel
from record.work.leases import Fence

# Between looks for new requests. A look has its price, and what a row costs falls with their number: at ten looks a
# second a shadow cost twice the processor that it costs at one.
IDLE_SECONDS = 1.0
BACKLOG_SECONDS = 0.05  # between batches of what waits: the lock stays free for 97 % of the time
# Of the session. Not the most: the writing thread, which is in it too, takes a lock that answers wait for.
NICE = 10
PATIENCE_SECONDS = 2.0  # with a batch under way, once the parent is gone


class Shadow:
    """One bout's challenger at work. For one thread; the challenger itself runs in `idle`'s."""

    def __init__(self, record: Record, bout: Bout, fence: Fence | None, batch: int, idle: ThreadPoolExecutor) -> None:
        self._record = record
        self._bout = bout
        self._fence = fence
        self._batch = batch
        self._idle = idle
        self._cursor = bout.cursor
        self._scorer = idle.submit(load_scorer, record, bout).result()

    def step(self) -> int | None:
        """Scores the next requests and writes what was said; how many there were, None once the bout has ended."""
        rows, cursor = self._idle.submit(self._record.log.tail, self._cursor, self._batch).result()
        self.behind = len(rows) == self._batch
        if not rows:
            return 0
        counted = [row for row in rows if row.seq > self._bout.after_seq]
        scores = self._idle.submit(self._scorer.score, counted).result()
        fail_point("shadow.scored")
        if not self._record.bouts.record_scores(self._bout.bout, scores, cursor, self._fence):
            return None
        self._cursor = cursor
        self._batch = min(2 * self._batch, LARGEST_BATCH)
        return len(rows)


def load_scorer(record: Record, bout: Bout) -> ShadowScorer:
    """Raises ArtifactError where the challenger's files are not what was registered, or cannot be loaded."""
    model = ServedModel.read(record.registry.open(bout.challenger), bout.challenger)
    return ShadowScorer(model, bout.design_hash, bout.design["sampling"])


def idle_thread() -> ThreadPoolExecutor:
    """A thread that gets the processor when nobody else wants it.

    Only the challenger's thread, not the process: the writing thread takes the lock that answers wait for, and must
    not be kept from giving it back. The two never run at once, so that Python's own lock passes between them freely.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="challenger", initializer=yield_thread)


class Parent:
    """What the child hears through its pipe: a byte is a call to look at once, the pipe's end the end of the work."""

    def __init__(self) -> None:
        self.gone = False
        self._called = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Until that time has passed, or the parent calls."""
        self._called.wait(seconds)
        self._called.clear()

    def _listen(self) -> None:
        """However the parent ends, its pipe closes. A challenger at work is not waited for long."""
        while os.read(sys.stdin.fileno(), 4096):  # unbuffered: a thread within sys.stdin aborts the interpreter's exit
            self._called.set()
        self.gone = True
        self._called.set()
        time.sleep(PATIENCE_SECONDS)
        os._exit(ENDED)


def follow(shadow: Shadow, parent: Parent) -> None:
    """Works until the parent is gone, or the bout has ended; says at each step that it lives."""
    while not parent.gone:
        done = shadow.step()
        _beat()
        if done is None:
            return
        parent.wait(BACKLOG_SECONDS if shadow.behind else IDLE_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m monitoring.shadow", description=__doc__.splitlines()[0])
    parser.add_argument("--bout", required=True)
    parser.add_argument("--lease", default="watcher", help="the name of the parent's lease")
    parser.add_argument("--lease-token", type=int, default=None, help="the parent's fencing token")
    parser.add_argument("--batch", type=int, default=LARGEST_BATCH, help="requests scored at one time")
    given = parser.parse_args(arguments)
    write_json_lines()
    parent = Parent()
    yield_session(NICE)
    fence = None if given.lease_token is None else Fence(given.lease, given.lease_token)
    try:
        settings = load_settings()
        ModelMemory.bound(settings.serve.model_memory)  # the workers': what serves has to answer here too
        record = open_record(settings, migrate=False)
        with idle_thread() as idle:
            follow(Shadow(record, record.bouts.get(given.bout), fence, given.batch, idle), parent)
    except StaleLease as stale:
        log_line("lease lost", level=WARNING, reason=stale.message)
        return LEASE_LOST
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        log_line("record unavailable", level=ERROR, reason=str(error)[:500])
        return RECORD_UNAVAILABLE
    except ArtifactError as error:
        log_line("challenger cannot be loaded", level=ERROR, reason=error.message)
        return UNLOADABLE
    return ENDED


def _beat() -> None:
    """A byte to the parent; none where the pipe is full, or the parent gone."""
    with suppress(OSError):
        os.write(sys.stdout.fileno(), b".")


if __name__ == "__main__":
    restart_without_telemetry()
    begin_process()
    os.set_blocking(sys.stdout.fileno(), False)
    sys.exit(main())
