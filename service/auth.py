"""Who may call what. Every route but the two probes needs a token, unless only this machine can reach the service.

Roles are separate: a token that may send labels may not predict, unless it has both. Only `operate` implies
another, `read`. Tokens are compared as SHA-256 hashes in constant time, and never written anywhere.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from threading import Lock
from typing import TYPE_CHECKING, Any

from record.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    from record.configuration.sections import Token, TokenRole

ANONYMOUS = "anonymous"  # the actor of refusals whose caller is not known
LOCAL = "local"  # the actor on a service that is open to this machine
IMPLIED: Mapping[str, frozenset[str]] = {"operate": frozenset({"operate", "read"})}
LONGEST_TOKEN_BYTES = 1024


@dataclass(slots=True)
class _Caller:
    """A token. `used` says that it was admitted since that was last looked at."""

    name: str
    sha256: bytes
    roles: frozenset[str]
    expires: float  # seconds since 1970, on the machine's clock
    used: bool = False


class Gate:
    """Lets a request through with its caller's name, or refuses it. Safe to share between threads."""

    def __init__(
        self, tokens: Sequence[Token], now: Callable[[], float] = time.time, origins: Sequence[str] = ()
    ) -> None:
        self._now = now
        self._origins = frozenset(origin.encode() for origin in origins)
        self._callers: Sequence[_Caller] = ()
        self.refusals = Refusals()
        self.replace(tokens)

    def replace(self, tokens: Sequence[Token]) -> None:
        """From now on these count, and no others. Safe while others admit."""
        self._callers = [
            _Caller(
                token.name,
                token.sha256.encode(),
                _all_roles(token.roles),
                math.inf if token.expires_at is None else token.expires_at.timestamp(),
            )
            for token in tokens
        ]

    def take_used(self) -> list[tuple[str, str]]:
        """Name and SHA-256 of each token that was admitted since the last call."""
        used = [caller for caller in self._callers if caller.used]
        for caller in used:
            caller.used = False
        return [(caller.name, caller.sha256.decode()) for caller in used]

    @property
    def open(self) -> bool:
        """Whether nobody needs a token."""
        return not self._callers

    def admit(
        self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], role: TokenRole | None, route: str
    ) -> str:
        """The caller's name: its token's, or LOCAL. `role` None: any token will do.

        Raises Unauthorized where the token is missing or unknown, Forbidden where it lacks the role.
        """
        if not self._callers:
            origin = headers.get(b"origin")
            origin = None if origin in self._origins else origin
            complaint = _foreign(scope.get("server"), headers.get(b"host"), origin)
            if complaint is not None:
                self.refusals.add(ANONYMOUS, route, "forbidden")
                raise Forbidden(complaint)
            return LOCAL
        caller = self._find(headers.get(b"authorization"))
        if caller is None:
            self.refusals.add(ANONYMOUS, route, "unauthorized")
            raise Unauthorized("no known token; expected the header `Authorization: Bearer <token>`")
        if caller.expires <= self._now():
            self.refusals.add(caller.name, route, "unauthorized")
            raise Unauthorized(f"the token {caller.name!r} has expired; expected one that is valid")
        if role is not None and role not in caller.roles:
            self.refusals.add(caller.name, route, "forbidden")
            raise Forbidden(f"the token {caller.name!r} lacks the role {role!r} that {route} needs")
        caller.used = True
        return caller.name

    def _find(self, header: bytes | None) -> _Caller | None:
        if header is None or len(header) > LONGEST_TOKEN_BYTES or header[:7].lower() != b"bearer ":
            return None
        given = sha256(header[7:].strip()).hexdigest().encode()
        found = None
        for caller in self._callers:  # all of them, so that the time says nothing
            if hmac.compare_digest(given, caller.sha256):
                found = caller
        return found


def _all_roles(roles: Sequence[str]) -> frozenset[str]:
    return frozenset().union(*(IMPLIED.get(role, frozenset({role})) for role in roles))


@lru_cache(maxsize=64)
def _foreign(server: tuple[str, int] | None, host: bytes | None, origin: bytes | None) -> str | None:
    """Why a request to an open service does not come from this machine's own programs; None where it does.

    A page in this machine's browser is not one of them: it names its Origin, and a name that was bound to
    127.0.0.1 in passing stands in Host.
    """
    if server is not None and not _loopback(server[0]):
        return f"the service has no tokens, so that it answers on loopback only, not on {server[0]}"
    if host is not None and not _loopback(_host_name(host.decode("latin-1"))):
        return (
            f"the service has no tokens, so that it answers to localhost only, not to {host[:100].decode('latin-1')!r}"
        )
    if origin is not None and not _loopback(_host_name(origin.decode("latin-1").partition("://")[2])):
        return "the service has no tokens, so that it answers no page of another site"
    return None


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}


def _loopback(host: str) -> bool:
    if host.lower().removesuffix(".") in _LOOPBACK_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Refusal:
    """So many refusals of one kind since the last time that they were told."""

    name: str  # of the token, or ANONYMOUS
    route: str
    reason: str  # unauthorized | forbidden
    count: int


class Refusals:
    """Counts refused requests, so that a guessing client fills a counter and not the audit trail.

    Told are a caller and a route at most once a minute. Names are those of tokens and routes those of the table,
    which bounds what is held. Safe to share between threads.
    """

    EVERY_SECONDS = 60.0

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._counts: dict[tuple[str, str, str], int] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._lock = Lock()

    def add(self, name: str, route: str, reason: str) -> None:
        with self._lock:
            key = (name, route, reason)
            self._counts[key] = self._counts.get(key, 0) + 1

    def due(self, all_of_them: bool = False) -> list[Refusal]:
        """What may be told now, and is taken as told."""
        now = self._monotonic()
        told: list[Refusal] = []
        with self._lock:
            for name, route, reason in sorted(self._counts):
                last = self._told.get((name, route))
                if all_of_them or last is None or now - last >= self.EVERY_SECONDS:
                    count = self._counts.pop((name, route, reason))
                    told.append(Refusal(name, route, reason, count))
                    self._told[(name, route)] = now
        return told

    def put_back(self, refusal: Refusal) -> None:
        """What was not told, since another worker did within the minute, or could not be: it waits for the next."""
        with self._lock:
            key = (refusal.name, refusal.route, refusal.reason)
            self._counts[key] = self._counts.get(key, 0) + refusal.count
            self._told[(refusal.name, refusal.route)] = self._monotonic()
