"""The lock that SQLite's writers queue behind: the threads of a process in the order in which they came.

Between processes it is the system that wakes them, in the order in which they came too, as long as none of those that
let go takes it again at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections import deque
from pathlib import Path

from record.ownership import give_descriptor_to_owner


class FileLock:
    """One holder among all threads of all processes. Not re-entrant; released by the system when its holder dies."""

    def __init__(self, path: Path, beside: Path | None = None) -> None:
        """`beside`: the file whose owner the lock's file belongs to, also where root makes it."""
        self._path = path
        self._beside = beside
        self._threads = FairLock()
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
        if not self._threads.acquire(wait=wait):
            raise BlockingIOError(errno.EWOULDBLOCK, "another thread holds the lock", str(self._path))
        try:
            if self._descriptor is None or self._pid != os.getpid():
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._pid = os.getpid()
                beside = self._beside
                give_descriptor_to_owner(self._descriptor, beside if beside and beside.exists() else self._path.parent)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        assert self._descriptor is not None
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()


class FairLock:
    """A lock among threads that is handed to the one that has waited longest.

    With a common lock a thread that takes it again and again leaves nothing to the others: they are woken too late.
    """

    def __init__(self) -> None:
        self._state = threading.Lock()  # held for a moment only
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, *, wait: bool) -> bool:
        """False where it is held and is not to be waited for."""
        with self._state:
            if not self._held:
                self._held = True
                return True
            if not wait:
                return False
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()
        except BaseException:  # a signal's handler raised, in the main thread
            self._give_up(turn)
            raise
        return True

    def release(self) -> None:
        with self._state:
            if self._waiting:
                self._waiting.popleft().release()  # it stays held, by another thread
            else:
                self._held = False

    def _give_up(self, turn: threading.Lock) -> None:
        with self._state:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.release()  # it was its turn already


class AtOnce:
    """The lock's way in for those who don't wait: entering raises BlockingIOError where it is held."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.take(wait=False)

    def __exit__(self, *_: object) -> None:
        self._lock.release()
