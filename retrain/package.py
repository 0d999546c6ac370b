"""A fitted pipeline as a version's files, and the proof that what is served is what was judged.

    model.onnx         what serves                          estimator.skops   the pipeline itself, without pickle
    schema.json        what records look like               golden.parquet    records with their answers
    reference.parquet  what drift is measured against       report.html       for people
    reference_outputs.parquet  what its rows were answered, and what turned out to be true

card.json is written at registration, which gives the version its name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
import numpy.typing as npt
import pandas as pd
import skops.io
from sklearn.pipeline import Pipeline

from record.contract.arrays import Arrays
from record.contract.columns import MISSING
from record.contract.decoder import Decoder
from record.contract.schema import Schema
from record.versions.model import OnnxScorer
from record.versions.reference_outputs import REFERENCE, REFERENCE_OUTPUTS, write_reference_outputs
from retrain.data.dataset import Dataset
from retrain.export.graph import to_onnx
from retrain.gate import Parity
from retrain.models.pipeline import predict

Floats = npt.NDArray[np.float64]

GOLDEN_ROWS = 64
REFERENCE_ROWS = 20_000

# What estimator.skops may hold besides plain values. Fixed: never asked of the file itself.
TRUSTED = (
    "retrain.features.combinations.Combinations",
    "retrain.features.crosses.Crosses",
    "retrain.features.dates.Dates",
    "retrain.models.calibration.Calibrated",
    "retrain.features.encoding.LinearEncoder",
    "retrain.features.encoding.TreeEncoder",
    "retrain.models.ensemble.AsDecoded",
    "retrain.models.ensemble.Ensemble",
    "retrain.features.levels.Levels",
    "retrain.models.light_boosting.LightBoosting",
    "retrain.models.log_target.LogTarget",
    "retrain.features.ramps.Ramps",
    "retrain.features.words.Words",
    "sklearn._loss.link.HalfLogitLink",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "numpy.dtype",
)


def package(stage: Path, pipeline: Pipeline, data: Dataset, answers: Floats, seed: int) -> bytes:
    """Writes all files but report.html and card.json; the bytes of model.onnx.

    `data` is what the pipeline was fitted on. `answers`: see `write_reference`.
    """
    model = to_onnx(pipeline, len(data.schema.number_names), len(data.schema.category_names), data.classes)
    (stage / "model.onnx").write_bytes(model)
    (stage / "estimator.skops").write_bytes(skops.io.dumps(pipeline, compression=ZIP_DEFLATED))
    (stage / "schema.json").write_text(data.schema.to_json(), encoding="utf-8")
    write_reference(stage, data, answers, seed)
    write_golden(stage / "golden.parquet", pipeline, data, seed)
    return model


def read_estimator(content: bytes) -> Pipeline:
    """The pipeline of an estimator.skops; raises skops' UntrustedTypesFoundException for anything beyond `TRUSTED`."""
    return skops.io.loads(content, trusted=list(TRUSTED))


def prove_parity(model: bytes, pipeline: Pipeline, rows: Dataset, target_sd: float | None) -> Parity:
    """The largest difference between estimator and ONNX on these rows, and on some as strange as rows can be."""
    arrays = _with_strangers(rows.arrays)
    expected = predict(pipeline, arrays, rows.classes)
    got = OnnxScorer(model).score(arrays).raw
    difference = np.abs(got.reshape(expected.shape) - expected) / (target_sd or 1.0)
    worst = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return Parity(worst, len(arrays))


def measure_latency_ms(model: bytes, row: Arrays, repeats: int = 51) -> float:
    """The median processor time of one record's scoring, in milliseconds.

    By the thread's processor time, like a challenger's in the shadow: the wall's says how busy the machine is.
    """
    scorer = OnnxScorer(model)
    scorer.score(row)
    times = []
    for _ in range(repeats):
        started = time.thread_time_ns()
        scorer.score(row)
        times.append(time.thread_time_ns() - started)
    return float(np.median(times)) / 1e6


def write_reference(stage: Path, data: Dataset, answers: Floats, seed: int) -> None:
    """A sample of the features as records would carry them, in learning order; their outputs in a file beside it.

    `answers` has one number for each row, or one probability for each class. Answers on rows that a model was fitted
    on are surer than later ones can be: a row without an honest answer has NaN there. From the rows' times (negative
    where unknown) is learned how quiet days differ.
    """
    places = np.arange(len(data))
    if len(data) > REFERENCE_ROWS:
        places = np.sort(np.random.default_rng(seed).choice(len(data), REFERENCE_ROWS, replace=False))
    rows = data.take(places)
    problem = data.schema.problem
    columns: dict[str, Any] = {}
    places_of = {name: place for place, (name, _, part) in enumerate(problem.number_inputs) if part is None}
    for column in problem.features:
        if column.type == "number":
            place = places_of[column.name]
            columns[column.name] = rows.arrays.numbers[:, place].astype(np.float64)
        elif column.type == "category":
            texts = rows.arrays.categories[:, problem.category_names.index(column.name)]
            columns[column.name] = pd.array([None if t == MISSING else t for t in texts.tolist()], dtype="str")
        else:
            times = [record.get(column.name) for record in Decoder(problem).frame_records(rows.frame[[column.name]])]
            columns[column.name] = pd.array(times, dtype="str")
    pd.DataFrame(columns, index=range(len(places))).to_parquet(stage / REFERENCE, index=False)
    target = rows.target
    if rows.classes:
        target = np.array([str(rows.schema.classes[code]) for code in rows.target.tolist()], dtype=object)
    write_reference_outputs(stage / REFERENCE_OUTPUTS, answers[places], target, rows.times)


def write_golden(path: Path, pipeline: Pipeline, data: Dataset, seed: int) -> None:
    """Up to 64 records with the estimator's answers; whoever loads the version must get the same.

    Carried columns are null in them: a version's files hold nobody's name.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:GOLDEN_ROWS])
    records = feature_records(data.schema, data.take(chosen).frame)
    expected = predict(pipeline, Decoder(data.schema).decode(records), data.classes)
    held = {
        "record": [json.dumps(record, ensure_ascii=False) for record in records],
        "expected": [json.dumps(answer) for answer in expected.tolist()],
    }
    pd.DataFrame(held).to_parquet(path, index=False)


def feature_records(schema: Schema, frame: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """The rows as an application would have sent them, carried columns as null."""
    features = {column.name for column in schema.problem.features}
    blank = {column.name: None for column in schema.problem.columns}
    held = Decoder(schema).frame_records(frame)
    return [blank | {name: value for name, value in record.items() if name in features} for record in held]


def _with_strangers(arrays: Arrays) -> Arrays:
    """The rows, then one with everything missing, one with categories never seen, and two of extreme numbers."""
    k, m = arrays.numbers.shape[1], arrays.categories.shape[1]
    largest = np.float32(1e30)
    numbers = np.array([[np.nan] * k, [0.0] * k, [largest] * k, [-largest] * k], dtype=np.float32)
    categories: npt.NDArray[np.object_] = np.empty((4, m), dtype=object)
    categories[:] = MISSING
    categories[1:] = "\x00 never seen \x00"
    return Arrays(
        np.concatenate([arrays.numbers, numbers.reshape(4, k)]), np.concatenate([arrays.categories, categories])
    )
