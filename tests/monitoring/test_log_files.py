"""Log files that a program keeps open: bounded, with the newest parts kept."""

from __future__ import annotations

from pathlib import Path

from monitoring.supervision.log_files import LogFiles


def test_a_long_file_is_cut_while_its_program_goes_on_writing(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "logs", largest_bytes=1_000, kept_parts=2)
    with files.open("service") as log:
        for part in (b"a", b"b", b"c", b"d"):
            log.write(part * 1_001)
            log.flush()
            assert files.rotate("service")
            assert not files.rotate("service")
        log.write(b"last")
        log.flush()
    folder = tmp_path / "logs"
    assert sorted(path.name for path in folder.iterdir()) == ["service.log", "service.log.1", "service.log.2"]
    assert (folder / "service.log").read_bytes() == b"last"
    assert (folder / "service.log.1").read_bytes() == b"d" * 1_001
    assert (folder / "service.log.2").read_bytes() == b"c" * 1_001


def test_a_short_file_and_one_that_is_not_there_stay_as_they_are(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, largest_bytes=1_000)
    assert not files.rotate("service")
    with files.open("service") as log:
        log.write(b"a" * 1_000)
    assert not files.rotate("service")
    assert len(list(tmp_path.iterdir())) == 1
