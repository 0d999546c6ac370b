"""Runs, models and roles in MLflow, too, brought there from the audit trail.

The leading watcher follows the trail on a thread of its own; no run, no promotion and no answer waits for MLflow. How
far the trail was told is a tag of MLflow's experiment, set after what it says was taken: after an outage, a restart
or another leader everything that was missed is told, what was half told is told again into the same places, and a
server that starts empty gets it all. Aliases are not replayed but set to what the registry says now.

What is uploaded are a version's ONNX, skops, JSON and HTML files, as they were hashed at registration: no pickle, and
none of the files that hold rows of data.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from monitoring.followers.mlflow_server import MlflowAway, MlflowRefused, MlflowRun, MlflowServer
from monitoring.followers.side_work import SideWork
from monitoring.followers.tracked_run import (
    NOTE_TAG,
    PARENT_TAG,
    RUN_TAG,
    VERSION_TAG,
    TrackedRun,
    tracked_end,
    tracked_name,
    tracked_start,
    tracked_version,
)
from record.errors import ArtifactError, NotFound, UnknownVersion
from record.event_log import LONGEST_PAGE, RecordedEvent
from record.log_lines import log_line
from record.record import Record
from record.settings import Settings
from record.versions.artifact import Manifest
from record.versions.model_version import ModelVersion
from record.work.leases import Fence

WAITING = "ringside_tracking_waiting_events"
THROUGH_TAG = "ringside.through"

# In seconds of the machine's clock. A look that finds nothing new is one read of the record.
ROUND_SECONDS = 5.0
# After a failure: 10, 20, 40 … seconds, at most a quarter of an hour.
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 900.0
# What the server refuses this often will not be taken the next time either; what follows it must not wait for ever.
MOST_REFUSALS = 5

RUN_EVENTS = ("retrain_started", "retrain_succeeded", "retrain_failed", "model_registered")
ROLE_EVENTS = ("model_promoted", "model_rejected", "model_rolled_back", "bout_opened", "bout_decided", "bout_voided")

# Beside the model's folder for people, in it for programs. reference.parquet and golden.parquet hold rows of data.
SHOWN_FILES = ("card.json", "report.html")
MODEL_FILES = ("model.onnx", "estimator.skops", "schema.json", "card.json")
MODEL_FOLDER = "model"


class Tracker:
    """`keep` is called often, from one thread, by whoever leads; it returns at once and never raises."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        server: MlflowServer | None,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = tracked_name(settings.problem.name)
        self._record = record
        self._server = server
        self._stopwatch = stopwatch
        self._side_work = SideWork("tracker", self._go_round, ROUND_SECONDS, stopwatch)
        self._fence: Fence | None = None
        self._experiment = ""
        self._through = 0
        self._failures = 0
        self._refusals = 0
        self._next_try = float("-inf")

    @classmethod
    def of(cls, settings: Settings, record: Record) -> Tracker:
        tracking = settings.tracking
        if tracking.mlflow_uri is None:
            return cls(settings, record, None)
        return cls(settings, record, MlflowServer(tracking.mlflow_uri, tracking.timeout.total_seconds()))

    def keep(self, fence: Fence) -> None:
        """Begins a round where there is a server, none is under way, and the last began some seconds ago."""
        if self._server is not None:
            self._side_work.keep(fence)

    def finish(self, fence: Fence, seconds: float) -> bool:
        """Tells what has not been told yet; whether that ended within these seconds."""
        return self._server is None or self._side_work.finish(fence, seconds)

    def wait(self, seconds: float) -> bool:
        """Whether the round under way ended within these seconds."""
        return self._side_work.wait(seconds)

    def _go_round(self, fence: Fence) -> None:
        if self._server is None or self._stopwatch() < self._next_try:
            return
        try:
            self._follow(self._server, fence)
        except (MlflowAway, MlflowRefused) as error:
            self._fence = None
            self._failures += 1
            self._refusals += isinstance(error, MlflowRefused)
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (self._failures - 1))
            self._next_try = self._stopwatch() + pause
            log_line("tracking failed", reason=error.message, failures=self._failures, again_in_seconds=pause)
            return
        finally:
            self._server.close()
        self._failures = self._refusals = 0

    def _follow(self, server: MlflowServer, fence: Fence) -> None:
        """Tells what waits, event by event, so that a long way is not gone twice; then sets the aliases."""
        if fence != self._fence:  # somebody else may have led, and told, meanwhile
            self._say_waiting(len(self._waiting()))
            self._remember(server)
        waiting = self._waiting()
        if not waiting and fence == self._fence:
            return
        self._say_waiting(len(waiting))
        for event in waiting:
            with self._record.database.read() as connection:
                fence.check(connection)
            if event.kind in RUN_EVENTS:
                self._tell(server, event)
                self._tell_through(server, event.seq)
                self._refusals = 0
        self._set_aliases(server)
        if waiting:
            self._tell_through(server, waiting[-1].seq)
        self._say_waiting(0)
        self._fence = fence

    def _remember(self, server: MlflowServer) -> None:
        """How far the trail was told, by what MLflow itself says."""
        self._experiment, tags = server.experiment(self._name)
        told = tags.get(self._through_tag(), "0")
        self._through = int(told) if told.isdigit() else 0

    def _through_tag(self) -> str:
        """Of this record, by its first event: another record with a problem of the same name has its own."""
        page, _ = self._record.events.page(limit=1)
        return f"{THROUGH_TAG}.{page[0].digest[:12]}" if page else THROUGH_TAG

    def _tell_through(self, server: MlflowServer, seq: int) -> None:
        server.tag_experiment(self._experiment, self._through_tag(), str(seq))
        self._through = seq

    def _waiting(self) -> list[RecordedEvent]:
        found: list[RecordedEvent] = []
        cursor: str | None = str(self._through)
        while cursor is not None:
            page, cursor = self._record.events.page(kind=(*RUN_EVENTS, *ROLE_EVENTS), limit=LONGEST_PAGE, cursor=cursor)
            found += page
        return found

    def _tell(self, server: MlflowServer, event: RecordedEvent) -> None:
        try:
            self._tell_run(server, event)
        except (NotFound, UnknownVersion, ArtifactError) as error:
            log_line("not tracked", event=event.seq, kind=event.kind, reason=error.message)
        except MlflowRefused as refused:
            if self._refusals < MOST_REFUSALS:
                raise
            log_line("not tracked", event=event.seq, kind=event.kind, reason=refused.message)

    def _tell_run(self, server: MlflowServer, event: RecordedEvent) -> None:
        run_id, version = event.data.get("run_id"), event.model_version
        if event.kind == "model_registered":
            if run_id is None and version is not None:
                made = self._record.registry.version(version)
                self._log_version(server, self._log(server, tracked_version(made)), made)
        elif run_id is not None:
            run = self._record.runs.get(run_id)
            if run.active is not None:
                self._log(server, tracked_start(run))
            elif event.kind != "retrain_started":
                ended = self._record.registry.version(run.version) if run.version else None
                logged = self._log(server, tracked_end(run, ended))
                if ended is not None:
                    self._log_version(server, logged, ended)

    def _log(self, server: MlflowServer, run: TrackedRun, parent: MlflowRun | None = None) -> MlflowRun:
        """The run as MLflow has it afterwards; one that is there is gone on with."""
        tags = dict(run.key) | ({PARENT_TAG: parent.run_id} if parent else {})
        held = server.find_run(self._experiment, run.key)
        held = held or server.create_run(self._experiment, run.name, tags, run.started_at)
        server.log(held, run.params, run.metrics, run.tags)
        for child in run.children:
            self._log(server, child, held)
        if run.ended_at is not None:
            server.end_run(held, run.status, run.ended_at)
        return held

    def _log_version(self, server: MlflowServer, run: MlflowRun, version: ModelVersion) -> None:
        """The version's files, verified as they are read, and the registered model's version made of them."""
        if not run.proxied:
            note = "files not uploaded: this server does not take artifacts over HTTP (mlflow server --serve-artifacts)"
            server.log(run, {}, (), {NOTE_TAG: note})
            return
        manifest = self._record.registry.open(version.version)
        for name in SHOWN_FILES:
            if name in manifest.files:
                server.upload(run, name, manifest.read(name))
        for name, content in model_files(manifest, run.run_id).items():
            server.upload(run, f"{MODEL_FOLDER}/{name}", content)
        if server.model_aliases(self._name) is None:
            server.create_model(self._name)
        if self._tracked_as(server).get(version.version) is None:
            tags = {
                VERSION_TAG: version.version,
                "ringside.digest": version.digest,
                "ringside.chain_head": self._record.events.head(),
                RUN_TAG: version.run_id or "",
            }
            server.create_version(self._name, run, MODEL_FOLDER, tags, _description(version))

    def _tracked_as(self, server: MlflowServer) -> dict[str, str]:
        """Our versions → MLflow's, of this record: another's of the same name have other digests."""
        ours = {version.digest: version.version for version in self._record.registry.versions()}
        held = server.model_versions(self._name)
        return {
            ours[tags["ringside.digest"]]: number
            for number, tags in held.items()
            if tags.get("ringside.digest") in ours
        }

    def _set_aliases(self, server: MlflowServer) -> None:
        """`champion` and `challenger` as the registry says now, and beside each version what became of it."""
        found = server.model_aliases(self._name)
        if found is None:
            return
        tracked = self._tracked_as(server)
        wanted = wanted_aliases(self._record, tracked)
        for alias in ("champion", "challenger"):
            version = wanted.get(alias)
            if version is not None and found.get(alias) != version:
                server.set_alias(self._name, alias, version)
            elif version is None and alias in found:
                server.delete_alias(self._name, alias)
        held = server.model_versions(self._name)
        for made in self._record.registry.versions():
            number = tracked.get(made.version)
            if number is not None and held[number].get("ringside.standing") != made.standing:
                server.tag_version(self._name, number, "ringside.standing", made.standing)

    def _say_waiting(self, events: int) -> None:
        self._record.samples.put([(WAITING, {}, float(events))], self._record.clock.now())


