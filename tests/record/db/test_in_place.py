"""The log's index is made in place, also where a process was killed while it made one."""

from __future__ import annotations

import os
from pathlib import Path

from record.db.in_place import make_log_index


def test_what_a_killed_process_of_the_same_number_left_is_cleared(tmp_path: Path) -> None:
    database = tmp_path / "record.db"
    database.touch()
    left = tmp_path / f"record.db-shm.{os.getpid()}"
    left.touch()
    make_log_index(database)
    assert not left.exists()
