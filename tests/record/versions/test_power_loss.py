"""A version that was registered survives the loss of power, whole; one that was not is whole or gone, and is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from record.clock import ManualClock
from record.db.database import Database
from record.errors import ArtifactError
from record.record import Record
from record.versions.artifact import verify
from tests.records import START, record_on, register_version

Inode = int
Names = dict[str, tuple[Inode, bool]]  # True: a folder
Held = dict[Inode, bytes | Names]


@dataclass
class Disk:
    """What a disk holds that forgets whatever was not synced: each file's bytes, each folder's names.

    A file's fsync saves its bytes, a folder's the names in it, and neither the other; a rename is in the names of
    both folders. `deaf` are names whose syncs it does not hear, for the controls.
    """

    root: Path
    deaf: frozenset[str] = frozenset()
    held: Held = field(default_factory=dict)
    before_rename: Held | None = None
    synced: list[str] = field(default_factory=list)

    def sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        name = "stage" if path.parent.name == ".staged" and path.is_dir() else path.name
        self.synced.append(name)
        if name not in self.deaf:
            self.held[path.stat().st_ino] = (
                {child.name: entry(child) for child in path.iterdir()} if path.is_dir() else path.read_bytes()
            )

    def rename(self, source: Path, target: Path) -> None:
        self.before_rename = {
            inode: held if isinstance(held, bytes) else dict(held) for inode, held in self.held.items()
        }
        names = self.before_rename.setdefault(target.parent.stat().st_ino, {})
        assert isinstance(names, dict)
        names[target.name] = entry(source)

    def write(self, held: Held, folder: Path) -> None:
        """What is found after the outage. What was never synced is an empty file, or an empty folder."""
        self._write(held, entry(self.root), folder)

    def _write(self, held: Held, of: tuple[Inode, bool], to: Path) -> None:
        inode, is_folder = of
        content = held.get(inode, {} if is_folder else b"")
        if isinstance(content, bytes):
            to.write_bytes(content)
            return
        to.mkdir()
        for name, child in content.items():
            self._write(held, child, to / name)


def entry(path: Path) -> tuple[Inode, bool]:
    return path.stat().st_ino, path.is_dir()


@contextmanager
def forgetting(disk: Disk) -> Iterator[None]:
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        disk.sync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        disk.rename(Path(source), Path(target))
        rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "rename", renamed)
        yield


def registered(record: Record, disk: Disk) -> str:
    """Registers a version while the disk listens, and gives its digest."""
    with forgetting(disk):
        return register_version(record).digest


@pytest.fixture
def record(sqlite_database: Database, tmp_path: Path) -> Record:
    return record_on(sqlite_database, tmp_path / "store" / "artifacts", ManualClock(START))


def survives(disk: Disk, folder: Path, digest: str) -> bool:
    """Whether v1 is found as it was registered, when power fails behind its registration."""
    disk.write(disk.held, folder)
    try:
        verify(folder / "artifacts" / "v1", digest)
    except ArtifactError:
        return False
    return True


def told(disk: Disk, folder: Path, digest: str) -> bool:
    """Whether v1, where its new name alone reached the disk before the record did, is whole, and told as an orphan."""
    assert disk.before_rename is not None
    disk.write(disk.before_rename, folder)
    try:
        verify(folder / "artifacts" / "v1", digest)
    except ArtifactError:
        return False
    return (folder / "artifacts" / ".staged" / "v1.marker").exists()


def test_a_registered_version_survives_the_loss_of_power(record: Record, tmp_path: Path) -> None:
    """Its files, its manifest, their names and its own: all were on the disk before the record said so."""
    disk = Disk(tmp_path / "store")
    disk.root.mkdir()
    digest = registered(record, disk)
    assert survives(disk, tmp_path / "after", digest)
    assert told(disk, tmp_path / "between", digest)


@pytest.mark.parametrize(
    ("deaf", "guarantee"),
    [
        ("schema.json", survives),
        ("report.html", survives),
        ("card.json", survives),
        ("manifest.json", survives),
        ("stage", survives),
        ("artifacts", survives),  # the version's own name
        ("store", survives),  # the artifacts' folder, made by the first version
        (".staged", told),
    ],
)
def test_each_sync_is_needed(
    record: Record, tmp_path: Path, deaf: str, guarantee: Callable[[Disk, Path, str], bool]
) -> None:
    """The control: a disk that does not hear one of them loses what it was for."""
    disk = Disk(tmp_path / "store", deaf=frozenset({deaf}))
    disk.root.mkdir()
    digest = registered(record, disk)
    assert deaf in disk.synced
    assert not guarantee(disk, tmp_path / "after", digest)


def test_an_orphan_taken_away_stays_away(record: Record, tmp_path: Path) -> None:
    """After the outage its name is free, so that the next version can have it."""
    disk = Disk(tmp_path / "store")
    disk.root.mkdir()
    with forgetting(disk):
        stage = record.artifacts.stage()
        (stage / "schema.json").write_text("{}")
        record.artifacts.seal(stage)
        record.artifacts.publish(stage, "v1")
        record.artifacts.withdraw("v1")
    disk.write(disk.held, tmp_path / "after")
    assert not (tmp_path / "after" / "artifacts" / "v1").exists()
