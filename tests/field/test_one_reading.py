"""The same value, written as CSV, as Parquet, as JSON and by the client, decodes to the same array."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from record.contract.columns import ColumnType
from record.contract.decoder import Decoder
from record.settings import load_settings
from retrain.data.dataset import Dataset
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from ringside.messages import predict_calls

ROWS = 24
MOST = 3.0e38
# An empty text is a missing field in CSV; "1.0" beside gaps is how pandas writes 1; control characters are no text.
TEXTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"), min_size=1, max_size=12
).filter(lambda text: bool(text.strip()) and not re.fullmatch(r"-?\d+\.0*", text) and text != "__missing__")
# pandas writes the year 999 with three digits, which is no ISO 8601.
TIMES = st.datetimes().filter(lambda at: 1000 <= at.year <= 9998)
VALUES: dict[ColumnType, list[st.SearchStrategy[Any]]] = {
    "number": [
        st.floats(-MOST, MOST),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        st.integers(-(2**53), 2**53),
        st.integers(-5, 5),
        st.decimals(-1000, 1000, places=2).map(float),
    ],
    "category": [
        TEXTS,
        st.booleans(),
        st.integers(-(2**62), 2**62),
        st.sampled_from(
            ["NA", "null", "None", "a", "A", " a", "a ", "007", "cafe\u0301", "café", "1e3", "yes", '"', ";"]
        ),
        st.sampled_from(["True", "False"]),
        st.sampled_from(["t", "f"]),
        st.sampled_from(["TRUE", "FALSE"]),
    ],
    "time": [
        TIMES,
        TIMES.map(lambda at: at.replace(microsecond=0)),
        TIMES.map(lambda at: at.replace(hour=0, minute=0, second=0, microsecond=0)),
    ],
}
CASES = [(kind, place) for kind, held in VALUES.items() for place in range(len(held))]


def read(folder: Path, file: str, kind: ColumnType) -> Dataset:
    (folder / "ringside.toml").write_text(
        f'[problem]\ntask = "classification"\ntarget = "y"\n[columns.x]\ntype = "{kind}"\n'
        f'[columns.z]\ntype = "number"\n'
        f'[columns.row]\ntype = "number"\nrole = "carried"\n[data]\nsource = "{file}"\n',
        encoding="utf-8",
    )
    found = load_settings(folder / "ringside.toml")
    return load(found, problem_schema(found, None), [])


def natural(value: Any) -> Any:
    """The value as a JSON library would write it."""
    return value.replace(tzinfo=UTC).isoformat() if isinstance(value, datetime) else value


@pytest.mark.parametrize(("kind", "place"), CASES)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_value_is_the_same_however_it_came(kind: ColumnType, place: int, data: st.DataObject) -> None:
    """For every type of column, gaps included."""
    few = data.draw(st.lists(VALUES[kind][place], min_size=2, max_size=8, unique_by=repr))
    gaps = data.draw(st.booleans())
    values = [None if gaps and n % 5 == 0 else few[n % len(few)] for n in range(ROWS)]
    column: Any = pd.Series(values, dtype="datetime64[us]" if kind == "time" else object)
    if kind == "number":
        column = column.astype("float64") if gaps or any(isinstance(v, float) for v in few) else column.astype("int64")
    frame = pd.DataFrame(
        {"row": range(ROWS), "z": [n / 3 for n in range(ROWS)], "y": ["a", "b"] * (ROWS // 2), "x": column}
    )
    with TemporaryDirectory() as made:
        folder = Path(made)
        frame.to_csv(folder / "rows.csv", index=False)
        frame.to_parquet(folder / "rows.parquet", index=False)
        csv, parquet = read(folder, "rows.csv", kind), read(folder, "rows.parquet", kind)
    order = [int(row) for row in csv.frame["row"]]
    records = [{"row": row, "z": row / 3, "x": natural(values[row])} for row in order]
    body = next(iter(predict_calls(frame[["row", "z", "x"]].iloc[order], None, ROWS))).body
    sent = json.loads(body)["records"]
    decoder = Decoder(csv.schema)
    expected = decoder.decode(records)
    for found in (csv.arrays, parquet.arrays, decoder.decode(sent), Decoder(parquet.schema).decode(records)):
        np.testing.assert_array_equal(found.numbers, expected.numbers)
        assert found.categories.tolist() == expected.categories.tolist()
    assert csv.fingerprint() == parquet.fingerprint()
    assert csv.schema.seen == parquet.schema.seen


def test_text_is_compared_in_one_normal_form() -> None:
    """A keyboard on one system writes é as one character, on another as two."""
    one, two = "café", unicodedata.normalize("NFD", "café")
    assert one != two
    frame = pd.DataFrame(
        {"x": [one, two] * ROWS, "z": 1.0, "row": range(2 * ROWS), "y": [one, two, "tea", "tea"] * (ROWS // 2)}
    )
    with TemporaryDirectory() as made:
        frame.to_csv(Path(made) / "rows.csv", index=False)
        found = read(Path(made), "rows.csv", "category")
    assert found.schema.seen["x"].categories == (one,)
    assert found.schema.classes == (one, "tea")
    decoder = Decoder(found.schema, longest_text=100)
    records = [{"x": text, "z": 1, "row": 1} for text in (one, two)]
    assert decoder.decode(records).categories[:, 0].tolist() == [one, one]
    assert decoder.digest(records[0]) == decoder.digest(records[1])
    assert decoder.label(two) == one
    assert decoder.label_json(two) == json.dumps(one, ensure_ascii=False)
    assert decoder.marks(records) == [None, None]


def test_versions_from_before_read_texts_to_the_letter() -> None:
    """What such a version learned as two categories stays two."""
    from record.contract.columns import Column
    from record.contract.schema import ProblemSchema, Schema, SeenColumn

    two = unicodedata.normalize("NFD", "café")
    problem = ProblemSchema("classification", "y", (Column("x", "feature", "category"),))
    before = Schema(problem, {"x": SeenColumn(categories=(two, "true"))}, ("a", "b"), decoder=2)
    again = Schema.from_json(before.to_json())
    assert again.decoder == 2
    assert Decoder(again).decode([{"x": two}]).categories[0, 0] == two
    assert Decoder(again).decode([{"x": "True"}]).categories[0, 0] == "True"


def test_nul_is_a_character(tmp_path: Path) -> None:
    """Texts were cut at it (microsoft/onnxruntime#2284)."""
    cells = ["a\0b", "a\0c", "a"] * ROWS
    frame = pd.DataFrame({"x": cells, "z": 1.0, "row": range(3 * ROWS), "y": ["a", "b", "b"] * ROWS})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    for file in ("rows.csv", "rows.parquet"):
        assert read(tmp_path, file, "category").schema.seen["x"].categories == ("a", "a\0b", "a\0c")
    from retrain.data.variable import text_codes

    codes, levels = text_codes(cells)
    assert levels == ("a\0b", "a\0c", "a")
    assert codes[:3].tolist() == [0.0, 1.0, 2.0]
