"""The graph makes the very columns that an encoder makes, whatever records hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from record.contract.arrays import Arrays
from record.contract.columns import FLOAT32_MAX, MISSING
from record.versions.model import OnnxScorer
from retrain.export.encoder_graph import tree_features
from retrain.export.nodes import Graph
from retrain.features.encoding import CategoryCoding, NumberCoding, TreeEncoder

NUMBERS, CATEGORIES = 4, 3
CODINGS: list[tuple[CategoryCoding, NumberCoding]] = [
    ("ordered", "plain"),
    ("target", "combined"),
    ("crossed", "combined"),
]
# What a decoded number can be: any of single precision, or missing.
DECODED = st.one_of(
    st.just(float("nan")),
    st.floats(-FLOAT32_MAX, FLOAT32_MAX, width=32),
    st.sampled_from([0.0, -0.0, 1e-45, -1e-38, 3.4e38, -3.4e38, 1.0, 2.0]),
)
TEXTS = st.one_of(st.text(max_size=6), st.sampled_from([MISSING, "", "a0", "a1", "ü0", "ü7", "√59", "never seen"]))


@st.composite
def strange_rows(draw: st.DrawFn) -> Arrays:
    """Rows such as no training set holds."""
    count = draw(st.integers(1, 4))
    numbers = [[draw(DECODED) for _ in range(NUMBERS)] for _ in range(count)]
    texts = [[draw(TEXTS) for _ in range(CATEGORIES)] for _ in range(count)]
    return Arrays(np.array(numbers, dtype=np.float32), np.array(texts, dtype=object).reshape(count, CATEGORIES))


def training_rows() -> tuple[Arrays, npt.NDArray[np.float64]]:
    """Two columns of sixty categories, of which some are rare, one of four; a ratio and a sum that matter."""
    generator = np.random.default_rng(0)
    rows = 1_500
    numbers = generator.uniform(0.1, 9.0, (rows, NUMBERS)).astype(np.float32)
    numbers[generator.random(numbers.shape) < 0.05] = np.nan
    codes = (60 * generator.random((rows, 2)) ** 2).astype(int)
    few = generator.integers(0, 4, rows)
    texts = np.array(
        [[f"ü{a}", f"√{b}", MISSING if c == 3 else f"a{c}"] for (a, b), c in zip(codes.tolist(), few, strict=True)],
        dtype=object,
    )
    plain = np.nan_to_num(numbers)
    y = 2.0 * (plain[:, 0] > 0.3 * plain[:, 1]) + 2.0 * (plain[:, 2] + plain[:, 3] > 9) + (codes[:, 0] + few) % 2
    return Arrays(numbers, texts), y + generator.normal(size=rows) * 0.1


@cache
def fitted(categories: CategoryCoding, numbers: NumberCoding, classes: int) -> tuple[TreeEncoder, OnnxScorer]:
    """An encoder, and its columns as a graph; the columns stand where probabilities would."""
    rows, y = training_rows()
    target: npt.NDArray[Any] = np.searchsorted(np.quantile(y, np.arange(1, classes) / classes), y) if classes else y
    encoder = TreeEncoder(5, categories, numbers)
    width = encoder.fit_transform(rows, target).shape[1]
    graph = Graph()
    made = tree_features(graph, encoder, NUMBERS, CATEGORIES)
    inputs = {"numbers": (TensorProto.FLOAT, NUMBERS), "categories": (TensorProto.STRING, CATEGORIES)}
    return encoder, OnnxScorer(graph.model(inputs, made, "probabilities", width).SerializeToString())


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize(("categories", "numbers"), CODINGS)
@settings(max_examples=60)
@given(rows=strange_rows())
def test_trees_see_the_same_columns_to_the_last_bit(
    categories: CategoryCoding, numbers: NumberCoding, classes: int, rows: Arrays
) -> None:
    """Missing values, unseen categories, letters of any script, zeros, the least and the largest numbers."""
    encoder, scorer = fitted(categories, numbers, classes)
    np.testing.assert_array_equal(scorer.score(rows).raw, encoder.transform(rows).astype(np.float64))


def test_what_is_proved_is_there() -> None:
    """The encoders of these tests have pairs, sums or ratios, and means."""
    encoder, _ = fitted("crossed", "combined", 0)
    assert encoder.crosses_ is not None
    assert encoder.crosses_.pairs_
    assert encoder.combinations_ is not None
    assert len(encoder.combinations_.sums_) > 0
    assert len(encoder.combinations_.ratios_) > 0
    assert len(encoder.tables_) > CATEGORIES + 2
