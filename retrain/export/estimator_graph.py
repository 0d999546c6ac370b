"""What the estimators make of encoded columns, as ONNX nodes: trees as one `TreeEnsemble` (ai.onnx.ml 5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper
from sklearn.neural_network import MLPClassifier, MLPRegressor

from record.contract.losses import SMALLEST
from retrain.export.encoder_graph import linear_scores, tree_features
from retrain.export.nodes import ML_DOMAIN, Graph
from retrain.export.trees import Forest, boosted, grown, written
from retrain.features.encoding import LinearEncoder
from retrain.features.target_scale import scale_of
from retrain.models.calibration import Calibrated
from retrain.models.ensemble import Ensemble
from retrain.models.fitting import less_certain
from retrain.models.light_boosting import LightBoosting
from retrain.models.log_target import LogTarget

Floats = npt.NDArray[np.float64]


def answers(graph: Graph, encoder: Any, model: Any, numbers: int, categories: int, classes: int) -> str:
    """Probabilities [N, classes], or values [N, 1] of a regression."""
    if isinstance(model, Calibrated):
        return _tempered(graph, answers(graph, encoder, model.model, numbers, categories, classes), model)
    if isinstance(model, Ensemble):
        return _mean(graph, model, numbers, categories, classes)
    if isinstance(model, LogTarget):
        return _exponential(graph, model, answers(graph, encoder, model.model, numbers, categories, classes))
    if isinstance(model, MLPClassifier | MLPRegressor):
        raw = _perceptron(graph, encoder, model, numbers, categories)
    elif isinstance(encoder, LinearEncoder):
        coefficients = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T
        intercept = np.asarray(model.intercept_, dtype=np.float64)
        raw = linear_scores(graph, encoder, coefficients, intercept, numbers, categories)
    else:
        raw = _trees(graph, tree_features(graph, encoder, numbers, categories), model)
    return _probabilities(graph, model, raw, classes) if classes else _in_size(graph, model, raw)


def _in_size(graph: Graph, model: Any, raw: str) -> str:
    """Values of the target's own size."""
    scale = scale_of(model)
    if scale.plain:
        return raw
    return graph.add("Add", graph.add("Mul", raw, graph.constant([[scale.spread]])), graph.constant([[scale.middle]]))


def _tempered(graph: Graph, probabilities: str, model: Calibrated) -> str:
    logs = graph.add("Log", graph.add("Clip", probabilities, graph.constant(SMALLEST), graph.constant(1.0)))
    logs = graph.add("Div", logs, graph.constant([[model.temperature]]))
    if model.bias:
        logs = graph.add("Add", logs, graph.constant([[0.0, model.bias]]))
    return graph.add("Softmax", logs, axis=1)


def _mean(graph: Graph, ensemble: Ensemble, numbers: int, categories: int, classes: int) -> str:
    """The members' answers, each times its weight, added up in their order."""
    total = ""
    for member, weight in zip(ensemble.members, ensemble.weights, strict=True):
        steps = member.named_steps
        held = answers(graph, steps["encode"], steps["model"], numbers, categories, classes)
        share = graph.add("Mul", held, graph.constant([[weight]]))
        total = graph.add("Add", total, share) if total else share
    return total


def _exponential(graph: Graph, model: LogTarget, logs: str) -> str:
    held = graph.add("Exp", graph.add("Clip", logs, graph.constant(model.low_), graph.constant(model.high_)))
    return graph.add("Mul", graph.add("Sub", held, graph.constant([[model.shift_]])), graph.constant([[model.factor]]))


def _perceptron(graph: Graph, encoder: LinearEncoder, model: Any, numbers: int, categories: int) -> str:
    """Raw scores [N, targets] of the last layer."""
    held = linear_scores(graph, encoder, model.coefs_[0], model.intercepts_[0], numbers, categories)
    for coefficients, intercept in zip(model.coefs_[1:], model.intercepts_[1:], strict=True):
        held = graph.add("Relu" if model.activation == "relu" else "Tanh", held)
        held = graph.add("Add", graph.add("MatMul", held, graph.constant(coefficients)), graph.constant(intercept))
    return held


def _trees(graph: Graph, features: str, model: Any) -> str:
    """Raw scores [N, targets] of a forest or of boosted trees."""
    if isinstance(model, LightBoosting):
        forest = written(model.text_)
        return _tree_ensemble(graph, features, forest, forest.leaf_values[:, 0])
    if hasattr(model, "_predictors"):
        forest = boosted(model)
        scores = _tree_ensemble(graph, features, forest, forest.leaf_values[:, 0])
        baseline = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1)
        return graph.add("Add", scores, graph.constant(baseline))
    forest = grown(model)
    if forest.leaf_values.shape[1] == 1:
        return _tree_ensemble(graph, features, forest, forest.leaf_values[:, 0])
    # Several values in a leaf: each tree gives the number of its leaf, and a table the leaf's values.
    leaves = _tree_ensemble(graph, features, forest, np.arange(len(forest.leaf_values), dtype=np.float64))
    rows = graph.add("Gather", graph.constant(forest.leaf_values), graph.add("Cast", leaves, to=TensorProto.INT64))
    return graph.add("ReduceSum", rows, graph.constant([1], np.int64), keepdims=0)


def _tree_ensemble(graph: Graph, features: str, forest: Forest, weights: Floats) -> str:
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


def _probabilities(graph: Graph, model: Any, raw: str, classes: int) -> str:
    """Probabilities [N, classes] from raw scores: of log odds, or of a forest's shares."""
    if hasattr(model, "estimators_"):  # a forest's scores are probabilities already, of the second class or of all
        share, rest = less_certain(model)
        raw = graph.add("Add", graph.add("Mul", raw, graph.constant([[share]])), graph.constant([[rest]]))
        return _both(graph, raw) if classes == 2 else raw
    if classes > 2:
        return graph.add("Softmax", raw, axis=1)
    return _both(graph, graph.add("Sigmoid", raw))


def _both(graph: Graph, second: str) -> str:
    return graph.add("Concat", graph.add("Sub", graph.constant([[1.0]]), second), second, axis=1)
