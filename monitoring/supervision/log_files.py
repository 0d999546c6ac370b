"""Log files of programs that go on writing to them: cut when they are long, with a few of the older parts kept."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from record.ownership import give_descriptor_to_owner, give_to_owner, make_folder

LARGEST_BYTES: Final = 20_000_000
KEPT_PARTS: Final = 4  # NAME.log.1, the newest, to NAME.log.4


class LogFiles:
    """The log files in one folder, NAME.log for each program. Together they take at most 5 × 20 MB a program."""

    def __init__(self, folder: Path, largest_bytes: int = LARGEST_BYTES, kept_parts: int = KEPT_PARTS) -> None:
        self._folder = folder
        self._largest_bytes = largest_bytes
        self._kept_parts = kept_parts

    def open(self, name: str) -> IO[bytes]:
        """The file, for a program to append to."""
        make_folder(self._folder)
        file = self._path(name).open("ab")
        give_descriptor_to_owner(file.fileno(), self._folder)
        return file

    def rotate(self, name: str) -> bool:
        """Cut the file if it is long; return whether it was.

        The program keeps the file open, so that it is copied and emptied in its place; the lines of the moment in
        between are lost. Where there is no room for the copy, it is emptied all the same.
        """
        path = self._path(name)
        try:
            if path.stat().st_size <= self._largest_bytes:
                return False
        except OSError:
            return False
        for number in range(self._kept_parts - 1, 0, -1):
            with suppress(OSError):
                os.replace(self._part(path, number), self._part(path, number + 1))
        newest = self._part(path, 1)
        try:
            shutil.copyfile(path, newest)
            give_to_owner(newest)
        except OSError:
            newest.unlink(missing_ok=True)
        with suppress(OSError):
            os.truncate(path, 0)
        return True

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    @staticmethod
    def _part(path: Path, number: int) -> Path:
        return path.with_name(f"{path.name}.{number}")
