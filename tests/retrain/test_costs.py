"""Costs of wrong answers, from the settings to the answers of the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from monitoring.bouts.shadow_scorer import ShadowScorer
from monitoring.quality.observed import operating_threshold
from record.contract.decoder import Decoder
from record.db.database import Database
from record.errors import DataError
from record.versions.model import ServedModel
from retrain.job import run
from retrain.reproduction import reproduce
from tests.retrain.problems import Project, make_frame, make_project, write_settings
from tests.service.serving import live_service, running, wait_ready

COSTS = {"positive_class": "late", "false_positive_cost": 1.0, "false_negative_cost": 20.0}
TRIALS: Mapping[str, Any] = {"trials": 2, "families": ["linear", "lightgbm"]}


def carry_out(project: Project) -> dict[str, Any]:
    result = run(project.settings, project.record, project.request(), fence=None, progress=lambda _: None)
    assert result.version is not None
    return dict(project.record.registry.version(result.version).card)


def changed(project: Project, problem: Mapping[str, Any], **retrain: Any) -> Project:
    more = {"store": {"database": project.settings.store.database}, "problem": problem}
    settings = write_settings(project.folder, "binary", "flights.parquet", {**more, "retrain": {**TRIALS, **retrain}})
    return Project(project.folder, settings, project.record, project.clock)


def records_of(project: Project, rows: int) -> list[dict[str, Any]]:
    problem = project.settings.problem_schema()
    assert problem is not None
    return list(Decoder(problem).frame_records(make_frame("binary", rows, seed=9)))


@pytest.fixture
def project(tmp_path: Path, sqlite_database: Database) -> Project:
    return make_project(
        tmp_path, sqlite_database, more={"problem": COSTS, "retrain": TRIALS}, frame=make_frame("binary", 800, noise=2)
    )


def test_the_card_states_threshold_costs_and_what_it_spares(project: Project) -> None:
    """On the holdout, which had no say in it; by the same threshold quality is measured."""
    card = carry_out(project)
    decision = card["decision"]
    assert decision["theoretical"] == pytest.approx(1 / 21)
    assert card["operating_threshold"] == decision["threshold"] == operating_threshold(card)
    cost, at_half = decision["cost_per_1000"], decision["cost_at_half_per_1000"]
    assert cost["low"] < cost["value"] < cost["high"] < at_half["low"]
    assert decision["spared_per_1000"]["value"] == pytest.approx(at_half["value"] - cost["value"])
    assert card["metrics"]["cost_per_1000"] == cost
    matrix = np.array(card["insight"]["confusion"])  # late, on time
    assert 1000 * (20 * matrix[0, 1] + matrix[1, 0]) / matrix.sum() == pytest.approx(cost["value"])
    assert card["metrics"]["accuracy"]["value"] == pytest.approx(np.trace(matrix) / matrix.sum())
    page = (project.record.registry.directory("v1") / "report.html").read_text()
    assert "Cost by threshold" in page
    assert "false negatives 20" in page
    assert reproduce(project.settings, project.record, "v1").same


def test_equal_costs_change_nothing(project: Project) -> None:
    """The same model, bit for bit, and the most probable class."""
    alike = changed(project, {"positive_class": "late", "false_positive_cost": 3, "false_negative_cost": 3})
    first = carry_out(alike)
    carry_out(project)
    assert (first["operating_threshold"], first["decision"]) == (None, None)
    assert "cost_per_1000" not in first["metrics"]
    one, other = (project.record.registry.directory(name) / "model.onnx" for name in ("v1", "v2"))
    assert one.read_bytes() == other.read_bytes()


def test_a_refit_keeps_the_threshold_and_other_costs_move_it(project: Project) -> None:
    first = carry_out(project)
    kept = carry_out(changed(project, COSTS, mode="refit"))
    assert (kept["decision"]["source"], kept["operating_threshold"]) == ("champion", first["operating_threshold"])
    moved = carry_out(changed(project, {**COSTS, "false_negative_cost": 4}, mode="refit"))
    assert (moved["decision"]["source"], moved["operating_threshold"]) == ("costs", pytest.approx(0.2))


def test_costs_want_two_classes(tmp_path: Path, sqlite_database: Database) -> None:
    project = make_project(tmp_path, sqlite_database, "several", more={"problem": COSTS, "retrain": TRIALS})
    with pytest.raises(DataError, match="1 and 20 with 3 classes; expected two"):
        carry_out(project)


def test_zero_one_losses_go_by_what_each_version_answers(project: Project) -> None:
    """A champion by its own threshold, also where costs are equal again; observed losses are held against that."""
    carry_out(project)
    make_frame("binary", 1_600, noise=2).to_parquet(project.folder / "flights.parquet", index=False)
    more = {"store": {"database": project.settings.store.database}, "promotion": {"loss": "zero_one"}}
    alike = write_settings(
        project.folder, "binary", "flights.parquet", {**more, "problem": {"positive_class": "late"}, "retrain": TRIALS}
    )
    card = carry_out(Project(project.folder, alike, project.record, project.clock))
    assert card["operating_threshold"] is None
    assert card["reference_loss"] == pytest.approx(1 - card["metrics"]["accuracy"]["value"])
    assert card["comparison"]["other_loss"] == pytest.approx(1 - card["champion_metrics"]["accuracy"]["value"])
    assert card["comparison"]["other_loss"] > card["comparison"]["candidate_loss"] + 0.05


def test_the_service_answers_by_the_threshold(project: Project) -> None:
    """Few records, many, and by the inference protocol: as the card says, and as the shadow would."""
    threshold = carry_out(project)["operating_threshold"]
    records = records_of(project, 60)
    version = project.record.registry.version("v1")
    model = ServedModel.load(project.record.registry.directory("v1"), "v1", version.digest)
    shares = model.score(model.decoder.decode(records)).raw[:, 0]
    expected = ["late" if share >= threshold else "on_time" for share in shares.tolist()]
    assert np.mean((shares >= threshold) & (shares < 0.5)) > 0  # rows that .5 would answer otherwise
    with running(project.settings) as (_, client):
        alone = [client.post("/predict", {"records": [record]}).json()["predictions"][0] for record in records[:20]]
        together = client.post("/predict", {"records": records}).json()["predictions"]
    assert [said["prediction"] for said in alone] == expected[:20]
    assert [said["prediction"] for said in together] == expected
    assert [said["probabilities"]["late"] for said in together] == shares.tolist()


def test_a_real_server_answers_by_the_threshold(project: Project, tmp_path: Path) -> None:
    """Over the fast lane and past it, through BentoML; the log holds what was answered."""
    threshold = carry_out(project)["operating_threshold"]
    records = records_of(project, 40)
    with live_service(project.settings, tmp_path) as service:
        wait_ready(service)
        few = httpx.post(f"{service.url}/predict", json={"records": records[:8]}).json()["predictions"]
        many = httpx.post(f"{service.url}/predict", json={"records": records}).json()["predictions"]
    for said in [*few, *many]:
        assert said["prediction"] == ("late" if said["probabilities"]["late"] >= threshold else "on_time")
    assert [said["prediction"] for said in many[:8]] == [said["prediction"] for said in few]
    assert any(said["prediction"] == "late" and said["probabilities"]["late"] < 0.5 for said in many)
    logged = [project.record.log.find(said["id"]) for said in many]
    rows = [row for row in logged if row is not None]
    assert [json.loads(row.prediction) for row in rows] == [said["prediction"] for said in many]
    version = project.record.registry.version("v1")
    model = ServedModel.load(project.record.registry.directory("v1"), "v1", version.digest)
    shadowed = ShadowScorer(model, "design", 1.0).score(rows)
    assert [score.prediction for score in shadowed] == [row.prediction for row in rows]
