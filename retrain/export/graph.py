"""A fitted pipeline as an ONNX graph, written node by node.

The contract: inputs `numbers` float32 [N, k] and `categories` string [N, m] (each absent when it has no columns);
output `probabilities` double [N, K], or `value` double [N, 1]. Everything is computed in double precision from the
same single-precision inputs, so the graph differs from the pipeline by rounding of sums only (1e-15 of a
probability).
"""

from __future__ import annotations

from onnx import TensorProto
from sklearn.pipeline import Pipeline

from retrain.export.estimator_graph import answers
from retrain.export.nodes import Graph


def to_onnx(pipeline: Pipeline, numbers: int, categories: int, classes: int) -> bytes:
    """The model file of a pipeline fitted on `numbers` + `categories` columns; `classes` is 0 for a regression.

    The same pipeline gives the same bytes.
    """
    graph = Graph()
    encoder, model = pipeline.named_steps["encode"], pipeline.named_steps["model"]
    output = answers(graph, encoder, model, numbers, categories, classes)
    inputs: dict[str, tuple[int, int]] = {}
    if numbers:
        inputs["numbers"] = (TensorProto.FLOAT, numbers)
    if categories:
        inputs["categories"] = (TensorProto.STRING, categories)
    built = graph.model(inputs, output, "probabilities" if classes else "value", classes or 1)
    return bytes(built.SerializeToString(deterministic=True))
