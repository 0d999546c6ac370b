"""A whole record on a test's own database, with tiny versions of plain files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.artifact import ArtifactStore
from service.clock import Clock, machine_now
from service.database import Database
from service.event_log import EventLog
from service.log.archive import LogArchive
from service.prediction_log import PredictionLog
from service.record import Record
from service.registry import ModelVersion, Registry
from service.store.bouts import Bouts
from service.store.jobs import Jobs
from service.store.leases import Leases
from service.store.reports import Reports
from service.store.requests import Requests
from service.store.runs import Runs
from service.store.samples import Samples

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
        archive=LogArchive(root),
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
