"""Files whose pages stay where they are, on file systems that write a changed page to a new place (btrfs).

A mapped page that is to be written to a new place needs room for it at that moment: where the file system is full, the
kernel ends the process with SIGBUS. A page that is written in place needs none.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

# From <linux/fs.h>: the file's attributes, and "write in place" among them (`chattr +C`).
_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_NO_COPY_ON_WRITE: Final = 0x00800000


def write_in_place(descriptor: int) -> bool:
    """Have this file's pages stay where they are, for as long as it is empty. False where they do anyway."""
    try:
        (flags,) = struct.unpack("=Q", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("=Q", flags | _NO_COPY_ON_WRITE))
    except OSError:
        return False
    return True


def make_log_index(database: Path) -> None:
    """Make the file that SQLite maps as its log's index (`-shm`), where its pages would not stay in place.

    Made elsewhere and linked: closing a descriptor of the index itself would end SQLite's locks on it.
    """
    index = database.with_name(database.name + "-shm")
    if index.exists():
        return
    made = database.with_name(f"{database.name}-shm.{os.getpid()}")
    with suppress(OSError):
        made.unlink(missing_ok=True)  # of a process that was killed here, and had the same number
        owner = database.stat()
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            in_place = write_in_place(descriptor)
            os.fchmod(descriptor, stat.S_IMODE(owner.st_mode))
            if os.geteuid() == 0:  # as SQLite itself does
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)
        try:
            if in_place:
                os.link(made, index)
        finally:
            made.unlink()
