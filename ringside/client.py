"""A small client of the service: `ringside.Client`, and `ringside.AsyncClient` for asyncio.

    with ringside.Client("http://127.0.0.1:3000", token="…") as client:
        answer = client.predict_one({"distance": 500, "carrier": "AA"}, id="order-17")
        client.label({"order-17": "late"})

Every record has an id before it is sent, its caller's or a new one: so a request whose answer was lost on the way is
sent again with the same ids, and the log answers it as it did the first time. What is not reached or busy (502, 503
and 504) is tried again until `patience` is over, waiting at least as long as Retry-After says. What moves a role or
asks for a run is sent once: it is tried again only where nothing of it was sent, or nothing was done.

Answers are as the API gives them (`service.http.answers` has their types), but for predictions and labels taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from ringside.messages import (
    Attempts,
    Call,
    Label,
    LabelsTaken,
    Prediction,
    Record,
    Records,
    RequestRefused,
    Unreachable,
    checked_batch,
    checked_url,
    expect_success,
    label_calls,
    move,
    one,
    operation,
    page_size,
    predict_calls,
    query,
    read_labels_taken,
    read_predictions,
    time_headers,
    token_headers,
)

if TYPE_CHECKING:
    from service.http.answers import (
        Event,
        Explanation,
        Model,
        RoleMove,
        Run,
        RunRequested,
        StandingChange,
        Status,
    )

__all__ = ["AsyncClient", "Client", "Label", "LabelsTaken", "Prediction", "Record", "RequestRefused", "Unreachable"]


class Client:
    """A client for threads. One may be shared between them; close it, or use it in a `with` block."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:3000",
        *,
        token: str | None = None,
        timeout: float = 10.0,
        patience: float = 30.0,
        batch: int = 1000,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`timeout` seconds for one attempt, `patience` for all of one request's; `batch` records in one request."""
        self._http = httpx.Client(
            base_url=checked_url(url), headers=token_headers(token), timeout=timeout, transport=transport
        )
        self._patience = patience
        self._batch = checked_batch(batch)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(
        self, records: Records, ids: Iterable[str] | None = None, *, at: datetime | None = None
    ) -> list[Prediction]:
        """Each record's answer, in order; many records go in several requests, one after the other.

        `records` are mappings of columns to values, or the rows of a data frame. `at` is the requests' own time, for
        a service whose clock follows its requests. Raises RequestRefused, with what came before the refused batch
        already answered and logged, or Unreachable; TypeError or ValueError for a value that cannot be sent.
        """
        answered: list[Prediction] = []
        for call in predict_calls(records, ids, self._batch):
            answered += read_predictions(self._send(call, at))
        return answered

    def predict_one(self, record: Record, id: str | None = None, *, at: datetime | None = None) -> Prediction:
        """One record's answer."""
        return self.predict([record], None if id is None else [id], at=at)[0]

    def label(self, labels: Mapping[str, Label], *, correct: bool = False, at: datetime | None = None) -> LabelsTaken:
        """Tells what turned out to be true, by id. `correct` replaces what was said before."""
        taken = LabelsTaken()
        for call in label_calls(labels, correct, self._batch):
            taken += read_labels_taken(self._send(call, at))
        return taken

    def status(self) -> Status:
        """What is going on."""
        answer: Status = self._get(query("/status"))
        return answer

    def explain(self, id: str, *, attribution: bool = True) -> Explanation:
        """One answered prediction, and what moved it; RequestRefused for an id never answered."""
        answer: Explanation = self._get(query("/explain", id=id, attribution=None if attribution else "false"))
        return answer

    def models(self, *, limit: int | None = 100) -> list[Model]:
        """The versions with their cards and role histories, oldest first; `limit` None: all of them."""
        return self._pages("models", limit)

    def model(self, version: str) -> Model:
        """One version."""
        answer: Model = self._get(one("/models", version))
        return answer

    def runs(self, *, limit: int | None = 100) -> list[Run]:
        """The retrain runs, newest first; `limit` None: all of them."""
        return self._pages("runs", limit)

    def run(self, run_id: str) -> Run:
        """One retrain run."""
        answer: Run = self._get(one("/runs", run_id))
        return answer

    def events(
        self,
        *,
        kind: str | Sequence[str] | None = None,
        model: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        q: str | None = None,
        limit: int | None = 100,
    ) -> list[Event]:
        """The audit trail's events, oldest first, of one kind or several; `limit` None: all of them."""
        kinds = kind if kind is None or isinstance(kind, str) else ",".join(kind)
        return self._pages("events", limit, kind=kinds, model=model, actor=actor, since=since, until=until, q=q)

    def retrain(self, reason: str) -> RunRequested:
        """Asks for a retrain run; `run` says what becomes of it. RequestRefused while there is one."""
        answer: RunRequested = self._get(operation("/retrain", reason))
        return answer

    def promote(self, version: str, reason: str) -> RoleMove:
        """Makes a version champion."""
        answer: RoleMove = self._get(move(version, "promote", reason))
        return answer

    def reject(self, version: str, reason: str) -> StandingChange:
        """Bars a version from the champion's role."""
        answer: StandingChange = self._get(move(version, "reject", reason))
        return answer

    def unbar(self, version: str, reason: str) -> StandingChange:
        """Lifts a version's bar."""
        answer: StandingChange = self._get(move(version, "unbar", reason))
        return answer

    def rollback(self, reason: str) -> RoleMove:
        """Gives the role back to the champion before."""
        answer: RoleMove = self._get(operation("/rollback", reason))
        return answer

    def _get(self, call: Call) -> Any:
        return self._send(call).json()

    def _pages(self, name: str, limit: int | None, **filters: str | datetime | None) -> list[Any]:
        found: list[Any] = []
        cursor = None
        while size := page_size(limit, len(found)):
            page = self._get(query(f"/{name}", **filters, limit=size, cursor=cursor))
            found += page[name]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def _send(self, call: Call, at: datetime | None = None) -> httpx.Response:
        attempts = Attempts(call, self._patience)
        while True:
            try:
                response = self._http.request(call.method, call.path, content=call.body, headers=time_headers(at))
            except httpx.TransportError as error:
                pause = attempts.after_failure(error)
            else:
                if not call.waits_for(response):
                    return expect_success(response)
                pause = attempts.after_busy(response)
            time.sleep(pause)


