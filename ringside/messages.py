"""What the client sends and reads: bodies, answers, refusals, and when to try again."""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote, urlencode
from uuid import UUID

import httpx

from record.errors import Fault, RingsideError, Unavailable
from record.logged import new_id

Value = str | int | float | bool | Decimal | datetime | date | UUID | None  # and NumPy's and pandas' scalars
Record = Mapping[str, Value]
Label = str | int | float | bool

BUSY: Final = frozenset((502, 503, 504))
# Nothing of a request was sent: whoever tries again does nothing twice.
UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# What is wrong with the request itself, or with the URL: trying again does not help.
HOPELESS: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
LARGEST_PAGE: Final = 1000
LARGEST_EXPONENT: Final = 400  # of a Decimal; no float, and no column, has a larger one
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0


class Frame(Protocol):
    """A table with named columns, such as a DataFrame of pandas or Polars, or a table of Arrow."""

    @property
    def columns(self) -> Any: ...


Records = Iterable[Record] | Frame


class RequestRefused(RingsideError):
    """The service said no. `status` is HTTP's; code, message, field and details are the service's."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, details: Sequence[Fault] = ()
    ) -> None:
        super().__init__(message, field=field)
        self.status = status
        self.code = code
        self.details = tuple(details)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


class Unreachable(Unavailable):
    """No answer within the client's patience. Whether the request was carried out is not known.

    Predictions and labels may be sent again: they have ids. What moves a role or asks for a run is not sent twice by
    the client; `status`, `runs` and `events` say what became of it.
    """

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
    exhausted: tuple[str, ...] = ()  # ids that have had as many corrections as they may

    def __add__(self, other: LabelsTaken) -> LabelsTaken:
        return LabelsTaken(
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.conflicts + other.conflicts,
            self.unknown + other.unknown,
            self.exhausted + other.exhausted,
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the service. One that is sent `once` is tried again only where nothing of it was sent."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes | None = None
    once: bool = False

    def may_repeat(self, error: httpx.TransportError) -> bool:
        """Whether the request may be sent again after it got no answer."""
        return not isinstance(error, HOPELESS) and (not self.once or isinstance(error, UNSENT))

    def waits_for(self, response: httpx.Response) -> bool:
        """Whether the request is sent again after that answer."""
        if not self.once:
            return response.status_code in BUSY
        return response.status_code == 503 and refusal(response).code == "overloaded"  # nothing was done


class Attempts:
    """When one request is tried again: after twice the last pause, at random down to half of it."""

    def __init__(self, call: Call, patience: float) -> None:
        self._call = call
        self._what = f"{call.method} {call.path}"
        self._patience = patience
        self._started = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS

    def after_failure(self, error: httpx.TransportError) -> float:
        """Seconds to wait where no answer came; Unreachable once patience is over, or where it may not be repeated."""
        message = f"{self._what}: {error or error.__class__.__name__}"
        if not self._call.may_repeat(error):
            raise Unreachable(message) from error
        return self._wait(0.0, message, error)

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
        details = [Fault(fault["field"], fault["message"]) for fault in held.get("details", ())]
        return RequestRefused(response.status_code, held["code"], held["message"], held["field"], details)
    except (AttributeError, ValueError, KeyError, TypeError):
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


def checked_url(url: str) -> str:
    """The URL; ValueError for one without a scheme or a host, which could be tried for ever."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"url: {url!r} is not a URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        bare = url.removeprefix("//")
        hint = f"; did you mean 'http://{bare}'?" if "://" not in url else ""
        raise ValueError(f"url: {url!r}; expected http:// or https:// and a host{hint}")
    return url


def checked_batch(batch: int) -> int:
    if batch < 1:
        raise ValueError(f"batch: {batch}; expected at least 1")
    return batch


def predict_calls(records: Records, ids: Iterable[str] | None, batch: int) -> Iterator[Call]:
    """The requests for `records`, each record with its id or a new one."""
    held = [_plain_record(place, record) for place, record in enumerate(_rows(records))]
    ids = None if ids is None else list(ids)
    if ids is not None and len(ids) != len(held):
        raise ValueError(f"ids: {len(ids)} for {len(held)} records; expected one for each")
    given = ids if ids is not None else [new_id() for _ in held]
    for start in range(0, len(held), batch):
        part = {"records": held[start : start + batch], "ids": given[start : start + batch]}
        yield Call("POST", "/predict", _json(part))


