"""A worker's look at its record."""

from __future__ import annotations

from pathlib import Path

from record.db.database import Database
from record.record import open_record
from service.record_watch import RecordWatch
from tests.service.serving import make_settings

PAGE = 4096


def test_a_record_whose_pages_are_overwritten_is_a_fault(tmp_path: Path) -> None:
    """The quick form of what tests/faults/test_restore.py does to a whole service."""
    settings = make_settings(tmp_path)
    record = open_record(settings)
    path = record.database.path
    assert path is not None
    watch = RecordWatch(record.database)
    watch.look()
    assert watch.fault is None
    record.close()
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // PAGE):
            file.seek(PAGE * page)
            file.write(b"\xa5" * PAGE)
    database = Database(settings.store.database)
    try:
        watch = RecordWatch(database)
        watch.look()
        assert watch.fault is not None
        assert "malformed" in watch.fault
    finally:
        database.close()
