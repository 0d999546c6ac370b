"""What every process of Ringside begins with: files for their owner alone, and libraries that report to nobody."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

# onnxruntime from 1.29 on reports sessions and the machine to its maker; BentoML and Evidently report their use.
# Each reads its variable when it is first imported: set later, it has no effect.
NO_TELEMETRY: Final[Mapping[str, str]] = {
    "ORT_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
}
PRIVATE_UMASK: Final = 0o077  # the record, its log, models and reports hold what applications sent


def begin_process() -> None:
    """Keep this process's new files from other users, and it and its children from reporting to anybody."""
    os.umask(PRIVATE_UMASK)
    silence_telemetry()


def silence_telemetry() -> None:
    """Set the variables in this process's environment, for what it imports and starts from now on."""
    os.environ.update(NO_TELEMETRY)


def restart_without_telemetry() -> None:
    """Begin the program anew, in the same process, where it was started without the variables.

    They are then in its environment from the start, where a native library looks, and whoever audits the machine. For
    programs alone: whoever imports Ringside goes on with the environment that they have.
    """
    if any(os.environ.get(name) != value for name, value in NO_TELEMETRY.items()):
        silence_telemetry()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
