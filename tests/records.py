"""A whole record on a test's own database, with tiny versions of plain files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from record.bouts.bouts import Bouts
from record.clock import Clock, machine_now
from record.db.database import Database
from record.event_log import EventLog
from record.log.archive import LogArchive
from record.prediction_log import PredictionLog
from record.record import Record
from record.registry import ModelVersion, Registry
from record.reports import Reports
from record.samples import Samples
from record.versions.artifact import ArtifactStore
from record.work.jobs import Jobs
from record.work.leases import Leases
from record.work.requests import Requests
from record.work.runs import Runs

START = datetime(2013, 3, 1, tzinfo=UTC)


def record_on(
    database: Database, root: Path, clock: Clock, machine_clock: Callable[[], datetime] = machine_now
) -> Record:
    events = EventLog(database, clock)
    artifacts = ArtifactStore(root)
    return Record(
        database=database,
        clock=clock,
        log=PredictionLog(database, clock, timedelta(days=30)),
        events=events,
        registry=Registry(database, artifacts, events, clock),
        runs=Runs(database, events, clock, machine_clock),
        requests=Requests(database, events, clock),
        jobs=Jobs(database, machine_clock),
        bouts=Bouts(database, events, clock, machine_clock),
        leases=Leases(database, machine_clock),
        samples=Samples(database),
        reports=Reports(database, root, clock),
        artifacts=artifacts,
        archive=LogArchive(root, database),
    )


def stage_version(record: Record) -> Path:
    """A staged directory as a run leaves it, of plain files."""
    stage = record.artifacts.stage()
    (stage / "schema.json").write_text("{}")
    (stage / "report.html").write_text("<p>a report</p>")
    return stage


def register_version(record: Record, **changed: Any) -> ModelVersion:
    """A registered version; champion where there is none, unless `as_champion=False`."""
    arguments: dict[str, Any] = {
        "run_id": None,
        "parent": None,
        "card": {"family": "linear"},
        "read_until_seq": 0,
        "data_until": START,
        "actor": "retrain",
        "as_champion": True,
    }
    return record.registry.register(stage_version(record), **(arguments | changed))
