"""A file system of a few megabytes, for tests that fill it: only root may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MAY_MOUNT: Final = (
    os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0
)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """An empty tmpfs at the folder, which is made; without the right to mount, a folder like any other."""
    folder.mkdir(parents=True, exist_ok=True)
    if not MAY_MOUNT:
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
