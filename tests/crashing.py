"""Processes that die at a named step: real entry points, in a process forked from one that has loaded everything.

A fresh interpreter takes seconds to import what a run needs. These are forked from a server that has it imported
and has run nothing yet; what they start themselves are fresh interpreters, as ever.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

PRELOADED = ["retrain.job", "retrain.__main__", "monitoring.__main__", "tests.crashing"]
FAIL_AT = "RINGSIDE_FAIL_AT"


def start(program: str, config: Path, arguments: Sequence[str], fail_at: int | str | None = None) -> BaseProcess:
    """`python -m PROGRAM ARGUMENTS`, which dies at that step of its own; its children pass their steps unharmed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_main, args=(program, str(config), list(arguments), fail_at))
    process.start()
    return process


def ended(process: BaseProcess, timeout: float = 240.0) -> int:
    """The exit code; a process that does not end is killed, and the test fails."""
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"{process.name} did not end within {timeout:g} s")
    return process.exitcode


def left_running(config: Path) -> list[psutil.Process]:
    """Every process that was started with these settings and still lives."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RINGSIDE_CONFIG") == str(config) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another user's, or gone meanwhile
    return found


def _main(program: str, config: str, arguments: list[str], fail_at: int | str | None) -> None:
    os.setsid()  # as their parents start them; and what ends its process group must not end the server's
    os.environ["RINGSIDE_CONFIG"] = config
    log = os.open(Path(config).parent / f"{program}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stderr.fileno())
    if fail_at is not None:
        os.environ[FAIL_AT] = str(fail_at)
        _spare_children()
    if program == "monitoring":
        import monitoring.__main__ as entry

        vars(entry)["load_in_background"] = lambda: None  # Evidently takes seven seconds, and no page is drawn here
        code = entry.main(arguments)
    else:
        import retrain.__main__

        code = retrain.__main__.main(arguments)
    sys.stderr.flush()
    os._exit(code)


def _spare_children() -> None:
    """Whatever this process starts does not hear of its fate."""
    original = subprocess.Popen.__init__

    def start_spared(self: Any, *given: Any, **options: Any) -> None:
        surroundings = options.get("env")
        options["env"] = {k: v for k, v in (surroundings or os.environ).items() if k != FAIL_AT}
        original(self, *given, **options)

    subprocess.Popen.__init__ = start_spared  # type: ignore[method-assign]
