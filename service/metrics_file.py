"""The file by which one worker's metrics reach whoever scrapes another: always there, and never a SIGBUS.

prometheus_client maps a file that is as long as it says, and as empty as the file system left it: a write to a page
without room ends the worker, a folder that was removed ends its successors, and what either counted is lost. Here a
file is allocated in full before it is mapped. Where that cannot be, the values live in memory until it can.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, Final
from weakref import WeakSet

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from record.log_lines import log_line
from service.shared_memory import map_allocated

# The keys of some 45 routes and statuses with all their buckets, so that a file seldom grows.
FIRST_BYTES: Final = 1 << 17
_HEADER_BYTES: Final = 8
_ENTRY_BYTES: Final = 32  # of an entry beside its key, at most
UNREADABLE: Final = (OSError, ValueError, RuntimeError, struct.error)  # a file that is cut, or another program's

_OPEN: Final[WeakSet[MetricsFile]] = WeakSet()


class MetricsFile(MmapedDict):
    """A dict of doubles in the library's format. Safe to share between threads. `kept`: whether it has a file now."""

    def __init__(self, filename: str) -> None:
        self._path = Path(filename)
        self._lock = Lock()
        self._identity: tuple[int, int] | None = None
        self.reason = ""
        self._positions: dict[str, int] = {}
        self._capacity, self._used = FIRST_BYTES, _HEADER_BYTES
        self._m = mmap.mmap(-1, self._capacity)
        self._m[:4] = struct.pack("i", self._used)
        for key, value, timestamp in _values_of(self._path):  # of a process that had this process's number
            self.write_value(key, value, timestamp)
        self.keep()
        _OPEN.add(self)

    @property
    def kept(self) -> bool:
        return self._identity is not None

    def keep(self) -> bool:
        """Put the values into a file where there was none, or it has been removed. False where that cannot be."""
        with self._lock:
            if self._identity is not None and self._identity == _identity(self._path):
                return True
            self._identity = None
            self._move(self._capacity)
            return self.kept

    def read_value(self, key: str) -> Any:
        with self._lock:
            return super().read_value(key)  # type: ignore[no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        with self._lock:
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        with self._lock:
            _OPEN.discard(self)
            self._m.close()

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + _ENTRY_BYTES
        if needed > self._capacity:
            self._move(max(2 * self._capacity, needed))
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _move(self, capacity: int) -> None:
        """Into a new file of that size in the place of the old one, else into memory. The lock is held."""
        try:
            memory, identity = self._make_file(capacity)
            self._identity = identity
        except OSError as error:
            self.reason = error.strerror or str(error)
            self._identity = None
            if capacity == self._capacity:  # where it is, it is in memory already, or in a file that is gone
                return
            memory = mmap.mmap(-1, capacity)
            memory[: self._used] = self._m[: self._used]
        before, self._m, self._capacity = self._m, memory, capacity
        before.close()

    def _make_file(self, capacity: int) -> tuple[mmap.mmap, tuple[int, int]]:
        """Who reads meanwhile finds the old file, or the whole of the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        growing = self._path.with_suffix(".new")
        growing.unlink(missing_ok=True)  # of a process that died over it
        descriptor = os.open(growing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            memory = map_allocated(descriptor, capacity)
            memory[: self._used] = self._m[: self._used]
            os.rename(growing, self._path)
            found = os.fstat(descriptor)
        except OSError:
            growing.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return memory, (found.st_dev, found.st_ino)


def use_metrics_files() -> None:
    """Have prometheus_client keep this process's values in these files. Before the first of its metrics is made."""
    setattr(values, "MmapedDict", MetricsFile)  # noqa: B010 - the library looks it up there by each process's first value


def keep_metrics_files() -> str | None:
    """Look after this process's files. The reason where one of them had to stay in memory."""
    lacking = [file for file in list(_OPEN) if not file.keep()]
    return lacking[0].reason if lacking else None


def shrink(path: Path, lives: Callable[[], bool]) -> None:
    """Give back what a dead process's file has beyond its values.

    It is asked whether the process lives once the file is open: a process that gets the same number later makes a file
    of its own in this one's place.
    """
    with path.open("r+b") as file:
        used = _used(file.read(4))
        if _HEADER_BYTES <= used < os.fstat(file.fileno()).st_size and not lives():
            file.truncate(used)


def _values_of(path: Path) -> list[tuple[str, float, float]]:
    """What a file holds; nothing where it cannot be read."""
    try:
        held = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        return [(key, value, timestamp) for key, value, timestamp, _ in held]
    except FileNotFoundError:
        return []
    except UNREADABLE as error:
        log_line("metrics file left out", level=logging.WARNING, file=path.name, reason=str(error))
        return []


def _used(header: bytes) -> int:
    return int(struct.unpack("i", header)[0]) if len(header) == 4 else 0


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
