"""Retrain runs as the watcher sees them: asked for, weighed, started, supervised, ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa

from monitoring.change import ChangeWatch
from monitoring.facts import ask_of_run, gather_facts
from monitoring.trigger import Ask, RetrainDecision, TriggerFacts, decide, worth_saying
from record.clock import machine_now
from record.errors import RunActive, SettingsError
from record.events import RetrainDeclined
from record.failpoint import fail_point
from record.log_lines import log_line
from record.record import Record
from record.settings import Settings
from record.work.leases import Fence
from record.work.requests import Request
from record.work.run import Run
from retrain.child import deadline

ACTOR = "watcher"

# `ringside train` requests a run and starts it itself; one that has not started by then never will.
COMMAND_SECONDS = 60.0
COMMAND = "command"


class Child(Protocol):
    """A run's process. `poll` is None while it lives; both see to it that the run ends in the record."""

    def poll(self) -> int | None: ...

    def kill(self) -> None: ...


StartChild = Callable[[Run, Fence], Child]


class Retraining:
    """One run at a time. For one thread."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        start_child: StartChild,
        *,
        machine_clock: Callable[[], datetime] = machine_now,
    ) -> None:
        self._settings = settings
        self._record = record
        self._start_child = start_child
        self._machine_now = machine_clock
        self._child: Child | None = None
        self._run: Run | None = None
        self._command_seen: tuple[str, float] | None = None
        self._changes = ChangeWatch(settings)
        self._held_back = 0

    @property
    def active(self) -> bool:
        """Whether a run is requested or running, this watcher's or any other."""
        return self._child is not None or self._record.runs.active() is not None

    def weigh(self, found: Sequence[Ask], scheduled: bool, fence: Fence, as_of: datetime) -> RetrainDecision:
        """Decides on what the checks found, on the schedule, and on what the facts themselves ask for.

        A refusal is an event where it says something new (`worth_saying`); the others are counted in the next one.
        """
        asks = list(found)
        if scheduled:
            asks.append(Ask("schedule", ACTOR, f"scheduled: {self._settings.retrain.schedule}"))
        origin = self._changes.origin() if self._settings.retrain.on_change else None
        decision, facts = self._decide(asks, as_of, origin)
        if decision.retrain:
            self._begin(decision, facts, fence, as_of, origin=origin)
        elif decision.asked:
            last = self._record.events.latest(RetrainDeclined.kind)
            if worth_saying(decision, None if last is None else last.data, None if last is None else last.at):
                self._decline(decision, facts, fence, as_of)
                self._held_back = 0
            else:
                self._held_back += 1
        return decision

    def hear(self, fence: Fence, as_of: datetime) -> None:
        """Decides on what operators and alerts ask for, together; and on a run that was requested by name."""
        self._start_requested(fence, as_of)
        pending = self._record.requests.pending()
        if not pending:
            return
        decision, facts = self._decide([_ask(request) for request in pending], as_of)
        if decision.retrain:
            self._begin(decision, facts, fence, as_of, pending)
        else:
            self._decline(decision, facts, fence, as_of, pending)

    def poll(self) -> Run | None:
        """The run that has ended since the last call, this watcher's own."""
        if self._child is None or self._run is None or self._child.poll() is None:
            return None
        run = self._record.runs.get(self._run.run_id)
        if run.active is not None:
            run = self._record.runs.fail(run.run_id, "its process ended without a word")
        log_line("run ended", run_id=run.run_id, state=run.state, version=run.version, seconds=run.seconds)
        self._child = self._run = None
        return run

    def take_up(self, patience: timedelta, fence: Fence) -> None:
        """Goes on with a run that shows no sign of life, as after a watcher's sudden end; or fails it.

        It is failed past its deadline, and where its processes ended again and again.
        """
        if self._child is not None:
            return
        now = self._machine_now()
        for run in self._record.runs.silent(now, patience):
            begun = run.machine_started_at or now
            reason = f"no sign of life for {patience.total_seconds():g} s"
            if now - begun < deadline(self._settings) and self._record.runs.resume(run.run_id, reason, lease=fence):
                self._spawn(run, fence)
                log_line("run taken up", run_id=run.run_id)
            else:
                self._record.runs.fail(run.run_id, f"{reason}; its process is gone", actor=ACTOR)
                log_line("run given up", run_id=run.run_id)

    def stop(self) -> None:
        """Ends the run's process with the run."""
        if self._child is not None:
            self._child.kill()
            self.poll()
        self._child = self._run = None

    def _decide(
        self, asks: Sequence[Ask], as_of: datetime, origin: Mapping[str, str | None] | None = None
    ) -> tuple[RetrainDecision, TriggerFacts]:
        facts = gather_facts(self._record, self._settings, asks, as_of, run_active=self.active, origin=origin)
        return decide(facts, self._settings.retrain), facts

    def _begin(
        self,
        decision: RetrainDecision,
        facts: TriggerFacts,
        fence: Fence,
        as_of: datetime,
        heard: Sequence[Request] = (),
        origin: Mapping[str, str | None] | None = None,
    ) -> None:
        """The run and the answer to those who asked are one transaction: a successor answers nobody again."""
        reason = "; ".join(decision.reasons)
        numbers = {**decision.numbers, "facts": facts.to_json()}
        try:
            with self._record.events.writing() as connection:
                run = self._record.runs.request(
                    decision.trigger,
                    decision.actor,
                    reason,
                    numbers=numbers if origin is None else {**numbers, "origin": origin},
                    lease=fence,
                    connection=connection,
                )
                self._answer(heard, run.run_id, connection)
        except RunActive as active:  # somebody asked in this moment; whoever was heard is heard again
            log_line("run not requested", reason=active.message)
            return
        fail_point("watcher.requested")
        self._start(run, fence, as_of)

    def _decline(
        self,
        decision: RetrainDecision,
        facts: TriggerFacts,
        fence: Fence,
        as_of: datetime,
        heard: Sequence[Request] = (),
    ) -> None:
        numbers = {
            **decision.numbers,
            "obstacles": decision.obstacles,
            "held_back": self._held_back,
            "facts": facts.to_json(),
        }
        event = RetrainDeclined(trigger=decision.trigger, reason="; ".join(decision.reasons), numbers=numbers)
        with self._record.events.writing() as connection:
            fence.check(connection)
            self._record.events.append(event, actor=ACTOR, at=as_of, connection=connection)
            self._answer(heard, None, connection)

    def _answer(self, heard: Sequence[Request], run_id: str | None, connection: sa.Connection) -> None:
        if heard:
            self._record.requests.decide_until(heard[-1].request, run_id, connection)

    def _start_requested(self, fence: Fence, as_of: datetime) -> None:
        """A run in state requested: an operator's, or one of a watcher that died before it began it."""
        if self._child is not None:
            return
        run = self._record.runs.active()
        if run is None or run.state != "requested":
            return
        if run.trigger == COMMAND:
            self._give_up_command(run)
            return
        if run.actor != ACTOR:
            facts = gather_facts(self._record, self._settings, [ask_of_run(run)], as_of, run_active=False)
            decision = decide(facts, self._settings.retrain)
            if not decision.retrain:
                reason = "; ".join(decision.reasons)
                numbers = {**decision.numbers, "obstacles": decision.obstacles, "facts": facts.to_json()}
                self._record.runs.decline(run.run_id, reason, numbers=numbers, lease=fence)
                return
        self._start(run, fence, as_of)

    def _give_up_command(self, run: Run) -> None:
        now = time.monotonic()
        if self._command_seen is None or self._command_seen[0] != run.run_id:
            self._command_seen = run.run_id, now
        elif now - self._command_seen[1] > COMMAND_SECONDS:
            self._record.runs.fail(run.run_id, "the command that requested it did not start it", actor=ACTOR)

    def _start(self, run: Run, fence: Fence, as_of: datetime) -> None:
        if self._spawn(self._record.runs.start(run.run_id, as_of, lease=fence), fence):
            log_line("run started", run_id=run.run_id, trigger=run.trigger, as_of=as_of)

    def _spawn(self, run: Run, fence: Fence) -> bool:
        try:
            self._child = self._start_child(run, fence)
        except (OSError, SettingsError) as error:
            self._record.runs.fail(run.run_id, f"its process could not be started: {error}", actor=ACTOR)
            return False
        self._run = run
        return True


def _ask(request: Request) -> Ask:
    return Ask("alert" if request.kind == "alert" else "operator", request.actor, request.reason)
