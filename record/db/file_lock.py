"""The lock that SQLite's writers queue behind, in the order in which the system wakes them."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path


class FileLock:
    """One holder among all threads of all processes. Not re-entrant; released by the system when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._descriptor: int | None = None
        self._pid = 0
        self._at_once = AtOnce(self)

    @property
    def at_once(self) -> AtOnce:
        """To enter it without waiting."""
        return self._at_once

    def __enter__(self) -> None:
        self.take(wait=True)

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self, *, wait: bool) -> None:
        """Raises BlockingIOError where it is held and is not to be waited for."""
        if not self._threads.acquire(blocking=wait):
            raise BlockingIOError(errno.EWOULDBLOCK, "another thread holds the lock", str(self._path))
        try:
            if self._descriptor is None or self._pid != os.getpid():
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._pid = os.getpid()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        assert self._descriptor is not None
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()


class AtOnce:
    """The lock's way in for those who don't wait: entering raises BlockingIOError where it is held."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.take(wait=False)

    def __exit__(self, *_: object) -> None:
        self._lock.release()
