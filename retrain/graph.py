"""A fitted pipeline as an ONNX graph, written node by node.

The contract: inputs `numbers` float32 [N, k] and `categories` string [N, m] (each absent when it has no columns);
output `probabilities` double [N, K], or `value` double [N, 1]. Everything is computed in double precision from the
same single-precision inputs, so the graph differs from the pipeline by rounding of sums only (1e-15 of a
probability). Trees become one `TreeEnsemble` (ai.onnx.ml 5); all category columns share one lookup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.pipeline import Pipeline

from retrain.encoding import Levels, LinearEncoder, TreeEncoder, starts
from retrain.trees import Forest, boosted, grown

Floats = npt.NDArray[np.float64]

ML_DOMAIN = "ai.onnx.ml"
OPSETS = {"": 18, ML_DOMAIN: 5}
IR_VERSION = 10  # what onnxruntime 1.20, the oldest allowed, reads


class Graph:
    """Nodes and constants as they are added; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike, dtype: Any = np.float64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def model(self, inputs: Mapping[str, tuple[int, int]], source: str, output: str, width: int) -> onnx.ModelProto:
        """The finished model: `source` is given out under the name `output`."""
        self.nodes.append(helper.make_node("Identity", [source], [output]))
        held = helper.make_graph(
            self.nodes,
            "ringside",
            [helper.make_tensor_value_info(name, kind, [None, columns]) for name, (kind, columns) in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.DOUBLE, [None, width])],
            self.constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        return helper.make_model(held, opset_imports=opsets, ir_version=IR_VERSION, producer_name="ringside")


def to_onnx(pipeline: Pipeline, numbers: int, categories: int, classes: int) -> bytes:
    """The model file of a pipeline fitted on `numbers` + `categories` columns; `classes` is 0 for a regression.

    The same pipeline gives the same bytes.
    """
    graph = Graph()
    encoder, model = pipeline.named_steps["encode"], pipeline.named_steps["model"]
    if isinstance(encoder, LinearEncoder):
        raw = _linear(graph, encoder, model, numbers, categories)
    else:
        raw = _trees(graph, encoder, model, numbers, categories)
    output = _probabilities(graph, model, raw, classes) if classes else raw
    inputs: dict[str, tuple[int, int]] = {}
    if numbers:
        inputs["numbers"] = (TensorProto.FLOAT, numbers)
    if categories:
        inputs["categories"] = (TensorProto.STRING, categories)
    built = graph.model(inputs, output, "probabilities" if classes else "value", classes or 1)
    return bytes(built.SerializeToString(deterministic=True))


def _lookup(graph: Graph, levels: Levels, tables: Sequence[npt.NDArray[Any]], dtype: Any) -> str:
    """[N, m]: for each category column its table's value at the level, the last one for all other categories.

    One LabelEncoder knows the categories of all columns; (column, category) then finds the value in one table.
    """
    known = sorted({level for column in levels.levels_ for level in column})
    width = len(known) + 1
    place = {level: number for number, level in enumerate(known)}
    table = np.empty((len(tables), width), dtype=dtype)
    for column, (own, values) in enumerate(zip(levels.levels_, tables, strict=True)):
        table[column] = values[-1]
        table[column, [place[level] for level in own]] = values[:-1]
    # A LabelEncoder must know something, even where every category is too rare to be told apart.
    numbers = graph.add(
        "LabelEncoder",
        "categories",
        domain=ML_DOMAIN,
        keys_strings=known or [""],
        values_int64s=list(range(len(known))) or [0],
        default_int64=len(known),
    )
    offsets = graph.constant(np.arange(len(tables))[None, :] * width, np.int64)
    return graph.add("Gather", graph.constant(table.ravel(), dtype), graph.add("Add", numbers, offsets))


def _trees(graph: Graph, encoder: TreeEncoder, model: Any, numbers: int, categories: int) -> str:
    """Raw scores [N, targets] of a forest or of boosted trees."""
    parts = []
    if numbers:
        parts.append(graph.add("Cast", "numbers", to=TensorProto.DOUBLE))
    if categories:
        parts.append(_lookup(graph, encoder.level_, encoder.places_, np.float64))
    features = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    if hasattr(model, "_predictors"):
        forest = boosted(model)
        scores = _ensemble(graph, features, forest, forest.leaf_values[:, 0])
        baseline = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1)
        return graph.add("Add", scores, graph.constant(baseline))
    forest = grown(model)
    if forest.leaf_values.shape[1] == 1:
        return _ensemble(graph, features, forest, forest.leaf_values[:, 0])
    # Several values in a leaf: each tree gives the number of its leaf, and a table the leaf's values.
    leaves = _ensemble(graph, features, forest, np.arange(len(forest.leaf_values), dtype=np.float64))
    rows = graph.add("Gather", graph.constant(forest.leaf_values), graph.add("Cast", leaves, to=TensorProto.INT64))
    return graph.add("ReduceSum", rows, graph.constant([1], np.int64), keepdims=0)


