"""A small client of the service: `ringside.Client`, and `ringside.AsyncClient` for asyncio.

    with ringside.Client("http://127.0.0.1:3000", token="…") as client:
        answer = client.predict_one({"distance": 500, "carrier": "AA"}, id="order-17")
        client.label({"order-17": "late"})

Every record has an id before it is sent, its caller's or a new one: so a request whose answer was lost on the way is
sent again with the same ids, and the log answers it as it did the first time. What is not reached or busy (502, 503
and 504) is tried again until `patience` is over, waiting at least as long as Retry-After says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

import httpx

from ringside.messages import (
    BUSY,
    Attempts,
    Label,
    LabelsTaken,
    Prediction,
    Record,
    RequestRefused,
    Unreachable,
    checked_batch,
    expect_success,
    explain_path,
    label_bodies,
    predict_bodies,
    read_labels_taken,
    read_predictions,
    time_headers,
    token_headers,
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
        self._http = httpx.Client(base_url=url, headers=token_headers(token), timeout=timeout, transport=transport)
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
        self, records: Iterable[Record], ids: Sequence[str] | None = None, *, at: datetime | None = None
    ) -> list[Prediction]:
        """Each record's answer, in order; many records go in several requests, one after the other.

        `at` is the requests' own time, for a service whose clock follows its requests. Raises RequestRefused, with
        what came before the refused batch already answered and logged, or Unreachable.
        """
        answered: list[Prediction] = []
        for body in predict_bodies(records, ids, self._batch):
            answered += read_predictions(self._send("POST", "/predict", body, at))
        return answered

    def predict_one(self, record: Record, id: str | None = None, *, at: datetime | None = None) -> Prediction:
        """One record's answer."""
        return self.predict([record], None if id is None else [id], at=at)[0]

    def label(self, labels: Mapping[str, Label], *, correct: bool = False, at: datetime | None = None) -> LabelsTaken:
        """Tells what turned out to be true, by id. `correct` replaces what was said before."""
        taken = LabelsTaken()
        for body in label_bodies(labels, correct, self._batch):
            taken += read_labels_taken(self._send("POST", "/labels", body, at))
        return taken

    def status(self) -> dict[str, Any]:
        """GET /status."""
        held: dict[str, Any] = self._send("GET", "/status").json()
        return held

    def explain(self, id: str) -> dict[str, Any]:
        """GET /explain: one answered prediction, and what moved it; RequestRefused for an id never answered."""
        held: dict[str, Any] = self._send("GET", explain_path(id)).json()
        return held

    def _send(self, method: str, path: str, body: bytes | None = None, at: datetime | None = None) -> httpx.Response:
        attempts = Attempts(f"{method} {path}", self._patience)
        while True:
            try:
                response = self._http.request(method, path, content=body, headers=time_headers(at))
            except httpx.TransportError as error:
                pause = attempts.after_failure(error)
            else:
                if response.status_code not in BUSY:
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
        self._http = httpx.AsyncClient(base_url=url, headers=token_headers(token), timeout=timeout, transport=transport)
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
        self, records: Iterable[Record], ids: Sequence[str] | None = None, *, at: datetime | None = None
    ) -> list[Prediction]:
        """As Client.predict; where a batch is refused, others may have been answered and logged."""
        responses = await self._send_all("/predict", predict_bodies(records, ids, self._batch), at)
        return [prediction for response in responses for prediction in read_predictions(response)]

    async def predict_one(self, record: Record, id: str | None = None, *, at: datetime | None = None) -> Prediction:
        """One record's answer."""
        return (await self.predict([record], None if id is None else [id], at=at))[0]

    async def label(
        self, labels: Mapping[str, Label], *, correct: bool = False, at: datetime | None = None
    ) -> LabelsTaken:
        """As Client.label."""
        responses = await self._send_all("/labels", label_bodies(labels, correct, self._batch), at)
        return sum(map(read_labels_taken, responses), LabelsTaken())

    async def status(self) -> dict[str, Any]:
        """GET /status."""
        held: dict[str, Any] = (await self._send("GET", "/status")).json()
        return held

    async def explain(self, id: str) -> dict[str, Any]:
        """As Client.explain."""
        held: dict[str, Any] = (await self._send("GET", explain_path(id))).json()
        return held

    async def _send_all(self, path: str, bodies: Iterable[bytes], at: datetime | None) -> list[httpx.Response]:
        tasks = [asyncio.create_task(self._send("POST", path, body, at)) for body in bodies]
        try:
            return await asyncio.gather(*tasks)
        finally:  # where one is refused, the others that are still under way are given up
            for task in tasks:
                task.cancel()

    async def _send(
        self, method: str, path: str, body: bytes | None = None, at: datetime | None = None
    ) -> httpx.Response:
        async with self._room:
            attempts = Attempts(f"{method} {path}", self._patience)
            while True:
                try:
                    response = await self._http.request(method, path, content=body, headers=time_headers(at))
                except httpx.TransportError as error:
                    pause = attempts.after_failure(error)
                else:
                    if response.status_code not in BUSY:
                        return expect_success(response)
                    pause = attempts.after_busy(response)
                await asyncio.sleep(pause)
