"""A registered version, as it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from record.canonical import clean_text
from record.db.tables import model_versions
from record.errors import RoleConflict, UnknownVersion

Standing = Literal["eligible", "rejected", "rolled_back"]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """`parent` was champion when its run began; `data_until` is the newest row its run read, by the rows' time."""

    version: str
    number: int
    registered_at: datetime
    run_id: str | None
    parent: str | None
    digest: str
    card: dict[str, Any]
    read_until_seq: int
    data_until: datetime | None
    standing: Standing
    standing_reason: str | None

    def refuse_barred(self) -> None:
        """Raises RoleConflict for a version that was rejected or rolled back."""
        if self.standing != "eligible":
            reason = f": {self.standing_reason}" if self.standing_reason else ""
            raise RoleConflict(
                f"{self.version} is barred, {self.standing}{reason}; `ringside unbar {self.version}` lifts it",
                field="version",
            )


def read_version(connection: sa.Connection, name: str) -> ModelVersion:
    """Raises UnknownVersion."""
    query = sa.select(model_versions).where(model_versions.c.version == clean_text(name))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownVersion(name)
    return ModelVersion(**row._mapping)


def bar_version(connection: sa.Connection, name: str, standing: Standing, reason: str) -> None:
    """Keeps the version from the champion's role, until a person lifts it."""
    barred = sa.update(model_versions).where(model_versions.c.version == name)
    connection.execute(barred.values(standing=standing, standing_reason=clean_text(reason)))


def unbar_version(connection: sa.Connection, name: str) -> None:
    """Makes the version eligible again."""
    lifted = sa.update(model_versions).where(model_versions.c.version == name)
    connection.execute(lifted.values(standing="eligible", standing_reason=None))
