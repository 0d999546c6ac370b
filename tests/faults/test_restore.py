"""A backup put in the place of a record, in every way in which people do it: it is used, or refused in words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from record.settings import Settings
from tests.faults.installation import Up, make_installation, run_command, up
from tests.record.db.test_database_file import beside, cp, mv_and_cp, online_backup, plain_copy, rename, rm_and_cp
from tests.waiting import wait_until

BEFORE, AFTER = 40, 30


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_installation(tmp_path)


def record_of(settings: Settings) -> Path:
    return settings.folder / ".ringside" / "record.db"


def answer(running: Up, prefix: str, count: int) -> None:
    for place in range(count):
        assert running.predict(1, f"{prefix}{place}-").status_code == 200


def rows(path: Path) -> int:
    """By the file alone, without its log."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])


def write_backed_up(running: Up, settings: Settings, backup: Callable[[Path], None]) -> int:
    """Answers, a backup, more answers; how many the backup has."""
    running.wait_ready()
    answer(running, "before", BEFORE)
    backup(record_of(settings))
    answer(running, "after", AFTER)
    return rows(beside(record_of(settings), ".backup"))


def put_away(settings: Settings) -> None:
    for end in ("-wal", "-shm"):
        beside(record_of(settings), end).unlink(missing_ok=True)


@pytest.mark.faults
@pytest.mark.parametrize("restore", [cp, mv_and_cp, rename])
def test_a_backup_put_in_place_under_a_running_service_is_refused_and_used_once_the_log_is_away(
    settings: Settings, restore: Callable[[Path], None]
) -> None:
    path = record_of(settings)
    with up(settings) as running:
        write_backed_up(running, settings, online_backup)
        backup = beside(path, ".backup").read_bytes()
        restore(path)
        assert running.predict().status_code == 503
        wait_until(lambda: running.answers() == 503, 30, "readiness says no")
        assert running.answers("/livez") == 200
        assert run_command(settings, "events", "--verify").returncode == 2
        assert running.stop() == 0
    assert path.read_bytes() == backup, "stopping moved nothing of the old log into it"
    put_away(settings)
    with up(settings) as running:
        running.wait_ready()
        assert rows_over_http(running) == BEFORE
        answer(running, "before", BEFORE)  # known ids: the answers that the backup has
        assert rows_over_http(running) == BEFORE
        answer(running, "new", 5)
        verified = run_command(settings, "events", "--verify", "--json")
        assert json.loads(verified.stdout)["valid"], verified.stdout + verified.stderr


def rows_over_http(running: Up) -> int:
    return int(running.get("/status").json()["log"]["predictions"])


@pytest.mark.faults
@pytest.mark.parametrize("backup", [online_backup, plain_copy])
@pytest.mark.parametrize("restore", [cp, mv_and_cp, rm_and_cp, rename])
def test_a_backup_put_in_place_after_a_kill_is_refused_in_one_sentence_until_the_log_is_away(
    settings: Settings, restore: Callable[[Path], None], backup: Callable[[Path], None]
) -> None:
    path = record_of(settings)
    with up(settings) as running:
        expected = write_backed_up(running, settings, backup)
        running.kill_all()
    restore(path)
    for name in ("up", "status"):
        ended = run_command(settings, name)
        assert ended.returncode == 2, ended.stderr
        assert "record.db was replaced, and record.db-wal belongs to the file that was there before" in ended.stderr
        assert "Traceback" not in ended.stderr
    put_away(settings)
    with up(settings) as running:
        running.wait_ready()
        assert rows_over_http(running) == expected
        answer(running, "new", 5)


@pytest.mark.faults
def test_the_recipe_of_the_documentation_restores_what_was_backed_up(settings: Settings) -> None:
    path = record_of(settings)
    with up(settings) as running:
        write_backed_up(running, settings, online_backup)
        assert running.stop() == 0
    for end in ("", "-wal", "-shm"):
        beside(path, end).unlink(missing_ok=True)
    beside(path, ".backup").rename(path)
    with up(settings) as running:
        running.wait_ready()
        assert rows_over_http(running) == BEFORE


@pytest.mark.faults
def test_a_record_that_is_malformed_is_not_ready_and_does_not_verify(settings: Settings) -> None:
    path = record_of(settings)
    with up(settings) as running:
        running.wait_ready()
        for place in range(5):
            assert running.predict(200, f"{place}-").status_code == 200
        assert running.stop() == 0
    size = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(size // 2, size):
            file.seek(4096 * page)
            file.write(b"\xa5" * 4096)
    verified = run_command(settings, "events", "--verify", "--json")
    assert verified.returncode == 1, verified.stderr
    assert "Traceback" not in verified.stderr
    with up(settings) as running:
        wait_until(lambda: running.answers("/livez") == 200, 90, running.text()[-2000:])
        wait_until(lambda: running.answers() == 503, 60, "readiness says no")
        assert running.lines("record damaged")
