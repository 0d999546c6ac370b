"""Who is champion, who was before, and the one way to move the role."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from record.db.tables import roles
from record.db.upsert import insert, wrote
from record.errors import RoleConflict


@dataclass(frozen=True, slots=True)
class Roles:
    """`generation` moves by one with every move of the champion's role; 0: there has been none."""

    champion: str | None
    previous: str | None
    generation: int
    since: datetime | None


def read_roles(connection: sa.Connection) -> Roles:
    rows = {row.role: row for row in connection.execute(sa.select(roles))}
    champion, previous = rows.get("champion"), rows.get("previous")
    if champion is None:
        return Roles(None, None, 0, None)
    return Roles(champion.version, previous.version if previous else None, champion.generation, champion.since)


def expect_generation(connection: sa.Connection, generation: int) -> Roles:
    """The roles, where the champion's has not moved since `generation`; else RoleConflict."""
    standing = read_roles(connection)
    if standing.generation != generation:
        raise RoleConflict(
            f"the champion has changed: {standing.champion} holds the role in generation {standing.generation}, "
            f"{generation} was expected; look again before trying again"
        )
    return standing


def move_champion(
    connection: sa.Connection, champion: str, previous: str | None, standing: Roles, at: datetime
) -> Roles:
    """Moves the role on from `standing`, which must be what the record says."""
    generation = standing.generation + 1
    for role, version in (("champion", champion), ("previous", previous)):
        statement = insert(connection, roles).values(role=role, version=version, since=at, generation=generation)
        moving = statement.on_conflict_do_update(
            index_elements=["role"],
            set_={"version": version, "since": at, "generation": generation},
            where=roles.c.generation == standing.generation,
        )
        if not wrote(connection, moving):  # the chain's locked head prevents it; a second guard
            raise RoleConflict("the champion has changed meanwhile")
    return Roles(champion, previous, generation, at)
