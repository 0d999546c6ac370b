"""Runs, models and roles stand in a real MLflow server, whatever happened to it meanwhile; and nothing is pickled."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.followers.mlflow_server import Metric, MlflowServer
from monitoring.followers.tracker import MOST_REFUSALS, Tracker
from record.contract.decoder import Decoder
from record.contract.schema import Schema
from record.db.database import Database
from record.settings import Settings
from record.versions.artifact import verify
from record.versions.model import OnnxScorer
from record.work.leases import Fence
from retrain.job import run as run_job
from tests.mlflow_server import ROOT, Gate, MlflowUnderTest, gate, mlflow_python, mlflow_server
from tests.retrain.problems import Project, make_frame, make_project

RETRAIN = {"trials": 4, "families": ["linear", "gradient_boosting"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowUnderTest]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def entrance(server: MlflowUnderTest) -> Iterator[Gate]:
    with gate(server) as held:
        yield held


@dataclass
class Desk:
    """A project whose runs are tracked under a name of its own."""

    project: Project
    server: MlflowUnderTest
    entrance: Gate
    fence: Fence
    seconds: float = 0.0
    trackers: list[Tracker] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.project.settings.problem.name

    def tracker(self, timeout_seconds: float = 20.0) -> Tracker:
        mlflow = MlflowServer(self.entrance.url, timeout_seconds)
        return Tracker(self.project.settings, self.project.record, mlflow, stopwatch=lambda: self.seconds)

    def go(self, tracker: Tracker, seconds: float = 10.0) -> None:
        self.seconds += seconds
        tracker.keep(self.fence)
        assert tracker.wait(120)

    def train(self, settings: Settings | None = None) -> str:
        """A run from end to end; its id."""
        run_id = self.project.request()
        project = self.project
        run_job(settings or project.settings, project.record, run_id, fence=None, progress=lambda _: None)
        return run_id

    def runs(self, filter: str = "") -> list[dict[str, Any]]:
        experiment = self.server.get("experiments/get-by-name", experiment_name=self.name)["experiment"]
        found = self.server.post("runs/search", experiment_ids=[experiment["experiment_id"]], filter=filter)
        runs: list[dict[str, Any]] = found.get("runs", [])
        return runs

    def aliases(self) -> dict[str, str]:
        """Alias → our version."""
        held = self.server.get("registered-models/get", name=self.name)["registered_model"]
        found = {}
        for alias in held.get("aliases", []):
            query = {"name": self.name, "alias": alias["alias"]}
            version = self.server.get("registered-models/alias", **query)["model_version"]
            found[alias["alias"]] = tags(version)["ringside.version"]
        return found

    def waiting(self) -> float:
        samples = self.project.record.samples.all()
        return next(sample.value for sample in samples if sample.name == "ringside_tracking_waiting_events")


@pytest.fixture
def desk(tmp_path: Path, sqlite_database: Database, server: MlflowUnderTest, entrance: Gate) -> Desk:
    more = {"problem": {"name": tmp_path.name}, "retrain": RETRAIN}
    project = make_project(tmp_path, sqlite_database, rows=400, more=more)
    fence = project.record.leases.acquire("watcher", "test", project.settings.watch.lease)
    assert fence is not None
    return Desk(project, server, entrance, fence)


def tags(held: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in held.get("tags", [])}


def values(run: Any, kind: str) -> dict[str, Any]:
    return {item["key"]: item["value"] for item in run["data"].get(kind, [])}


def uploaded(desk: Desk, run: Any) -> dict[str, Path]:
    """The files of a run, as the server keeps them."""
    folder = desk.server.artifacts / run["info"]["experiment_id"] / run["info"]["run_id"] / "artifacts"
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def test_a_run_stands_there_with_its_families_metrics_and_files(desk: Desk) -> None:
    """One run of the problem's experiment; a child for each family; a version that is called champion."""
    run_id = desk.train()
    desk.go(desk.tracker())
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{run_id}'")
    card = desk.project.record.registry.version("v1").card
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == run_id
    assert values(run, "params")["family"] == card["family"]
    assert values(run, "params")["data_fingerprint"] == card["lineage"]["data_fingerprint"]
    metrics = values(run, "metrics")
    assert metrics["auc"] == pytest.approx(card["metrics"]["auc"]["value"])
    assert metrics["auc.low"] == pytest.approx(card["metrics"]["auc"]["low"])
    assert metrics["seconds"] > 0
    assert tags(run["data"])["ringside.version"] == "v1"
    assert tags(run["data"])["ringside.gate"] == "passed"
    children = desk.runs(f"tags.`mlflow.parentRunId` = '{run['info']['run_id']}'")
    assert {child["info"]["run_name"] for child in children} == {trial["family"] for trial in card["trials"]}
    assert {"linear", "gradient_boosting"} <= {child["info"]["run_name"] for child in children}
    for child in children:
        own = [trial for trial in card["trials"] if trial["family"] == child["info"]["run_name"]]
        query = {"run_id": child["info"]["run_id"], "metric_key": "loss"}
        history = desk.server.get("metrics/get-history", **query)["metrics"]
        assert {held["step"]: pytest.approx(held["value"]) for held in history} == {
            trial["number"]: trial["loss"] for trial in own
        }
        assert values(child, "metrics")["best_loss"] == pytest.approx(min(trial["loss"] for trial in own))
    assert {"card.json", "report.html", "model/model.onnx", "model/MLmodel"} <= set(uploaded(desk, run))
    assert desk.aliases() == {"champion": "v1"}
    assert desk.waiting() == 0


