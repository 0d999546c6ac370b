"""The text of ringside.toml that a service began with, for every process that starts later.

The file may be edited while the service runs, and a worker that dies is replaced at once: by one that would answer and
log by other settings than the workers beside it. So whoever starts first keeps the text that it read, and the
environment of its children says where. A change counts from the next start of the whole service on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CONFIG: Final = "RINGSIDE_CONFIG"
COPY: Final = "RINGSIDE_CONFIG_COPY"  # the file that holds the text
DIGEST: Final = "RINGSIDE_CONFIG_DIGEST"  # of the settings that it makes


def names_copy(file: Path, environment: Mapping[str, str]) -> bool:
    """Whether this process is to read that settings file as it was when the service started."""
    named = environment.get(CONFIG)
    return named is not None and COPY in environment and Path(named).absolute() == file


def read_copy(file: Path, environment: Mapping[str, str]) -> str | None:
    """The text that counts instead of the file's; None where the file itself counts, or the copy is gone."""
    if not names_copy(file, environment):
        return None
    try:
        return Path(environment[COPY]).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def write_copy(text: str, copy: Path) -> None:
    """For its owner alone, since settings may hold passwords; whole or not at all."""
    growing = copy.with_name(f"{copy.name}.{os.getpid()}")
    growing.unlink(missing_ok=True)
    descriptor = os.open(growing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        growing.replace(copy)
    except OSError:
        growing.unlink(missing_ok=True)
        raise


def hold_copy(text: str) -> str | None:
    """Keep the text in this process's memory. Its path, for as long as the process lives; None where none can be."""
    if not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("ringside.toml", os.MFD_CLOEXEC)
    os.write(descriptor, text.encode())
    return f"/proc/{os.getpid()}/fd/{descriptor}"
