"""Answers of real packages, taken apart as the service does it: every family against its own estimator."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.pipeline import Pipeline

from record.contract.arrays import Arrays
from record.contract.feature_places import feature_places
from record.versions.artifact import ArtifactStore, verify
from record.versions.model import ServedModel
from retrain.data.dataset import Dataset
from retrain.models.configuration import FAMILIES, Configuration, Member
from retrain.models.pipeline import build, fit, predict
from retrain.package import package
from service.explain.explainer import Question, explain, read_background
from tests.retrain.problems import Kind
from tests.retrain.test_package import SMALL, learnable

Floats = npt.NDArray[np.float64]


def configured(family: str) -> Configuration:
    if family == "ensemble":
        parts = [Configuration("linear", {}), Configuration("gradient_boosting", {"max_iter": 10})]
        return Configuration("ensemble", {}, tuple(Member(part, 0.5) for part in parts))
    return Configuration(family, SMALL.get(family, {}))  # type: ignore[arg-type,call-overload]


def brute_force(pipeline: Pipeline, data: Dataset, row: Arrays, background: Arrays, place: int) -> dict[str, float]:
    """Shapley's definition over every order of the features, asked of the estimator."""
    features = feature_places(data.schema.problem)
    found = dict.fromkeys((feature.name for feature in features), 0.0)
    orders = list(permutations(features))

    def mean(arrays: Arrays) -> float:
        return float(predict(pipeline, arrays, data.classes).reshape(len(arrays), -1)[:, place].mean())

    known: dict[frozenset[str], float] = {}
    for order in orders:
        mixed = Arrays(background.numbers.copy(), background.categories.copy())
        there: frozenset[str] = frozenset()
        known.setdefault(there, mean(mixed))
        for feature in order:
            for column in feature.numbers:
                mixed.numbers[:, column] = row.numbers[0, column]
            for column in feature.categories:
                mixed.categories[:, column] = row.categories[0, column]
            then = there | {feature.name}
            if then not in known:
                known[then] = mean(mixed)
            found[feature.name] += (known[then] - known[there]) / len(orders)
            there = then
    return found


@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
@pytest.mark.parametrize("family", [*FAMILIES, "ensemble"])
def test_contributions_are_those_of_the_estimator_behind(tmp_path: Path, family: str, kind: Kind) -> None:
    """From model.onnx and reference.parquet alone; they sum to what was answered, and the answer comes out again."""
    data = learnable(tmp_path, kind)
    pipeline = fit(build(configured(family), data.schema.problem.task, 0), data.arrays, data.target)
    store = ArtifactStore(tmp_path / "artifacts")
    stage = store.stage()
    package(stage, pipeline, data, np.full((len(data), max(1, data.classes)), np.nan).squeeze(), 0)
    (stage / "card.json").write_text(json.dumps({"target_sd": float(np.std(data.target)) if not data.classes else 1.0}))
    digest = store.seal(stage)
    directory = store.publish(stage, "v1")
    model = ServedModel.load(directory, "v1", digest)
    record = model.decoder.frame_records(data.frame[7:8])[0]
    row = model.decoder.decode([record])
    answered = predict(pipeline, row, data.classes)[0]
    said: Any = dict(zip(data.schema.classes, answered.tolist(), strict=True)) if data.classes else float(answered)
    told = explain(Question("order-7", "v1", str(directory), digest, json.dumps(record), json.dumps(said), 600.0))
    classes = data.schema.classes
    place = classes.index(told["class"]) if classes else 0
    if kind == "several":
        assert place == int(answered.argmax())
    background = read_background(verify(directory, digest), model.decoder, feature_places(data.schema.problem), digest)
    expected = brute_force(pipeline, data, row, background, place)
    scale = 1.0 if data.classes else float(np.std(data.target))
    found = {each["feature"]: each["contribution"] for each in told["contributions"]}
    assert sorted(found) == ["carrier", "distance", "gate", "seats"]  # carried columns are none of the model's business
    assert found == pytest.approx(expected, abs=1e-5 * scale)
    assert told["base"] + sum(found.values()) == pytest.approx(float(np.ravel(answered)[place]), abs=1e-5 * scale)
    assert (told["reproduced"], told["exact"], told["background_rows"]) == (True, True, 100)
