"""What the encoders do to columns, as ONNX nodes in double precision; all category columns share one lookup."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from retrain.export.date_graph import cycles, dated, in_single
from retrain.export.nodes import ML_DOMAIN, Graph
from retrain.export.word_graph import held_words
from retrain.features.combinations import Combinations
from retrain.features.crosses import Crosses
from retrain.features.encoding import LinearEncoder, TreeEncoder
from retrain.features.levels import Levels, starts

Floats = npt.NDArray[np.float64]


def tree_features(graph: Graph, encoder: TreeEncoder, numbers: int, categories: int) -> str:
    """The columns that trees see, [N, columns]."""
    parts = []
    values = _widened(graph, encoder, numbers)
    if values:
        parts.append(values)
    if categories:
        codes = _all_codes(graph, encoder)
        if encoder.places_ != list(range(categories)):
            codes = graph.add("Gather", codes, graph.constant(encoder.places_, np.int64), axis=1)
        parts.append(_values(graph, encoder.tables_, codes))
    if encoder.combinations_ is not None and encoder.combinations_.count:
        parts.append(_combined(graph, encoder.combinations_, values))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def linear_scores(
    graph: Graph, encoder: LinearEncoder, coefficients: Floats, intercept: Floats, numbers: int, categories: int
) -> str:
    """The encoded columns times `coefficients` [columns, targets], plus the intercept: scores [N, targets].

    The one-hot columns are never made: each category's coefficients are looked up.
    """
    targets = coefficients.shape[1]
    made, marked = len(encoder.mean_), len(encoder.marked_)
    told = made + marked + (len(encoder.dates_.turning_) if encoder.dates_ is not None else 0)
    score = graph.constant(np.broadcast_to(intercept, (1, targets)))
    values = _widened(graph, encoder, numbers)
    if values:
        missing = graph.add("IsNaN", values)
        filled = graph.add("Where", missing, graph.constant(encoder.usual_), values)
        share = _of_ramps if encoder.ramps_ is not None else _of_numbers
        score = graph.add("Add", share(graph, encoder, filled, coefficients[:made]), score)
        if marked:
            marks = np.zeros((len(encoder.usual_), targets))
            marks[encoder.marked_] = coefficients[made : made + marked]
            flags = graph.add("Cast", missing, to=TensorProto.DOUBLE)
            score = graph.add("Add", score, graph.add("MatMul", flags, graph.constant(marks)))
    if encoder.dates_ is not None and len(encoder.dates_.turning_):
        held = graph.add("MatMul", cycles(graph, encoder.dates_), graph.constant(coefficients[made + marked : told]))
        score = graph.add("Add", score, held)
    if categories:
        score = graph.add("Add", _of_categories(graph, encoder, coefficients[told:]), score)
    return score


def _widened(graph: Graph, encoder: TreeEncoder | LinearEncoder, numbers: int) -> str:
    """The numbers, then what is made of times, then the words of texts; no name where there is none of them."""
    held = dated(graph, encoder.dates_, encoder.bounds_) if numbers else ""
    if encoder.words_ is None:
        return held
    words = held_words(graph, encoder.words_)
    return graph.add("Concat", held, words, axis=1) if held else words


def _of_numbers(graph: Graph, encoder: LinearEncoder, filled: str, coefficients: Floats) -> str:
    centred = graph.add("Sub", filled, graph.constant(encoder.mean_))
    standard = graph.add("Div", centred, graph.constant(encoder.scale_))
    cut = graph.add("Clip", standard, graph.constant(-encoder.clip), graph.constant(encoder.clip))
    return graph.add("MatMul", cut, graph.constant(coefficients))


def _of_ramps(graph: Graph, encoder: LinearEncoder, filled: str, coefficients: Floats) -> str:
    """All ramps at once, [N, numbers × most]; those that a number of few values lacks have no weight."""
    ramps = encoder.ramps_
    assert ramps is not None
    above = graph.add(
        "Sub", graph.add("Unsqueeze", filled, graph.constant([2], np.int64)), graph.constant(ramps.starts_)
    )
    climbed = graph.add(
        "Clip", graph.add("Div", above, graph.constant(ramps.widths_)), graph.constant(0.0), graph.constant(1.0)
    )
    flat = graph.add("Reshape", climbed, graph.constant([0, ramps.made_.size], np.int64))
    weights = np.zeros((ramps.made_.size, coefficients.shape[1]))
    weights[ramps.made_.ravel()] = coefficients
    return graph.add("MatMul", flat, graph.constant(weights))


def _all_codes(graph: Graph, encoder: TreeEncoder | LinearEncoder) -> str:
    """[N, m + pairs] int64: the codes of the category columns, and of their pairs."""
    codes = _codes(graph, encoder.level_)
    if encoder.crosses_ is None or not encoder.crosses_.pairs_:
        return codes
    return graph.add("Concat", codes, _crossed(graph, encoder.crosses_, codes), axis=1)


def _codes(graph: Graph, levels: Levels) -> str:
    """[N, m] int64: what `levels` makes of the categories.

    One LabelEncoder knows the categories of all columns; (column, category) then finds the code in one table.
    """
    known = sorted({level for column in levels.levels_ for level in column})
    width = len(known) + 1
    place = {level: number for number, level in enumerate(known)}
    table = np.empty((len(levels.levels_), width), dtype=np.int64)
    for column, own in enumerate(levels.levels_):
        table[column] = len(own)
        table[column, [place[level] for level in own]] = np.arange(len(own))
    # A LabelEncoder must know something, even where every category is too rare to be told apart.
    numbers = graph.add(
        "LabelEncoder",
        "categories",
        domain=ML_DOMAIN,
        keys_strings=known or [""],
        values_int64s=list(range(len(known))) or [0],
        default_int64=len(known),
    )
    offsets = graph.constant(np.arange(len(table))[None, :] * width, np.int64)
    return graph.add("Gather", graph.constant(table.ravel(), np.int64), graph.add("Add", numbers, offsets))


def _values(graph: Graph, tables: Sequence[Floats], codes: str) -> str:
    """[N, tables]: each table's value at the code in the column of the same place."""
    offsets = graph.constant(starts([len(table) for table in tables])[None, :], np.int64)
    return graph.add("Gather", graph.constant(np.concatenate(tables)), graph.add("Add", codes, offsets))


