"""A hundred swaps of the champion under load: what fails, who answers, and what stays in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ringside_server import copy_home, register_copy, ringside_server
from benchmarks.servers import running
from benchmarks.serving_processes import post, wait, workers_mb
from record.record import open_record
from record.settings import load_settings

SWAPS = 100


def measure_swaps(folder: Path, bodies: Sequence[str], environments: Path) -> str:
    """SWAPS moves of the champion's role under load: failures, versions that answered, and memory."""
    home = folder / "swapped"
    copy_home(folder, "swapped")
    server = ringside_server(folder, "swapped")
    with running(server, environments, {}, folder / "swapped.log") as up:
        record = open_record(load_settings(home / "ringside.toml"))
        versions = ("v1", register_copy(record))
        before = workers_mb(up)
        asked: list[str] = []
        failed: list[str] = []
        ended = threading.Event()

        def ask() -> None:
            place = 0
            while not ended.is_set():
                place = (place + 1) % len(bodies)
                try:
                    asked.append(json.loads(post(up.url, bodies[place]))["model_version"])
                except (OSError, KeyError, ValueError) as error:
                    failed.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for n in range(SWAPS):
            version = versions[(n + 1) % 2]
            record.registry.promote(version, actor="benchmark", reason="swap")
            begun = len(asked)
            wait(lambda begun=begun, version=version: version in asked[begun:], f"{version} answers")  # type: ignore[misc]
        ended.set()
        for thread in threads:
            thread.join()
        after = workers_mb(up)
        record.close()
    others = sorted(set(asked) - set(versions))
    return (
        f"{SWAPS} swaps under {len(asked):,} requests: {len(failed)} failed, answered by another version: "
        f"{others or 'none'}; workers' memory {before} → {after} MB.\n"
    )
