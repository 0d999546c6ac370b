"""What the client sends and reads: bodies, answers, refusals, and when to try again."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from record.errors import RingsideError, Unavailable
from record.logged import new_id

Value = str | int | float | bool | datetime | date | None
Record = Mapping[str, Value]
Label = str | int | float | bool

BUSY: Final = frozenset((502, 503, 504))
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0


class RequestRefused(RingsideError):
    """The service said no. `status` is HTTP's; code, message and field are the service's."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.status = status
        self.code = code

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


class Unreachable(Unavailable):
    """No answer within the client's patience. Whether the request was carried out is not known: send it again."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One record's answer."""

    id: str
    prediction: Label
    probabilities: Mapping[str, float] | None  # by class; None for a regression
    model_version: str
    repeated: bool  # the id was answered before; this is that answer
    logged: bool  # False: the log was down, and the service answers without it


@dataclass(frozen=True, slots=True)
class LabelsTaken:
    """What became of labels. One that is sent again after a lost answer counts as a duplicate."""

    accepted: int = 0
    duplicates: int = 0
    conflicts: tuple[str, ...] = ()  # ids that have another label; `correct=True` replaces it
    unknown: tuple[str, ...] = ()  # ids that were never answered

    def __add__(self, other: LabelsTaken) -> LabelsTaken:
        return LabelsTaken(
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.conflicts + other.conflicts,
            self.unknown + other.unknown,
        )


class Attempts:
    """When one request is tried again: after twice the last pause, at random down to half of it."""

    def __init__(self, what: str, patience: float) -> None:
        self._what = what
        self._patience = patience
        self._started = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS

    def after_failure(self, error: httpx.TransportError) -> float:
        """Seconds to wait after no answer came; Unreachable once patience is over."""
        return self._wait(0.0, f"{self._what}: {error or error.__class__.__name__}", error)

    def after_busy(self, response: httpx.Response) -> float:
        """Seconds to wait after the service, or a proxy before it, was busy; Unreachable once patience is over."""
        refused = refusal(response)
        return self._wait(_retry_after(response), f"{self._what}: {refused}", refused)

    def _wait(self, at_least: float, message: str, cause: Exception) -> float:
        pause = max(at_least, self._pause * random.uniform(0.5, 1.0))
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        if time.monotonic() - self._started + pause > self._patience:
            raise Unreachable(f"{message}; gave up after {self._patience:g} s (patience)") from cause
        return pause


def _retry_after(response: httpx.Response) -> float:
    """The header's seconds, or those until its date; 0 without one that can be read."""
    held = response.headers.get("retry-after", "")
    if held.isascii() and held.isdigit():
        return float(held)
    try:
        return max(0.0, (parsedate_to_datetime(held) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def expect_success(response: httpx.Response) -> httpx.Response:
    """The response; RequestRefused where it is an error's."""
    if response.is_success:
        return response
    raise refusal(response)


def refusal(response: httpx.Response) -> RequestRefused:
    """What an error's body says, also where a proxy wrote it."""
    try:
        held = response.json()["error"]
        return RequestRefused(response.status_code, held["code"], held["message"], held["field"])
    except (ValueError, KeyError, TypeError):
        return RequestRefused(response.status_code, "http_error", response.text[:200] or response.reason_phrase)


def token_headers(token: str | None) -> dict[str, str]:
    """The headers of every request."""
    held = {"Content-Type": "application/json"}
    return held if token is None else held | {"Authorization": f"Bearer {token}"}


def time_headers(at: datetime | None) -> dict[str, str]:
    """The headers of a request with a time of its own; ValueError for a time without an offset."""
    if at is None:
        return {}
    if at.tzinfo is None:
        raise ValueError(f"at: {at} has no time zone; expected an aware datetime")
    return {"Ringside-Time": at.astimezone(UTC).isoformat()}


def checked_batch(batch: int) -> int:
    if batch < 1:
        raise ValueError(f"batch: {batch}; expected at least 1")
    return batch


def predict_bodies(records: Iterable[Record], ids: Sequence[str] | None, batch: int) -> Iterator[bytes]:
    """The bodies of the requests for `records`, each record with its id or a new one."""
    held = [{name: _plain(value) for name, value in record.items()} for record in records]
    if ids is not None and len(ids) != len(held):
        raise ValueError(f"ids: {len(ids)} for {len(held)} records; expected one for each")
    given = list(ids) if ids is not None else [new_id() for _ in held]
    for start in range(0, len(held), batch):
        yield _json({"records": held[start : start + batch], "ids": given[start : start + batch]})


def label_bodies(labels: Mapping[str, Label], correct: bool, batch: int) -> Iterator[bytes]:
    """The bodies of the requests for `labels`."""
    more = {"correct": True} if correct else {}
    held = [{"id": id, "label": _plain(label), **more} for id, label in labels.items()]
    for start in range(0, len(held), batch):
        yield _json({"labels": held[start : start + batch]})


def read_predictions(response: httpx.Response) -> list[Prediction]:
    """The answers of one predict request."""
    held = response.json()
    logged = response.headers.get("ringside-logged") != "no"
    return [
        Prediction(
            id=row["id"],
            prediction=row["prediction"],
            probabilities=row.get("probabilities"),
            model_version=row.get("model_version", held["model_version"]),
            repeated="model_version" in row,
            logged=logged,
        )
        for row in held["predictions"]
    ]


def read_labels_taken(response: httpx.Response) -> LabelsTaken:
    """The answer to one labels request."""
    held = response.json()
    return LabelsTaken(held["accepted"], held["duplicates"], tuple(held["conflicts"]), tuple(held["unknown"]))


def explain_path(id: str) -> str:
    """Where one answered prediction is explained."""
    return f"/explain?{urlencode({'id': id})}"


def _plain(value: Any) -> Any:
    """The value as JSON has it: times as ISO 8601, NaN and NaT as null, numpy's scalars as Python's."""
    if value != value:
        return None
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _json(held: Any) -> bytes:
    return json.dumps(held, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
