"""A client that replays traffic through the front door: time never passes a due time that is not settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from tests.waiting import wait_until

PATIENCE_SECONDS = 240.0  # for a training and all that follows, on a machine that has other things to do


# `request` of httpx's own client, or of one that calls an application in this process.
Send = Callable[..., httpx.Response]


class Replay:
    """Sends requests and labels at times of their own, and waits for the watcher wherever the rules say so.

    `meanwhile` is called again and again while it waits: where the watcher is in this process, it ticks there.
    """

    def __init__(self, send: Send, *, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._send = send
        self._meanwhile = meanwhile
        self._due: datetime | None = None
        self.answers: dict[str, Mapping[str, Any]] = {}  # id → prediction, probabilities and the version that gave them

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.get("/status").json()
        return answer

    def get(self, path: str) -> httpx.Response:
        return self._send("GET", path).raise_for_status()

    def post(self, path: str, body: Any, at: datetime | None = None) -> httpx.Response:
        """Not checked: whoever expects a refusal looks at it."""
        headers = {} if at is None else {"Ringside-Time": at.isoformat()}
        return self._send("POST", path, json=body, headers=headers)

    def begin(self, at: datetime) -> None:
        """Says what time it is, and waits until the watcher has heard."""
        self._settle(at)

    def to(self, at: datetime) -> None:
        """Time goes on to `at`; everything that comes due on the way is settled in its turn."""
        assert self._due is not None, "begin first"
        while self._due <= at:
            self._settle(self._due)
        self._move(at)

    def predict(self, at: datetime, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Asks for the records by id, and returns the versions that answered."""
        self.to(at)
        body = {"records": list(records.values()), "ids": list(records)}
        answer = self.post("/predict", body, at).raise_for_status().json()
        said = {held["id"]: {"model_version": answer["model_version"], **held} for held in answer["predictions"]}
        self.answers |= said
        return [held["model_version"] for held in said.values()]

    def label(self, at: datetime, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self.to(at)
        answer: dict[str, Any] = self.post("/labels", {"labels": labels}, at).raise_for_status().json()
        return answer

    def _move(self, at: datetime) -> None:
        self.post("/labels", {"labels": []}, at).raise_for_status()

    def _settle(self, at: datetime) -> None:
        self._move(at)
        wait_until(lambda: self._settled(at), PATIENCE_SECONDS, f"the watcher settles {at}", every=0.05)

    def _settled(self, at: datetime) -> bool:
        self._meanwhile()
        watcher = self.status()["watcher"]
        settled, due = watcher["settled_until"], watcher["next_due_at"]
        if settled is None or due is None or datetime.fromisoformat(settled) < at:
            return False
        self._due = datetime.fromisoformat(due)
        return self._due > at
