"""A file system of a few megabytes, for tests that fill it: only root may mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final


def _may_mount() -> bool:
    """Whether this user may do what `small_disk` does, tried where nobody else sees it."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


MAY_MOUNT: Final = _may_mount()


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