def _crossed(graph: Graph, crosses: Crosses, codes: str) -> str:
    """[N, pairs] int64: what `crosses` makes of codes; one LabelEncoder knows the pairs of all columns."""
    pairs = np.array(crosses.pairs_, dtype=np.int64)
    first = graph.add("Gather", codes, graph.constant(pairs[:, 0], np.int64), axis=1)
    second = graph.add("Gather", codes, graph.constant(pairs[:, 1], np.int64), axis=1)
    offsets = starts(crosses.spans_)
    keys = graph.add("Mul", first, graph.constant(crosses.widths_, np.int64))
    keys = graph.add("Add", graph.add("Add", keys, second), graph.constant(offsets[None, :], np.int64))
    return graph.add(
        "LabelEncoder",
        keys,
        domain=ML_DOMAIN,
        keys_int64s=np.concatenate([own + start for own, start in zip(crosses.known_, offsets, strict=True)]).tolist(),
        values_int64s=np.concatenate([np.arange(1, len(own) + 1) for own in crosses.known_]).tolist(),
        default_int64=0,
    )


def _combined(graph: Graph, combinations: Combinations, values: str) -> str:
    """[N, c]: what `combinations` makes of numbers, rounded to single precision as training saw it."""

    def taken(places: npt.NDArray[np.int64]) -> str:
        return graph.add("Gather", values, graph.constant(places, np.int64), axis=1)

    parts = []
    if len(combinations.sums_):
        first, second = (
            graph.add("Mul", taken(combinations.sums_[:, side]), graph.constant(combinations.weights_[:, side]))
            for side in (0, 1)
        )
        parts.append(graph.add("Add", first, second))
    if len(combinations.ratios_):
        parts.append(graph.add("Div", taken(combinations.ratios_[:, 0]), taken(combinations.ratios_[:, 1])))
    made = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    return in_single(graph, made)


def _of_categories(graph: Graph, encoder: LinearEncoder, coefficients: Floats) -> str:
    """[N, targets]: the sum over columns of what each category adds: its coefficient, or its mean times the mean's."""
    tables: dict[int, Floats] = {}
    place = 0
    for column, means in zip(encoder.told_, encoder.tables_, strict=True):
        tables[column] = means @ coefficients[place : place + means.shape[1]]
        place += means.shape[1]
    for column in encoder.hot_:
        size = len(encoder.level_.levels_[column])
        tables[column] = np.vstack([coefficients[place : place + size], np.zeros((1, coefficients.shape[1]))])
        place += size
    ordered = [tables[column] for column in range(len(tables))]
    codes = _all_codes(graph, encoder)
    offsets = graph.constant(starts([len(table) for table in ordered])[None, :], np.int64)
    held = graph.add("Gather", graph.constant(np.concatenate(ordered)), graph.add("Add", codes, offsets))
    return graph.add("ReduceSum", held, graph.constant([1], np.int64), keepdims=0)
