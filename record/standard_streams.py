"""The standard streams of a program that may have been started without them."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Open the null device in the place of each standard stream that is closed.

    The next file that is opened takes the lowest free number. A database that got number 2 would be written into by
    every library that writes to standard error.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets this number: the lower ones are open
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
