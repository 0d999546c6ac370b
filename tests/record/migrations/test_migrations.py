from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from record.clock import from_micros
from record.db.database import Database
from record.db.tables import SCHEMA, clock, metadata
from record.errors import SettingsError
from record.migrations.run import SCRIPTS, upgrade
from tests.postgres import PostgresServer


@pytest.fixture
def empty_database(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def test_migrating_gives_exactly_the_tables_that_the_code_names(empty_database: Database) -> None:
    """No migration is missing, and none makes more than `metadata` says."""
    upgrade(empty_database)
    with empty_database.engine.connect() as connection:
        if empty_database.dialect == "postgresql":  # Alembic compares the schema that it takes for the default one
            connection.exec_driver_sql(f"SET search_path TO {SCHEMA}")
            connection.dialect.default_schema_name = SCHEMA
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
        connection.execute(sa.insert(clock).values(id=1, at=from_micros(7)))
    upgrade(empty_database)
    with empty_database.read() as connection:
        assert connection.execute(sa.select(clock.c.at)).scalar() == from_micros(7)


def test_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    """Each of them comes back with the tables there, whoever made them."""
    code = (
        "import sys; import sqlalchemy as sa\n"
        "from record.db.database import Database; from record.db.tables import SCHEMA, metadata\n"
        "from record.migrations.run import upgrade\n"
        "database = Database(sys.argv[1]); upgrade(database)\n"
        "schema = SCHEMA if database.dialect == 'postgresql' else None\n"
        "assert set(sa.inspect(database.engine).get_table_names(schema)) == {*metadata.tables, 'alembic_version'}\n"
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
        schema = f"{SCHEMA}." if empty_database.dialect == "postgresql" else ""
        connection.execute(sa.text(f"UPDATE {schema}alembic_version SET version_num = '9999'"))
    with pytest.raises(
        SettingsError, match=r"revision 9999, which this version of Ringside does not know; expected [0-9]{4}"
    ):
        upgrade(empty_database)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-made schema would stop every later start."""
    (tmp_path / "record.db").touch()
    database = Database(f"sqlite:///{tmp_path}/record.db")
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE runs (already TEXT)"))
    monkeypatch.setattr("record.migrations.run._expect_no_tables", lambda *_: None)
    with pytest.raises(sa.exc.OperationalError, match="already exists"):
        upgrade(database)
    assert sa.inspect(database.engine).get_table_names() == ["runs"]
    database.close()


def test_a_file_of_another_program_is_refused_with_its_tables_named(tmp_path: Path) -> None:
    (tmp_path / "record.db").touch()
    database = Database(f"sqlite:///{tmp_path}/record.db")
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE runs (already TEXT)"))
    with pytest.raises(SettingsError, match=r"tables that Ringside did not make \(runs\).*another program"):
        upgrade(database)
    database.close()


OTHER_PROGRAM = (
    "CREATE TABLE public.alembic_version (version_num text)",
    "INSERT INTO public.alembic_version VALUES ('bda7b8c39065')",
    "CREATE TABLE public.runs (run_uuid text)",
    "CREATE TABLE public.events (name text)",
)


@pytest.mark.parametrize("search_path", ['"$user", public', "''", "public"])
def test_a_database_that_another_program_uses_is_shared_with_it(postgres: PostgresServer, search_path: str) -> None:
    """Its tables and its Alembic revision stay as they are, whatever sessions search for unqualified names."""
    name = postgres.create(search_path=search_path)
    database = Database(postgres.url(name))
    with database.engine.begin() as connection:
        for statement in OTHER_PROGRAM:
            connection.exec_driver_sql(statement)
    upgrade(database)
    upgrade(database)
    with database.engine.connect() as connection:
        assert set(sa.inspect(connection).get_table_names("public")) == {"alembic_version", "runs", "events"}
        assert connection.exec_driver_sql("SELECT version_num FROM public.alembic_version").scalar() == "bda7b8c39065"
        assert connection.execute(sa.select(sa.func.count()).select_from(metadata.tables["runs"])).scalar() == 0
    database.close()
    postgres.drop(name)


def test_an_account_that_may_make_no_schema_hears_what_its_owner_has_to_do(postgres: PostgresServer) -> None:
    name = postgres.create()
    postgres.administrate("CREATE ROLE guest LOGIN")
    database = Database(postgres.url(name).replace(f"{postgres.user}@", "guest@"))
    with pytest.raises(SettingsError, match='CREATE SCHEMA ringside AUTHORIZATION "guest"'):
        upgrade(database)
    owner = Database(postgres.url(name))
    with owner.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA ringside AUTHORIZATION guest")
    upgrade(database)
    for each in (database, owner):
        each.close()
    postgres.drop(name)
    postgres.administrate("DROP ROLE guest")


def test_a_database_without_an_encoding_is_refused(postgres: PostgresServer) -> None:
    postgres.administrate("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    database = Database(postgres.url("ascii"))
    with pytest.raises(SettingsError, match=r"SQL_ASCII.*expected UTF8"):
        upgrade(database)
    database.close()
    postgres.drop("ascii")


def _statements(database: Database) -> dict[str, tuple[str, list[str]]]:
    """Each statement without its columns, and its columns and constraints, sorted: those added later stand last."""
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%'")).all()
    database.close()
    return {name: _taken_apart(sql) for name, sql in rows if sql and not name.startswith("sqlite_")}


def _taken_apart(sql: str) -> tuple[str, list[str]]:
    begin, _, rest = " ".join(sql.split()).partition("(")
    inner, _, end = rest.rpartition(")")
    parts = re.split(r",(?![^(]*\))", inner)
    return f"{begin.strip()} … {end.strip()}", sorted(part.strip() for part in parts)
