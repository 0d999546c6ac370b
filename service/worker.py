"""What one serving process holds: opened at start-up, closed at the end, nothing at import."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Protocol

from record.clock import machine_now
from record.contract.refused_records import RefusedRecords
from record.db.work import Work
from record.errors import SettingsError
from record.events import AccessRefused, RecordsRefused
from record.log_lines import log_line, write_json_lines
from record.record import Record, open_record
from record.settings import Settings, load_settings
from record.settings_in_force import file_changed
from record.versions.model import ModelMemory
from service.arrival_time import ArrivalTime
from service.auth import LOCAL, Gate, Refusal
from service.bodies.reader import BodyReader
from service.champion import Champion, LoadRefused, Switched
from service.commits.checkpoint import Checkpointer, commits_worth
from service.commits.group_commit import GroupCommit
from service.metrics import WorkerMetrics
from service.predict import Predictor
from service.quota import Quotas
from service.record_watch import LOOK_SECONDS, RecordWatch
from service.request_time import TimeLimit
from service.token_list import LAST_USED, TokenList, record_tokens, token_key

BYTES_PER_MB = 1_000_000
TELL_SECONDS = 5.0  # between looks for refusals to tell
TOKENS_SECONDS = 0.5  # between looks at the tokens' file; a change counts at the second look
USED_SECONDS = 60.0  # between two writings of when a token was used last
LONG_BODIES = 2  # read at one time
SHARED_FILES_SECONDS = 1.0  # between looks whether metrics and quotas are in their files
SWEEP_SECONDS = 0.25  # how late a request may be given up


class Endable(Protocol):
    """A request under way: a task, or one that waits in the fast lane."""

    def cancel(self) -> Any: ...


class Deadlines:
    """Gives up requests that take too long: one sweep for all of them, instead of a timer for each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way: dict[Endable, float] = {}
        self._ended: set[Endable] = set()
        self._work: dict[Endable, Work] = {}

    def entrust(self, task: Endable, work: Work) -> None:
        """Work in a thread, which is given up with its request; until it can be, the request waits for it."""
        self._work[task] = work

    def begin(self, task: Endable) -> None:
        self._under_way[task] = time.monotonic() + self._seconds

    def end(self, task: Endable) -> None:
        self._under_way.pop(task, None)
        self._work.pop(task, None)
        self._ended.discard(task)

    def ended(self, task: Endable) -> bool:
        """Whether it was cancelled from here."""
        return task in self._ended

    def sweep(self) -> None:
        now = time.monotonic()
        for task, deadline in list(self._under_way.items()):
            work = self._work.get(task)
            if deadline < now and (work is None or work.give_up()):
                del self._under_way[task]
                self._ended.add(task)
                task.cancel()


