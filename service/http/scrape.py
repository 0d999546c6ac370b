"""One scrape: this host's serving workers, and what the record knows, in Prometheus's text format.

Counters and run durations are derived from events and runs, gauges of the watcher are read from its samples, so
that they survive restarts and are the same on every replica.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from record.db.database import Database
from record.db.tables import events, model_versions, roles, runs, samples
from record.disk import METRICS_FOLDER, file_systems
from record.events import KINDS
from record.log_lines import log_line
from record.metric_families import FAMILIES, RUNS, Family
from service.metrics import WorkerMetrics
from service.metrics_file import shrink

FOLDER = METRICS_FOLDER


def scrape(worker: WorkerMetrics, database: Database, folders: Mapping[str, Path]) -> bytes:
    """Every family that has a value now. Where the record cannot be read, the workers' own all the same."""
    registry = CollectorRegistry()
    folder = os.environ.get(FOLDER)
    if folder is None:
        families: Iterable[Metric] = worker.registry.collect()
    else:
        worker.keep()
        reap_dead_workers(Path(folder))
        families = _collected(Path(folder)) or worker.registry.collect()
    registry.register(_Given(families))
    registry.register(_Given(_disks(folders)))
    registry.register(RecordCollector(database))
    return generate_latest(registry)


def _collected(folder: Path) -> list[Metric]:
    """What the workers counted, by their files: but for those that another hand has cut, or that are just leaving."""
    files = [str(file) for file in folder.glob("*.db")]
    try:
        return _merged(files)
    except Exception:  # noqa: BLE001 - one file that cannot be read must not hide the others
        return _merged([file for file in files if _readable(file)])


def _readable(file: str) -> bool:
    try:
        _merged([file])
    except FileNotFoundError:
        return False
    except Exception as error:  # noqa: BLE001 - as above
        log_line("metrics file left out", level=logging.WARNING, file=Path(file).name, reason=repr(error))
        return False
    return True


def _merged(files: Sequence[str]) -> list[Metric]:
    return list(multiprocess.MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def reap_dead_workers(folder: Path) -> None:
    """Takes away the gauges of workers that are gone. What they counted stays counted.

    BentoML never does, and in a container it does not even restart them.
    """
    for file in folder.glob("*_*.db"):
        _, _, number = file.stem.rpartition("_")
        if not number.isdecimal():
            continue
        pid = int(number)
        try:
            if not file.name.startswith("gauge_live"):
                shrink(file, partial(_lives, pid))
            elif not _lives(pid):
                file.unlink()
        except OSError as error:  # another scrape was quicker, or the folder is another user's
            if not isinstance(error, FileNotFoundError):
                log_line("metrics file left as it is", level=logging.WARNING, file=file.name, reason=str(error))


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)  # killed, and not yet waited for
    except psutil.Error:
        return False


class _Given(Collector):
    """Families as they are, but for the zeros of versions that no longer answer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if family.name == "ringside_champion_info":
                family.samples = [sample for sample in family.samples if sample.value]
            if family.samples:
                yield family


class _Quantiles(Metric):
    """A summary by its quantiles; the library's own family has only sum and count."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        super().__init__(name, documentation, "summary")
        self._labels = labels

    def add_metric(self, labels: Sequence[str], value: float) -> None:
        self.add_sample(self.name, dict(zip(self._labels, labels, strict=True)), value)


class RecordCollector(Collector):
    """What the record knows, read in one snapshot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        try:
            with self._database.read() as connection:
                found = [
                    *_sampled(connection),
                    *_counted_events(connection),
                    *_ended_runs(connection),
                    *_champion_times(connection),
                ]
        except (sa.exc.DBAPIError, OSError) as error:
            log_line("record not scraped", level=logging.ERROR, reason=str(error))
            return
        yield from found

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not read the record


def _sampled(connection: sa.Connection) -> Iterator[Metric]:
    """What the watcher told. A sample that the table does not know, or with other labels, is left out."""
    held = {name: dict.fromkeys(family.begins, 0.0) for name, family in FAMILIES.items() if family.begins}
    for row in connection.execute(sa.select(samples.c.name, samples.c.labels, samples.c.value)):
        family = FAMILIES.get(row.name)
        labels = _json_object(row.labels)
        if family is None or family.source != "samples" or set(labels) != set(family.labels):
            continue
        held.setdefault(row.name, {})[tuple(str(labels[name]) for name in family.labels)] = row.value
    for name, values in held.items():
        yield _filled(name, values)


def _disks(folders: Mapping[str, Path]) -> Iterator[Metric]:
    """This host's file systems."""
    found = file_systems(folders)
    yield _filled("ringside_disk_free_bytes", {(name,): held.free for name, held in found.items()})
    yield _filled("ringside_disk_size_bytes", {(name,): held.size for name, held in found.items()})


