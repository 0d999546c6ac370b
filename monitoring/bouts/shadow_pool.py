"""The watcher's shadows: one child process for each open bout, restarted when it dies, hangs or grows too large."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from logging import WARNING
from pathlib import Path

import psutil

from monitoring.bouts import shadow_report
from monitoring.bouts.shadow_codes import ENDED, LARGEST_BATCH, LEASE_LOST, RECORD_UNAVAILABLE
from monitoring.bouts.shadow_scorer import sampled
from record.bouts.bout import Bout, ShadowScore
from record.log_lines import log_line
from record.process import NO_TELEMETRY
from record.record import Record
from record.settings import Settings
from record.work.leases import Fence

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0

# Without a sign of life. A child at idle priority on a busy machine is slow, not hung: it hangs if it has used this
# much of a processor without finishing a batch, or has been silent for the longer time in any case.
BUSY_SECONDS, LONGEST_SILENCE_SECONDS = 20.0, 300.0

# One that was stopped may hold SQLite's one lock, which answers wait for.
STOPPED_SECONDS = 1.0

# The sizes of a batch after so many deaths without a step forward, down to the one row that the challenger dies of.
BATCHES = (LARGEST_BATCH, 64, 8, 1)

Command = Callable[[str, int | None, int], list[str]]


def shadow_command(bout: str, token: int | None, batch: int) -> list[str]:
    command = [sys.executable, "-m", "monitoring.shadow", "--bout", bout, "--batch", str(batch)]
    return command if token is None else [*command, "--lease-token", str(token)]


@dataclass(slots=True)
class _Child:
    """A bout's process, and what is known of those before it."""

    process: subprocess.Popen[bytes] | None = None
    token: int | None = None
    start_after: float = 0.0
    beat_at: float = 0.0
    busy_at_beat: float = 0.0
    stepped: bool = False  # the living one has finished a step
    deaths: int = 0  # one after the other, without a step between them
    pauses: int = 0
    given_up: int = 0  # how often rows were marked failed for it


