"""Model versions, and who is champion.

A role's move and its event are one transaction, under the audit trail's locked head: of two that move the
champion's role from the same state one wins, and the other hears of it as a RoleConflict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from record.bouts.bouts import reject_open_bouts
from record.canonical import canonical_json, clean_text, plain
from record.clock import Clock
from record.db.database import Database
from record.db.tables import bouts, model_versions, predictions
from record.errors import ArtifactError, RoleConflict
from record.event_log import EventLog
from record.events import ModelPromoted, ModelRegistered, ModelRejected, ModelRolledBack, ModelUnbarred
from record.failpoint import fail_point
from record.versions.artifact import ArtifactStore, Manifest, verify, write_synced
from record.versions.model_version import ModelVersion, Standing, bar_version, read_version, unbar_version
from record.versions.role_history import RoleChange, role_histories
from record.versions.roles import Roles, expect_generation, move_champion, read_roles
from record.work.leases import Fence, check_fence

__all__ = ["ModelVersion", "Registry", "RoleChange", "Roles", "Standing"]

# Kinds of events that say what a version's manifest hashes to; the newest counts.
STATES_DIGEST = (ModelRegistered.kind,)


class Registry:
    """The way to versions and roles. Safe to share between threads.

    With `connection`, from `EventLog.writing`, a move stands or falls with that transaction. Whatever takes a
    `lease` raises StaleLease, and changes nothing, once somebody else leads.
    """

    def __init__(self, database: Database, artifacts: ArtifactStore, events: EventLog, clock: Clock) -> None:
        self._database = database
        self._artifacts = artifacts
        self._events = events
        self._clock = clock

    def register(
        self,
        stage: Path,
        *,
        run_id: str | None,
        parent: str | None,
        card: dict[str, Any],
        read_until_seq: int,
        data_until: datetime | None,
        actor: str,
        lease: Fence | None = None,
        finish: Callable[[sa.Connection, str], None] | None = None,
        named_files: Callable[[str], Mapping[str, bytes]] | None = None,
        as_champion: bool = False,
    ) -> ModelVersion:
        """Makes the staged directory the next version; with `as_champion`, champion too where there is none.

        Writes card.json itself, as only here its `version` is known, and the files that `named_files(version)` gives
        by their names: those that state the version, too. Both functions are called while others wait to write:
        `finish(connection, version)` in the same transaction. The stage is gone afterwards, also when this raises:
        nothing is half registered.
        """
        if not self._artifacts.staged_here(stage):
            raise ArtifactError(f"{stage} was not staged by this process's artifact store")
        at = self._clock.now()
        (stage / "card.json").unlink(missing_ok=True)
        try:
            hashed = self._artifacts.hash_files(stage)
            fail_point("register.staged")
            with self._events.writing() as connection:
                check_fence(lease, connection)
                self._withdraw_orphans(connection)
                number = self._next_number(connection)
                name = f"v{number}"
                numbered = plain({**card, "version": name})
                files = {} if named_files is None else dict(named_files(name))
                files["card.json"] = canonical_json(numbered).encode()
                for file, content in files.items():
                    write_synced(stage / file, content)
                digest = self._artifacts.seal(stage, {**hashed, **self._artifacts.hash_files(stage, files)})
                self._artifacts.publish(stage, name)
                fail_point("register.published")
                row = ModelVersion(
                    version=name,
                    number=number,
                    registered_at=at,
                    run_id=run_id,
                    parent=parent,
                    digest=digest,
                    card=numbered,
                    read_until_seq=read_until_seq,
                    data_until=data_until,
                    standing="eligible",
                    standing_reason=None,
                )
                self._record(connection, row, actor)
                if as_champion and read_roles(connection).champion is None:
                    self._crown(connection, name, read_roles(connection), "the first version", None, actor, at)
                if finish is not None:
                    finish(connection, name)
                fail_point("register.recorded")
        except BaseException:
            self._artifacts.discard(stage)
            with suppress(Exception):  # the next start does it otherwise; the first error is the one to hear of
                self.artifact_orphans()
            raise
        self._artifacts.settle(name)
        return row

    def roles(self) -> Roles:
        with self._database.read() as connection:
            return read_roles(connection)

    def version(self, name: str) -> ModelVersion:
        """Raises UnknownVersion."""
        with self._database.read() as connection:
            return read_version(connection, name)

    def versions(self, after: int = 0, limit: int | None = None) -> list[ModelVersion]:
        """All versions behind the number `after`, oldest first."""
        query = sa.select(model_versions).where(model_versions.c.number > after).order_by(model_versions.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit))
            return [ModelVersion(**row._mapping) for row in rows]

    def promote(
        self,
        version: str,
        *,
        actor: str,
        reason: str,
        bout: str | None = None,
        generation: int | None = None,
        lease: Fence | None = None,
        at: datetime | None = None,
        connection: sa.Connection | None = None,
    ) -> Roles:
        """Makes the version champion. RoleConflict where it is already, is barred, or the role has moved.

        The role has moved when its generation is not `generation`, or, without one, not what it was when this was
        called: whoever had to wait for another's move does not move it again unseen.
        """
        seen = generation if generation is not None else self._seen(connection).generation
        at = at or self._clock.now()
        with self._events.writing(connection) as joined:
            check_fence(lease, joined)
            candidate, standing = read_version(joined, version), expect_generation(joined, seen)
            if standing.champion == version:
                raise RoleConflict(f"{version} is the champion already", field="version")
            candidate.refuse_barred()
            return self._crown(joined, version, standing, reason, bout, actor, at)

    def rollback(
        self,
        *,
        actor: str,
        reason: str,
        bout: str | None = None,
        generation: int | None = None,
        lease: Fence | None = None,
        at: datetime | None = None,
        connection: sa.Connection | None = None,
    ) -> Roles:
        """Gives the role back to the previous champion, and bars the present one from it.

        RoleConflict where there is no previous champion, it is barred, or the role has moved, as with `promote`.
        """
        seen = generation if generation is not None else self._seen(connection).generation
        at = at or self._clock.now()
        with self._events.writing(connection) as joined:
            check_fence(lease, joined)
            standing = expect_generation(joined, seen)
            if standing.champion is None or standing.previous is None:
                raise RoleConflict("there is no previous champion to roll back to")
            read_version(joined, standing.previous).refuse_barred()
            bar_version(joined, standing.champion, "rolled_back", reason)
            moved = move_champion(joined, standing.previous, None, standing, at)
            fail_point("rollback.moved")
            event = ModelRolledBack(
                reason=clean_text(reason),
                restored=standing.previous,
                generation=moved.generation,
                bout=bout,
                model_version=standing.champion,
            )
            self._events.append(event, actor=actor, at=at, connection=joined)
            fail_point("rollback.recorded")
            return moved

    def reject(
        self,
        version: str,
        *,
        actor: str,
        reason: str,
        bout: str | None = None,
        lease: Fence | None = None,
        at: datetime | None = None,
        connection: sa.Connection | None = None,
    ) -> None:
        """Bars the version; its open bouts are decided as "rejected" in the same transaction.

        RoleConflict for the champion, which only a rollback or a promotion can replace, and for a barred version.
        """
        at = at or self._clock.now()
        with self._events.writing(connection) as joined:
            check_fence(lease, joined)
            candidate = read_version(joined, version)
            if read_roles(joined).champion == version:
                raise RoleConflict(f"{version} is the champion; roll back or promote another instead", field="version")
            candidate.refuse_barred()
            bar_version(joined, version, "rejected", reason)
            reject_open_bouts(joined, self._events, version, reason=reason, actor=actor, at=at)
            fail_point("reject.moved")
            event = ModelRejected(reason=clean_text(reason), bout=bout, model_version=version)
            self._events.append(event, actor=actor, at=at, connection=joined)

    def unbar(self, version: str, *, actor: str, reason: str, at: datetime | None = None) -> ModelUnbarred:
        """Lifts the version's bar: it may be promoted by hand, and may challenge again on requests still to come.

        RoleConflict for a version that is not barred.
        """
        at = at or self._clock.now()
        with self._events.writing() as connection:
            barred = read_version(connection, version)
            if barred.standing == "eligible":
                raise RoleConflict(f"{version} is not barred; there is nothing to lift", field="version")
            unbar_version(connection, version)
            fail_point("unbar.moved")
            event = ModelUnbarred(
                reason=clean_text(reason),
                standing=barred.standing,
                because=barred.standing_reason,
                after_bout=connection.execute(sa.select(sa.func.max(bouts.c.number))).scalar() or 0,
                after_seq=connection.execute(sa.select(sa.func.max(predictions.c.seq))).scalar() or 0,
                model_version=version,
            )
            self._events.append(event, actor=actor, at=at, connection=connection)
        return event

    def open(self, version: str) -> Manifest:
        """The version's files, verified: the one way to them. Nothing is parsed before its bytes were hashed.

        Raises UnknownVersion, and ArtifactError where the files are not what was registered, by the record's digest
        and by the audit trail's.
        """
        return verify(*self.sealed(version))

    def sealed(self, version: str) -> tuple[Path, str]:
        """The directory and digest of a version, for a process that verifies the files itself.

        ArtifactError where the newest event that states the version's digest states another one.
        """
        held = self.version(version)
        event = self._events.latest(STATES_DIGEST, held.version)
        if event is None:
            raise ArtifactError(f"{held.version}: no event of the audit trail says that it was registered")
        if event.data.get("digest") != held.digest:
            raise ArtifactError(
                f"{held.version}: its digest in the record is {held.digest}, {event.data.get('digest')} in event "
                f"{event.seq} ({event.kind}); one of them was changed outside Ringside"
            )
        return self._artifacts.directory(held.version), held.digest

    def directory(self, version: str) -> Path:
        """Where a registered version's files are; not verified. For names of places, never to read from."""
        return self._artifacts.directory(self.version(version).version)

    def history(self, version: str) -> list[RoleChange]:
        """What became of the version, oldest first, from the audit trail."""
        return self.histories().get(self.version(version).version, [])

    def histories(self) -> dict[str, list[RoleChange]]:
        """Every version's history at once."""
        return role_histories(self._events)

    def artifact_orphans(self) -> list[str]:
        """Removes what a crash between publishing and recording has left, and abandoned stages; their names.

        Directories that this store did not half publish are never touched, even if the record does not know them.
        """
        with self._events.writing() as connection:
            orphans = self._withdraw_orphans(connection)
        return orphans + self._artifacts.sweep()

    def _withdraw_orphans(self, connection: sa.Connection) -> list[str]:
        """With the head locked, no other process is between publishing and recording."""
        orphans = []
        for name in self._artifacts.half_published():
            known = sa.select(model_versions.c.version).where(model_versions.c.version == name)
            if connection.execute(known).scalar() is None:
                self._artifacts.withdraw(name)
                orphans.append(name)
            else:
                self._artifacts.settle(name)
        return orphans

    def _next_number(self, connection: sa.Connection) -> int:
        newest = connection.execute(sa.select(sa.func.max(model_versions.c.number))).scalar() or 0
        return 1 + max([newest, *self._artifacts.numbers()])

    def _record(self, connection: sa.Connection, row: ModelVersion, actor: str) -> None:
        values = {column.name: getattr(row, column.name) for column in model_versions.c}
        connection.execute(sa.insert(model_versions).values(values))
        event = ModelRegistered(
            run_id=row.run_id,
            parent=row.parent,
            digest=row.digest,
            read_until_seq=row.read_until_seq,
            data_until=row.data_until,
            card=hashlib.sha256(canonical_json(row.card).encode()).hexdigest(),
            report=row.card.get("report"),
            model_version=row.version,
        )
        self._events.append(event, actor=actor, at=row.registered_at, connection=connection)

    def _seen(self, connection: sa.Connection | None) -> Roles:
        return self.roles() if connection is None else read_roles(connection)

    def _crown(
        self,
        connection: sa.Connection,
        version: str,
        standing: Roles,
        reason: str,
        bout: str | None,
        actor: str,
        at: datetime,
    ) -> Roles:
        moved = move_champion(connection, version, standing.champion, standing, at)
        fail_point("promote.moved")
        event = ModelPromoted(
            reason=clean_text(reason),
            previous=standing.champion,
            generation=moved.generation,
            bout=bout,
            model_version=version,
        )
        self._events.append(event, actor=actor, at=at, connection=connection)
        fail_point("promote.recorded")
        return moved
