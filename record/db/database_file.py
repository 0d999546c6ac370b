"""A SQLite file and its write-ahead log: whether they still belong together.

SQLite replays whatever log lies beside a database, also one that belonged to another file at the same path. A backup
that is copied over a record, or renamed into its place, while the old `-wal` is there, is undone by it or destroyed.
So the state of the file is kept beside it, in the lock file: only a checkpoint writes to the file, and each one leaves
its mark in the log's index (`-shm`). A file that has changed without a checkpoint was replaced.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import sqlite3
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Final
from weakref import WeakSet

_HEADER: Final = 32  # bytes of the log's header, https://www.sqlite.org/fileformat2.html#the_write_ahead_log
_FRAME_HEADER: Final = 24
_MAGIC: Final = (0x377F0682, 0x377F0683)
_INDEX_BYTES: Final = 136  # of the log's index, https://www.sqlite.org/walformat.html#the_wal_index_file_format
_ALL: Final = -1  # frames copied: every one, and the next commit begins the log anew
_UNKNOWN: Final = 2**32  # frames that may be copied: any of them, since the index is another log's, or gone
_STAMP_BYTES: Final = 1024
_LOOKS: Final = 100
_LOOK_SECONDS: Final = 0.02
_UNFINISHED_LOOKS: Final = 25  # a checkpoint that has not gone on for so long has died


class ReplacedError(sqlite3.OperationalError):
    """The database file is another one than its write-ahead log was written for."""


@dataclass(frozen=True, slots=True)
class FileState:
    """The file as the system shows it, and its log. `copied` to `copying` are frames that a checkpoint moves."""

    boot: str
    inode: int
    size: int
    modified_ns: int
    log_inode: int = 0  # 0: there is no log, or an empty one
    salts: str = ""
    copied: int = 0
    copying: int = 0

    @property
    def file(self) -> tuple[int, int, int]:
        return self.inode, self.size, self.modified_ns

    @property
    def checkpoint(self) -> tuple[str, int, int]:
        return self.salts, self.copied, self.copying


class _Descriptors:
    """Files that stay open for as long as the process uses the database.

    Closing any descriptor of a file ends all locks that the process holds on it, SQLite's among them.
    """

    def __init__(self) -> None:
        self.users = 0
        self._open: dict[tuple[int, int], int] = {}
        self._spare: list[int] = []

    def of(self, path: Path) -> int:
        """A descriptor to read the file at the path by; FileNotFoundError where there is none."""
        found = os.stat(path)
        held = self._open.get((found.st_dev, found.st_ino))
        if held is not None:
            return held
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        opened = os.fstat(descriptor)
        if (key := (opened.st_dev, opened.st_ino)) in self._open:  # opened by another thread meanwhile
            self._spare.append(descriptor)
        return self._open.setdefault(key, descriptor)

    def close(self) -> None:
        for descriptor in (*self._open.values(), *self._spare):
            os.close(descriptor)
        self._open, self._spare = {}, []


_SHARED: Final[dict[Path, _Descriptors]] = {}
_SHARED_LOCK: Final = Lock()


class DatabaseFile:
    """Compares a SQLite file with what it was. Safe to share between threads; `close` after its last connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = path.with_name(path.name + "-wal")
        self._index = path.with_name(path.name + "-shm")
        self._stamp = path.with_name(path.name + ".lock")
        self._lock = Lock()
        self._known: FileState | None = None
        self._refusal: str | None = None  # stays: SQLite shares an inode's index among a process's connections
        self.generation = 0
        with _SHARED_LOCK:
            self._shared = Path(os.path.realpath(path))
            self._descriptors = _SHARED.setdefault(self._shared, _Descriptors())
            self._descriptors.users += 1

    def close(self) -> None:
        with _SHARED_LOCK:
            self._descriptors.users -= 1
            if self._descriptors.users == 0:
                del _SHARED[self._shared]
                self._descriptors.close()

    def check(self) -> int:
        """Return the file's generation, a number that grows when it becomes another file.

        Raises ReplacedError while the file and its log do not belong together, FileNotFoundError where it is gone.
        """
        found, known = os.stat(self.path), self._known
        same = known is not None and known.file == (found.st_ino, found.st_size, found.st_mtime_ns)
        if same and known is not None and known.log_inode and self._copied(known.salts) == known.checkpoint:
            return self.generation
        with self._lock:
            return self._look()

    def belongs(self, generation: int) -> bool:
        """Whether a connection of that generation may still write to the file: a checkpoint at its close does."""
        try:
            return self.check() == generation
        except (OSError, sqlite3.Error):
            return False

    def _look(self) -> int:
        if self._refusal is not None:
            raise ReplacedError(self._refusal)
        state, known = self._state(), self._known
        before = known or self._read_stamp()
        if state.log_inode and not self._explained(before, state, at_start=known is None):
            refusal = (
                f"{self.path} was replaced, and {self._log.name} belongs to the file that was there before: stop "
                f"Ringside, move {self._log.name} and {self._index.name} away, put the backup in place again, and start"
            )
            if known is not None and known.inode == state.inode:
                self._refusal = refusal
            raise ReplacedError(refusal)
        if known is not None and known.inode != state.inode:
            self.generation += 1
        if state != before:
            self._write_stamp(state)
        self._known = state
        return self.generation

    def _explained(self, before: FileState | None, now: FileState, *, at_start: bool) -> bool:
        """Whether the file and its log belong together, by what they were before."""
        if before is not None and now.file != before.file and before.log_inode:
            other_file = now.inode != before.inode
            if other_file and now.log_inode == before.log_inode:
                return False
            resting = now.checkpoint == before.checkpoint and now.copied == now.copying
            if not other_file and resting and now.boot == before.boot:
                return False
        if now.copied == _ALL and (before is None or before.salts != now.salts):  # the index may be another log's
            now = replace(now, copied=0, copying=_UNKNOWN)
        if at_start or before is None or now.salts != before.salts or now.inode != before.inode:
            return self._log_belongs(now)
        return True

    def _log_belongs(self, now: FileState) -> bool:
        """As `log_belongs`; other processes may be writing to the log and moving it into the file meanwhile."""
        same = 0
        for _ in range(_LOOKS):
            if log_belongs(self._descriptors.of(self.path), self._log, now):
                return True
            time.sleep(_LOOK_SECONDS)
            before, now = now, self._state()
            same = same + 1 if now == before else 0
            if same == (1 if now.copied == now.copying else _UNFINISHED_LOOKS):
                return False
        return True  # they are at it without a pause, and each of them looks too

    def _state(self) -> FileState:
        before = self._log_state()
        while True:
            found = os.stat(self.path)
            after = self._log_state()
            if before == after:  # no checkpoint began or ended between the two looks at the file's log
                return FileState(_boot(), found.st_ino, found.st_size, found.st_mtime_ns, *after)
            before = after

    def _log_state(self) -> tuple[int, str, int, int]:
        header, inode = self._log_header()
        return (inode, *self._copied(header[16:24].hex())) if inode else (0, "", 0, 0)

    def _log_header(self) -> tuple[bytes, int]:
        """The log's header and inode; 0 where there is no log, or one without a frame."""
        try:
            with self._log.open("rb") as log:  # SQLite holds no locks on it
                header = log.read(_HEADER + _FRAME_HEADER)
                inode = os.fstat(log.fileno()).st_ino
        except FileNotFoundError:
            return b"", 0
        if len(header) < _HEADER + _FRAME_HEADER or struct.unpack(">I", header[:4])[0] not in _MAGIC:
            return header, 0
        return header, inode

    def _copied(self, salts: str) -> tuple[str, int, int]:
        """The salts, how many of their frames are in the file, and how many may be, by the index where it is theirs."""
        try:
            index = os.pread(self._descriptors.of(self._index), _INDEX_BYTES, 0)
        except FileNotFoundError:
            return salts, 0, _UNKNOWN
        if len(index) < _INDEX_BYTES:
            return salts, 0, _UNKNOWN
        if index[32:40].hex() == salts:
            copied, copying = struct.unpack("=I", index[96:100])[0], struct.unpack("=I", index[128:132])[0]
            return salts, copied, max(copied, copying)
        first = struct.unpack(">I", bytes.fromhex(salts)[:4])[0]
        if struct.unpack(">I", index[32:36])[0] == (first + 1) & 0xFFFFFFFF:
            return salts, _ALL, _ALL
        return salts, 0, _UNKNOWN

    def _read_stamp(self) -> FileState | None:
        try:
            with self._stamp.open("rb") as file:
                return FileState(**json.loads(file.read(_STAMP_BYTES)))
        except (OSError, ValueError, TypeError):
            return None

    def _write_stamp(self, state: FileState) -> None:
        """In one write of one length: a reader sees the whole of one stamp. Where it fails, the old one stays."""
        text = json.dumps(asdict(state)).ljust(_STAMP_BYTES - 1) + "\n"
        try:
            descriptor = os.open(self._stamp, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.pwrite(descriptor, text.encode(), 0)
        except OSError:
            return
        finally:
            os.close(descriptor)


_ABANDONED: Final[list[FileConnection]] = []
_OPEN: Final[WeakSet[FileConnection]] = WeakSet()


class FileConnection(sqlite3.Connection):
    """A connection that is never closed once its file was replaced.

    The last connection that closes moves the log into the file: the old log into a backup that was just restored. An
    abandoned connection ends with the process, which writes nothing.
    """

    _file: DatabaseFile | None = None
    _generation = 0

    def opened(self, file: DatabaseFile, generation: int) -> None:
        self._file, self._generation = file, generation
        _OPEN.add(self)

    @property
    def current(self) -> bool:
        """Whether the file is still the one that was opened, and its log its own."""
        return self._file is None or self._file.belongs(self._generation)

    def close(self) -> None:
        if self.current:
            super().close()
            _OPEN.discard(self)
        else:
            _abandon(self)


def _abandon(connection: FileConnection) -> None:
    _ABANDONED.append(connection)
    # One reference more than Python knows of: its end does not close it either.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


@atexit.register
def _abandon_all() -> None:
    for connection in list(_OPEN):
        if not connection.current:
            _abandon(connection)


def log_belongs(file: int, log: Path, state: FileState) -> bool:
    """Whether what the index says was copied from the log stands in the file, and its first page fits the log's.

    `file` is a descriptor. Pages that no checkpoint has copied say nothing: the file has them as they were before the
    log began.
    """
    with log.open("rb") as frames:
        header = frames.read(_HEADER)
        if len(header) < _HEADER:
            return True  # emptied meanwhile
        size = struct.unpack(">I", header[8:12])[0]
        size = 65536 if size == 1 else size
        pages: dict[int, list[int]] = defaultdict(list)
        count = length = 0
        for place, (page, committed) in enumerate(_frames(frames.read, header, size), start=1):
            pages[page].append(place)
            if committed:
                count, length = place, committed
        copied = count if state.copied == _ALL else min(state.copied, count)
        copying = count if state.copying == _ALL else min(state.copying, count)

        def content(place: int) -> bytes:
            return os.pread(frames.fileno(), size, _HEADER + (place - 1) * (_FRAME_HEADER + size) + _FRAME_HEADER)

        for page, places in pages.items():
            latest = max((place for place in places if place <= count), default=0)
            # A checkpoint that readers hold back skips a page whose latest frame it may not copy yet.
            if latest and latest <= copied and page <= length:
                held = os.pread(file, size, (page - 1) * size)
                if held and held != content(latest):
                    return False
        firsts = [place for place in pages.get(1, []) if place <= count]
        if not firsts or copying:
            return True
        return _first_page_fits(os.pread(file, 100, 0), content(firsts[0]))


def _first_page_fits(before: bytes, after: bytes) -> bool:
    """The change counter grows by one when the writer changes, and the schema's never falls."""
    if len(before) < 100:
        return False
    counters = [struct.unpack(">I", held[24:28])[0] for held in (before, after)]
    schemas = [struct.unpack(">I", held[40:44])[0] for held in (before, after)]
    return counters[1] - counters[0] in (0, 1) and schemas[0] <= schemas[1]


def _frames(read: Callable[[int], bytes], header: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Each frame's page and, where it ends a commit, the database's length in pages; as far as the salts hold."""
    while len(frame := read(_FRAME_HEADER + size)) == _FRAME_HEADER + size:
        page, committed = struct.unpack(">II", frame[:8])
        if frame[8:16] != header[16:24]:
            return
        yield page, committed


def _boot() -> str:
    """Changes with each start of the system: after a loss of power the log's index is not what it was."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
