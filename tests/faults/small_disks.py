"""Small real file systems, and filling them to the last byte."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FILLER = "filler"
_STEPS = (1 << 20, 1 << 12, 1)


@contextmanager
def small_disk(folder: Path, kind: str, megabytes: int) -> Iterator[Path]:
    """A file system of its own, mounted in the folder: "tmpfs", or "ext4", "btrfs" or "xfs" on a file."""
    place = folder / kind
    place.mkdir()
    if kind == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(place)]
    else:
        image = folder / f"{kind}.img"
        make = {"ext4": ["mkfs.ext4", "-q", "-m", "0"], "btrfs": ["mkfs.btrfs", "-q"], "xfs": ["mkfs.xfs", "-q"]}[kind]
        if shutil.which(make[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{make[0]} is not installed")
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(
            [*make, str(image)], check=True, env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        )
        mount = ["mount", "-o", "loop", str(image), str(place)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    """Writes until not a byte more is taken."""
    descriptor = os.open(disk / FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for step in _STEPS:
            while _writes(descriptor, bytes(step)):
                continue
    finally:
        os.close(descriptor)


def _writes(descriptor: int, data: bytes) -> bool:
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True


def make_room(disk: Path) -> None:
    (disk / FILLER).unlink()
