"""The identity of a run folder: what tells its processes from those of another installation on this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from record.ownership import give_to_owner, make_folder

FILE = "up.id"


def run_identity(folder: Path) -> str:
    """Return sixteen hexadecimal digits that no other folder on this machine has, and that stay with this one.

    Not made from the path: two containers that share processes have the same path for different folders. It is made
    from the device and inode of a file in the folder, which a copy of the folder does not share, and from random
    digits in that file, which a later file with the same inode does not share.
    """
    file = folder / FILE
    make_folder(folder)
    if not file.exists():
        _create(file)
    found = file.stat()
    text = f"{found.st_dev}:{found.st_ino}:{file.read_text(encoding='ascii', errors='replace')}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _create(file: Path) -> None:
    """Link a finished file to its place: of two that start at once, both then read the first one's."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    draft.write_text(secrets.token_hex(16), encoding="ascii")
    give_to_owner(draft)
    with suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()
