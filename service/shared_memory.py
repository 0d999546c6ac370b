"""Memory that processes share by a file, all of it allocated before it is used."""

from __future__ import annotations

import mmap
import os

from record.db.in_place import write_in_place


def map_allocated(descriptor: int, size: int) -> mmap.mmap:
    """Map the first `size` bytes of a file. Raises OSError where the file system has no room for all of them.

    A file that is only truncated to its size gets each page when it is first written to, and where there is none left
    by then, the kernel ends the process with SIGBUS.
    """
    write_in_place(descriptor)
    os.posix_fallocate(descriptor, 0, size)
    return mmap.mmap(descriptor, size)