def wanted_aliases(record: Record, tracked: dict[str, str]) -> dict[str, str]:
    """Alias → MLflow's version. Of several challengers with open bouts, the newest."""
    roles = record.registry.roles()
    # A bout against an earlier champion is open only until the watcher's next look voids it.
    opened = [bout for bout in record.bouts.opened() if bout.generation == roles.generation]
    challengers = [bout.challenger for bout in opened if bout.kind == "challenge"]
    named = {"champion": roles.champion, "challenger": max(challengers, key=lambda name: int(name[1:]), default=None)}
    return {alias: tracked[name] for alias, name in named.items() if name in tracked}


def model_files(manifest: Manifest, run_id: str) -> dict[str, bytes]:
    """The folder that MLflow's registered version is: the files, their digests, and MLmodel, which names model.onnx."""
    files = {name: manifest.read(name) for name in MODEL_FILES if name in manifest.files}
    digests = {name: manifest.files[name] for name in files}
    flavor = {"data": "model.onnx", "providers": ["CPUExecutionProvider"], "onnx_version": _onnx_version()}
    described = {"artifact_path": MODEL_FOLDER, "run_id": run_id, "flavors": {"onnx": flavor}}
    return {
        "MLmodel": json.dumps(described, indent=1).encode(),  # YAML; JSON is part of it
        "digests.json": json.dumps(digests, indent=1).encode(),
        **files,
    }


def _onnx_version() -> str:
    from importlib.metadata import version

    return version("onnx")


def _description(version: ModelVersion) -> str:
    card = version.card
    family = str(card.get("family", "model")).replace("_", " ")
    rows = f", trained on {card['rows']:,} rows" if "rows" in card else ""
    return f"{version.version}: {family}{rows}"
