"""A version's files: proved equal, loaded without pickle, and without anybody's name in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UntrustedTypesFoundException

from record.contract.decoder import Decoder
from record.versions.artifact import ArtifactStore
from record.versions.model import ServedModel
from record.versions.reference_outputs import REFERENCE_OUTPUTS, read_reference_outputs
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.gate import PARITY_TOLERANCE
from retrain.models.configuration import FAMILIES, Configuration, Family
from retrain.models.pipeline import build, fit, predict
from retrain.package import measure_latency_ms, package, prove_parity, read_estimator
from tests.retrain.problems import Kind, make_frame, write_settings

SMALL: dict[Family, dict[str, float]] = {
    "linear": {},
    "random_forest": {"n_estimators": 10},
    "extra_trees": {"n_estimators": 10},
    "gradient_boosting": {"max_iter": 10},
    "lightgbm": {"max_iter": 10},
    "perceptron": {"max_iter": 3},
}


class Stranger:
    """A type that no model is made of."""


def learnable(folder: Path, kind: Kind) -> Dataset:
    make_frame(kind, 300).to_parquet(folder / "rows.parquet", index=False)
    settings = write_settings(folder, kind, "rows.parquet", {})
    return load(settings, problem_schema(settings, None), [])


def fitted(data: Dataset, family: Family = "gradient_boosting") -> Pipeline:
    task = data.schema.problem.task
    return fit(build(Configuration(family, SMALL[family]), task, 0), data.arrays, data.target)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_a_package_is_served_as_it_was_judged(tmp_path: Path, family: Family, kind: Kind) -> None:
    """Loaded as the service loads it: hashes, schema and golden answers checked; the same answers for records."""
    data = learnable(tmp_path, kind)
    pipeline = fitted(data, family)
    store = ArtifactStore(tmp_path / "artifacts")
    stage = store.stage()
    model = package(stage, pipeline, data, unknown(data), 0)
    (stage / "card.json").write_text(json.dumps({"target_sd": float(np.std(data.target))}))
    digest = store.seal(stage)
    served = ServedModel.load(store.publish(stage, "v1"), "v1", digest)
    records = Decoder(data.schema).frame_records(data.frame[:50])
    expected = predict(pipeline, data.arrays.rows(0, 50), data.classes)
    np.testing.assert_allclose(served.score(served.decoder.decode(records)).raw, expected, rtol=1e-12, atol=1e-12)
    assert prove_parity(model, pipeline, data, None if data.classes else 2e4).max_difference < 1e-9


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["binary", "several", "regression"])
def test_an_estimator_is_read_by_a_fixed_list_of_types(tmp_path: Path, family: Family, kind: Kind) -> None:
    """And answers as before, to the bit."""
    data = learnable(tmp_path, kind)
    pipeline = fitted(data, family)
    package(tmp_path, pipeline, data, unknown(data), 0)
    read = read_estimator((tmp_path / "estimator.skops").read_bytes())
    before, after = (predict(held, data.arrays, data.classes) for held in (pipeline, read))
    np.testing.assert_array_equal(before, after)


def unknown(data: Dataset) -> np.ndarray:
    """No row has an honest answer."""
    return np.full((len(data), data.classes) if data.classes else len(data), np.nan)


def test_anything_beyond_the_list_is_refused() -> None:
    """Also where the file asks politely."""
    with pytest.raises(UntrustedTypesFoundException):
        read_estimator(skops.io.dumps({"model": Stranger()}))


def test_a_model_that_answers_otherwise_shows(tmp_path: Path) -> None:
    """The proof is of the bytes that are served."""
    data = learnable(tmp_path, "binary")
    package(tmp_path, fitted(data), data, unknown(data), 0)
    other = fit(build(Configuration("linear", {}), "classification", 0), data.arrays, data.target)
    parity = prove_parity((tmp_path / "model.onnx").read_bytes(), other, data, None)
    assert parity.max_difference > PARITY_TOLERANCE
    assert parity.rows > len(data)


def test_golden_records_hold_nobodys_name(tmp_path: Path) -> None:
    """Carried columns are null in them; missing features too, and what is there is whole."""
    data = learnable(tmp_path, "binary")
    package(tmp_path, fitted(data), data, unknown(data), 0)
    golden = pd.read_parquet(tmp_path / "golden.parquet")
    records = [json.loads(text) for text in golden["record"]]
    assert len(records) == 64
    assert {record["note"] for record in records} == {None}
    assert any(record["gate"] is None for record in records)
    assert set(records[0]) == {"distance", "seats", "carrier", "gate", "note"}


def test_the_reference_is_what_records_say(tmp_path: Path) -> None:
    """It decodes to the very arrays, and answers stand only where they are honest."""
    data = learnable(tmp_path, "binary")
    answers = unknown(data)
    answers[240:] = [0.75, 0.25]
    package(tmp_path, fitted(data), data, answers, 0)
    reference = pd.read_parquet(tmp_path / "reference.parquet")
    features = ["distance", "seats", "carrier", "gate"]
    assert list(reference.columns) == features
    outputs = read_reference_outputs((tmp_path / REFERENCE_OUTPUTS).read_bytes(), reference, data.schema)
    assert outputs.target is not None
    assert (outputs.target == np.array(data.schema.classes)[data.target]).all()
    np.testing.assert_array_equal(outputs.times, data.times)
    arrays = Decoder(data.schema).decode_frame(reference)
    np.testing.assert_array_equal(arrays.numbers, data.arrays.numbers)
    np.testing.assert_array_equal(arrays.categories, data.arrays.categories)
    assert outputs.answered.sum() == 60
    assert outputs.shares[-1].tolist() == [0.75, 0.25]


def test_one_record_takes_microseconds(tmp_path: Path) -> None:
    """A bound with room for a busy machine."""
    data = learnable(tmp_path, "binary")
    model = package(tmp_path, fitted(data), data, unknown(data), 0)
    assert measure_latency_ms(model, data.arrays.rows(0, 1)) < 2.0
