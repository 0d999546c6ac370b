"""Bounds of all connections of one server together: how many, how long they wait, how many bytes they hold.

Looked at twice a second as long as there are any. What is cut counts by its reason.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from record.log_lines import log_line
from service.http.uvicorn_parts import ServerState
from service.metrics import CutReason

SWEEP_SECONDS: Final = 0.5  # how late a connection may be cut
# Of the process's open files, so many are left for databases and models.
SPARE_FILES: Final = 128
MOST_UNSENT_BYTES: Final = 64_000_000  # of answers, in all connections together
MOST_AHEAD_BYTES: Final = 32_000_000  # of requests behind the one that a connection has under way
THROW_AWAY_SECONDS: Final = 2.0  # in which a refused client may still send, so that it reads its answer, not a reset
# A connection is closed so much later than clients are told: a request that was sent in the last moment still comes.
KEEP_ALIVE_GRACE_SECONDS: Final = 2.0
# Of requests that were sent ahead, so many are begun, or for so long, before all other connections have their turn.
TURN_REQUESTS: Final = 8
TURN_SECONDS: Final = 0.002


def most_connections() -> int:
    """How many connections a process holds at most, by its limit of open files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        limit = 65_536
    return max(16, min(16_384, limit - SPARE_FILES))


class Bounded(Protocol):
    """A connection, as far as its bounds are concerned."""

    transport: asyncio.Transport

    @property
    def head_seconds(self) -> float:
        """The time in which a request's headers must be complete."""

    @property
    def answer_seconds(self) -> float:
        """The time in which an answer must have been taken."""

    @property
    def keep_alive_seconds(self) -> float:
        """The time for which clients are told that it stays open between two requests."""

    def go_on(self) -> None:
        """Parse what was sent ahead."""

    def refuse_late(self) -> None:
        """End it, for its headers were not complete in time."""

    def close_idle(self) -> None:
        """Close it, unless its next request has come in this moment."""


class CutCounter(Protocol):
    """Whoever counts the connections that were cut, by their reasons."""

    def connections_cut(self, counts: Mapping[str, int]) -> None: ...


class Connections:
    """The connections of one server. In each table the oldest comes first."""

    def __init__(self, state: ServerState, loop: asyncio.AbstractEventLoop, counter: CutCounter | None = None) -> None:
        self._state = state
        self._loop = loop
        self._most = most_connections()
        self._swept = False
        # Connections whose next request has begun, or that never had one, by when.
        self.heads: dict[Bounded, float] = {}
        self.idle: dict[Bounded, float] = {}  # between two requests, by when
        self.unsent: dict[Bounded, tuple[float, int]] = {}  # since when, and how many bytes
        self.ahead: dict[Bounded, int] = {}  # how many bytes
        self.ending: dict[Bounded, float] = {}  # answered for the last time, by when
        self._unsent_bytes = self._ahead_bytes = 0
        self._turns: deque[Bounded] = deque()
        self._cut: dict[str, int] = {}
        self._counter = counter

    def add(self, connection: Bounded) -> None:
        """Where there are too many, the one that has waited longest for its headers makes room."""
        if len(self._state.connections) > self._most:
            self.cut(next(iter(self.heads or self.idle), connection), "too_many")
        self.heads[connection] = self._loop.time()
        if not self._swept:
            self._swept = True
            self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def begin(self, connection: Bounded) -> None:
        """A request has begun."""
        self.idle.pop(connection, None)
        self.heads.setdefault(connection, self._loop.time())

    def answered(self, connection: Bounded) -> None:
        self.idle[connection] = self._loop.time()

    def end(self, connection: Bounded) -> None:
        """Nothing more is read from it: it is given a moment to read its answer, and then cut."""
        self.idle.pop(connection, None)
        self.ending.setdefault(connection, self._loop.time())

    def remove(self, connection: Bounded) -> None:
        for table in (self.heads, self.idle, self.ending):
            table.pop(connection, None)
        self.sent(connection)
        self.taken(connection)

    def keep_unsent(self, connection: Bounded, size: int) -> None:
        """An answer that its client has not taken at once; the oldest are cut where there are too many bytes."""
        self.unsent[connection] = (self._loop.time(), size)
        self._unsent_bytes += size
        while self._unsent_bytes > MOST_UNSENT_BYTES and len(self.unsent) > 1:
            self.cut(next(iter(self.unsent)), "slow_to_read")

    def sent(self, connection: Bounded) -> None:
        self._unsent_bytes -= self.unsent.pop(connection, (0.0, 0))[1]

    def keep_ahead(self, connection: Bounded, size: int) -> None:
        """Bytes behind the request that is under way; the oldest are cut where there are too many."""
        self.taken(connection)
        self.ahead[connection] = size
        self._ahead_bytes += size
        while self._ahead_bytes > MOST_AHEAD_BYTES and len(self.ahead) > 1:
            self.cut(next(iter(self.ahead)), "sent_ahead")

    def taken(self, connection: Bounded) -> None:
        self._ahead_bytes -= self.ahead.pop(connection, 0)

    def queue(self, connection: Bounded) -> None:
        """Lets a connection parse on what it sent ahead, once those who waited for their answers had their turn."""
        if not self._turns:
            self._loop.call_soon(self._take_turns)
        self._turns.append(connection)

    def _take_turns(self) -> None:
        until = time.perf_counter() + TURN_SECONDS
        for _ in range(min(TURN_REQUESTS, len(self._turns))):
            self._turns.popleft().go_on()
            if time.perf_counter() > until:
                break
        if self._turns:
            self._loop.call_soon(self._take_turns)

    def cut(self, connection: Bounded, reason: CutReason) -> None:
        self.remove(connection)
        connection.transport.abort()
        self.count(reason)

    def count(self, reason: CutReason) -> None:
        self._cut[reason] = self._cut.get(reason, 0) + 1

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in _older(self.heads, now, lambda held: held.head_seconds):
            self.count("slow_to_send")
            connection.refuse_late()
        for connection in _older(self.ending, now, lambda held: THROW_AWAY_SECONDS):
            self.remove(connection)
            connection.transport.abort()
        unsent = {connection: since for connection, (since, _) in self.unsent.items()}
        for connection in _older(unsent, now, lambda held: held.answer_seconds):
            self.cut(connection, "slow_to_read")
        for connection in _older(self.idle, now, lambda held: held.keep_alive_seconds + KEEP_ALIVE_GRACE_SECONDS):
            connection.close_idle()
        self._report()
        self._swept = bool(self._state.connections)
        if self._swept:
            self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _report(self) -> None:
        if not self._cut:
            return
        counts, self._cut = self._cut, {}
        facts: dict[str, Any] = dict(counts.items())
        log_line("connections cut", level=logging.WARNING, **facts)
        if self._counter is not None:
            self._counter.connections_cut(counts)


def _older(table: dict[Bounded, float], now: float, seconds: Callable[[Bounded], float]) -> list[Bounded]:
    found = []
    for connection, since in table.items():
        if now - since <= seconds(connection):
            break
        found.append(connection)
    return found
