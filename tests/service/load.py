"""Clients that ask all the time, and remember what they were told."""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tests.record.models import record_of


class Load:
    """Threads that predict one record after the other; each second one with ids of its own, tried again until answered.

    `answered` holds id → answer for whatever came back with 200; `retried` the ids that took more than one try.
    """

    def __init__(self, port: Callable[[], int], clients: int = 6) -> None:
        self._port = port
        self.answered: dict[str, Any] = {}
        self.retried: set[str] = set()
        self.statuses: set[int] = set()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n % 2 == 1, n)) for n in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _ask(self, names: bool, place: int) -> None:
        connection: http.client.HTTPConnection | None = None
        asked: dict[str, Any] = {}
        tries = count = 0
        while not self._stopping.wait(0.002):  # the machine is for the service
            if not asked:
                tries, count = 0, count + 1
                asked = {"records": [record_of(float(100 * place + count % 100))]}
                if names:
                    asked["ids"] = [str(uuid.uuid4())]
            tries += 1
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port(), timeout=10)
            try:
                connection.request("POST", "/predict", json.dumps(asked), {"Content-Type": "application/json"})
                with connection.getresponse() as answer:
                    status, content = answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                self._stopping.wait(0.05)
                continue
            self.statuses.add(status)
            if status == 200:
                told = content["predictions"][0]
                self.answered[told["id"]] = told
                self.retried |= {told["id"]} if names and tries > 1 else set()
                asked = {}
        if connection is not None:
            connection.close()