def label_calls(labels: Mapping[str, Label], correct: bool, batch: int) -> Iterator[Call]:
    """The requests for `labels`."""
    more = {"correct": True} if correct else {}
    held = [{"id": id, "label": _plain(f"the label of {id!r}", label), **more} for id, label in labels.items()]
    for start in range(0, len(held), batch):
        yield Call("POST", "/labels", _json({"labels": held[start : start + batch]}))


def operation(path: str, reason: str) -> Call:
    """An operator's request, which is sent once."""
    return Call("POST", path, _json({"reason": reason}), once=True)


def move(version: str, action: Literal["promote", "reject", "unbar"], reason: str) -> Call:
    """An operator's request about one version."""
    return operation(f"/models/{quote(version, safe='')}/{action}", reason)


def query(path: str, **parameters: str | int | datetime | None) -> Call:
    """A GET with those of the parameters that are given; ValueError for a time without an offset."""
    given = {name: _parameter(name, value) for name, value in parameters.items() if value is not None}
    return Call("GET", f"{path}?{urlencode(given)}" if given else path)


def one(path: str, name: str) -> Call:
    """A GET of one thing by its name."""
    return Call("GET", f"{path}/{quote(name, safe='')}")


def page_size(limit: int | None, found: int) -> int:
    """How many items the next page has; 0 where there are enough, ValueError for a limit that is not positive."""
    if limit is not None and limit < 1:
        raise ValueError(f"limit: {limit}; expected at least 1, or None for all")
    return LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - found)


def _parameter(name: str, value: str | int | datetime) -> str:
    if not isinstance(value, datetime):
        return str(value)
    if value.tzinfo is None:
        raise ValueError(f"{name}: {value} has no time zone; expected an aware datetime")
    return value.astimezone(UTC).isoformat()


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
    ids = (tuple(held.get(name, ())) for name in ("conflicts", "unknown", "exhausted"))
    return LabelsTaken(held["accepted"], held["duplicates"], *ids)


def _rows(records: Any) -> Iterable[Mapping[Any, Any]]:
    """The rows of a data frame, or the records themselves."""
    for method, arguments in (("to_dicts", ()), ("to_pylist", ())):
        if hasattr(records, method):  # Polars, Arrow
            rows: Iterable[Mapping[Any, Any]] = getattr(records, method)(*arguments)
            return rows
    if hasattr(records, "to_dict") and hasattr(records, "columns"):  # pandas
        twice = [name for name, times in Counter(records.columns).items() if times > 1]
        if twice:
            raise ValueError(f"records: the column {twice[0]!r} stands twice in the data frame")
        rows = records.to_dict("records")
        return rows  # noqa: RET504 - its type is said
    if isinstance(records, Mapping | str | bytes):
        raise TypeError(
            f"records: a {type(records).__name__}; expected several records or a data frame (predict_one takes one)"
        )
    held: Iterable[Mapping[Any, Any]] = records
    return held


def _plain_record(place: int, record: Any) -> dict[str, Any]:
    if hasattr(record, "to_dict"):  # a row of a data frame
        record = record.to_dict()
    if not isinstance(record, Mapping):
        raise TypeError(f"records[{place}]: a {type(record).__name__}; expected a mapping of columns to values")
    for name in record:
        if not isinstance(name, str):
            raise TypeError(f"records[{place}]: the column {name!r} has no name; expected text")
    return {str(name): _plain(f"records[{place}].{name}", value) for name, value in record.items()}


def _plain(where: str, value: Any) -> Any:
    """The value as JSON has it: times as ISO 8601, what is missing as null, NumPy's scalars as Python's."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal):
        return _plain_decimal(where, value)
    if type(value).__name__ == "NAType":  # pandas' NA, which cannot be compared
        return None
    if getattr(value, "ndim", 0) == 0 and bool(value != value):  # NaN and NaT
        return None
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(f"{where}: {value} is not a number in JSON")
        return float(value)
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if type(value).__name__ == "datetime64":  # of nanoseconds, an item is an integer
        return value.astype("datetime64[us]").item().isoformat()
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        item = value.item()
        if type(item) is not type(value):
            return _plain(where, item)
    raise TypeError(f"{where}: a {type(value).__name__} cannot be sent; expected text, a number, a boolean or a time")


def _plain_decimal(where: str, value: Decimal) -> int | float | None:
    """The number: with all its digits where it is whole, in double precision else."""
    if value.is_nan():
        return None
    if value.is_infinite() or value.adjusted() > LARGEST_EXPONENT:
        raise ValueError(f"{where}: {value} is not a number in JSON, or too large for one")
    return int(value) if value == value.to_integral_value() else float(value)


def _json(held: Any) -> bytes:
    return json.dumps(held, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
