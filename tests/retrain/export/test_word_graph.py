"""The words of texts are in the graph, to the last bit."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from record.contract.arrays import Arrays
from record.contract.columns import MISSING
from record.versions.model import OnnxScorer
from retrain.export.encoder_graph import tree_features
from retrain.export.graph import to_onnx
from retrain.export.nodes import Graph
from retrain.features.encoding import NumberCoding, TreeEncoder
from retrain.models.configuration import Configuration, Family
from retrain.models.pipeline import build, fit, predict
from retrain.package import read_estimator
from tests.retrain.features.test_words import FIELDS, JOBS, RANKS, titles

WORDS = st.one_of(
    st.sampled_from([*RANKS, *FIELDS, *JOBS, "", MISSING, "ü", "site1\x00", "chief\t", "chief\u00a0law", "Chief"]),
    st.text(max_size=5),
)
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


@st.composite
def strange_rows(draw: st.DrawFn) -> Arrays:
    """Texts of known and unknown words, in any number, and of spaces alone."""
    texts = draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
    return Arrays(np.empty((len(texts), 0), np.float32), np.array(texts, dtype=object).reshape(len(texts), 2))


@cache
def fitted(numbers: NumberCoding) -> tuple[TreeEncoder, OnnxScorer]:
    """An encoder, and its columns as a graph; the columns stand where probabilities would."""
    rows, wage = titles(2_000)
    encoder = TreeEncoder(5, "target", numbers, texts="words")
    width = encoder.fit_transform(rows, wage).shape[1]
    graph = Graph()
    made = tree_features(graph, encoder, 0, 2)
    model = graph.model({"categories": (TensorProto.STRING, 2)}, made, "probabilities", width)
    return encoder, OnnxScorer(model.SerializeToString())


@pytest.mark.parametrize("numbers", ["plain", "combined"])
@settings(max_examples=200)
@given(rows=strange_rows())
def test_trees_see_the_same_words(numbers: NumberCoding, rows: Arrays) -> None:
    """However many spaces part them, in any script, and where no row has any."""
    encoder, scorer = fitted(numbers)
    assert encoder.words_ is not None
    np.testing.assert_array_equal(scorer.score(rows).raw, encoder.transform(rows).astype(np.float64))


@pytest.mark.parametrize("family", ["linear", "perceptron", "lightgbm"])
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("numbers", [0, 2])
def test_models_of_words_answer_as_their_graphs_do(family: Family, columns: int, numbers: int) -> None:
    """Beside numbers and without; two columns of texts have words of their own."""
    rows, wage = titles(1_200)
    categories = rows.categories.copy()
    if columns == 2:
        categories[:, 1] = categories[::-1, 0]
    beside = np.random.default_rng(0).normal(size=(1_200, numbers)).astype(np.float32)
    whole = Arrays(beside, categories)
    coding = {"texts": "words", "numbers": "plain" if family == "lightgbm" else "ramps", "min_count": 5}
    pipeline = fit(build(Configuration(family, coding), "regression", 0), whole.rows(0, 900), wage[:900])
    assert len(pipeline.named_steps["encode"].words_.places_) == columns
    strange = whole.take(np.arange(900, 1_200))
    strange.categories[:5] = "never seen"
    strange.categories[5:9] = ""
    strange.categories[9:12, 0] = " chief   cook \x00 "
    scorer = OnnxScorer(to_onnx(pipeline, numbers, 2, 0))
    np.testing.assert_allclose(scorer.score(strange).raw.ravel(), predict(pipeline, strange, 0), rtol=0, atol=1e-9)


def test_an_estimator_of_words_is_read_back() -> None:
    """Its file holds no type that is not trusted."""
    rows, wage = titles(400)
    pipeline = fit(build(Configuration("linear", {"texts": "words"}), "regression", 0), rows, wage)
    read = read_estimator(skops.io.dumps(pipeline))
    np.testing.assert_array_equal(predict(read, rows, 0), predict(pipeline, rows, 0))
