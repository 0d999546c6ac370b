"""From errors to answers: the one table of statuses, and the form of every error."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from record.errors import (
    Absent,
    Conflict,
    Fault,
    Forbidden,
    InputError,
    InvalidJson,
    NoChampion,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RingsideError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from record.log_lines import log_line
from record.redaction import redact

Header = tuple[bytes, bytes]
JSON: Final[Header] = (b"content-type", b"application/json")
NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
NOT_LOGGED: Final[Header] = (b"ringside-logged", b"no")
BUSY: Final = (429, 503)  # statuses that say when to come again
PAGE_BYTES: Final = 4_000_000  # of the items of one answer; there is always one
FEWEST_COMPRESSED_BYTES: Final = 4096
COMPRESSION_LEVEL: Final = 5  # a page of 3.7 MB in 0.1 s, to a quarter
CLIENT_GONE: Final = 499  # what is counted where the client went away before it was answered


class WrongMethod(NotFound):
    """The path is there, for other methods."""

    code = "method_not_allowed"

    def __init__(self, method: str, path: str, allowed: list[str]) -> None:
        super().__init__(f"no {method} on {path}; expected {' or '.join(allowed)}", field="method")
        self.allowed = allowed


# The first that an error is an instance of decides.
STATUSES: Final[tuple[tuple[type[RingsideError], int], ...]] = (
    (InvalidJson, 400),
    (TooLarge, 413),
    (UnsupportedMedia, 415),
    (InputError, 422),
    (Unauthorized, 401),
    (Forbidden, 403),
    (WrongMethod, 405),
    (NoChampion, 503),
    (Absent, 404),
    (Conflict, 409),
    (QuotaExceeded, 429),
    (Unavailable, 503),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, ready to be sent."""

    status: int
    body: bytes
    headers: list[Header] = field(default_factory=lambda: [JSON, NOSNIFF])


def compressed(reply: Reply, accepted: str | None) -> Reply:
    """The reply as gzip, where its caller takes that and it is worth it: pages with scripts in them have megabytes."""
    if len(reply.body) < FEWEST_COMPRESSED_BYTES or not _takes_gzip(accepted or ""):
        return reply
    body = gzip.compress(reply.body, compresslevel=COMPRESSION_LEVEL, mtime=0)
    return Reply(reply.status, body, [*reply.headers, (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")])


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding has gzip, and not with a weight of nothing."""
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def json_reply(status: int, value: Any) -> Reply:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Reply(status, text.encode("utf-8", "replace"))


def page_reply(name: str, items: Iterable[tuple[Any, str]], limit: int, following: str | None = None) -> Reply:
    """`{name: [...], "next": cursor}`: at most `limit` items, each with the cursor behind it, and PAGE_BYTES of them.

    `following` is the cursor behind the last of them, where more are known to come.
    """
    texts: list[str] = []
    size, behind = 0, None
    for item, cursor in items:
        text = json.dumps(item, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        if len(texts) == limit or (texts and size + len(text) > PAGE_BYTES):
            following = behind
            break
        texts.append(text)
        size, behind = size + len(text), cursor
    body = f'{{"{name}":[{",".join(texts)}],"next":{json.dumps(following)}}}'
    return Reply(200, body.encode("utf-8", "replace"))


def error_status(error: RingsideError) -> int:
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def error_reply(error: RingsideError, path: str = "") -> Reply:
    """The error's answer in the form that its path speaks, with the headers that its status wants."""
    status = error_status(error)
    if speaks_protocol(path) and status == 422:
        status = 400
    reply = json_reply(status, _error(error.code, error.message, error.field, path, error.details))
    if status in BUSY:
        reply.headers.append((b"retry-after", str(getattr(error, "retry_after_seconds", 1)).encode()))
    elif status == 401:
        reply.headers.append((b"www-authenticate", b"Bearer"))
    elif isinstance(error, WrongMethod):
        reply.headers.append((b"allow", ", ".join(error.allowed).encode()))
    elif isinstance(error, UnsupportedMedia):
        reply.headers.append((b"accept-encoding", b"gzip, deflate, identity"))
    elif isinstance(error, TooLarge):
        reply.headers.append((b"connection", b"close"))  # what is left of the body is not read
    return reply


def late_reply(path: str = "") -> Reply:
    """For a request that was given up at its deadline; its connection is not used again."""
    late = Overloaded("the request took longer than serve.request_timeout allows, and was given up")
    reply = error_reply(late, path)
    reply.headers.append((b"connection", b"close"))
    return reply


def fault_reply(path: str = "") -> Reply:
    """For what should not have happened: the log has the reason, the caller gets none of it."""
    message = "a fault in the service; its log says more"
    return json_reply(500, _error("internal", message, None, path))


def failure_reply(error: Exception, path: str, route: str) -> Reply:
    """What a request is answered that raised: a fault in it is logged, and must not end the worker."""
    if isinstance(error, RingsideError):
        return error_reply(error, path)
    log_line("request failed", level=logging.ERROR, exc_info=True, route=route)
    return fault_reply(path)


def speaks_protocol(path: str) -> bool:
    """Whether a path is one of the Open Inference Protocol, whose errors have another form."""
    return path == "/v2" or path.startswith("/v2/")


def _error(code: str, message: str, field: str | None, path: str, details: Sequence[Fault] = ()) -> dict[str, Any]:
    """{"error": {code, message, field}}; the protocol's {"error": message} with code and field beside it.

    With `details`, where there are several faults.
    """
    message = redact(message)
    told: dict[str, Any] = {"code": code, "message": message, "field": field}
    if details:
        told["details"] = [{"field": fault.field, "message": redact(fault.message)} for fault in details]
    if speaks_protocol(path):
        return {"error": told.pop("message"), **told}
    return {"error": told}
