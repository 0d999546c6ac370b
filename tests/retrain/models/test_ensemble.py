"""Trials that answer together: kept where that pays, the same in ONNX, and a version like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from record.contract.schema import Task
from record.db.database import Database
from record.versions.model import OnnxScorer
from retrain.export.graph import to_onnx
from retrain.job import RunResult, run
from retrain.models.configuration import Configuration, Member
from retrain.models.pipeline import build, fit, predict
from retrain.package import read_estimator
from retrain.reproduction import reproduce
from retrain.study import warm_start
from retrain.thinning import thinned
from retrain.trials.record import TrialRecord
from retrain.trials.selection import MOST_MEMBERS, Candidate, select
from tests.retrain.export.test_graph import rows_of, target_of
from tests.retrain.problems import Project, make_frame, make_project, write_settings
from tests.retrain.test_search import learnable

LINEAR = Configuration("linear", {"regularisation": 1.0, "min_count": 3})
BOOSTING = Configuration("gradient_boosting", {"max_iter": 15, "min_count": 3})
FOREST = Configuration("random_forest", {"n_estimators": 12, "min_count": 5})
TOGETHER = Configuration("ensemble", {}, (Member(LINEAR, 0.25), Member(BOOSTING, 0.5), Member(FOREST, 0.25)))
THREE = ["linear", "random_forest", "gradient_boosting"]
NOISY: Mapping[str, Any] = {"trials": 5, "families": THREE}


def candidates(errors: list[Any], truth: Any) -> list[Candidate]:
    return [Candidate(number, LINEAR, truth + error, 1.0) for number, error in enumerate(errors)]


def test_models_that_err_apart_are_better_together() -> None:
    """Two of equal error: half of each, and half the square of it left."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=2_000)
    found = select(candidates([generator.normal(size=2_000) for _ in range(2)], truth), truth, 0, np.inf)
    assert found.pays
    assert [member.weight for member in found.members] == pytest.approx([0.5, 0.5], abs=0.05)
    assert found.gain == pytest.approx(0.5, abs=0.1)
    assert found.loss == pytest.approx(np.sqrt(0.5), abs=0.05)


def test_a_model_that_others_only_spoil_stays_alone() -> None:
    """And copies of one model gain nothing."""
    generator = np.random.default_rng(1)
    truth = generator.normal(size=500)
    best, worse = 0.1 * generator.normal(size=500), 2.0 * generator.normal(size=500)
    assert len(select(candidates([best, worse], truth), truth, 0, np.inf).members) == 1
    assert not select(candidates([best, best, best], truth), truth, 0, np.inf).pays


def test_a_gain_that_only_the_selection_sees_is_none() -> None:
    """Of fifty models of pure noise some fit the rows they were selected on; on others they do not."""
    generator = np.random.default_rng(2)
    kept = 0
    for _ in range(40):
        y = generator.integers(0, 2, 60)
        base = np.full((60, 2), 0.5)
        noise = [np.clip(0.5 + 0.2 * generator.normal(size=60), 0.05, 0.95) for _ in range(50)]
        held = [Candidate(0, LINEAR, base)] + [
            Candidate(n + 1, LINEAR, np.column_stack([1 - p, p])) for n, p in enumerate(noise)
        ]
        found = select(held, y, 2, np.inf)
        assert found.loss < np.log(2)
        kept += found.pays and found.gain < 0
    assert kept == 0


def test_an_ensemble_is_fitted_within_its_time() -> None:
    """The best comes first, whatever it takes; then those that still fit; and never more than a handful."""
    generator = np.random.default_rng(3)
    truth = generator.normal(size=1_000)
    errors = [generator.normal(size=1_000) for _ in range(12)]
    held = [Candidate(n, LINEAR, truth + error, 10.0 if n % 2 else 1.0) for n, error in enumerate(errors)]
    assert len(select(held, truth, 0, np.inf).members) == MOST_MEMBERS
    assert len(select(held, truth, 0, 0.0).members) == 1
    few = [Candidate(n, Configuration("linear", {"n": n}), truth + e, 1.0) for n, e in enumerate(errors)]
    assert len(select(few, truth, 0, 3.0).members) == 3


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_the_graph_gives_the_mean_of_the_members(classes: int) -> None:
    """In double precision; and members that encode alike share their nodes."""
    arrays = rows_of(600, 4, 3)
    task: Task = "classification" if classes else "regression"
    y = target_of(arrays, classes)
    pipeline = fit(build(TOGETHER, task, 0), arrays, y)
    strange = rows_of(300, 4, 3, seed=1)
    strange.numbers[:5] *= 1e20
    strange.categories[5:10] = "never seen"
    expected = predict(pipeline, strange, classes)
    apart = [predict(fit(build(m.configuration, task, 0), arrays, y), strange, classes) for m in TOGETHER.members]
    mean = sum(m.weight * held for m, held in zip(TOGETHER.members, apart, strict=True))
    np.testing.assert_allclose(expected, mean, rtol=1e-12)
    model = to_onnx(pipeline, 4, 3, classes)
    got = OnnxScorer(model).score(strange).raw
    assert np.abs(got - expected).max() / (1.0 if classes else 1e4) < 1e-9
    assert model == to_onnx(fit(build(TOGETHER, task, 0), arrays, y), 4, 3, classes)
    doubled = Configuration("ensemble", {}, (Member(BOOSTING, 0.5), Member(BOOSTING, 0.5)))
    one = to_onnx(fit(build(BOOSTING, task, 0), arrays, y), 4, 3, classes)
    assert len(to_onnx(fit(build(doubled, task, 0), arrays, y), 4, 3, classes)) < len(one) + 2_000