def _ensemble(graph: Graph, features: str, forest: Forest, weights: Floats) -> str:
    return graph.add(
        "TreeEnsemble",
        features,
        domain=ML_DOMAIN,
        aggregate_function=1,  # sum
        post_transform=0,
        n_targets=forest.targets,
        tree_roots=forest.roots.tolist(),
        nodes_featureids=forest.features.tolist(),
        nodes_splits=numpy_helper.from_array(forest.thresholds),
        nodes_modes=numpy_helper.from_array(np.zeros(len(forest.features), dtype=np.uint8)),  # x <= split
        nodes_missing_value_tracks_true=forest.missing_left.tolist(),
        nodes_truenodeids=forest.left.tolist(),
        nodes_falsenodeids=forest.right.tolist(),
        nodes_trueleafs=forest.left_is_leaf.tolist(),
        nodes_falseleafs=forest.right_is_leaf.tolist(),
        leaf_targetids=forest.leaf_targets.tolist(),
        leaf_weights=numpy_helper.from_array(weights),
    )


def _linear(graph: Graph, encoder: LinearEncoder, model: Any, numbers: int, categories: int) -> str:
    """Raw scores [N, targets]: the intercept, the standardised numbers' share, and each category's coefficient."""
    coefficients = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T  # [columns, targets]
    targets = coefficients.shape[1]
    marked = len(encoder.marked_)
    score = graph.constant(np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), (1, targets)))
    if numbers:
        values = graph.add("Cast", "numbers", to=TensorProto.DOUBLE)
        missing = graph.add("IsNaN", values)
        filled = graph.add("Where", missing, graph.constant(encoder.usual_), values)
        centred = graph.add("Sub", filled, graph.constant(encoder.mean_))
        standard = graph.add("Div", centred, graph.constant(encoder.scale_))
        cut = graph.add("Clip", standard, graph.constant(-encoder.clip), graph.constant(encoder.clip))
        share = graph.add("MatMul", cut, graph.constant(coefficients[:numbers]))
        score = graph.add("Add", share, score)
        if marked:
            marks = np.zeros((numbers, targets))
            marks[encoder.marked_] = coefficients[numbers : numbers + marked]
            flags = graph.add("Cast", missing, to=TensorProto.DOUBLE)
            score = graph.add("Add", score, graph.add("MatMul", flags, graph.constant(marks)))
    if categories:
        score = graph.add("Add", _coefficients(graph, encoder.level_, coefficients[numbers + marked :]), score)
    return score


def _coefficients(graph: Graph, levels: Levels, coefficients: Floats) -> str:
    """[N, targets]: the sum over category columns of the category's coefficients, 0 for all other categories."""
    sizes = [len(column) for column in levels.levels_]
    nothing = sum(sizes)
    rows = [
        np.append(np.arange(start, start + size), nothing) for start, size in zip(starts(sizes), sizes, strict=True)
    ]
    places = _lookup(graph, levels, rows, np.int64)
    table = graph.constant(np.vstack([coefficients, np.zeros((1, coefficients.shape[1]))]))
    return graph.add("ReduceSum", graph.add("Gather", table, places), graph.constant([1], np.int64), keepdims=0)


def _probabilities(graph: Graph, model: Any, raw: str, classes: int) -> str:
    """Probabilities [N, classes] from raw scores: of log odds, or of a forest's shares."""
    if hasattr(model, "estimators_"):  # a forest's scores are probabilities already, of the second class or of all
        return _both(graph, raw) if classes == 2 else raw
    if classes > 2:
        return graph.add("Softmax", raw, axis=1)
    return _both(graph, graph.add("Sigmoid", raw))


def _both(graph: Graph, second: str) -> str:
    return graph.add("Concat", graph.add("Sub", graph.constant([[1.0]]), second), second, axis=1)
