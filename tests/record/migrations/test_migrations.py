from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from record.db.database import Database
from record.db.tables import metadata
from record.errors import SettingsError
from record.migrations.run import SCRIPTS, upgrade


@pytest.fixture
def empty_database(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def test_migrating_gives_exactly_the_tables_that_the_code_names(empty_database: Database) -> None:
    """No migration is missing, and none makes more than `metadata` says."""
    upgrade(empty_database)
    with empty_database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        if empty_database.dialect == "sqlite":  # Alembic overlooks that this index is for PostgreSQL only
            differences = [d for d in differences if d[0] != "add_index" or d[1].name != "predictions_xid_seq"]
        assert differences == []


def test_sqlite_gets_the_same_statements_as_from_metadata(tmp_path: Path) -> None:
    """AUTOINCREMENT and WITHOUT ROWID, which no comparison of columns sees, are there too."""
    migrated, created = Database(f"sqlite:///{tmp_path}/a.db"), Database(f"sqlite:///{tmp_path}/b.db")
    upgrade(migrated)
    (tmp_path / "b.db").touch()
    metadata.create_all(created.engine)
    assert _statements(migrated) == _statements(created)


def test_migrating_again_changes_nothing(empty_database: Database) -> None:
    upgrade(empty_database)
    with empty_database.write() as connection:
        connection.execute(sa.text("INSERT INTO clock (id, at) VALUES (1, 7)"))
    upgrade(empty_database)
    with empty_database.read() as connection:
        assert connection.execute(sa.text("SELECT at FROM clock")).scalar() == 7


def test_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    """Each of them comes back with the tables there, whoever made them."""
    code = (
        "import sys; import sqlalchemy as sa\n"
        "from record.db.database import Database; from record.db.tables import metadata\n"
        "from record.migrations.run import upgrade\n"
        "database = Database(sys.argv[1]); upgrade(database)\n"
        "assert set(sa.inspect(database.engine).get_table_names()) == {*metadata.tables, 'alembic_version'}\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty_database_url], stderr=subprocess.PIPE, cwd=SCRIPTS.parents[1]
        )
        for _ in range(4)
    ]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()


def test_they_are_found_wherever_the_code_is_installed(tmp_path: Path) -> None:
    """In a folder whose name means something to a configuration file, too, and from any working directory."""
    installed = tmp_path / "100% %(here)s"
    shutil.copytree(SCRIPTS.parent, installed / "record", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys; from record.db.database import Database; from record.migrations.run import upgrade; "
        "upgrade(Database(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/record.db"]
    subprocess.run(command, cwd="/", env={"PYTHONPATH": str(installed)}, check=True, timeout=60)
    assert (tmp_path / "record.db").stat().st_size > 0


def test_a_record_of_newer_code_is_refused_untouched(empty_database: Database) -> None:
    upgrade(empty_database)
    with empty_database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        SettingsError, match="revision 9999, which this version of Ringside does not know; expected 0002"
    ):
        upgrade(empty_database)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-made schema would stop every later start."""
    (tmp_path / "record.db").touch()
    database = Database(f"sqlite:///{tmp_path}/record.db")
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE runs (already TEXT)"))
    with pytest.raises(sa.exc.OperationalError, match="already exists"):
        upgrade(database)
    assert sa.inspect(database.engine).get_table_names() == ["runs"]
    database.close()


def _statements(database: Database) -> dict[str, str]:
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%'")).all()
    database.close()
    return {name: sql for name, sql in rows if sql and not name.startswith("sqlite_")}
