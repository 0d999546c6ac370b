"""Values that are longer, and rows that are worse, than anybody sends on purpose: a job leaves them out and goes on."""

from __future__ import annotations

import ast
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.inputs.column_swap import find_swaps
from record.contract.category_counts import abbreviate, count_categories
from record.contract.decoder import Decoder
from record.contract.preview import nearest, preview, preview_name
from record.errors import InvalidLabel, InvalidRecord
from record.log.readable import is_readable, is_scalar
from tests.record.models import make_schema, record_of

ROOT = Path(__file__).parents[2]
ROOMS = ("record", "service", "retrain", "monitoring", "ringside")
LONG = "x" * 2_000_000


@pytest.mark.parametrize("length", [10_000, 10_001])
@pytest.mark.parametrize("text", ["x", "é", "😀"])
def test_a_text_of_a_request_has_at_most_so_many_characters(length: int, text: str) -> None:
    """Characters, whatever their bytes; categories and carried texts alike."""
    decoder = Decoder(make_schema(), longest_text=10_000)
    for record in (record_of(carrier=text * length), record_of(note=text * length)):
        if length == 10_000:
            decoder.check([record])
            continue
        with pytest.raises(InvalidRecord, match=r"at most 10,000 characters \(serve.max_text\)") as refused:
            decoder.check([record_of(), record])
        assert refused.value.reason == "too_long"
        assert len(refused.value.message) < 300
        assert refused.value.field in ("records[1].carrier", "records[1].note")


def test_an_integer_as_a_category_is_bounded_too() -> None:
    """Up to 4,300 digits Python writes it; beyond, it is refused and no fault."""
    decoder = Decoder(make_schema(), longest_text=100)
    for value in (10**99, 10**100, 10**5000):
        if value == 10**99:
            decoder.check([record_of() | {"carrier": value}])
            continue
        with pytest.raises(InvalidRecord) as refused:
            decoder.check([record_of() | {"carrier": value}])
        assert refused.value.reason == "too_long"


def test_a_label_is_bounded_too() -> None:
    """Of many classes any text is one, but not of any length."""
    schema = make_schema()
    problem = Decoder(schema.problem, longest_text=10)
    assert problem.label("x" * 10) == "x" * 10
    with pytest.raises(InvalidLabel, match="max_text"):
        problem.label("x" * 11)


@pytest.mark.parametrize(
    "value",
    [LONG, [LONG], {LONG: 1}, [[1] * 1_000_000], 10**5000, [10**5000], None, 1.5, "short", {"a": [1, "b"]}],
    ids=lambda value: type(value).__name__,
)
def test_a_preview_is_short_whatever_the_value(value: Any) -> None:
    assert 0 < len(preview(value)) <= 60
    assert len(preview_name(value)) <= 60
    nearest(value, ["income", "age"])


def test_categories_are_counted_as_numpy_counts_them() -> None:
    values = ["b", "a", "b", "é", "", "a", "b", "10", "9"]
    held = count_categories(values)
    names, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    assert (list(held.names), held.codes.tolist(), held.counts.tolist()) == (
        names.tolist(),
        codes.tolist(),
        counts.tolist(),
    )
    assert held.most_frequent(2) == ["b", "a"]
    assert count_categories([]).names == []


def test_one_long_category_costs_its_own_length_and_no_more() -> None:
    """In arrays of fixed width two megabytes among a thousand rows would be eight gigabytes."""
    values = np.array([f"c{n % 7}" for n in range(1_000)] + [LONG], dtype=object)
    tracemalloc.start()
    try:
        count_categories(values.tolist())
        find_swaps({"a": (values, values[::-1]), "b": (values[::2], values)})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(LONG)
    assert abbreviate(LONG) != abbreviate(LONG + "x")
    assert len(abbreviate(LONG)) < 120


def test_no_array_of_the_product_has_texts_of_fixed_width() -> None:
    """`astype(str)` of an array, `dtype=str`, "<U…", numpy.str_ and numpy.char: all of them are as wide as the longest.

    pandas' `astype(str)` of a column makes none; the three places that use it are named.
    """
    allowed = {"record/configuration/inspection.py", "record/configuration/suspicion.py", "retrain/guards/twins.py"}
    found = [place for path in _sources() for place in _fixed_width(path, str(path.relative_to(ROOT)) in allowed)]
    assert found == []


def _sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))


def _fixed_width(path: Path, of_pandas: bool) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and node.attr in ("str_", "unicode_", "char") and _is_numpy(node.value):
            yield f"{where}: numpy.{node.attr}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value[:2] in ("<U", ">U", "=U"):
            yield f"{where}: {node.value}"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        text = any(isinstance(held, ast.Name) and held.id == "str" for held in node.args)
        if node.func.attr == "astype" and text and not of_pandas:
            yield f"{where}: astype(str)"
        kinds = [held.value for held in node.keywords if held.arg == "dtype"]
        if any(isinstance(kind, ast.Name) and kind.id == "str" for kind in kinds) and node.func.attr != "read_csv":
            yield f"{where}: dtype=str"


def _is_numpy(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy")


@pytest.mark.parametrize(
    ("record", "prediction", "probabilities"),
    [
        ("no json", "1", None),
        ("[1]", "1", None),
        ("null", "1", None),
        ("{}", "", None),
        ("{}", "[1]", None),
        ("{}", "1", "[0.5]"),
        ("{}", "1", '{"a":"b"}'),
    ],
)
def test_what_is_no_row_is_told_from_a_row(record: str, prediction: str, probabilities: str | None) -> None:
    assert not is_readable(record, prediction, probabilities, numeric=False)
    assert is_readable('{"a":1}', '"late"', '{"late":0.5}', numeric=False)
    assert is_readable('{"a":"\\ud800","b":' + "1" * 400 + "}", "1.5", None, numeric=True)
    assert not is_readable("{}", '"late"', None, numeric=True)
    assert is_scalar("true", numeric=False)
    assert not is_scalar("true", numeric=True)
