"""Bodies: read within their limits, and held against the keys that a route knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from record.contract.preview import nearest, preview_name
from record.errors import MOST_FAULTS, Faults, InvalidJson, InvalidRecord, Overloaded, TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
DEEPEST: Final = 20  # levels of nesting; a predict request has four
MOST_BODIES: Final = 8  # of full length, that a worker holds at one time


class ClientGone(Exception):
    """The connection was closed before the body was complete: there is nobody to answer."""


class BodyReader:
    """Reads bodies of bounded length. All that are held, complete or not, are bounded together, too."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held = 0

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive, most_bytes: int | None = None) -> bytes:
        """The whole body, which counts as held until `release`.

        Raises TooLarge as soon as it is known to be, whether a length was announced or not, and Overloaded where
        too much is held already. `most_bytes` is a smaller limit than the general one.
        """
        most = self.limit(most_bytes)
        announced = headers.get(b"content-length")
        if announced is not None and (not announced.isdigit() or int(announced[:20]) > most):
            raise self._too_large(most)
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise ClientGone
        if len(body) > most:
            raise self._too_large(most)
        if message.get("more_body"):
            body = await self._read_on(body, receive, most)
        self._held += len(body)
        return body

    def limit(self, most_bytes: int | None) -> int:
        """The bytes that a body may have, where its route has a limit of its own."""
        return self.max_bytes if most_bytes is None else min(most_bytes, self.max_bytes)

    def hold(self, size: int) -> None:
        """For bytes that a body has grown by since it was read."""
        self._held += size

    def release(self, size: int) -> None:
        """For each body that was read, once its request is answered."""
        self._held -= size

    async def _read_on(self, first: bytes, receive: Receive, most: int) -> bytes:
        chunks, size = [first], len(first)
        self._held += size
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk = message.get("body", b"")
                chunks.append(chunk)
                size += len(chunk)
                self._held += len(chunk)
                if size > most:
                    raise self._too_large(most)
                if self._held > MOST_BODIES * self.max_bytes:
                    raise Overloaded("too many long requests are under way; try again in a moment")
                if not message.get("more_body"):
                    return b"".join(chunks)
        finally:
            self._held -= size

    def _too_large(self, most: int) -> TooLarge:
        reason = " (serve.max_body_mb)" if most == self.max_bytes else ", which is as many as this route takes"
        return TooLarge(f"the body is longer than {most} bytes{reason}")


def expect_keys(body: Any, *, required: Sequence[str] = (), optional: Sequence[str] = ()) -> None:
    """Raises InvalidJson, naming the keys, for a body that is no object of these keys."""
    known = [*required, *optional]
    if not isinstance(body, dict):
        raise InvalidJson(f"the body is no JSON object; expected one with {_listed(required, optional)}")
    strange = [key for key in body if key not in known]
    missing = [key for key in required if key not in body]
    if not strange and not missing:
        return
    faults, meant = Faults[InvalidJson](), set[str | None]()
    for key in strange[:MOST_FAULTS]:
        near = nearest(key, known)
        meant.add(near)
        hint = f"; did you mean {near!r}?" if near else f"; expected {_listed(required, optional)}"
        faults.add(InvalidJson(f"unknown key {preview_name(key)!r}{hint}", field=preview_name(key)))
    for key in missing:
        if key in meant:
            continue
        faults.add(InvalidJson(f"{key}: missing; expected {_listed(required, optional)}", field=key))
    faults.expect_none()


def expect_depth(value: Any, deepest: int = DEEPEST) -> None:
    """Raises InvalidJson for a value that is nested more deeply than anything here ever needs."""
    level = [value]
    for _ in range(deepest):
        level = [inner for held in level for inner in _inside(held)]
        if not level:
            return
    raise InvalidJson(f"the body is nested more than {deepest} levels deep")


def expect_reason(body: Any) -> str:
    """The mandatory reason of what an operator asks for."""
    reason = body["reason"]
    if not isinstance(reason, str) or not reason.strip() or len(reason) > 1000:
        raise InvalidRecord("reason: expected a text of 1 to 1,000 characters", field="reason")
    return reason.strip()


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _listed(required: Sequence[str], optional: Sequence[str]) -> str:
    parts = [repr(key) for key in required] + [f"optionally {key!r}" for key in optional]
    return ", ".join(parts) if parts else "no keys"