class Worker:
    """One serving process. Everything but `start` and `stop` may be used in between only."""

    settings: Settings
    record: Record
    metrics: WorkerMetrics
    gate: Gate
    quotas: Quotas
    champion: Champion
    record_watch: RecordWatch
    predictor: Predictor
    bodies: BodyReader
    deadlines: Deadlines
    follows_requests: bool
    times: TimeLimit

    def __init__(self, settings: Callable[[], Settings] = load_settings) -> None:
        self._load_settings = settings
        self._tasks: list[asyncio.Task[None]] = []
        self._commits = 0
        self._settings_changed = False
        self._tokens_recorded = False
        self._used: set[tuple[str, str]] = set()
        self._used_written: dict[str, float] = {}  # by a token's SHA-256, on the monotonic clock

    async def start(self) -> None:
        """Opens the record, loads the champion if there is one that loads, and begins to follow its role.

        Raises SettingsError where others than this machine could call without a token.
        """
        write_json_lines()
        settings = self.settings = self._load_settings()
        settings.serve.require_tokens()
        serve = settings.serve
        self.record = open_record(settings)
        self.metrics = WorkerMetrics(settings.problem.task)
        self.tokens = TokenList(serve)
        self.gate = Gate(self.tokens.tokens, origins=serve.cors_origins)
        self.quotas = Quotas(serve, LOCAL)
        self.quotas.replace(self.tokens.tokens)
        self.record_watch = RecordWatch(self.record.database)
        ModelMemory.bound(serve.model_memory)
        self.champion = Champion(
            self.record.registry,
            longest_text=serve.max_text,
            load_seconds=serve.load_timeout.total_seconds(),
        )
        # Few, since each holds a body and what it becomes: eight at once would stop the loop for the sum of their time.
        self._long_bodies = ThreadPoolExecutor(LONG_BODIES, thread_name_prefix="long-body")
        self.commits = GroupCommit(
            self.record.log,
            durability=settings.log.durability,
            patience_seconds=settings.log.patience.total_seconds(),
            on_commit=self._committed,
            on_lost=self.metrics.unlogged.inc,
        )
        self.refused = RefusedRecords()
        self.predictor = Predictor(
            self.champion,
            self.commits,
            self.metrics,
            self.refused,
            max_batch=serve.max_batch,
            longest_text=serve.max_text,
            threads=self._long_bodies,
            redact=settings.log.redact,
            seal=self.record.log.seal,
            on_failure=settings.log.on_failure,
            arrival=ArrivalTime(self.record.clock, settings.arrival_column()),
        )
        self.bodies = BodyReader(serve.max_body_mb * BYTES_PER_MB)
        self.deadlines = Deadlines(serve.request_timeout.total_seconds())
        self.follows_requests = settings.clock.source == "requests"
        self.times = TimeLimit(self.record.clock)
        self._checkpointer = Checkpointer(self.record.database)
        await asyncio.to_thread(self._checkpointer.prepare)
        # Threads of its own: a queue of slow requests must not keep a worker from its new champion.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="worker")
        self.commits.start()
        await self._follow()
        self._begin(self._forever(self._follow, serve.refresh.total_seconds()))
        self._begin(self._forever(self._sweep, SWEEP_SECONDS))
        self._begin(self._forever(self._checkpoint, SWEEP_SECONDS))
        self._begin(self._forever(self._look_at_record, LOOK_SECONDS))
        self._begin(self._forever(self._keep_shared_files, SHARED_FILES_SECONDS))
        self._begin(self._forever(self._tell_refusals, TELL_SECONDS))
        self._begin(self._forever(self._follow_tokens, TOKENS_SECONDS))
        if self.gate.open:
            log_line("open to everybody on this machine", host=serve.host, level=logging.WARNING)
        champion = self.champion.current.version if self.champion.current else None
        log_line("worker started", champion=champion, settings=settings.digest())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.commits.stop)
        try:
            await asyncio.to_thread(self._tell, True)
            await asyncio.to_thread(self._write_used, True)
        except Exception as error:  # noqa: BLE001 - with the record away, the rest is closed all the same
            log_line("refusals not told", level=logging.ERROR, reason=repr(error))
        self.metrics.champion(None)
        self._threads.shutdown()
        self._long_bodies.shutdown(cancel_futures=True)
        self.record.close()
        log_line("worker stopped")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _forever(self, step: Callable[[], Coroutine[Any, Any, None]], pause_seconds: float) -> None:
        """Repeats a step; a failing one is logged once until it works again."""
        failing = False
        while True:
            await asyncio.sleep(pause_seconds)
            try:
                await step()
                failing = False
            except Exception as error:  # noqa: BLE001 - a step that is never taken again would not be missed for days
                if not failing:
                    log_line("background work failed", level=logging.ERROR, step=step.__name__, reason=repr(error))
                failing = True

    async def _follow(self) -> None:
        """One look at the champion's role."""
        self.metrics.queue.set(self.commits.depth())
        moved = await asyncio.get_running_loop().run_in_executor(self._threads, self.champion.refresh)
        if isinstance(moved, LoadRefused):
            self.metrics.load_failures.inc()
            log_line(
                "champion refused",
                level=logging.ERROR,
                model_version=moved.version,
                generation=moved.generation,
                serving=moved.serving,
                reason=moved.reason,
            )
        if isinstance(moved, Switched):
            self.metrics.champion(moved.after)
            log_line(
                "champion switched",
                before=moved.before,
                after=moved.after,
                generation=moved.generation,
                seconds=round(moved.seconds, 3),
            )
            # What a model is made of lives long: without it full collections are short.
            gc.collect()
            gc.freeze()

    async def _look_at_record(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self.record_watch.look)

    async def _keep_shared_files(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._keep_files)

    def _keep_files(self) -> None:
        self.metrics.keep()
        self.quotas.keep()
        self._look_at_settings()

    def _look_at_settings(self) -> None:
        changed = file_changed(self.settings)
        if changed and not self._settings_changed:
            log_line("settings file changed", level=logging.WARNING, counts="from the next restart of the service on")
        self._settings_changed = changed

    async def _sweep(self) -> None:
        self.deadlines.sweep()
        self.commits.look()

    def _committed(self, seconds: float, rows: int) -> None:
        self._commits += commits_worth(rows)
        self.metrics.commits.observe(seconds)

    async def _checkpoint(self) -> None:
        if self._checkpointer.due(self._commits):
            await asyncio.get_running_loop().run_in_executor(self._threads, self._checkpointer.run, self._commits)

    async def _follow_tokens(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._look_at_tokens)

    def _look_at_tokens(self) -> None:
        """Reads the tokens' file again where it has changed, and writes down what changed and what was used."""
        try:
            if self.tokens.refresh():
                self._used |= set(self.gate.take_used())
                self.gate.replace(self.tokens.tokens)
                self.quotas.replace(self.tokens.tokens)
                self._tokens_recorded = False
                log_line("tokens changed", tokens=sorted({token.name for token in self.tokens.tokens}))
        except SettingsError as error:
            log_line("tokens not read again", level=logging.ERROR, reason=error.message)
        if not self._tokens_recorded:
            record_tokens(self.record.events, self.tokens.tokens)
            self._tokens_recorded = True
        self._write_used()

    def _write_used(self, at_the_end: bool = False) -> None:
        """When tokens were used last: at the first use, and then once a minute."""
        now = time.monotonic()
        self._used |= set(self.gate.take_used())
        due = {
            each
            for each in self._used
            if at_the_end or now - self._used_written.get(each[1], -math.inf) >= USED_SECONDS
        }
        if not due:
            return
        at = machine_now()
        self.record.samples.put(
            [(LAST_USED, {"token": name, "key": token_key(sha256)}, at.timestamp()) for name, sha256 in sorted(due)], at
        )
        self._used -= due
        self._used_written |= {sha256: now for _, sha256 in due}

    async def _tell_refusals(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._tell)

    def _tell(self, all_of_them: bool = False) -> None:
        """Writes down what is due; what cannot be written now is told another time."""
        counts, refusals = self.refused.due(all_of_them), self.gate.refusals.due(all_of_them)
        try:
            if counts:
                self.record.events.append(RecordsRefused(counts=counts), actor="service")
                counts = {}
            while refusals:
                self._tell_refusal(refusals[0], all_of_them)
                del refusals[0]
        except BaseException:
            self.refused.put_back(counts)
            for refusal in refusals:
                self.gate.refusals.put_back(refusal)
            raise

    def _tell_refusal(self, refusal: Refusal, at_the_end: bool) -> None:
        if not at_the_end and self._told_lately(refusal):
            self.gate.refusals.put_back(refusal)
            return
        event = AccessRefused(reason=refusal.reason, route=refusal.route, count=refusal.count)
        self.record.events.append(event, actor=refusal.name)

    def _told_lately(self, refusal: Refusal) -> bool:
        """Whether another worker told of this caller and route within the minute."""
        log, span = self.record.events, timedelta(seconds=self.gate.refusals.EVERY_SECONDS)
        told, _ = log.page(
            kind=AccessRefused.kind, actor=refusal.name, since=self.record.clock.now() - span, limit=1000
        )
        lately = machine_now() - span
        return any(event.recorded_at >= lately and event.data.get("route") == refusal.route for event in told)
