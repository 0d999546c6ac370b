"""The record as one object: the only place that knows which concrete class is used for each part of it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from record.bouts.bouts import Bouts
from record.clock import Clock, SystemClock
from record.db.database import Database
from record.db.database_file import ReplacedError
from record.db.database_url import database_fault
from record.errors import SettingsError
from record.event_log import EventLog
from record.events import KeyReplaced
from record.log.archive import LogArchive
from record.log.requests_clock import RequestsClock
from record.log.transactions import rebase
from record.prediction_log import PredictionLog
from record.record_key import RecordKey, open_key, replace_key
from record.registry import Registry
from record.reports import Reports
from record.samples import Samples
from record.settings import Settings
from record.versions.artifact import ArtifactStore
from record.work.jobs import Jobs
from record.work.leases import Leases
from record.work.requests import Requests
from record.work.runs import Runs


@dataclass(frozen=True, slots=True)
class Record:
    """Where the rooms meet. Safe to share between threads; after a fork, open a new one."""

    database: Database
    clock: Clock
    log: PredictionLog
    events: EventLog
    registry: Registry
    runs: Runs
    requests: Requests
    jobs: Jobs
    bouts: Bouts
    leases: Leases
    samples: Samples
    reports: Reports
    artifacts: ArtifactStore
    archive: LogArchive

    def close(self) -> None:
        self.log.close()
        self.database.close()


def open_record(settings: Settings, *, migrate: bool = True) -> Record:
    """The record that the settings name.

    With `migrate`, its tables are brought to this code's revision first, and what a crash left half registered is
    removed; both are safe while other processes use it.
    """
    database = Database(settings.store.database, durability=settings.log.durability)
    archive = LogArchive(settings.store.artifacts, database)
    try:
        if database.file is not None and database.path is not None and database.path.exists():
            database.file.check()
        key = _prepare(database, settings, archive) if migrate else None
    except BaseException as error:
        database.close()
        if isinstance(error, ReplacedError):
            raise SettingsError(f"store.database: {error}", field="store.database") from None
        if isinstance(error, sa.exc.DBAPIError):
            raise database_fault(error, database.url) from None
        raise
    follows_requests = settings.clock.source == "requests"
    clock: Clock = RequestsClock(database) if follows_requests else SystemClock()
    events = EventLog(database, clock, settings.audit.read_signing_key())
    artifacts = ArtifactStore(settings.store.artifacts)
    registry = Registry(database, artifacts, events, clock)
    if migrate:
        registry.artifact_orphans()
        events.begin_signing()
    return Record(
        database=database,
        clock=clock,
        log=PredictionLog(
            database,
            clock,
            settings.log.id_window,
            follows_requests,
            patience_seconds=settings.log.patience.total_seconds(),
            key=key,
        ),
        events=events,
        registry=registry,
        runs=Runs(database, events, clock),
        requests=Requests(database, events, clock),
        jobs=Jobs(database),
        bouts=Bouts(database, events, clock),
        leases=Leases(database),
        samples=Samples(database),
        reports=Reports(database, settings.store.artifacts, clock),
        artifacts=artifacts,
        archive=archive,
    )


def replace_lost_key(settings: Settings, *, actor: str, reason: str) -> None:
    """Give the record that the settings name another key, and say so in an event; see `record.record_key.replace_key`.

    For a record that cannot be opened, since its key is gone, while nothing else uses it.
    """
    from record.migrations.run import upgrade

    database = Database(settings.store.database, durability=settings.log.durability)
    try:
        upgrade(database, LogArchive(settings.store.artifacts, database).adopt)
        clock: Clock = RequestsClock(database) if settings.clock.source == "requests" else SystemClock()
        events = EventLog(database, clock, settings.audit.read_signing_key())
        event = KeyReplaced(reason=reason)
        replace_key(
            database, settings.store, lambda connection: events.append(event, actor=actor, connection=connection)
        )
    finally:
        database.close()


def _prepare(database: Database, settings: Settings, archive: LogArchive) -> RecordKey:
    """Brings the tables to this code's revision and the transactions to this cluster; the record's key."""
    from record.migrations.run import upgrade  # Alembic takes 0.2 s to import, and only a migration needs it

    upgrade(database, archive.adopt)
    if database.dialect == "postgresql":
        with database.write() as connection:
            rebase(connection.exec_driver_sql)
    return open_key(database, settings.store)
