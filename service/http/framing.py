"""The framing of a request: where it ends, and whether the connection goes on after it.

Two parsers on one connection, a proxy's and this one, must see a request end at the same byte: else the rest of one
caller's request is read as the beginning of another's. llhttp refuses most of what could be read in two ways; what
it lets through, and RFC 9112 (sections 2.2, 3.2, 6 and 7) calls faulty or leaves open, is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import httptools

CHUNKED: Final = -1  # the length of a body that says itself where it ends
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_NAMES: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))


class FramingError(Exception):
    """A request that is answered with `status` before anything reads it; nothing behind it is parsed."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Framing(NamedTuple):
    """What a request's head says of its body."""

    length: int  # in bytes, or CHUNKED
    expects_continue: bool = False


_EMPTY: Final = Framing(0)


def read_framing(method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> Framing:
    """The framing that a head declares. `headers`: names in lower case. Raises FramingError."""
    if version not in ("1.1", "1.0"):
        raise FramingError(f"HTTP/{version} is not spoken here; expected HTTP/1.1 or HTTP/1.0", 505)
    if method == b"CONNECT":
        raise FramingError("this is no proxy: CONNECT is not answered", 405)
    hosts: list[bytes] = []
    length, encoding, expects = None, None, False
    for name, value in headers:
        if name not in _NAMES:
            continue
        if name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            length = _read_length(value, length)
        elif name == b"transfer-encoding":
            encoding = _read_encoding(value, encoding, version)
        else:
            expects = _read_expectation(value, version)
    _check_host(hosts, version)
    if encoding is not None:
        if length is not None:
            raise FramingError("Content-Length and Transfer-Encoding in one request; expected one of them")
        return Framing(CHUNKED, expects)
    return Framing(length or 0, expects) if length or expects else _EMPTY


def split_target(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """The path and the query of a request line's target. Raises FramingError where it is none of this service."""
    if target[:1] == b"/" and target[1:].isalpha():  # nothing to split, as on the hot route
        return target, b""
    if target == b"*":
        return b"/", b""
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise FramingError("the request's target is not a valid path") from None
    if parsed.host is not None:  # the absolute form, in which the target names the host again
        authority = parsed.host if parsed.port is None else b"%b:%d" % (parsed.host, parsed.port)
        named = next((value for name, value in headers if name == b"host"), authority)
        if named.lower() not in (authority.lower(), parsed.host.lower()):
            raise FramingError("the request's target and its Host name different hosts")
    return parsed.path or b"/", parsed.query or b""


def _read_length(value: bytes, before: int | None) -> int:
    digits = value.strip(b" \t")
    if before is not None or not digits.isdigit() or len(digits) > 18:
        raise FramingError("Content-Length is not one number of bytes")
    return int(digits)


def _read_encoding(value: bytes, before: bytes | None, version: str) -> bytes:
    """Chunked alone: a body that is compressed in transfer, or marked twice, is not read by all alike."""
    if version != "1.1":
        raise FramingError("Transfer-Encoding in an HTTP/1.0 request; expected Content-Length")
    if before is not None or value.strip(b" \t").lower() != b"chunked":
        raise FramingError("Transfer-Encoding is not `chunked` alone; expected that, or Content-Length", 501)
    return value


def _read_expectation(value: bytes, version: str) -> bool:
    if value.strip(b" \t").lower() != b"100-continue":
        raise FramingError("Expect: only 100-continue can be met", 417)
    return version == "1.1"


def _check_host(hosts: Sequence[bytes], version: str) -> None:
    if len(hosts) != 1 and (hosts or version == "1.1"):
        raise FramingError(f"{len(hosts)} Host headers; expected one")
    if hosts and not _is_host(hosts[0]):
        raise FramingError("Host is not a valid host name")


@lru_cache(maxsize=64)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None
