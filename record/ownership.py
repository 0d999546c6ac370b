"""The owner of files that root makes: the user whose record it is, who could not open them otherwise.

A root shell that runs one command beside a service of another user would leave a lock, a key or a log that the service
may not read. A file belongs to the owner of what it lies beside, as SQLite's own `-wal` and `-shm` do.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = 0


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make the folder and those above it that are missing; each belongs to the owner of the one above."""
    missing = []
    level = path.absolute()
    while not level.is_dir():
        missing.append(level)
        level = level.parent
    for folder in reversed(missing):
        folder.mkdir(mode if folder == missing[0] else 0o777, exist_ok=True)
        give_to_owner(folder)


def give_to_owner(path: Path, beside: Path | None = None) -> None:
    """Give a file or folder of root's to the owner of `beside`: of its own folder where that is None or missing.

    For any other user than root, nothing. Another user's file stays theirs. A link is not followed, nor is a file with
    a second name touched: the owner of the folder might have put it there to be given another file.
    """
    if os.geteuid() != ROOT:
        return
    with suppress(OSError):  # it is gone, or this root may not change owners, as in some containers
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            give_descriptor_to_owner(descriptor, beside if beside is not None and beside.exists() else path.parent)
        finally:
            os.close(descriptor)


def give_descriptor_to_owner(descriptor: int, beside: Path) -> None:
    """As `give_to_owner`, for a file that is open."""
    if os.geteuid() != ROOT:
        return
    held = os.fstat(descriptor)
    single = stat.S_ISDIR(held.st_mode) or (stat.S_ISREG(held.st_mode) and held.st_nlink == 1)
    if held.st_uid != ROOT or not single:
        return
    with suppress(OSError):
        owner = os.stat(beside)
        if owner.st_uid != ROOT:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_folder_to_owner(folder: Path) -> None:
    """`give_to_owner` for the folder and all that is in it."""
    if os.geteuid() != ROOT or folder.is_symlink():
        return
    give_to_owner(folder)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            give_to_owner(Path(place) / name)
