"""The processes of a running `ringside up`, and how a benchmark talks to it and waits for it."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable

import psutil

from benchmarks.servers import Running

SHADOW = "monitoring.shadow"


def shadows(up: Running) -> list[psutil.Process]:
    return [process for process in _tree(up) if any(SHADOW in part for part in _command(process))]


def workers_mb(up: Running) -> list[int]:
    workers = [p for p in _tree(up) if any("_bentoml_impl.worker" in part for part in _command(p))]
    return [process.memory_info().rss >> 20 for process in workers]


def _tree(up: Running) -> list[psutil.Process]:
    return psutil.Process(up.process.pid).children(recursive=True)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one too: killed just now
        return []


def post(url: str, body: str) -> bytes:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        held: bytes = answer.read()
    return held


def wait(condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise SystemExit(f"{what} did not come within {seconds:.0f} s")
