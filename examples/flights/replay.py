"""History sent through the front door: each flight is asked for when it was due to leave, and labelled once landed.

Time is what the calls' `Ringside-Time` header says. The replay never passes the watcher's next due time before the
watcher has settled it, so that checks and training take no flight time, however long they take.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from examples.flights.connection import Answer, Connections
from examples.flights.dataset import Flight
from record.errors import RingsideError

# Flights within one slot are under way together; labels are sent at the end of the slot in which a flight landed.
SLOT = timedelta(hours=1)
RESENDS = 3
SETTLE_SECONDS = 300.0  # no check and no bounded training takes so long
# Asked soon, since most due times are settled in a moment, then less and less often: an answer costs the service
# as much as ten predictions.
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.05, 0.5


class ReplayError(RingsideError):
    """The service or the watcher does not go on, and so neither can the replay."""

    code = "replay_stopped"


@dataclass(slots=True)
class Tally:
    """What was sent and how it was answered. `resent` counts broken connections, after which ids make it safe."""

    requests: int = 0
    failed: int = 0
    resent: int = 0
    labels: int = 0
    failed_labels: int = 0
    settlements: int = 0
    settle_seconds: float = 0.0  # spent waiting for the watcher: checks, bouts and training
    answered_by: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Timetable:
    """The flights as two queues: those that leave, by scheduled departure, and those that land, by landing."""

    def __init__(self, flights: Sequence[Flight]) -> None:
        self._leaving = sorted(flights, key=lambda flight: flight.scheduled)
        landed = [flight for flight in flights if flight.landed is not None]
        self._landing = sorted(landed, key=_landed)
        self._left = self._arrived = 0
        times = [flight.scheduled for flight in self._leaving] + [_landed(flight) for flight in landed]
        self.starts = min(times, default=None)
        self.ends = max(times, default=None)

    def until(self, at: datetime) -> tuple[list[Flight], list[Flight]]:
        """The flights that leave, and those that land, after the last call's time and up to `at`."""
        first_leaving, first_landing = self._left, self._arrived
        while self._left < len(self._leaving) and self._leaving[self._left].scheduled <= at:
            self._left += 1
        while self._arrived < len(self._landing) and _landed(self._landing[self._arrived]) <= at:
            self._arrived += 1
        return self._leaving[first_leaving : self._left], self._landing[first_landing : self._arrived]


def _landed(flight: Flight) -> datetime:
    assert flight.landed is not None
    return flight.landed


def next_stop(now: datetime, due: datetime | None, ends: datetime) -> datetime:
    """How far time may go on in one step: the end of the slot, but never past the watcher's next due time."""
    stop = min(now + SLOT, ends)
    return stop if due is None else min(stop, due)


class Replay:
    """Sends the flights over `connections`; `pauses` are called in order, each when its time is reached."""

    def __init__(
        self,
        connections: Connections,
        flights: Sequence[Flight],
        *,
        under_way: int = 64,
        on_step: Callable[[datetime, Tally], None] = lambda _at, _tally: None,
        pauses: Sequence[tuple[datetime, Callable[[], Awaitable[None]]]] = (),
    ) -> None:
        self.tally = Tally()
        self._connections = connections
        self._timetable = Timetable(flights)
        self._under_way = asyncio.Semaphore(under_way)
        self._on_step = on_step
        self._pauses = sorted(pauses, key=lambda pause: pause[0])

    async def run(self) -> None:
        """Returns when the last flight has landed and the watcher has settled every due time up to then."""
        now, ends = self._timetable.starts, self._timetable.ends
        if now is None or ends is None:
            return
        due = await self._settled(now)
        while now < ends:
            stop = next_stop(now, due, ends)
            await self._advance(stop)
            if due is not None and stop >= due:
                due = await self._settled(stop)
            now = stop
            while self._pauses and self._pauses[0][0] <= now:
                await self._pauses.pop(0)[1]()
            self._on_step(now, self.tally)

    async def _advance(self, stop: datetime) -> None:
        leaving, landed = self._timetable.until(stop)
        await asyncio.gather(*map(self._predict, leaving))
        if landed:
            await self._label(landed, stop)

    async def _predict(self, flight: Flight) -> None:
        body = json.dumps({"records": [flight.record], "ids": [flight.id]}).encode()
        async with self._under_way:
            answer = await self._post("/predict", body, flight.scheduled)
        self.tally.requests += 1
        if answer.status == 200:
            self.tally.answered_by[json.loads(answer.body)["model_version"]] += 1
        else:
            self.tally.failed += 1
            self._note(answer)

    async def _label(self, flights: Sequence[Flight], at: datetime) -> None:
        labels = [{"id": flight.id, "label": flight.label} for flight in flights]
        answer = await self._post("/labels", json.dumps({"labels": labels}).encode(), at)
        accepted = json.loads(answer.body)["accepted"] if answer.status == 200 else 0
        self.tally.labels += accepted
        self.tally.failed_labels += len(flights) - accepted
        if accepted < len(flights):
            self._note(answer)

    async def _settled(self, at: datetime) -> datetime | None:
        """Moves the record's clock to `at` and waits until all that is due by then is done; the next due time."""
        answer = await self._post("/labels", b'{"labels": []}', at)
        if answer.status != 200:
            raise ReplayError(f"the clock cannot be moved to {at:%Y-%m-%d %H:%M}: {_text(answer)}")
        self.tally.settlements += 1
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), FIRST_LOOK_SECONDS
        while loop.time() - began < SETTLE_SECONDS:
            await asyncio.sleep(pause)
            pause = min(1.3 * pause, LAST_LOOK_SECONDS)
            watcher = await self._watcher()
            settled, due = _instant(watcher.get("settled_until")), _instant(watcher.get("next_due_at"))
            if settled is not None and settled >= at and due is not None and due > at:
                self.tally.settle_seconds += loop.time() - began
                return due
            self._on_step(at, self.tally)
        raise ReplayError(f"the watcher has not settled {at:%Y-%m-%d %H:%M} within {SETTLE_SECONDS:.0f} seconds")

    async def _watcher(self) -> dict[str, Any]:
        answer = await self._connections.get("/status")
        if answer.status != 200:
            return {}
        watcher: dict[str, Any] = json.loads(answer.body)["watcher"]
        return watcher

    async def _post(self, path: str, body: bytes, at: datetime) -> Answer:
        headers = f"Ringside-Time: {at:%Y-%m-%dT%H:%M:%S}Z\r\n"
        answer = await self._connections.post(path, body, headers)
        for _ in range(RESENDS):
            if answer.status != 0:
                break
            self.tally.resent += 1
            await asyncio.sleep(0.2)
            answer = await self._connections.post(path, body, headers)
        return answer

    def _note(self, answer: Answer) -> None:
        if len(self.tally.failures) < 20:
            self.tally.failures.append(_text(answer))


def _text(answer: Answer) -> str:
    return f"{answer.status or 'connection broken'} {answer.body.decode(errors='replace')[:300]}"


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
