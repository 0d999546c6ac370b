"""The guard in front of every route, called as the server calls it, with a layer behind it that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from service.http.asgi import App, Message, Receive, Scope, Send
from service.http.front import PASSED, Front
from service.worker import Deadlines, Worker
from tests.service.serving import Client, make_settings, running

REFUSED = "the request took longer than serve.request_timeout allows"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client]]:
    with running(make_settings(tmp_path_factory.mktemp("front"), {"serve": {"max_concurrency": 1}})) as service:
        yield service


@pytest.fixture
def worker(served: tuple[Worker, Client]) -> Worker:
    """One whose requests are all too late, once the deadlines are swept."""
    served[0].deadlines = Deadlines(-1.0)
    return served[0]


def scope_of(path: str = "/status", method: str = "GET", kind: str = "http") -> Scope:
    return {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:3000")],
        "server": ("127.0.0.1", 3000),
        "client": ("127.0.0.1", 50000),
    }


class Connection:
    """One client's: what it was sent, and a body that it sends in one piece before it goes."""

    def __init__(self, body: bytes = b"") -> None:
        self.sent: list[Message] = []
        self._messages = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]
        self.received = 0

    async def receive(self) -> Message:
        self.received += 1
        return self._messages[min(self.received, len(self._messages)) - 1]

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def starts(self) -> list[int]:
        return [message["status"] for message in self.sent if message["type"] == "http.response.start"]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Behind:
    """A layer behind the guard: what it does is given, what it was called with is kept."""

    def __init__(self, act: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None) -> None:
        self._act = act
        self.called: list[Scope] = []
        self.entered = asyncio.Event()
        self.send: Send | None = None

    async def reached(self, task: asyncio.Future[Any]) -> None:
        """Until the request is here; at once where it was answered before."""
        entered = asyncio.ensure_future(self.entered.wait())
        await asyncio.wait([entered, task], return_when=asyncio.FIRST_COMPLETED)
        entered.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.called.append(scope)
        self.send = send
        self.entered.set()
        if self._act is not None:
            await self._act(scope, receive, send)


