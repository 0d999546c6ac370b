"""A version's directory: staged, sealed, published whole or not at all, and verified before anything is parsed.

    artifacts/
      v1/ v2/ …             manifest.json (a sha256 for every file) and the files themselves
      .staged/9f3c…/        being written; its writer holds a lock on it, which dies with the writer
      .staged/v3.marker     v3 is being published; with no row in the record behind it, v3 is an orphan

No pickle is read or written. The manifest's own sha256 is the version's digest, and stands in the record.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from record.canonical import canonical_json
from record.errors import ArtifactError, UnknownVersion
from record.ownership import give_descriptor_to_owner, give_folder_to_owner, give_to_owner, make_folder
from record.versions.onnx_file import refuse_external_data

MANIFEST = "manifest.json"
VERSION = re.compile(r"v[1-9][0-9]{0,8}", re.ASCII)
FILE = re.compile(r"[a-z][a-z0-9_-]{0,60}\.(?:onnx|skops|json|parquet|html)", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
CHUNK_BYTES = 1 << 20

# A column of reference.parquet beside the features: when each row was, in microseconds since 1970, negative where
# that is not known. No column of a problem is called so by chance.
REFERENCE_TIME = "ringside.time"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a verified directory holds: file name → sha256. `digest` is the version's, of manifest.json itself."""

    directory: Path
    files: Mapping[str, str]
    digest: str

    def read(self, name: str) -> bytes:
        """The file's bytes, hashed again as they are read, so that nothing slips in behind the verification."""
        if name not in self.files:
            raise ArtifactError(f"{name}: not part of {self.directory.name}", field=name)
        with _opened(self.directory, name) as descriptor, open(descriptor, "rb", closefd=False) as file:
            content = file.read()
        _expect(name, hashlib.sha256(content).hexdigest(), self.files[name])
        return content


def verify(directory: Path, digest: str) -> Manifest:
    """The manifest of a directory that holds exactly what was registered; raises ArtifactError naming the file.

    Every file is hashed before anything is parsed. Refused besides changed bytes: files that the manifest does not
    name, missing ones, symbolic links, anything that is no regular file, and ONNX external data. A file may have a
    second name, as in a backup made of hard links: whoever reads it hashes the very bytes that are used.
    """
    content = _read(directory, MANIFEST)
    _expect(MANIFEST, hashlib.sha256(content).hexdigest(), digest)
    files = _manifest_files(content)
    present = set(_names(directory)) - {MANIFEST}
    for name in sorted(present ^ set(files)):
        problem = "is not in the manifest" if name in present else "is missing"
        raise ArtifactError(f"{directory.name}/{name}: the file {problem}", field=name)
    for name, expected in sorted(files.items()):
        _expect(name, _file_sha256(directory, name), expected)
    manifest = Manifest(directory, files, digest)
    for name in files:
        if name.endswith(".onnx"):
            refuse_external_data(manifest.read(name), name)
    return manifest