def test_an_ensemble_too_slow_loses_its_lightest(tmp_path: Path) -> None:
    """Down to one alone, which the gate then judges; what is left answers as before, its weights risen."""
    data = learnable(tmp_path, "binary", 300)
    pipeline = fit(build(TOGETHER, "classification", 0), data.arrays, data.target)
    same = thinned(TOGETHER, pipeline, data, None)
    assert same == (TOGETHER, pipeline)
    configuration, left = thinned(TOGETHER, pipeline, data, 1e-9)
    assert configuration == BOOSTING
    alone = fit(build(BOOSTING, "classification", 0), data.arrays, data.target)
    np.testing.assert_array_equal(predict(left, data.arrays, 2), predict(alone, data.arrays, 2))
    fewer = pipeline.named_steps["model"].without(0)
    assert fewer.weights == pytest.approx([2 / 3, 1 / 3])
    assert fewer.predict_proba(data.arrays).sum(axis=1) == pytest.approx(1.0)


def test_a_configuration_is_read_as_it_was_written() -> None:
    """And one of another product is not read at all."""
    assert Configuration.from_json(json.loads(json.dumps(TOGETHER.to_json()))) == TOGETHER
    assert Configuration.from_json({"family": "oracle", "params": {}}) is None
    assert Configuration.from_json({"family": "ensemble", "params": {}}) is None
    assert Configuration.from_json({**TOGETHER.to_json(), "members": [{"family": "oracle", "weight": 1.0}]}) is None
    assert [part.family for part in TOGETHER.parts] == ["gradient_boosting", "linear", "random_forest"]


def chessboard(rows: int) -> pd.DataFrame:
    """Half a straight line, half a chessboard: linear models and trees each know what the others miss."""
    frame = make_frame("regression", rows, noise=1.0)
    frame["outcome"] += 1e4 * np.sign((frame["distance"] - 500.0) * (frame["seats"].fillna(175.0) - 175.0))
    return frame


def carry_out(project: Project) -> RunResult:
    return run(project.settings, project.record, project.request(), fence=None, progress=lambda _: None)


@pytest.fixture
def project(tmp_path: Path, sqlite_database: Database) -> Project:
    """v1 is champion, an ensemble."""
    held = make_project(tmp_path, sqlite_database, "regression", frame=chessboard(900), more={"retrain": NOISY})
    assert carry_out(held).version == "v1"
    assert held.record.registry.version("v1").card["family"] == "ensemble"
    return held


def change(project: Project, rows: int, **retrain: Any) -> Project:
    chessboard(rows).to_parquet(project.folder / "flights.parquet", index=False)
    more = {"store": {"database": project.settings.store.database}, "retrain": {**NOISY, **retrain}}
    settings = write_settings(project.folder, "regression", "flights.parquet", more)
    return Project(project.folder, settings, project.record, project.clock)


def test_an_ensemble_is_a_version_like_any_other(project: Project) -> None:
    """Named in card and report with its members, proven, made again bit for bit, and read without pickle."""
    card = project.record.registry.version("v1").card
    assert sum(member["weight"] for member in card["members"]) == pytest.approx(1.0)
    assert card["ensemble"]["kept"]
    assert card["ensemble"]["gain"] > card["ensemble"]["error"] > 0
    assert card["parity"]["max_difference"] < 1e-9
    assert card["latency_ms"] <= 1.0
    assert len(card["trials"]) == 5
    directory = project.record.registry.directory("v1")
    assert "kept.</p>" in (directory / "report.html").read_text()
    assert len(read_estimator((directory / "estimator.skops").read_bytes()).named_steps["model"].members) > 1
    assert reproduce(project.settings, project.record, "v1").same
    assert {part.family for part in warm_start(card)} <= set(THREE)


def test_an_ensemble_is_refitted_with_its_members(project: Project) -> None:
    """No search; and where it is asked to go on, it says that it cannot."""
    refitted = change(project, 1_400, mode="refit")
    assert carry_out(refitted).version == "v2"
    v1, v2 = (project.record.registry.version(name).card for name in ("v1", "v2"))
    assert (v2["family"], v2["members"], v2["rows"]) == ("ensemble", v1["members"], 1_400)
    assert reproduce(refitted.settings, project.record, "v2").same
    carry_out(change(project, 1_900, mode="incremental"))
    mode = project.record.registry.version("v3").card["mode"]
    assert mode["mode"] == "refit"
    assert mode["reasons"][-1] == "refit instead: Ensemble cannot go on from where it is"


def test_members_of_a_family_left_out_are_no_recipe(project: Project) -> None:
    """retrain.families holds for each of them."""
    families = {member["family"] for member in project.record.registry.version("v1").card["members"]}
    left = sorted(set(THREE) - {sorted(families)[0]})
    carry_out(change(project, 900, mode="refit", families=left))
    mode = project.record.registry.version("v2").card["mode"]
    assert mode["mode"] == "full"
    assert "which retrain.families leaves out" in mode["reasons"][0]


def test_answers_survive_with_their_trials(tmp_path: Path) -> None:
    """What cannot be read is None, and nothing is unpickled."""
    record = TrialRecord(tmp_path, {"seed": 3})
    record.append({"trial": {"number": 0}}, np.array([0.25, 0.5]))
    record.append({"trial": {"number": 1}})
    again = TrialRecord(tmp_path, {"seed": 3})
    first = again.answers(again.kept[0])
    assert first is not None
    assert first.tolist() == [0.25, 0.5]
    assert again.answers(again.kept[1]) is None
    (tmp_path / "answers-0.npy").write_bytes(b"torn")
    assert again.answers(again.kept[0]) is None
