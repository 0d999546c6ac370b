"""Brings a record's tables to this code's revision."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from record.db.database import Database
from record.errors import SettingsError

# Beside this module, so that an installed wheel or a Bento finds its own.
SCRIPTS = Path(__file__).resolve().parent
# Any number will do, as long as nothing else in the same database locks it.
ADVISORY_LOCK = 0x52_49_4E_47


def upgrade(database: Database) -> None:
    """Migrate in one transaction, all or nothing; return at once where there is nothing to do.

    The one way in which a SQLite file comes to be. Several processes may start at once: one migrates, the others
    wait for it and find it done. Raises SettingsError for a record that newer code has made.
    """
    if database.path is not None:
        database.path.touch()
    config = configuration()
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        found = MigrationContext.configure(connection).get_current_heads()
        scripts = ScriptDirectory.from_config(config)
        if set(found) == set(scripts.get_heads()):
            return
        unknown = set(found) - {script.revision for script in scripts.walk_revisions()}
        if unknown:
            raise SettingsError(
                f"store.database: {database.engine.url.render_as_string()} is at revision {min(unknown)}, which this "
                f"version of Ringside does not know; expected {scripts.get_current_head()} or older: run the newer "
                "version that made it",
                field="store.database",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def configuration() -> Config:
    config = Config()
    # A configuration file's % begins an interpolation.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
