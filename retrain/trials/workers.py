"""Trials side by side: processes that judge configurations on the same rows.

A worker is a fork of the run: it shares the rows with it, and what it makes of a configuration is what the run itself
would make of it, in one thread. It ends when the run does: its pipe closes then.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrain.models.configuration import Configuration
from retrain.timetable import Clocks
from retrain.trials.validation import Judged, Validation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial: it was judged, or `error` says why not."""

    number: int
    judged: Judged | None
    seconds: float
    processor_seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A trial to judge; given up between two folds behind `until`, by the wall's clock."""

    number: int
    configuration: Configuration
    until: float | None
    best: npt.NDArray[np.float64] | None = None  # the best trial's answers, beside which it may be hopeless


class Crew(Protocol):
    """Who judges. For one thread."""

    def free(self) -> bool:
        """Whether another order would be begun at once."""

    def give(self, order: Order) -> None: ...

    def outcomes(self, seconds: float | None) -> list[Outcome]:
        """What has ended, waiting for something to at most so long; nothing where nothing is under way."""

    def dismiss(self) -> list[Order]:
        """Ends what is under way, and everybody; what was under way."""


def crew(judge: Validation, processes: int, clocks: Clocks) -> Crew:
    """As many processes as asked for, where they can be had; the run itself where it is one."""
    if processes < 2 or sys.platform != "linux":  # elsewhere libraries do not outlive a fork
        return Alone(judge, clocks)
    return Workers(judge, processes, clocks)


class Alone:
    """The run judges itself, one order at a time."""

    def __init__(self, judge: Validation, clocks: Clocks) -> None:
        self._judge = judge
        self._clocks = clocks
        self._orders: deque[Order] = deque()

    def free(self) -> bool:
        return not self._orders

    def give(self, order: Order) -> None:
        self._orders.append(order)

    def outcomes(self, seconds: float | None) -> list[Outcome]:
        return [_carried_out(self._judge, self._orders.popleft(), self._clocks)] if self._orders else []

    def dismiss(self) -> list[Order]:
        self._judge.forget()
        left = list(self._orders)
        self._orders.clear()
        return left


class Workers:
    def __init__(self, judge: Validation, count: int, clocks: Clocks) -> None:
        self._alone = Alone(judge, clocks)
        self._idle: list[Connection] = []
        self._busy: dict[Connection, Order] = {}
        self._processes: list[BaseProcess] = []
        context = multiprocessing.get_context("fork")
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(judge, theirs, [*self._idle, ours], clocks), daemon=True)
            process.start()
            theirs.close()
            self._idle.append(ours)
            self._processes.append(process)

    def free(self) -> bool:
        return bool(self._idle) or (not self._busy and self._alone.free())

    def give(self, order: Order) -> None:
        if not self._idle:  # all of them were ended
            self._alone.give(order)
            return
        pipe = self._idle.pop(0)
        self._busy[pipe] = order
        try:
            pipe.send(order)
        except OSError:  # it is gone, which `outcomes` finds
            return

    def outcomes(self, seconds: float | None) -> list[Outcome]:
        ended = self._alone.outcomes(seconds)
        for ready in wait(list(self._busy), seconds) if self._busy else []:
            assert isinstance(ready, Connection)
            order = self._busy.pop(ready)
            try:
                ended.append(ready.recv())
                self._idle.append(ready)
            except (EOFError, OSError):  # ended by somebody else, as for want of memory; the others go on
                ready.close()
                ended.append(Outcome(order.number, None, 0.0, 0.0, "its process was ended"))
        return ended

    def dismiss(self) -> list[Order]:
        left = [*self._busy.values(), *self._alone.dismiss()]
        for process in self._processes:
            process.kill()
            process.join()
        for pipe in [*self._idle, *self._busy]:
            pipe.close()
        self._idle, self._busy, self._processes = [], {}, []
        return left


def _serve(judge: Validation, pipe: Connection, others: list[Connection], clocks: Clocks) -> None:
    """In the worker: orders, one after another, until the pipe closes."""
    gc.freeze()  # what the run holds, as connections to its database, is not this process's to close
    for other in others:
        other.close()
    while True:
        try:
            pipe.send(_carried_out(judge, pipe.recv(), clocks))
        except (EOFError, OSError):
            os._exit(0)


def _carried_out(judge: Validation, order: Order, clocks: Clocks) -> Outcome:
    began = clocks.now()
    judged, failure = None, None
    try:
        judged = judge.judge(order.configuration, _passed(order.until, clocks), order.best)
    except (ValueError, ArithmeticError, MemoryError, TimeoutError) as error:  # numpy's LinAlgError is a ValueError
        failure = str(error) or type(error).__name__
    return Outcome(order.number, judged, *clocks.since(began), failure)


def _passed(until: float | None, clocks: Clocks) -> Callable[[], bool]:
    return lambda: until is not None and clocks.wall() > until
