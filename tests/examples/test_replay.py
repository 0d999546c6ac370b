"""The replay keeps the order of time, never passes a due time that is not settled, and loses no answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httptools
import pandas as pd
import uvloop

from examples.flights.connection import Answer, Connections
from examples.flights.dataset import Flight
from examples.flights.replay import Replay, Timetable, next_stop

START = datetime(2013, 3, 1, 6, tzinfo=UTC)


def flight(name: str, leaves: float, lands: float | None) -> Flight:
    """Leaving and landing in hours after START."""
    at = pd.Timestamp(START + timedelta(hours=leaves))
    landed = None if lands is None else pd.Timestamp(START + timedelta(hours=lands))
    return Flight(name, at, {"flight": name}, landed, None if lands is None else "late")


def test_time_goes_on_by_slots_and_stops_where_something_is_due() -> None:
    due = START + timedelta(minutes=20)
    assert next_stop(START, None, START + timedelta(days=1)) == START + timedelta(hours=1)
    assert next_stop(START, due, START + timedelta(days=1)) == due
    assert next_stop(START, None, START + timedelta(minutes=5)) == START + timedelta(minutes=5)


def test_the_timetable_gives_each_departure_and_landing_once() -> None:
    table = Timetable([flight("b", 2, 3), flight("a", 1, 5), flight("cancelled", 2.5, None)])
    leaving, landed = table.until(START + timedelta(hours=2))
    assert ([f.id for f in leaving], [f.id for f in landed]) == (["a", "b"], [])
    leaving, landed = table.until(START + timedelta(hours=9))
    assert ([f.id for f in leaving], [f.id for f in landed]) == (["cancelled"], ["b", "a"])
    assert table.ends == START + timedelta(hours=5)


class Ringside:
    """A server that keeps what the contract says of the clock: settled and due times on a grid of six hours."""

    def __init__(self, break_first: bool = False) -> None:
        self.calls: list[tuple[str, datetime, list[str]]] = []
        self.clock = START
        self.polls = 0
        self.break_next = break_first
        self.serving: list[asyncio.Task[Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.append(task)
        message: dict[str, Any] = {}

        class Heard:
            def on_message_begin(self) -> None:
                message.update(headers={}, body=b"", done=False)

            def on_url(self, url: bytes) -> None:
                message["url"] = url.decode()

            def on_header(self, name: bytes, value: bytes) -> None:
                message["headers"][name.lower()] = value.decode()

            def on_body(self, body: bytes) -> None:
                message["body"] += body

            def on_message_complete(self) -> None:
                answers.append(answer(message["url"], message["headers"], message["body"]))

        answers: list[bytes] = []
        answer = self._answer
        parser = httptools.HttpRequestParser(Heard())
        while data := await reader.read(65536):
            if self.break_next:
                self.break_next = False
                break
            parser.feed_data(data)
            for body in answers:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answers.clear()
        writer.close()
        await writer.wait_closed()

    def _answer(self, url: str, headers: dict[bytes, str], body: bytes) -> bytes:
        if url == "/status":
            self.polls += 1
            behind = timedelta(hours=1) if self.polls % 2 else timedelta(0)  # settles at the second look only
            grid = START + ((self.clock - START) // timedelta(hours=6) + 1) * timedelta(hours=6)
            watcher = {"settled_until": (self.clock - behind).isoformat(), "next_due_at": grid.isoformat()}
            return json.dumps({"watcher": watcher}).encode()
        at = datetime.fromisoformat(headers[b"ringside-time"])
        self.clock = max(self.clock, at)
        told = json.loads(body)
        if url == "/predict":
            self.calls.append(("predict", at, told["ids"]))
            return json.dumps({"model_version": "v1", "predictions": []}).encode()
        self.calls.append(("labels", at, [label["id"] for label in told["labels"]]))
        return json.dumps({"accepted": len(told["labels"])}).encode()


def replayed(ringside: Ringside, play: Callable[[Connections], Awaitable[None]]) -> None:
    async def run() -> None:
        server = await asyncio.start_server(ringside.serve, "127.0.0.1", 0)
        connections = Connections("127.0.0.1", server.sockets[0].getsockname()[1], 2)
        await play(connections)
        connections.close()
        await asyncio.gather(*ringside.serving)
        server.close()
        await server.wait_closed()

    uvloop.run(run())


def test_answers_of_pipelined_requests_find_their_requests() -> None:
    ringside = Ringside()
    seen: list[Answer] = []

    async def play(connections: Connections) -> None:
        sent = [
            connections.post(
                "/labels", json.dumps({"labels": [{"id": "x"}] * n}).encode(), f"Ringside-Time: {START}\r\n"
            )
            for n in range(20)
        ]
        seen.extend(await asyncio.gather(*sent))

    replayed(ringside, play)
    assert [json.loads(answer.body)["accepted"] for answer in seen] == list(range(20))


def test_a_flight_is_asked_for_then_labelled_when_it_has_landed() -> None:
    ringside, flights = Ringside(), [flight("a", 0, 4), flight("b", 7.5, 9), flight("never", 8, None)]

    async def play(connections: Connections) -> None:
        replay = Replay(connections, flights)
        await replay.run()
        assert (replay.tally.requests, replay.tally.failed, replay.tally.labels) == (3, 0, 2)

    replayed(ringside, play)
    told = [(kind, ids) for kind, _, ids in ringside.calls if ids]
    assert told == [
        ("predict", ["a"]),
        ("labels", ["a"]),
        ("predict", ["b"]),
        ("predict", ["never"]),
        ("labels", ["b"]),
    ]


def test_the_replay_stops_at_each_due_time_until_it_is_settled() -> None:
    ringside, stops = Ringside(), [START + timedelta(hours=6), START + timedelta(hours=12)]

    async def play(connections: Connections) -> None:
        await Replay(connections, [flight("a", 0, 4), flight("b", 11.9, 13)]).run()

    replayed(ringside, play)
    ticks = [at for kind, at, ids in ringside.calls if kind == "labels" and not ids]
    assert ticks == [START, *stops]


def test_a_broken_connection_is_no_lost_request() -> None:
    async def play(connections: Connections) -> None:
        replay = Replay(connections, [flight("a", 0, 1)])
        await replay.run()
        assert (replay.tally.requests, replay.tally.failed, replay.tally.resent) == (1, 0, 1)

    replayed(Ringside(break_first=True), play)


def test_a_pause_is_taken_once_its_time_is_reached() -> None:
    taken: list[int] = []

    async def play(connections: Connections) -> None:
        async def pause() -> None:
            taken.append(len(ringside.calls))

        await Replay(connections, [flight("a", 0, 9)], pauses=[(START + timedelta(hours=5), pause)]).run()

    ringside = Ringside()
    replayed(ringside, play)
    assert len(taken) == 1
