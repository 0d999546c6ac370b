"""A disk that forgets: SQLite through a VFS (by apsw) that knows which writes were synced, and which were not.

The technique is that of "drop the unsynced writes": the layer lets every write through, so that SQLite reads what it
wrote, and keeps beside it the image that a disk would hold. A write enters the image when its file is synced (xSync),
and not before. When the power fails, of the writes since then any may have reached the disk, in any order, and the
last of them in part; `Disk.after_power_loss` makes such disks to be opened by a SQLite that knows of nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from record.db.database import Database

NAME = "forgetting"


@dataclass
class _File:
    """One file as the disk holds it, and what was written to it since its last sync: (offset, bytes), or a length."""

    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes] | int] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.unsynced:
            _apply(self.durable, change)
        self.unsynced.clear()


def _apply(image: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del image[change:]
        return
    offset, data = change
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


class Disk(apsw.VFS):
    """Registered as long as it lives. Files that were there before it are taken as synced."""

    def __init__(self) -> None:
        self.files: dict[str, _File] = {}
        self.syncs = 0
        super().__init__(NAME, "")

    def xOpen(self, name: Any, flags: list[int]) -> _Handle:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _Handle(name, flags, self, path)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.files.pop(filename, None)

    def after_power_loss(self, folder: Path, chance: random.Random | None) -> None:
        """Writes what is left into `folder`: of the unsynced writes nothing, or what chance lets through."""
        folder.mkdir()
        for path, file in self.files.items():
            image = bytearray(file.durable)
            for change in file.unsynced if chance else ():
                assert chance is not None
                if chance.random() < 0.5:
                    torn = not isinstance(change, int) and chance.random() < 0.2
                    _apply(image, (change[0], change[1][: len(change[1]) // 2]) if torn else change)  # type: ignore[index]
            (folder / Path(path).name).write_bytes(image)


class _Handle(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], disk: Disk, path: str) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        held = Path(path)
        self._file = disk.files.setdefault(path, _File(bytearray(held.read_bytes() if held.exists() else b"")))

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._file.unsynced.append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._file.unsynced.append(newsize)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.syncs += 1
        self._file.sync()


class _Connection(apsw.Connection):
    """What the appender uses of sqlite3's connections."""

    isolation_level: str | None = None
    current = True


class ForgettingDatabase(Database):
    """A database whose raw connections, the appender's, write to a `Disk`."""

    disk: Disk

    def sync_log(self) -> None:
        super().sync_log()
        self.disk.syncs += 1
        self.disk.files[f"{self.path}-wal"].sync()

    def _connect_raw(self, patience_seconds: float) -> Any:
        connection = _Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=NAME)
        connection.set_busy_timeout(round(1000 * patience_seconds))
        self._prepare_sqlite(connection, None)
        return connection
