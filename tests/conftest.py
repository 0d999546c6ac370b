"""Fixtures of every room. Whatever takes `database` is run on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from record.db.database import Database
from record.migrations.run import upgrade
from tests import postgres as servers

# What an example takes says how busy the machine is, not whether the property holds.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data",
        type=Path,
        default=Path(os.environ["RINGSIDE_DATA"]) if "RINGSIDE_DATA" in os.environ else None,
        metavar="DIR",
        help="a folder of Parquet files, each with its target as the last column; default: $RINGSIDE_DATA",
    )


@pytest.fixture(scope="session")
def data_folder(request: pytest.FixtureRequest) -> Path:
    """The folder given by --data; tests that need it are skipped without."""
    folder: Path | None = request.config.getoption("--data")
    if folder is None or not folder.is_dir():
        pytest.skip("no datasets: give their folder with --data DIR, or in $RINGSIDE_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.PostgresServer]:
    """A PostgreSQL server for the whole session."""
    programs, user = servers.binaries(), servers.account()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: /usr/lib/postgresql/*/bin (Debian: apt-get install postgresql)")
    if user is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")
    with servers.running(programs, user) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: servers.PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """A record of its own for each test, with all tables and no rows, on each kind of database in turn."""
    chosen: Database = request.getfixturevalue(f"{request.param}_database")
    return chosen


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "record.db"
    shutil.copyfile(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def postgresql_database(postgres: servers.PostgresServer, postgresql_template: str) -> Iterator[Database]:
    name = postgres.create(postgresql_template)
    database = Database(postgres.url(name))
    yield database
    database.close()
    postgres.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: cheaper than to migrate one for each test."""
    path = tmp_path_factory.mktemp("template") / "record.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgres: servers.PostgresServer) -> str:
    name = postgres.create()
    _migrate(postgres.url(name))
    return name


def _migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    database.close()
