"""Which words texts hold, as ONNX nodes: split, look up, and see whether any word of the row is the column's."""

from __future__ import annotations

import numpy as np

from retrain.export.nodes import ML_DOMAIN, Graph
from retrain.features.words import Words


def held_words(graph: Graph, words: Words) -> str:
    """[N, k] of 0 and 1."""
    parts = []
    for place, own in zip(words.places_, words.words_, strict=True):
        text = graph.add("Gather", "categories", graph.constant(place, np.int64), axis=1)
        split = graph.add("StringSplit", text, more=1, delimiter=" ")  # [N, most words of a row], "" where it has fewer
        codes = graph.add(
            "LabelEncoder",
            split,
            domain=ML_DOMAIN,
            keys_strings=own,
            values_int64s=list(range(len(own))),
            default_int64=len(own),
        )
        each = graph.add("Gather", graph.constant(np.eye(len(own) + 1)[:, :-1]), codes)
        # Rows of which none has a word reduce over nothing, which is minus infinity.
        found = graph.add("ReduceMax", each, graph.constant([1], np.int64), keepdims=0)
        parts.append(graph.add("Max", found, graph.constant(0.0)))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