class ShadowPool:
    """For one thread. Ends its children with itself, also when it is killed: they hear their pipe close."""

    def __init__(self, settings: Settings, record: Record, *, command: Command = shadow_command) -> None:
        self._settings = settings
        self._record = record
        self._command = command
        self._children: dict[str, _Child] = {}

    def keep(self, bouts: Sequence[Bout], fence: Fence | None) -> None:
        """Sees to it that exactly these bouts have a living shadow; returns at once. Call it every second or so."""
        wanted = {bout.bout for bout in bouts}
        for name in [name for name in self._children if name not in wanted]:
            self._end(self._children.pop(name))
        for bout in bouts:
            child = self._children.setdefault(bout.bout, _Child())
            token = None if fence is None else fence.token
            if child.process is not None and child.token != token:
                self._end(child)
            if child.process is not None:
                self._watch(bout, child, fence)
            if child.process is None and time.monotonic() >= child.start_after:
                self._start(bout, child, token)

    def caught_up(self, bout: Bout, until: datetime) -> bool:
        """Whether every request logged so far, with a time not later than `until`, has its score.

        Where not, the bout's shadow is told to look at once: somebody waits for it.
        """
        done = shadow_report.caught_up(self._record.database, bout, until)
        if not done:
            self._call(self._children.get(bout.bout))
        return done

    def pids(self) -> dict[str, int]:
        """The living children's, by bout."""
        return {name: child.process.pid for name, child in self._children.items() if child.process is not None}

    def stop(self) -> None:
        """Ends all children. What they had not written is scored again by their successors."""
        for child in self._children.values():
            self._end(child)
        self._children.clear()

    def _start(self, bout: Bout, child: _Child, token: int | None) -> None:
        batch = BATCHES[min(child.deaths, len(BATCHES) - 1)]
        root = Path(__file__).resolve().parents[2]
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            **NO_TELEMETRY,
            "RINGSIDE_CONFIG": str(self._settings.path),
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        child.process = subprocess.Popen(
            self._command(bout.bout, token, batch),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert child.process.stdout is not None
        assert child.process.stdin is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        os.set_blocking(child.process.stdin.fileno(), False)
        child.token = token
        child.stepped, child.beat_at, child.busy_at_beat = False, time.monotonic(), 0.0
        log_line("shadow started", bout=bout.bout, pid=child.process.pid, batch=batch)

    def _watch(self, bout: Bout, child: _Child, fence: Fence | None) -> None:
        assert child.process is not None
        code = child.process.poll()
        if code is None:
            reason = self._fault(child)
            if reason is None:
                return
            log_line("shadow killed", level=WARNING, bout=bout.bout, reason=reason)
            self._end(child)
            self._crashed(bout, child, fence)
        else:
            self._end(child)
            if code in (ENDED, LEASE_LOST, RECORD_UNAVAILABLE):
                self._pause(child)
            else:
                log_line("shadow died", level=WARNING, bout=bout.bout, code=code)
                self._crashed(bout, child, fence)

    def _fault(self, child: _Child) -> str | None:
        """Why the living child has to be killed, if it has to."""
        assert child.process is not None
        assert child.process.stdout is not None
        now = time.monotonic()
        try:
            process = psutil.Process(child.process.pid)
            times = process.cpu_times()
            busy = times.user + times.system
            if process.memory_info().rss > self._settings.retrain.memory_limit:
                return "memory"
            if child.process.stdout.read():
                child.stepped, child.pauses, child.beat_at, child.busy_at_beat = True, 0, now, busy
                return None
            silent = now - child.beat_at
            stopped = process.status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return None  # it ended this moment; the next call sees how
        if stopped and silent > STOPPED_SECONDS:
            return "stopped"
        if silent > LONGEST_SILENCE_SECONDS or busy - child.busy_at_beat > BUSY_SECONDS:
            return "silence"
        return None

    def _crashed(self, bout: Bout, child: _Child, fence: Fence | None) -> None:
        """Smaller batches for one that dies again without a step; then what it dies of is its failure.

        A challenger must not win, nor wait, by dying: the rows it dies of have its worst loss. Each time that it has
        to be given up, twice as many rows are: one that dies of everything does not hold the bout for hours.
        """
        child.deaths = 1 if child.stepped else child.deaths + 1
        if child.deaths >= len(BATCHES):
            rows = min(2**child.given_up, LARGEST_BATCH)
            child.given_up += 1
            child.deaths = 0
            self._mark_failed(self._record.bouts.get(bout.bout), rows, fence)
        self._pause(child)

    def _mark_failed(self, bout: Bout, rows: int, fence: Fence | None) -> None:
        found, cursor = self._record.log.tail(bout.cursor, rows)
        share = bout.design["sampling"]
        scores = [
            ShadowScore(row.seq, "failed" if sampled(bout.design_hash, row.id, share) else "sampled_out")
            for row in found
            if row.seq > bout.after_seq
        ]
        if found and bout.state == "open":
            self._record.bouts.record_scores(bout.bout, scores, cursor, fence)
            log_line("challenger died of requests", level=WARNING, bout=bout.bout, requests=len(scores))

    def _call(self, child: _Child | None) -> None:
        if child is None or child.process is None:
            return
        assert child.process.stdin is not None
        with suppress(OSError):  # full of calls already, or the child has ended this moment
            os.write(child.process.stdin.fileno(), b"!")

    def _pause(self, child: _Child) -> None:
        """Longer each time that the child did not come further, so that nothing is started in a circle."""
        seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(child.pauses, 10), LONGEST_PAUSE_SECONDS)
        child.pauses += 1
        child.start_after = time.monotonic() + seconds

    def _end(self, child: _Child) -> None:
        """At once: there is nothing to finish that the next one could not do again."""
        if child.process is None:
            return
        child.process.kill()
        child.process.wait()
        for pipe in (child.process.stdin, child.process.stdout):
            if pipe is not None:
                pipe.close()
        child.process = None