def test_what_is_uploaded_is_what_was_registered_and_no_pickle(desk: Desk) -> None:
    """The digests say so; neither a pickle nor a file that holds rows of data is among them."""
    run_id = desk.train()
    desk.go(desk.tracker())
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{run_id}'")
    files = uploaded(desk, run)
    model = {"MLmodel", "digests.json", "model.onnx", "estimator.skops", "schema.json", "card.json"}
    assert set(files) == {"card.json", "report.html", *(f"model/{name}" for name in model)}
    manifest = verify(
        desk.project.record.registry.directory("v1"), desk.project.record.registry.version("v1").digest
    ).files
    digests = json.loads(files["model/digests.json"].read_text())
    for name, digest in digests.items():
        assert digest == manifest[name] == hashlib.sha256(files[f"model/{name}"].read_bytes()).hexdigest()
    assert set(digests) == {"model.onnx", "estimator.skops", "schema.json", "card.json"}
    members = zipfile.ZipFile(files["model/estimator.skops"]).namelist()
    for name in [*files, *members]:
        assert not name.endswith((".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")), name
    for name, path in files.items():
        assert path.read_bytes()[:1] != b"\x80", f"{name} begins as a pickle does"


@pytest.mark.timeout(600)  # MLflow's own client takes seconds to import, on a busy machine minutes
def test_mlflows_own_client_loads_the_champion_and_unpickles_nothing(desk: Desk) -> None:
    """By its alias; and it answers as our own copy does."""
    desk.train()
    desk.go(desk.tracker())
    registry = desk.project.record.registry
    model = (registry.directory("v1") / "model.onnx").read_bytes()
    schema = Schema.from_json((registry.directory("v1") / "schema.json").read_text())
    arrays = Decoder(schema.problem).decode_frame(make_frame("binary", 30, seed=3))
    task = {
        "url": desk.server.url,
        "model": f"models:/{desk.name}@champion",
        "numbers": arrays.numbers.tolist(),
        "categories": arrays.categories.tolist(),
    }
    done = subprocess.run(
        [mlflow_python(), "-W", "ignore", ROOT / "tests" / "load_from_mlflow.py"],
        input=json.dumps(task), capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["unpickled"] == []
    assert np.allclose(np.array(told["outputs"][0]), OnnxScorer(model).score(arrays).raw, atol=1e-6)


def test_aliases_follow_promotion_rollback_and_rejection(desk: Desk) -> None:
    """champion is who holds the role; challenger the version in an open bout; nobody, once it is rejected."""
    registry, bouts = desk.project.record.registry, desk.project.record.bouts
    tracker = desk.tracker()
    desk.train()
    desk.train()
    bouts.open("challenge", "v2", "v1", registry.roles().generation, {}, 0)
    desk.go(tracker)
    assert desk.aliases() == {"champion": "v1", "challenger": "v2"}
    registry.promote("v2", actor="ann", reason="better")
    desk.go(tracker)
    assert desk.aliases() == {"champion": "v2"}
    registry.rollback(actor="ann", reason="worse after all")
    desk.go(tracker)
    assert desk.aliases() == {"champion": "v1"}
    assert standings(desk) == {"v1": "eligible", "v2": "rolled_back"}
    desk.train()
    bouts.open("challenge", "v3", "v1", registry.roles().generation, {}, 0)
    desk.go(tracker)
    assert desk.aliases() == {"champion": "v1", "challenger": "v3"}
    registry.reject("v3", actor="ann", reason="not fair")
    desk.go(tracker)
    assert desk.aliases() == {"champion": "v1"}
    assert standings(desk)["v3"] == "rejected"


def standings(desk: Desk) -> dict[str, str]:
    query = {"filter": f"name = '{desk.name}'"}
    found = desk.server.get("model-versions/search", **query)["model_versions"]
    return {tags(held)["ringside.version"]: tags(held)["ringside.standing"] for held in found}


def test_a_watcher_tells_by_its_settings_alone(desk: Desk) -> None:
    """`tracking.mlflow_uri` is all that it takes; one that looks once ends when all was told."""
    run_id = desk.train()
    desk.project.record.leases.release(desk.fence)
    environment = os.environ | {
        "RINGSIDE_CONFIG": str(desk.project.settings.path),
        "RINGSIDE_TRACKING__MLFLOW_URI": desk.server.url,
        "RINGSIDE_TRACKING__TIMEOUT": "60s",
    }
    command = [sys.executable, "-m", "monitoring", "--once"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(desk.runs(f"tags.`ringside.run_id` = '{run_id}'")) == 1, done.stderr
    assert desk.aliases() == {"champion": "v1"}


def test_an_outage_costs_nobody_anything_and_loses_nothing(desk: Desk) -> None:
    """Runs, a promotion and a rejection while MLflow is away: all of it is there afterwards, once."""
    registry = desk.project.record.registry
    tracker = desk.tracker()
    desk.entrance.set("refusing")
    first = desk.train()
    desk.go(tracker)
    desk.go(tracker, 1.0)  # too soon to try again
    assert desk.waiting() == 4  # started, registered, promoted, succeeded
    second = desk.train()
    registry.promote("v2", actor="ann", reason="better")
    desk.train()
    registry.reject("v3", actor="ann", reason="no")
    desk.go(tracker, 30.0)
    desk.entrance.set("open")
    desk.go(tracker, 60.0)
    assert desk.aliases() == {"champion": "v2"}
    assert standings(desk) == {"v1": "eligible", "v2": "eligible", "v3": "rejected"}
    for run_id in (first, second):
        assert len(desk.runs(f"tags.`ringside.run_id` = '{run_id}'")) == 1
    assert desk.waiting() == 0
    desk.go(desk.tracker())  # another watcher, later
    assert len(desk.runs("tags.`ringside.trigger` = 'command'")) == 3


def test_a_silent_server_holds_nobody_up(desk: Desk) -> None:
    """`keep` returns while the server is silent; rounds give up after the timeout, and come less and less often."""
    tracker = desk.tracker(timeout_seconds=1.0)
    desk.train()
    desk.entrance.set("silent")
    desk.seconds += 10
    tracker.keep(desk.fence)
    assert not tracker.wait(0)
    assert tracker.wait(60)
    tries = 0
    for _ in range(20):
        before = len(desk.entrance.lines)
        desk.go(tracker)
        tries += len(desk.entrance.lines) > before
    assert 2 <= tries <= 4
    desk.entrance.set("open")
    other = desk.tracker()
    desk.go(other)
    assert desk.aliases() == {"champion": "v1"}


def test_what_was_half_told_is_told_again_into_the_same_place(desk: Desk) -> None:
    """The server went away between a run and its model: afterwards there is one run and one version."""
    tracker = desk.tracker()
    run_id = desk.train()
    server = tracker._server
    assert server is not None
    upload = server.upload
    server.upload = lambda *_: desk.entrance.set("refusing") or upload(*_)  # type: ignore[method-assign,func-returns-value]
    desk.go(tracker)
    server.upload = upload  # type: ignore[method-assign]
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{run_id}'")
    assert uploaded(desk, run) == {}
    desk.entrance.set("open")
    desk.go(tracker, 60.0)
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{run_id}'")
    assert "model/model.onnx" in uploaded(desk, run)
    assert len(standings(desk)) == 1
    assert len(values(run, "metrics")) == len(run["data"]["metrics"])


def test_a_run_that_the_server_will_never_take_does_not_hold_up_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried a few times, passed over and said."""
    import monitoring.followers.tracker as module

    tracker, poison, whole = desk.tracker(), desk.train(), module.tracked_end
    good = desk.train()

    def tracked_end(run: Any, version: Any) -> Any:
        held = whole(run, version)
        return replace(held, metrics=[Metric("a|b", 1.0, 1)]) if run.run_id == poison else held

    monkeypatch.setattr(module, "tracked_end", tracked_end)
    for _ in range(MOST_REFUSALS + 1):
        desk.go(tracker, 1000.0)
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{good}'")
    assert run["info"]["status"] == "FINISHED"
    assert desk.waiting() == 0


def test_a_failed_run_and_a_refused_one_say_why(desk: Desk) -> None:
    """FAILED with the error; FINISHED with the gate's reasons and no version, here since no model is as quick."""
    tracker = desk.tracker()
    failed = desk.project.request()
    desk.go(tracker)
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{failed}'")
    assert run["info"]["status"] == "RUNNING"
    desk.project.record.runs.fail(failed, "the disk is full")
    quick = desk.project.settings.retrain.model_copy(update={"max_latency_ms": 1e-6})
    refused = desk.train(desk.project.settings.model_copy(update={"retrain": quick}))
    desk.go(tracker)
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{failed}'")
    assert run["info"]["status"] == "FAILED"
    assert "the disk is full" in tags(run["data"])["mlflow.note.content"]
    (run,) = desk.runs(f"tags.`ringside.run_id` = '{refused}'")
    assert tags(run["data"])["ringside.gate"] == "refused"
    assert "ringside.version" not in tags(run["data"])
    assert values(run, "metrics")["auc"] > 0.5
    assert desk.runs(f"tags.`mlflow.parentRunId` = '{run['info']['run_id']}'")


def test_a_leader_that_was_replaced_writes_nothing_more(desk: Desk) -> None:
    """Its lease is asked before every event."""
    desk.train()
    desk.project.record.leases.release(desk.fence)
    desk.go(desk.tracker())
    assert desk.runs() == []