class AsyncClient:
    """The same for asyncio. Of many records, up to `requests_at_once` batches are under way together."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:3000",
        *,
        token: str | None = None,
        timeout: float = 10.0,
        patience: float = 30.0,
        batch: int = 1000,
        requests_at_once: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=checked_url(url), headers=token_headers(token), timeout=timeout, transport=transport
        )
        self._patience = patience
        self._batch = checked_batch(batch)
        self._room = asyncio.Semaphore(requests_at_once)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def predict(
        self, records: Records, ids: Iterable[str] | None = None, *, at: datetime | None = None
    ) -> list[Prediction]:
        """As Client.predict; where a batch is refused, others may have been answered and logged."""
        responses = await self._send_all(predict_calls(records, ids, self._batch), at)
        return [prediction for response in responses for prediction in read_predictions(response)]

    async def predict_one(self, record: Record, id: str | None = None, *, at: datetime | None = None) -> Prediction:
        """One record's answer."""
        return (await self.predict([record], None if id is None else [id], at=at))[0]

    async def label(
        self, labels: Mapping[str, Label], *, correct: bool = False, at: datetime | None = None
    ) -> LabelsTaken:
        """As Client.label."""
        responses = await self._send_all(label_calls(labels, correct, self._batch), at)
        return sum(map(read_labels_taken, responses), LabelsTaken())

    async def status(self) -> Status:
        """What is going on."""
        answer: Status = await self._get(query("/status"))
        return answer

    async def explain(self, id: str, *, attribution: bool = True) -> Explanation:
        """One answered prediction, and what moved it; RequestRefused for an id never answered."""
        answer: Explanation = await self._get(query("/explain", id=id, attribution=None if attribution else "false"))
        return answer

    async def models(self, *, limit: int | None = 100) -> list[Model]:
        """The versions with their cards and role histories, oldest first; `limit` None: all of them."""
        return await self._pages("models", limit)

    async def model(self, version: str) -> Model:
        """One version."""
        answer: Model = await self._get(one("/models", version))
        return answer

    async def runs(self, *, limit: int | None = 100) -> list[Run]:
        """The retrain runs, newest first; `limit` None: all of them."""
        return await self._pages("runs", limit)

    async def run(self, run_id: str) -> Run:
        """One retrain run."""
        answer: Run = await self._get(one("/runs", run_id))
        return answer

    async def events(
        self,
        *,
        kind: str | Sequence[str] | None = None,
        model: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        q: str | None = None,
        limit: int | None = 100,
    ) -> list[Event]:
        """The audit trail's events, oldest first, of one kind or several; `limit` None: all of them."""
        kinds = kind if kind is None or isinstance(kind, str) else ",".join(kind)
        return await self._pages("events", limit, kind=kinds, model=model, actor=actor, since=since, until=until, q=q)

    async def retrain(self, reason: str) -> RunRequested:
        """Asks for a retrain run; `run` says what becomes of it. RequestRefused while there is one."""
        answer: RunRequested = await self._get(operation("/retrain", reason))
        return answer

    async def promote(self, version: str, reason: str) -> RoleMove:
        """Makes a version champion."""
        answer: RoleMove = await self._get(move(version, "promote", reason))
        return answer

    async def reject(self, version: str, reason: str) -> StandingChange:
        """Bars a version from the champion's role."""
        answer: StandingChange = await self._get(move(version, "reject", reason))
        return answer

    async def unbar(self, version: str, reason: str) -> StandingChange:
        """Lifts a version's bar."""
        answer: StandingChange = await self._get(move(version, "unbar", reason))
        return answer

    async def rollback(self, reason: str) -> RoleMove:
        """Gives the role back to the champion before."""
        answer: RoleMove = await self._get(operation("/rollback", reason))
        return answer

    async def _get(self, call: Call) -> Any:
        return (await self._send(call)).json()

    async def _pages(self, name: str, limit: int | None, **filters: str | datetime | None) -> list[Any]:
        found: list[Any] = []
        cursor = None
        while size := page_size(limit, len(found)):
            page = await self._get(query(f"/{name}", **filters, limit=size, cursor=cursor))
            found += page[name]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    async def _send_all(self, calls: Iterable[Call], at: datetime | None) -> list[httpx.Response]:
        tasks = [asyncio.create_task(self._send(call, at)) for call in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:  # where one is refused, the others that are still under way are given up
            for task in tasks:
                task.cancel()

    async def _send(self, call: Call, at: datetime | None = None) -> httpx.Response:
        async with self._room:
            attempts = Attempts(call, self._patience)
            while True:
                try:
                    response = await self._http.request(
                        call.method, call.path, content=call.body, headers=time_headers(at)
                    )
                except httpx.TransportError as error:
                    pause = attempts.after_failure(error)
                else:
                    if not call.waits_for(response):
                        return expect_success(response)
                    pause = attempts.after_busy(response)
                await asyncio.sleep(pause)