async def forever(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def begin_and_wait(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.Event().wait()


async def begin_and_end(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def given_up(front: App, behind: Behind, worker: Worker, connection: Connection) -> asyncio.Task[None]:
    """A request that has come to the layer behind, and is then given up at its deadline."""
    task = asyncio.ensure_future(front(scope_of(), connection.receive, connection.send))
    await behind.reached(task)
    worker.deadlines.sweep()
    await asyncio.wait([task])
    return task


@pytest.mark.parametrize("path", ["/", "/status", "/predict"])
def test_a_websocket_is_closed_before_any_layer_sees_it(served: tuple[Worker, Client], path: str) -> None:
    """No route has one, and the layers behind would accept it unguarded."""

    async def connect() -> tuple[list[Message], list[Scope]]:
        behind, connection = Behind(), Connection()
        await Front(behind, served[0])(scope_of(path, kind="websocket"), connection.receive, connection.send)
        return connection.sent, behind.called

    assert served[1].call(connect) == ([{"type": "websocket.close", "code": 1008}], [])


def test_a_request_that_was_let_through_is_not_guarded_again(served: tuple[Worker, Client]) -> None:
    """At start-up the guard moves before the layers that it stands among, and meets its own requests again."""

    async def twice() -> tuple[list[int], list[Scope]]:
        behind, connection = Behind(begin_and_end), Connection()
        front = Front(behind, served[0])

        async def layers(scope: Scope, receive: Receive, send: Send) -> None:
            await front(scope, receive, send)

        outer = SimpleNamespace(middleware_stack=layers)
        await front({"type": "lifespan", "app": outer}, connection.receive, connection.send)
        assert outer.middleware_stack is front
        await front(scope_of(), connection.receive, connection.send)
        return connection.starts, behind.called

    served[0].deadlines = Deadlines(60.0)
    starts, called = served[1].call(twice)
    assert starts == [200, 200]  # the layer behind answers the lifespan's call, too
    assert called[1][PASSED] is True


def test_each_request_is_counted_with_the_status_that_its_client_saw(
    worker: Worker, served: tuple[Worker, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given up, broken off, cancelled, or answered: once each."""
    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(worker.metrics, "request", lambda label, status, _seconds: counted.append((label, status)))

    async def late(act: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        behind = Behind(act)
        await given_up(Front(behind, worker), behind, worker, Connection())

    for act in (forever, begin_and_wait, begin_and_end):
        served[1].call(lambda act=act: late(act))
    assert counted == [("/status", 503), ("/status", 200), ("/status", 200)]


def test_a_request_given_up_is_answered_once_and_what_comes_later_is_dropped(
    worker: Worker, served: tuple[Worker, Client]
) -> None:
    """A layer behind that still speaks does not speak into the next request on the connection."""

    async def late() -> tuple[Connection, int]:
        behind, connection = Behind(forever), Connection()
        await given_up(Front(behind, worker), behind, worker, connection)
        answered = len(connection.sent)
        assert behind.send is not None
        await behind.send({"type": "http.response.start", "status": 200, "headers": []})
        await behind.send({"type": "http.response.body", "body": b"late"})
        return connection, answered

    connection, answered = served[1].call(late)
    assert connection.starts == [503]
    assert REFUSED in connection.body.decode()
    assert len(connection.sent) == answered


def test_an_answer_that_has_begun_is_not_followed_by_another(worker: Worker, served: tuple[Worker, Client]) -> None:
    """It is broken off instead, so that its client sees that it is not whole."""

    async def broken_off() -> tuple[Connection, bool]:
        behind, connection = Behind(begin_and_wait), Connection()
        task = await given_up(Front(behind, worker), behind, worker, connection)
        return connection, task.cancelled()

    connection, cancelled = served[1].call(broken_off)
    assert connection.starts == [200]
    assert cancelled


def test_a_cancellation_from_elsewhere_is_no_late_answer(worker: Worker, served: tuple[Worker, Client]) -> None:
    """At shutdown the server cancels: nothing is said of a deadline, and the task ends as cancelled."""

    async def shut_down() -> tuple[Connection, bool]:
        behind, connection = Behind(forever), Connection()
        task = asyncio.ensure_future(Front(behind, worker)(scope_of(), connection.receive, connection.send))
        await behind.reached(task)
        task.cancel()
        await asyncio.wait([task])
        return connection, task.cancelled()

    connection, cancelled = served[1].call(shut_down)
    assert connection.sent == []
    assert cancelled


def test_a_task_goes_on_behind_a_late_answer(worker: Worker, served: tuple[Worker, Client]) -> None:
    """Its server's own waits and time limits are not cancelled with the request."""

    async def two_requests() -> tuple[list[int], int]:
        behind, connection = Behind(forever), Connection()
        front = Front(behind, worker)

        async def serve() -> int:
            async with asyncio.timeout(None):
                await front(scope_of(), connection.receive, connection.send)
                await asyncio.sleep(0)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        serving = asyncio.ensure_future(serve())
        await behind.reached(serving)
        worker.deadlines.sweep()
        return connection.starts, await serving

    starts, cancelling = served[1].call(two_requests)
    assert cancelling == 0
    assert starts in ([], [503])


def test_a_place_and_a_body_s_memory_are_given_back_however_a_request_ends(
    worker: Worker, served: tuple[Worker, Client]
) -> None:
    """Answered, failed behind, given up or cancelled: the next has the only place, and all the room."""
    body = b'{"reason": "' + b"x" * 1000 + b'"}'

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ArithmeticError("a fault behind")

    behind = Behind()
    front = Front(behind, worker)

    async def end(act: Callable[[Scope, Receive, Send], Awaitable[None]], how: str) -> list[int]:
        behind._act, behind.entered, connection = act, asyncio.Event(), Connection(body)
        task = asyncio.ensure_future(front(scope_of("/retrain", "POST"), connection.receive, connection.send))
        await behind.reached(task)
        if how == "late":
            worker.deadlines.sweep()
        elif how == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        return connection.starts

    held = worker.bodies._held
    ways = [(begin_and_end, "", [200]), (fail, "", [500]), (forever, "late", [503]), (forever, "cancelled", [])]
    for act, how, starts in 2 * ways:
        assert served[1].call(lambda act=act, how=how: end(act, how)) == starts
        assert worker.bodies._held == held


def test_a_layer_behind_gets_the_body_once(served: tuple[Worker, Client]) -> None:
    """Whoever asks again hears from the connection: that the client has gone, and not the same body for ever."""
    messages: list[Message] = []

    async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
        messages.extend([await receive(), await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def post() -> list[int]:
        behind, connection = Behind(read_all), Connection(b'{"reason": "why not"}')
        await Front(behind, served[0])(scope_of("/retrain", "POST"), connection.receive, connection.send)
        return connection.starts

    served[0].deadlines = Deadlines(60.0)
    assert served[1].call(post) == [200]
    assert messages == [
        {"type": "http.request", "body": b'{"reason": "why not"}', "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize("status", [200, 404, 429, 503])
def test_every_answer_has_what_answers_have(served: tuple[Worker, Client], status: int) -> None:
    """Whichever layer made it; what it said itself stays."""
    own: list[tuple[bytes, bytes]] = [(b"content-type", b"text/plain")]

    def answering(headers: list[tuple[bytes, bytes]]) -> App:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

        return answer

    async def get(headers: list[tuple[bytes, bytes]]) -> Any:
        connection = Connection()
        await Front(answering(headers), served[0])(scope_of(), connection.receive, connection.send)
        return connection.sent[0]["headers"]

    busy = [(b"retry-after", b"1")] if status in (429, 503) else []
    assert served[1].call(lambda: get(own)) == [*own, (b"x-content-type-options", b"nosniff"), *busy]
    said = [(b"x-content-type-options", b"nosniff"), (b"retry-after", b"7")]
    assert served[1].call(lambda: get(said)) == said
