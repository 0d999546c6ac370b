"""Quotas: how many requests and rows a second each token may send, over all workers of the service together.

A bucket is one number, the time at which what was taken is paid off (the generic cell rate algorithm): a request may
come while that lies less than a second ahead. The workers share the buckets in a file of a few kilobytes in the folder
that their metrics share; a lock on it takes two microseconds, and only tokens with a quota take it.
"""

from __future__ import annotations

import fcntl
import logging
import math
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final

from record.errors import QuotaExceeded
from record.log_lines import log_line
from service.shared_memory import map_allocated

if TYPE_CHECKING:
    from record.configuration.sections import ServeSettings, Token

BURST_SECONDS: Final = 1.0  # of the rate may come at once
SLOTS: Final = 1024  # tokens that have a bucket of their own
LONGEST_DEBT_SECONDS: Final = 86_400.0  # more stands there only from before the machine's clock began anew
_SLOT: Final = Struct("=Qdd")  # the token's key, and the times at which its requests and its rows are paid off
_BYTES: Final = SLOTS * _SLOT.size
_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class Quota:
    """None: as many as come."""

    requests_per_second: float | None
    rows_per_second: float | None


class Quotas:
    """The quotas of one worker's callers. Safe to share between threads."""

    def __init__(
        self,
        serve: ServeSettings,
        open_to: str,
        buckets: Buckets | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._default = Quota(serve.requests_per_second, serve.rows_per_second)
        self._open_to = open_to  # the caller's name on a service without tokens
        self._buckets = buckets or Buckets.shared()
        self._clock = clock
        self._quotas: Mapping[str, Quota] = {}

    def replace(self, tokens: Sequence[Token]) -> None:
        """From now on these tokens' quotas count."""
        found = {token.name: self._of(token) for token in tokens} or {self._open_to: self._default}
        self._quotas = {name: quota for name, quota in found.items() if quota != Quota(None, None)}

    def _of(self, token: Token) -> Quota:
        return Quota(
            token.requests_per_second or self._default.requests_per_second,
            token.rows_per_second or self._default.rows_per_second,
        )

    def keep(self) -> None:
        """Share the buckets with the other workers where there was no room for that, or their file is gone."""
        self._buckets.keep()

    def __bool__(self) -> bool:
        return bool(self._quotas)

    def charge_request(self, name: str) -> None:
        """Takes one request from the caller's quota; QuotaExceeded where it is used up."""
        quota = self._quotas.get(name)
        if quota is not None and quota.requests_per_second is not None:
            self._charge(name, 0, 1, quota.requests_per_second, "requests")

    def charge_rows(self, name: str, rows: int) -> None:
        """The same of rows: records, labels, alerts. A batch is taken whole, and paid off by the time after it."""
        quota = self._quotas.get(name)
        if quota is not None and quota.rows_per_second is not None:
            self._charge(name, 1, rows, quota.rows_per_second, "rows")

    def _charge(self, name: str, kind: int, amount: int, rate: float, unit: str) -> None:
        now = self._clock()
        with self._buckets.slot(name) as paid_off:
            debt = paid_off[kind] - now
            if debt > LONGEST_DEBT_SECONDS:
                debt = 0.0
            late = debt + (1 / rate if kind == 0 else 0.0) - max(BURST_SECONDS, 1 / rate)
            if late > 1e-9:
                raise QuotaExceeded(
                    f"the caller {name!r} has used up its quota of {rate:g} {unit} a second; "
                    f"try again in {math.ceil(late)} s",
                    retry_after_seconds=max(1, math.ceil(late)),
                )
            paid_off[kind] = now + max(debt, 0.0) + amount / rate


class Buckets:
    """The buckets of all workers, in a file that they share; without a folder, of this process alone."""

    def __init__(self, path: Path | None) -> None:
        self._threads = threading.Lock()
        self._path = path
        self._descriptor: int | None = None
        self._memory = mmap.mmap(-1, _BYTES)
        self._told = False
        self.keep()

    @classmethod
    def shared(cls) -> Buckets:
        """Those of the service that this process belongs to."""
        folder = os.environ.get(_FOLDER)
        return cls(Path(folder) / "quotas" if folder and Path(folder).is_dir() else None)

    def keep(self) -> None:
        """Share them by the file. Where there is no room for one, each worker counts by itself until there is."""
        if self._path is None or (self._descriptor is not None and _same_file(self._path, self._descriptor)):
            return
        descriptor = None
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            memory = map_allocated(descriptor, _BYTES)
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
            if not self._told:
                log_line("quotas of each worker by itself", level=logging.ERROR, reason=error.strerror)
            self._told = True
            return
        with self._threads:
            before, self._descriptor = self._descriptor, descriptor
            self._memory = memory
            if before is not None:
                os.close(before)
        self._told = False

    @contextmanager
    def slot(self, name: str) -> Iterator[list[float]]:
        """The two times of a token, locked; what is left in the list is written, unless the block raises."""
        key = int.from_bytes(sha256(name.encode()).digest()[:8]) | 1
        with self._threads:
            if self._descriptor is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                at = self._find(key)
                held, *times = _SLOT.unpack_from(self._memory, at)
                paid_off = times if held == key else [0.0, 0.0]
                yield paid_off
                _SLOT.pack_into(self._memory, at, key, *paid_off)
            finally:
                if self._descriptor is not None:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _find(self, key: int) -> int:
        """The key's slot, or the next one that is free; where none is, its first."""
        first = key % SLOTS
        for step in range(SLOTS):
            at = (first + step) % SLOTS * _SLOT.size
            (held,) = Struct("=Q").unpack_from(self._memory, at)
            if held in (0, key):
                return at
        return first * _SLOT.size


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
