"""Load on a service from processes of its own: what it computes must not hold the interpreter of who measures."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess

BURNING_PROCESSES = 3  # as many as an attack keeps busy: two workers and the one that sends


@dataclass(frozen=True)
class Flood:
    """One request again and again on many connections, as fast as each takes it; the answers are read or not."""

    port: int
    connections: int
    request: bytes
    read: bool

    def pour(self, seconds: float) -> None:
        payload = self.request * (65_536 // len(self.request) + 1)
        until = time.monotonic() + seconds
        with ExitStack() as stack:
            clients = [stack.enter_context(self._connect()) for _ in range(self.connections)]
            while time.monotonic() < until:
                for client in clients:
                    with suppress(OSError):
                        client.send(payload)
                    with suppress(OSError):
                        if self.read:
                            client.recv(1 << 20)

    def _connect(self) -> socket.socket:
        client = socket.socket()
        if not self.read:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", self.port))
        client.setblocking(False)
        return client


def burn(seconds: float) -> None:
    """Keep a processor busy: what an attack costs without being one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1_000))


@contextmanager
def attack(flood: Flood, seconds: float) -> Iterator[None]:
    """The flood beside the block; the block's end waits for it."""
    with _processes(1, flood.pour, seconds):
        yield


@contextmanager
def dummy_load(seconds: float) -> Iterator[None]:
    """Busy processors beside the block; the block's end waits for them."""
    with _processes(BURNING_PROCESSES, burn, seconds):
        yield


@contextmanager
def _processes(count: int, run: Callable[[float], None], seconds: float) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = [context.Process(target=run, args=(seconds,)) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.join()
    assert [process.exitcode for process in processes] == [0] * count
