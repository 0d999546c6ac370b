"""Files that root makes beside a record of another user: that user can open them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from monitoring.supervision.log_files import LogFiles
from monitoring.supervision.supervisor import Supervisor
from record.log.archive import ArchivedRow
from record.logged import LoggedRow
from record.ownership import give_folder_to_owner, give_to_owner
from record.record import open_record
from record.settings import load_settings
from record.trail_audit import note_head
from retrain.trials.record import TrialRecord, run_folder
from service.http.token_files import make_tokens
from tests.record.models import register_model

OWNER = 12_345
ROOT = Path(__file__).parents[2]
TOML = """
[problem]
name = "flights"
task = "classification"
target = "arrival"
positive_class = "late"
"""
# In a child: opens each file as its owner would, from the folder, since the folders above are another user's.
OPEN_ALL = """
import os, pathlib, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for path in sorted(pathlib.Path(".").rglob("*")):
    if path.is_dir():
        (path / "new").touch()
        (path / "new").unlink()
    else:
        os.close(os.open(path, os.O_RDWR))
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for other users")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of another user, in a process that keeps its files to itself, as every program of ours does."""
    made = tmp_path / "of another user"
    made.mkdir()
    (made / "ringside.toml").write_text(TOML)
    for path in (made, made / "ringside.toml"):
        os.chown(path, OWNER, OWNER)
    before = os.umask(0o077)
    yield made
    os.umask(before)


def expect_owner(folder: Path) -> None:
    strangers = [str(path) for path in folder.rglob("*") if path.lstat().st_uid != OWNER]
    assert strangers == []
    ended = subprocess.run(
        [sys.executable, "-c", OPEN_ALL, str(OWNER)], cwd=folder, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def a_record(folder: Path) -> None:
    """The database, its log and index, its lock and the key; while it is open."""
    record = open_record(load_settings(folder / "ringside.toml"))
    names = {path.name for path in (folder / ".ringside").rglob("*")}
    assert {"record.db", "record.db-wal", "record.db-shm", "record.db.lock", "record.key"} <= names
    expect_owner(folder)
    record.close()


def a_version(folder: Path) -> None:
    record = open_record(load_settings(folder / "ringside.toml"))
    register_model(record, as_champion=True)
    record.artifacts.stage()
    expect_owner(folder)
    record.close()


def a_report(folder: Path) -> None:
    record = open_record(load_settings(folder / "ringside.toml"))
    record.reports.add("drift", "<p>")
    record.close()


def an_archive(folder: Path) -> None:
    record = open_record(load_settings(folder / "ringside.toml"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    row = LoggedRow(1, 0, "", now, "v1", "{}", '"late"', None, None)
    record.archive.keep([ArchivedRow(row, ((now, '"late"'),))])
    assert list(folder.rglob("*.parquet"))
    record.close()


def anchors(folder: Path) -> None:
    note_head(folder / "anchors" / "heads.jsonl", "2026-01-01T00:00:00Z", 1, "0" * 64)


def trials(folder: Path) -> None:
    kept = TrialRecord(run_folder(folder / "artifacts", "r1"), {"of": 1})
    kept.append({"trial": {"number": 1}}, np.zeros(3))


def logs(folder: Path) -> None:
    files = LogFiles(folder / "logs", largest_bytes=1)
    with files.open("service") as log:
        log.write(b"two bytes and more")
    assert files.rotate("service")


def tokens(folder: Path) -> None:
    make_tokens(folder / "tokens")


def a_supervisor(folder: Path) -> None:
    supervisor = Supervisor([], folder / "run", lambda *_: None)
    assert supervisor.start()
    supervisor.close()


MAKERS: list[Callable[[Path], None]] = [
    a_record, a_version, a_report, an_archive, anchors, trials, logs, tokens, a_supervisor,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_what_root_makes_belongs_to_the_owner_of_the_folder(folder: Path, make: Callable[[Path], None]) -> None:
    before = len(list(folder.rglob("*")))
    make(folder)
    assert len(list(folder.rglob("*"))) > before
    expect_owner(folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["events", "--verify"],
        ["models"],
        ["tokens", "secrets"],
        ["retrain", "--reason", "a test"],
        ["init", "data.csv", "--target", "late", "--output", "other.toml"],
        ["predict", "rows.csv", "--output", "answers.csv"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_of_root_leaves_nothing_of_roots(folder: Path, arguments: list[str]) -> None:
    """As after a restore: the database and the artifacts are there, the lock is not."""
    record = open_record(load_settings(folder / "ringside.toml"))
    register_model(record, as_champion=True)
    record.close()
    (folder / ".ringside" / "record.db.lock").unlink()
    (folder / "data.csv").write_text("x,late\n" + "1,yes\n2,no\n" * 50)
    (folder / "rows.csv").write_text("distance,carrier\n100,AA\n")
    for name in ("data.csv", "rows.csv"):
        os.chown(folder / name, OWNER, OWNER)
    ended = subprocess.run(
        [sys.executable, "-m", "ringside", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    expect_owner(folder)


def test_a_lock_that_root_left_is_given_back(folder: Path) -> None:
    a_record(folder)
    lock = folder / ".ringside" / "record.db.lock"
    os.chown(lock, 0, 0)
    a_record(folder)
    assert lock.stat().st_uid == OWNER


def test_a_lock_belongs_to_the_owner_of_the_database(folder: Path) -> None:
    """Where the folder is root's and shared, as for a database that was put there by hand."""
    a_record(folder)
    home = folder / ".ringside"
    (home / "record.db.lock").unlink()
    os.chown(home, 0, 0)
    os.chmod(home, 0o1777)
    record = open_record(load_settings(folder / "ringside.toml"))
    record.close()
    assert (home / "record.db.lock").stat().st_uid == OWNER


def test_nothing_is_given_away_through_a_link(folder: Path, tmp_path: Path) -> None:
    """Whoever owns the folder could put a link there, to be given a file of root's."""
    secret = tmp_path / "secret"
    secret.write_text("root's")
    (folder / "soft").symlink_to(secret)
    (folder / "hard").hardlink_to(secret)
    (folder / "folder").symlink_to(tmp_path)
    for name in ("soft", "hard", "folder"):
        give_to_owner(folder / name)
        give_folder_to_owner(folder / name)
    give_folder_to_owner(folder)
    assert secret.stat().st_uid == tmp_path.stat().st_uid == 0
