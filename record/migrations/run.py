"""Brings a record's tables to this code's revision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from record.db.database import Database
from record.db.tables import SCHEMA, metadata
from record.errors import SettingsError
from record.ownership import give_to_owner
from record.redaction import describe_address

# Beside this module, so that an installed wheel or a Bento finds its own.
SCRIPTS = Path(__file__).resolve().parent
# Any number will do, as long as nothing else in the same database locks it.
ADVISORY_LOCK = 0x52_49_4E_47
VERSION_TABLE = "alembic_version"
# Releases up to 0002 kept these in the session's schema, mostly `public`.
UNQUALIFIED_REVISIONS = {"0001", "0002"}
UNQUALIFIED_TABLES = (
    "model_versions", "roles", "predictions", "prediction_ids", "labels", "clock", "bouts", "shadow_scores", "pairs",
    "jobs", "requests", "runs", "events", "chain_head", "samples", "reports", "leases", VERSION_TABLE,
)  # fmt: skip
WITHOUT_ARCHIVE_DIGESTS = {"0001", "0002", "0003"}
INSUFFICIENT_PRIVILEGE = "42501"


def upgrade(database: Database, adopt: Callable[[sa.Connection], None] | None = None) -> None:
    """Migrate in one transaction, all or nothing; return at once where there is nothing to do.

    The one way in which a SQLite file comes to be. Several processes may start at once: one migrates, the others
    wait for it and find it done. Raises SettingsError for a record that newer code has made, and for a database
    whose tables are another program's. `adopt` is called, in the same transaction, where an earlier release kept no
    digests of the archive's parts.
    """
    if database.path is not None and not database.path.exists():
        database.path.touch()
        give_to_owner(database.path)
    config = configuration()
    with database.write() as connection:
        if database.dialect == "postgresql":
            _prepare_schema(connection, database)
        options = {} if database.dialect == "sqlite" else {"version_table_schema": SCHEMA}
        found = MigrationContext.configure(connection, opts=options).get_current_heads()
        scripts = ScriptDirectory.from_config(config)
        if set(found) == set(scripts.get_heads()):
            return
        unknown = set(found) - {script.revision for script in scripts.walk_revisions()}
        if unknown:
            raise SettingsError(
                f"store.database: {_shown(database)} is at revision {min(unknown)}, which this version of Ringside "
                f"does not know; expected {scripts.get_current_head()} or older: run the newer version that made it, "
                "or, if another program keeps its tables there, name a database of Ringside's own",
                field="store.database",
            )
        if not found:
            _expect_no_tables(connection, database)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if adopt is not None and found and found[0] in WITHOUT_ARCHIVE_DIGESTS:
            adopt(connection)


def configuration() -> Config:
    config = Config()
    # A configuration file's % begins an interpolation.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def _prepare_schema(connection: sa.Connection, database: Database) -> None:
    """The schema of the record's own, with what an earlier release keeps outside it moved in.

    Until the transaction ends, unqualified names of the migrations mean that schema.
    """
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
    encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
    if encoding == "SQL_ASCII":
        raise SettingsError(
            f"store.database: {_shown(database)} has the encoding SQL_ASCII, in which text has no meaning; "
            "expected UTF8 (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)",
            field="store.database",
        )
    if connection.execute(sa.select(sa.func.to_regnamespace(SCHEMA))).scalar() is None:
        try:
            connection.execute(sa.schema.CreateSchema(SCHEMA))
        except sa.exc.ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != INSUFFICIENT_PRIVILEGE:
                raise
            raise SettingsError(
                f"store.database: {database.engine.url.username} may not make the schema {SCHEMA} in "
                f"{_shown(database)}; expected the database's owner, or that owner's "
                f'CREATE SCHEMA {SCHEMA} AUTHORIZATION "{database.engine.url.username}"',
                field="store.database",
            ) from error
    former = _former_schema(connection)
    if former is not None:
        quoted = connection.dialect.identifier_preparer.quote_identifier(former)
        for table in UNQUALIFIED_TABLES:
            connection.exec_driver_sql(f"ALTER TABLE {quoted}.{table} SET SCHEMA {SCHEMA}")
    connection.exec_driver_sql(f"SET LOCAL search_path TO {SCHEMA}")


def _former_schema(connection: sa.Connection) -> str | None:
    """The schema of the session's search path that holds a record of an earlier release; None where there is none."""
    if connection.execute(sa.select(sa.func.to_regclass(f"{SCHEMA}.{VERSION_TABLE}"))).scalar() is not None:
        return None
    home = sa.text(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = to_regclass(:name)"
    )
    schemas = {connection.execute(home, {"name": table}).scalar() for table in UNQUALIFIED_TABLES}
    if len(schemas) != 1 or None in schemas:
        return None
    (former,) = schemas
    revision = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return former if revision in UNQUALIFIED_REVISIONS else None


def _expect_no_tables(connection: sa.Connection, database: Database) -> None:
    """A database without a revision is new, or another program's."""
    there = set(sa.inspect(connection).get_table_names(None if database.dialect == "sqlite" else SCHEMA))
    taken = sorted(there & set(metadata.tables))
    if taken:
        raise SettingsError(
            f"store.database: {_shown(database)} has tables that Ringside did not make ({', '.join(taken)}); expected "
            "an empty database, or a record of Ringside's: another program seems to use it",
            field="store.database",
        )


def _shown(database: Database) -> str:
    return describe_address(database.url)
