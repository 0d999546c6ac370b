"""What the encoders do to columns, as ONNX nodes in double precision; all category columns share one lookup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from retrain.encoding import Levels, LinearEncoder, TreeEncoder, starts
from retrain.nodes import ML_DOMAIN, Graph

Floats = npt.NDArray[np.float64]


def tree_features(graph: Graph, encoder: TreeEncoder, numbers: int, categories: int) -> str:
    """The columns [N, k + m] that trees see."""
    parts = []
    if numbers:
        parts.append(graph.add("Cast", "numbers", to=TensorProto.DOUBLE))
    if categories:
        parts.append(_lookup(graph, encoder.level_, encoder.places_, np.float64))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def linear_scores(
    graph: Graph, encoder: LinearEncoder, coefficients: Floats, intercept: Floats, numbers: int, categories: int
) -> str:
    """The encoded columns times `coefficients` [columns, targets], plus the intercept: scores [N, targets].

    The one-hot columns are never made: each category's coefficients are looked up.
    """
    targets = coefficients.shape[1]
    marked = len(encoder.marked_)
    score = graph.constant(np.broadcast_to(intercept, (1, targets)))
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
