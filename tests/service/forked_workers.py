"""Serving processes that are back within half a second: `python -m tests.service.forked_workers CONFIG PORT WORKERS`.

The service as its workers run it, under uvicorn alone: BentoML looks for dead workers every ten seconds, and twenty
kills would take minutes. The parent does nothing but fork them, and fork another for each that ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn

from record.settings import Settings, load_settings
from service.http.connections import guard_connections
from service.http.front import Front
from service.http.routes import application
from service.worker import Worker


async def _serve(settings: Settings, listening: socket.socket) -> None:
    worker = Worker(lambda: settings)
    await worker.start()
    front = Front(application(worker), worker=worker)
    front.open_fast_lane()
    guard_connections(settings.serve.request_timeout.total_seconds())
    await uvicorn.Server(uvicorn.Config(front, log_config=None, lifespan="off")).serve([listening])
    await worker.stop()


def _fork(settings: Settings, listening: socket.socket) -> int:
    pid = os.fork()
    if pid == 0:
        asyncio.run(_serve(settings, listening))
        os._exit(0)
    return pid


async def _warm(settings: Settings) -> None:
    """Everything imported that a worker needs, so that a fork has it."""
    worker = Worker(lambda: settings)
    await worker.start()
    await worker.stop()


def main(config: str, port: str, workers: str) -> None:
    settings = load_settings(Path(config))
    asyncio.run(_warm(settings))
    listening = socket.create_server(("127.0.0.1", int(port)))
    for _ in range(int(workers)):
        _fork(settings, listening)
    while True:
        os.wait()
        _fork(settings, listening)


if __name__ == "__main__":
    main(*sys.argv[1:])