def _counted_events(connection: sa.Connection) -> Iterator[Metric]:
    rows = connection.execute(sa.select(events.c.kind, sa.func.count()).group_by(events.c.kind))
    # A counter that begins at 1 has no increase: what has not happened yet is told as 0.
    counts = dict.fromkeys(KINDS, 0) | {str(kind): int(count) for kind, count in rows}
    yield _filled("ringside_audit_events_total", {(kind,): count for kind, count in sorted(counts.items())})
    told = connection.execute(
        sa.select(events.c.kind, events.c.data).where(events.c.kind.in_(["bout_decided", "model_rolled_back"]))
    ).all()
    undecided = sum(row.kind == "bout_decided" and row.data.get("outcome") == "inconclusive" for row in told)
    ways = {
        ("promoted",): counts.get("model_promoted", 0),
        ("rejected",): counts.get("model_rejected", 0),
        ("inconclusive",): undecided,
        ("voided",): counts.get("bout_voided", 0),
    }
    yield _filled("ringside_promotions_total", ways)
    back = [row for row in told if row.kind == "model_rolled_back"]
    by_probation = sum(row.data.get("bout") is not None for row in back)
    yield _filled("ringside_rollbacks_total", {("probation",): by_probation, ("operator",): len(back) - by_probation})


def _ended_runs(connection: sa.Connection) -> Iterator[Metric]:
    """`outcome` is registered or refused (by the gate) for a run that worked, else failed or declined."""
    columns = (runs.c.trigger, runs.c.state, runs.c.version, runs.c.machine_started_at, runs.c.machine_finished_at)
    counts: dict[tuple[str, ...], float] = {}
    active, seconds = 0, []
    progress: dict[str, Any] = {}
    for row in connection.execute(sa.select(*columns, runs.c.progress)):
        if row.state in ("requested", "running"):
            active += 1
            progress = row.progress or {}
            continue
        outcome = row.state if row.state != "succeeded" else "registered" if row.version else "refused"
        counts[(row.trigger, outcome)] = counts.get((row.trigger, outcome), 0) + 1
        if row.machine_started_at and row.machine_finished_at:
            seconds.append((row.machine_finished_at - row.machine_started_at).total_seconds())
    yield _filled("ringside_runs_total", counts)
    yield _filled("ringside_run_active", {(): active})
    yield _filled("ringside_run_trials", {(): progress.get("done") or 0})
    left = progress.get("seconds_left")
    yield _filled("ringside_run_seconds_left", {} if left is None else {(): left})
    durations = _metric(FAMILIES["ringside_run_duration_seconds"])
    steps = [(str(bound), sum(s <= bound for s in seconds)) for bound in RUNS]
    durations.add_metric([], [*steps, ("+Inf", len(seconds))], sum(seconds))
    yield durations


def _champion_times(connection: sa.Connection) -> Iterator[Metric]:
    query = (
        sa.select(roles.c.since, model_versions.c.registered_at, model_versions.c.data_until)
        .join(model_versions, model_versions.c.version == roles.c.version)
        .where(roles.c.role == "champion")
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return
    yield _filled("ringside_model_last_promotion_timestamp_seconds", {(): row.since.timestamp()})
    yield _filled("ringside_model_last_training_timestamp_seconds", {(): row.registered_at.timestamp()})
    if row.data_until is not None:
        yield _filled("ringside_training_data_timestamp_seconds", {(): row.data_until.timestamp()})


def _filled(name: str, values: Mapping[Any, float]) -> Metric:
    metric = _metric(FAMILIES[name])
    for labels, value in values.items():
        metric.add_metric(list(labels), value)
    return metric  # type: ignore[no-any-return]


def _metric(family: Family) -> Any:
    kinds = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
        "summary": _Quantiles,
    }
    return kinds[family.kind](family.name, family.help, labels=family.labels)


def _json_object(text: str) -> dict[str, Any]:
    try:
        held = json.loads(text)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}
