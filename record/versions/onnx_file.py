"""Refuses ONNX models that point outside their own bytes.

External data is a path that the reader opens: CVE-2026-34446 and -34447 followed links out of a model's folder.
Ringside's models never need it, so that any mention of it is refused, read or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from record.errors import ArtifactError

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto


MOST_SPARSE: Final = 1_000_000  # elements, filled up


def refuse_external_data(model: bytes, name: str) -> None:
    """Returns where the bytes are an ONNX model that holds all its data itself; raises ArtifactError otherwise.

    Refused besides: a sparse tensor of which a few bytes become any number when it is loaded.

    Reads nothing but the bytes it is given.
    """
    import onnx  # .2 s, and needed only where a model is loaded
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        proto = onnx.load_model_from_string(model)
    except (DecodeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{name}: no ONNX model: {error}", field=name) from error
    for sparse in _sparse(proto.graph):
        if math.prod(sparse.dims) > MOST_SPARSE:
            raise ArtifactError(
                f"{name}: a sparse tensor of {'×'.join(map(str, sparse.dims))} elements; expected at most "
                f"{MOST_SPARSE:,}: it is loaded with all of them",
                field=name,
            )
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0:
            raise ArtifactError(
                f"{name}: tensor {tensor.name!r} keeps its data in another file; expected all data inside the model",
                field=name,
            )


def _sparse(graph: GraphProto) -> Iterator[Any]:
    """Sparse tensors of a graph and of those within it."""
    yield from graph.sparse_initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor
            yield from attribute.sparse_tensors
            if attribute.HasField("g"):
                yield from _sparse(attribute.g)
            for inner in attribute.graphs:
                yield from _sparse(inner)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)
        yield from _attribute_tensors(function.attribute_proto)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from _sparse_tensors(sparse)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    """Whatever an attribute holds by its fields, not by the type that it claims."""
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from _sparse_tensors(attribute.sparse_tensor)
        for sparse in attribute.sparse_tensors:
            yield from _sparse_tensors(sparse)
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def _sparse_tensors(sparse: Any) -> Iterator[TensorProto]:
    yield sparse.values
    yield sparse.indices
