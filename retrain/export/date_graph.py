"""What is made of times, as ONNX nodes in double precision: what `retrain.features.dates` does, step by step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from retrain.export.nodes import Graph
from retrain.features.combinations import LARGEST
from retrain.features.dates import DAY, DAYS, HARMONICS, HOUR, MONTH, SATURDAY, SECOND, SECONDS, WEEKDAY, Dates


def dated(graph: Graph, dates: Dates | None, bounds: npt.NDArray[np.float64] | None = None) -> str:
    """[N, k + d]: the numbers within their bounds, then what is made of times."""
    values = graph.add("Cast", "numbers", to=TensorProto.DOUBLE)
    if bounds is not None:  # a comparison with a missing number is false, so that it stays missing
        for compare, bound in zip(("Less", "Greater"), bounds, strict=True):
            limit = graph.constant(bound[None, :])
            values = graph.add("Where", graph.add(compare, values, limit), limit, values)
    if dates is None or not dates.count:
        return values
    made = [_time_of_day(graph, dates), _time_of_year(graph, dates, 1.0)]
    if len(dates.pairs_):
        made.append(_gaps(graph, dates))
    kept = graph.add("Gather", graph.add("Concat", *made, axis=1), graph.constant(dates.kept_, np.int64), axis=1)
    return graph.add("Concat", values, in_single(graph, kept), axis=1)


def in_single(graph: Graph, made: str) -> str:
    """Rounded to single precision as training saw it; what that does not hold is missing."""
    there = graph.add("LessOrEqual", graph.add("Abs", made), graph.constant(LARGEST))
    rounded = graph.add("Cast", graph.add("Where", there, made, graph.constant(np.nan)), to=TensorProto.FLOAT)
    return graph.add("Cast", rounded, to=TensorProto.DOUBLE)


def cycles(graph: Graph, dates: Dates) -> str:
    """[N, c]: sines and cosines, and whether it is a weekend."""
    day = graph.add("Div", _time_of_day(graph, dates), graph.constant(24.0))
    weekday = _part(graph, dates, WEEKDAY)
    week = graph.add("Div", graph.add("Add", weekday, day), graph.constant(7.0))
    year = graph.add("Div", _time_of_year(graph, dates, 0.0), graph.constant(12.0))
    late = graph.add("GreaterOrEqual", weekday, graph.constant(SATURDAY))
    weekend = graph.add("Cast", late, to=TensorProto.DOUBLE)
    phases = graph.add("Concat", day, week, year, axis=1)
    phases = graph.add("Sub", phases, graph.add("Floor", phases))
    missing = graph.add("IsNaN", phases)
    times = graph.constant(np.arange(len(dates.times_)), np.int64)
    columns = [weekend]
    for harmonic in HARMONICS:
        angles = graph.add("Mul", phases, graph.constant(2.0 * np.pi * harmonic))
        for turn in ("Sin", "Cos"):
            turned = graph.add("Where", missing, graph.constant(0.0), graph.add(turn, angles))
            columns += [turned, graph.add("Mul", graph.add("Gather", turned, times, axis=1), weekend)]
    whole = graph.add("Concat", *columns, axis=1)
    return graph.add("Gather", whole, graph.constant(dates.turning_, np.int64), axis=1)


def _part(graph: Graph, dates: Dates, part: int) -> str:
    """[N, times]"""
    values = graph.add("Cast", "numbers", to=TensorProto.DOUBLE)
    return graph.add("Gather", values, graph.constant(dates.times_ + part, np.int64), axis=1)


def _time_of_day(graph: Graph, dates: Dates) -> str:
    """In hours."""
    past = graph.add("Div", _part(graph, dates, SECOND), graph.constant(3600.0))
    return graph.add("Add", _part(graph, dates, HOUR), past)


def _time_of_year(graph: Graph, dates: Dates, first: float) -> str:
    """In months, of which the first begins at `first`."""
    month = graph.add("Sub", _part(graph, dates, MONTH), graph.constant(1.0 - first))
    day = graph.add("Sub", _part(graph, dates, DAY), graph.constant(1.0))
    return graph.add("Add", month, graph.add("Div", day, graph.constant(31.0)))


def _gaps(graph: Graph, dates: Dates) -> str:
    """In days, [N, pairs]."""
    hours = graph.add("Mul", _part(graph, dates, HOUR), graph.constant(3600.0))
    rest = graph.add("Div", graph.add("Add", hours, _part(graph, dates, SECOND)), graph.constant(SECONDS))
    whole = graph.add("Round", graph.add("Sub", _part(graph, dates, DAYS), rest))

    def apart(values: str) -> str:
        first, second = (graph.constant(dates.pairs_[:, side], np.int64) for side in (0, 1))
        return graph.add("Sub", graph.add("Gather", values, second, axis=1), graph.add("Gather", values, first, axis=1))

    return graph.add("Add", apart(whole), apart(rest))