class ArtifactStore:
    """Versions' directories beneath one folder. Safe to share between threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staged = root / ".staged"
        self._locks: dict[Path, int] = {}
        self._guard = threading.Lock()

    def stage(self) -> Path:
        """A new empty directory to write a version's files into; it lives as long as this process, at most."""
        if not self._staged.is_dir():
            make_folder(self._staged)
            for folder in (self.root, self.root.parent):  # else the first version could go with its folder's name
                sync_folder(folder)
        while True:
            stage = self._staged / secrets.token_hex(8)
            stage.mkdir()
            give_to_owner(stage)
            descriptor = _locked(stage)
            if descriptor is not None:  # else another process's sweep was quicker than the lock
                with self._guard:
                    self._locks[stage] = descriptor
                return stage

    def hash_files(self, stage: Path, names: Iterable[str] | None = None) -> dict[str, str]:
        """The sha256 of the named staged files, or all, each brought safely to disk: the slow part of sealing."""
        hashed = {}
        for name in sorted(set(_names(stage) if names is None else names) - {MANIFEST}):
            if FILE.fullmatch(name) is None:
                raise ArtifactError(f"{name!r} is no name of a version's file; expected {FILE.pattern}", field=name)
            hashed[name] = _file_sha256(stage, name, sync=True)
            if name.endswith(".onnx"):
                refuse_external_data(_read(stage, name), name)
        return hashed

    def seal(self, stage: Path, hashed: Mapping[str, str] | None = None) -> str:
        """Writes the manifest and brings it to disk; the digest of the version. `hashed`: files hashed before."""
        hashed = hashed or self.hash_files(stage)
        content = canonical_json({"format": 1, "files": dict(hashed)}).encode()
        write_synced(stage / MANIFEST, content)
        sync_folder(stage)
        give_folder_to_owner(stage)
        return hashlib.sha256(content).hexdigest()

    def publish(self, stage: Path, version: str) -> Path:
        """The sealed stage as the version's directory: there whole, or not at all.

        A marker says that the record has yet to say so; `settle` takes it away.
        """
        target = self.directory(version)
        if target.exists():
            raise ArtifactError(f"{target} exists already")
        write_synced(self._marker(version), b"")
        sync_folder(self._staged)
        os.rename(stage, target)
        sync_folder(self.root)
        self._unlock(stage)
        return target

    def settle(self, version: str) -> None:
        """The record knows the version now."""
        self._marker(version).unlink(missing_ok=True)

    def half_published(self) -> list[str]:
        """Versions whose publishing has not been settled; without a row in the record, each is an orphan."""
        return sorted(path.stem for path in self._staged.glob("v*.marker") if VERSION.fullmatch(path.stem))

    def withdraw(self, version: str) -> None:
        """Takes an orphan out of the versions' names at once; `sweep` frees its space."""
        target = self.directory(version)
        if target.exists():
            os.rename(target, self._staged / secrets.token_hex(8))
            sync_folder(self.root)
        self.settle(version)

    def discard(self, stage: Path) -> None:
        shutil.rmtree(stage, ignore_errors=True)
        self._unlock(stage)

    def sweep(self) -> list[str]:
        """Removes stages whose writer is gone; the names of those."""
        swept = []
        for stage in sorted(self._staged.iterdir()) if self._staged.exists() else []:
            if not stage.is_dir():
                continue
            descriptor = _locked(stage)
            if descriptor is not None:
                shutil.rmtree(stage, ignore_errors=True)
                os.close(descriptor)
                swept.append(stage.name)
        return swept

    def numbers(self) -> list[int]:
        """The numbers of all directories that have a version's name, whether the record knows them or not."""
        if not self.root.exists():
            return []
        return sorted(int(path.name[1:]) for path in self.root.iterdir() if VERSION.fullmatch(path.name))

    def directory(self, version: str) -> Path:
        """Where the version's files are, existing or not; raises UnknownVersion for what cannot be a version."""
        if VERSION.fullmatch(version) is None:
            raise UnknownVersion(version)
        return self.root / version

    def staged_here(self, stage: Path) -> bool:
        return stage in self._locks

    def _marker(self, version: str) -> Path:
        return self._staged / f"{version}.marker"

    def _unlock(self, stage: Path) -> None:
        with self._guard:
            descriptor = self._locks.pop(stage, None)
        if descriptor is not None:
            os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Writes a file and brings it to disk; it belongs to its folder's owner."""
    with path.open("wb") as file:
        give_descriptor_to_owner(file.fileno(), path.parent)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries to disk: a file's own fsync does not save its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(stage: Path) -> int | None:
    """A descriptor that holds the stage's lock; None where another has it, or the stage is gone."""
    try:
        descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink > 0 and stage.exists():
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _names(directory: Path) -> list[str]:
    if directory.is_symlink() or not directory.is_dir():
        raise ArtifactError(f"{directory}: no directory", field=directory.name)
    return os.listdir(directory)


@contextmanager
def _opened(directory: Path, name: str) -> Iterator[int]:
    """A descriptor of a regular file, directly in the directory: no symbolic link is followed."""
    place = f"{directory.name}/{name}"
    try:
        # NONBLOCK, as opening a pipe would wait for its writer.
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ArtifactError(f"{place}: the file is missing", field=name) from error
    except OSError as error:
        raise ArtifactError(f"{place}: cannot be opened as a file: {error.strerror}", field=name) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(f"{place}: expected a regular file", field=name)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(directory: Path, name: str) -> bytes:
    with _opened(directory, name) as descriptor, open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _file_sha256(directory: Path, name: str, *, sync: bool = False) -> str:
    digest = hashlib.sha256()
    with _opened(directory, name) as descriptor:
        if sync:
            os.fsync(descriptor)
        while chunk := os.read(descriptor, CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _manifest_files(content: bytes) -> dict[str, str]:
    try:
        files = json.loads(content)["files"]
        named = {name: sha for name, sha in files.items() if FILE.fullmatch(name) and SHA256.fullmatch(sha)}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{MANIFEST}: not a manifest: {error}", field=MANIFEST) from error
    for name in sorted(set(files) - set(named)):
        raise ArtifactError(f"{MANIFEST}: {name!r} cannot be a file of a version", field=MANIFEST)
    return named


def _expect(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise ArtifactError(f"{name}: sha256 is {found}, {expected} was registered", field=name)
