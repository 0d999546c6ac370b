"""What is made of times is in the graph: to the last bit for trees, to rounding for lines."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from record.contract.arrays import Arrays
from record.contract.columns import TIME_PARTS, Column
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema
from record.versions.model import OnnxScorer
from retrain.export.date_graph import cycles
from retrain.export.encoder_graph import tree_features
from retrain.export.graph import to_onnx
from retrain.export.nodes import Graph
from retrain.features.encoding import NumberCoding, TreeEncoder
from retrain.models.configuration import Configuration, Family
from retrain.models.pipeline import build, fit, predict
from retrain.package import read_estimator
from tests.retrain.export.test_encoder_graph import DECODED

TIMES = ("ordered", "sent", "paid")
PROBLEM = ProblemSchema(
    "regression",
    "price",
    (Column("weight", "feature", "number"), *(Column(name, "feature", "time") for name in TIMES)),
)
NUMBERS = 1 + len(TIMES) * len(TIME_PARTS)
STAMPS = st.one_of(st.none(), st.datetimes().map(lambda at: at.isoformat()))
ROWS = st.lists(
    st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), STAMPS, STAMPS, STAMPS),
    min_size=1,
    max_size=4,
)


@st.composite
def strange_rows(draw: st.DrawFn) -> Arrays:
    """Of times, or of whatever single precision can hold where parts of times should be."""
    if draw(st.booleans()):
        names = ("weight", *TIMES)
        return Decoder(PROBLEM).decode([dict(zip(names, row, strict=True)) for row in draw(ROWS)])
    count = draw(st.integers(1, 4))
    numbers = [[draw(DECODED) for _ in range(NUMBERS)] for _ in range(count)]
    return Arrays(np.array(numbers, dtype=np.float32), np.empty((count, 0), dtype=object))


@cache
def training_rows() -> tuple[Arrays, Any]:
    """Three times, the second and third some hours after the first or missing, and a price of hour, season and gap."""
    generator = np.random.default_rng(0)
    ordered = pd.Timestamp("2023-03-01") + pd.to_timedelta(generator.uniform(0, 500 * 86_400, 800), unit="s")
    hours = generator.exponential(5.0, (2, 800))
    frame = pd.DataFrame({"weight": generator.normal(size=800), "ordered": ordered})
    for name, after in zip(TIMES[1:], hours, strict=True):
        frame[name] = (ordered + pd.to_timedelta(after * 3_600, unit="s")).where(generator.random(800) < 0.9)
    price = np.sin(ordered.hour / 24 * 2 * np.pi) + np.cos(ordered.month / 12 * 2 * np.pi) + hours[0] / 5.0
    return Decoder(PROBLEM).decode_frame(frame), np.asarray(price)


@cache
def fitted(numbers: NumberCoding) -> tuple[TreeEncoder, OnnxScorer]:
    """An encoder, and its columns as a graph; the columns stand where probabilities would."""
    rows, price = training_rows()
    encoder = TreeEncoder(5, numbers=numbers, dates="cycles")
    width = encoder.fit_transform(rows, price).shape[1]
    graph = Graph()
    made = tree_features(graph, encoder, NUMBERS, 0)
    model = graph.model({"numbers": (TensorProto.FLOAT, NUMBERS)}, made, "probabilities", width)
    return encoder, OnnxScorer(model.SerializeToString())


@pytest.mark.parametrize("numbers", ["plain", "combined"])
@settings(max_examples=150)
@given(rows=strange_rows())
def test_trees_see_the_same_of_times_to_the_last_bit(numbers: NumberCoding, rows: Arrays) -> None:
    """Missing times, the first and the last of the calendar, and numbers that no time has as a part."""
    encoder, scorer = fitted(numbers)
    np.testing.assert_array_equal(scorer.score(rows).raw, encoder.transform(rows).astype(np.float64))


def test_what_is_proved_is_there() -> None:
    """Times of day and year, gaps of all pairs, and what combines them."""
    encoder, _ = fitted("combined")
    assert encoder.dates_ is not None
    assert encoder.dates_.count == 3 * len(TIMES)
    assert encoder.combinations_ is not None
    pairs = np.concatenate([encoder.combinations_.sums_, encoder.combinations_.ratios_])
    assert (pairs >= NUMBERS).any()


@settings(max_examples=150)
@given(rows=strange_rows())
def test_cycles_are_the_same_to_rounding(rows: Arrays) -> None:
    """Also where an angle would be beyond what a sine is precise for."""
    dates = fitted("plain")[0].dates_
    assert dates is not None
    graph = Graph()
    made = cycles(graph, dates)
    model = graph.model({"numbers": (TensorProto.FLOAT, NUMBERS)}, made, "probabilities", len(dates.turning_))
    np.testing.assert_allclose(
        OnnxScorer(model.SerializeToString()).score(rows).raw, dates.cycles(rows.numbers), atol=1e-12
    )


@pytest.mark.parametrize("family", ["lightgbm", "linear", "perceptron"])
@pytest.mark.parametrize("coding", ["plain", "richest"])
@pytest.mark.parametrize("classes", [0, 2])
def test_models_of_times_answer_as_their_graphs_do(family: Family, coding: str, classes: int) -> None:
    """Marks of missing times, cycles, ramps and combinations of what is made, all together."""
    rows, price = training_rows()
    richest = "combined" if family == "lightgbm" else "ramps"
    params = {"dates": "cycles", "numbers": richest if coding == "richest" else "plain", "min_count": 5}
    task, y = ("classification", (price > 1).astype(np.int64)) if classes else ("regression", price)
    pipeline = fit(build(Configuration(family, params), task, 0), rows.rows(0, 600), y[:600])  # type: ignore[arg-type]
    strange = rows.take(np.arange(600, 800))
    strange.numbers[:5] *= np.float32(1e30)
    strange.numbers[5:9] = np.nan
    strange.numbers[9:12] = 0.0
    got = OnnxScorer(to_onnx(pipeline, NUMBERS, 0, classes)).score(strange).raw
    expected = predict(pipeline, strange, classes)
    assert np.abs(got.reshape(expected.shape) - expected).max() < 1e-9


def test_an_estimator_of_times_is_read_back() -> None:
    """Its file holds no type that is not trusted."""
    rows, price = training_rows()
    pipeline = fit(build(Configuration("linear", {"dates": "cycles"}), "regression", 0), rows, price)
    read = read_estimator(skops.io.dumps(pipeline))
    np.testing.assert_array_equal(predict(read, rows, 0), predict(pipeline, rows, 0))
