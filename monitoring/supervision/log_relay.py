"""The way of the programs' output to this process's own: what cannot be written is dropped, and nobody waits for it."""

from __future__ import annotations

import json
import os
import select
import threading
from contextlib import suppress
from typing import Self

from record.clock import machine_now

STALL_SECONDS = 1.0  # how long a reader of our output may look away before lines are dropped
_CHUNK = 4096  # a pipe that can be written at all takes so much at once


class LogRelay:
    """A pipe for programs to write to, and a thread that copies it to a file descriptor of this process.

    A full disk, a pipe whose reader is gone and a pipe that nobody reads are this thread's affair alone. Once the
    descriptor takes output again, a line tells how many bytes were lost.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._reading, self.descriptor = os.pipe()
        self._stalled = False
        self._lost = 0
        self._thread = threading.Thread(target=self._copy, name=f"log relay {target}", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        """Copy what is left and end; every program that writes here must have ended before."""
        os.close(self.descriptor)
        self._thread.join(2 * STALL_SECONDS)

    def _copy(self) -> None:
        with suppress(OSError):
            while held := os.read(self._reading, 1 << 16):
                for start in range(0, len(held), _CHUNK):
                    self._write(held[start : start + _CHUNK])
        with suppress(OSError):
            os.close(self._reading)

    def _write(self, chunk: bytes) -> None:
        if self._lost and self._ready():
            lost, self._lost = self._lost, 0
            line = {"at": machine_now().isoformat(timespec="milliseconds"), "message": "log output lost", "bytes": lost}
            if not self._put(b"\n" + json.dumps(line).encode() + b"\n"):
                self._lost = lost
        if not self._put(chunk):
            self._lost += len(chunk)

    def _put(self, chunk: bytes) -> bool:
        if not self._ready():
            return False
        try:
            return os.write(self._target, chunk) == len(chunk)
        except OSError:
            return False

    def _ready(self) -> bool:
        """Whether the target takes output; after it has once not for STALL_SECONDS, it is not waited for again."""
        poll = select.poll()
        poll.register(self._target, select.POLLOUT)
        try:
            events = poll.poll(0 if self._stalled else 1000 * STALL_SECONDS)
        except OSError:
            return False
        self._stalled = not events
        return bool(events)
