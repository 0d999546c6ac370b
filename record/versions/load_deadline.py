"""The deadline of a model's loading: a file can ask for more work than ever ends, such as a loop of 10^12 turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from record.errors import ArtifactError

LOAD_SECONDS: Final = 60.0  # the largest model of the benchmarks takes two
GRACE_SECONDS: Final = 5.0  # to come to the end of one step of the model

Loaded = TypeVar("Loaded")


class LoadTimeout(ArtifactError):
    """The files of a version take longer than a load may."""


def run_before(seconds: float, load: Callable[[], Loaded], stop: Callable[[], None]) -> Loaded:
    """What `load` returns or raises; LoadTimeout where it takes longer than so many seconds.

    It runs in a thread of its own, and `stop` tells it then to end. What does not listen is left alone in that thread,
    which ends with the process.
    """
    results: list[Loaded] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(load())
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, name="load", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        stop()
        thread.join(GRACE_SECONDS)
        raise LoadTimeout(f"the model did not load within {seconds:g} seconds (serve.load_timeout)", field="model.onnx")
    if errors:
        raise errors[0]
    return results[0]
