"""What is going on, as one object: the same over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from record.bouts.summary import bout_summary
from record.canonical import plain
from record.clock import machine_now
from record.disk import file_systems, watched_folders
from record.log.growth import log_growth
from record.samples import Sample
from record.settings_in_force import settings_status

if TYPE_CHECKING:
    from record.record import Record
    from record.settings import Settings

WATCHER = "watcher"  # the lease by which one watcher leads
SKEW = timedelta(minutes=5)  # how far two hosts' clocks may be apart


def status(record: Record, settings: Settings) -> dict[str, Any]:
    """`GET /status`, in JSON's types. What is not there yet is null or empty, never missing."""
    now = record.clock.now()
    roles = record.registry.roles()
    samples = record.samples.all()
    held = {
        "champion": None if roles.champion is None else _champion(record, roles.champion, roles.since),
        "challengers": [bout_summary(record.database, record.events, bout) for bout in record.bouts.opened()],
        "drift": _drift(samples),
        "quality": _quality(samples),
        "run": _run(record),
        "log": _log(record, settings, now),
        "disk": _disk(record, settings),
        "watcher": _watcher(record, settings, samples),
        "settings": settings_status(settings),
        "chain_head": record.events.head(),
    }
    shown: dict[str, Any] = plain(held)
    return shown


def _champion(record: Record, version: str, since: datetime | None) -> dict[str, Any]:
    return {"version": version, "since": since, "report": record.reports.of_model(version)}


def _drift(samples: Sequence[Sample]) -> dict[str, Any]:
    drifted, checked_at = [], None
    for sample in samples:
        if sample.name == "ringside_feature_drifted" and sample.value > 0:
            drifted.append(sample.labels["feature"])
        if sample.name in ("ringside_drift_check_timestamp_seconds", "ringside_drifted_features"):
            checked_at = max(checked_at, sample.at) if checked_at else sample.at
    return {"checked_at": checked_at, "drifted": sorted(drifted)}


def _quality(samples: Sequence[Sample]) -> dict[str, Any]:
    kinds: dict[str, dict[str, float]] = {"observed": {}, "estimated": {}}
    as_of: datetime | None = None
    for sample in samples:
        if sample.name == "ringside_quality" and sample.labels.get("role") == "champion":
            kinds.setdefault(sample.labels["kind"], {})[sample.labels["metric"]] = sample.value
            as_of = max(as_of, sample.at) if as_of else sample.at
    by_labels = any(s.name == "ringside_quality_estimated_by_last_labels" and s.value > 0 for s in samples)
    return {
        "observed": kinds["observed"],
        "estimated": kinds["estimated"],
        "estimated_by": "last_labels" if by_labels else "answers",
        "side_by_side": _side_by_side(samples),
        "as_of": as_of,
    }


def _side_by_side(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, float]]]:
    """By the role beside the champion: both on the same requests, by one loss."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for sample in samples:
        role, kind = sample.labels.get("role", ""), sample.labels.get("kind")
        if sample.name != "ringside_quality" or kind != "observed" or role == "champion":
            continue
        beside = role.removeprefix("champion_beside_")
        who = "champion" if role != beside else beside
        found.setdefault(beside, {}).setdefault(who, {})[sample.labels["metric"]] = sample.value
    return found


def _run(record: Record) -> dict[str, Any] | None:
    """The run under way, else the last one: whoever asked for it sees here what became of it."""
    run = record.runs.active() or next(iter(record.runs.recent(1)), None)
    if run is None:
        return None
    return {
        "run_id": run.run_id,
        "state": run.state,
        "trigger": run.trigger,
        "started_at": run.started_at,
        "progress": run.progress,
        "version": run.version,
        "outcome": run.outcome,
    }


def _log(record: Record, settings: Settings, now: datetime) -> dict[str, int]:
    counts = record.log.counts(now, settings.quality.label_horizon)
    return {"predictions": counts.predictions, "labels": counts.labels, "pending": counts.pending}


def _disk(record: Record, settings: Settings) -> dict[str, Any]:
    """What is free on this host, and the log's growth by the machine's clock; `days_left` is null where it ends never.

    A record on PostgreSQL lies on another host's disk: its growth is known, and what is free there is not.
    """
    free = {name: held.free for name, held in file_systems(watched_folders(settings)).items()}
    growth = log_growth(record.database, machine_now())
    left = growth.days_left(free["record"], settings.log.retention) if "record" in free else None
    return {
        "free_bytes": free,
        "log_bytes": growth.bytes,
        "log_growth_bytes_per_day": round(growth.bytes_per_day),
        "days_left": None if left is None else round(left, 1),
    }


def _watcher(record: Record, settings: Settings, samples: Sequence[Sample]) -> dict[str, Any]:
    """`leader` is null while nobody leads; a replaying client stays behind the later of the two other times."""
    lease = record.leases.current(WATCHER)
    jobs = record.jobs.all()
    now = machine_now()
    # A lease that ends further ahead than any is given was left by a clock that was ahead.
    leads = lease is not None and now < lease.expires_at <= now + settings.watch.lease + SKEW
    return {
        "leader": lease.holder if lease is not None and leads else None,
        "heartbeat_at": lease.expires_at - settings.watch.lease if lease is not None and leads else _last_beat(samples),
        "settled_until": lease.settled_until if lease is not None else None,
        "next_due_at": min((job.due_at for job in jobs), default=None),
    }


def _last_beat(samples: Sequence[Sample]) -> datetime | None:
    name = "ringside_watcher_heartbeat_timestamp_seconds"
    return next((sample.at for sample in samples if sample.name == name), None)
