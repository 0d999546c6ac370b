"""Exports of ten tools, from `ringside init` over training to the answer over HTTP: all of them are one table.

The files are written as the tools write them: delimiters, decimal marks, encodings, indexes, booleans and gaps.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from record.clock import ManualClock
from record.record import open_record
from record.settings import load_settings
from ringside import commands
from ringside.messages import predict_calls
from tests.retrain.problems import Project
from tests.retrain.test_job import carry_out
from tests.service.serving import running

ROWS = 240
RECORD = {"age": 41, "city": "Köln", "amount": 96.82, "member": True, "ordered": "2024-03-05T11:00:00Z", "zip": "04109"}


def table() -> pd.DataFrame:
    """Orders: whole numbers, letters beyond ASCII, decimals with gaps, booleans, moments, codes with leading zeros."""
    random = np.random.default_rng(11)
    amount = np.round(random.gamma(2, 400, ROWS), 2)
    member = random.random(ROWS) < 0.4
    raw = amount / 400 - 2 * member + random.normal(0, 0.5, ROWS)
    return pd.DataFrame(
        {
            "age": random.integers(18, 80, ROWS),
            "city": random.choice(["Aachen", "Köln", "São Paulo, SP"], ROWS),
            "amount": [None if n % 40 == 7 else value for n, value in enumerate(amount)],
            "member": member,
            "ordered": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 20_000, ROWS), unit="h"),
            "zip": [f"{code:05d}" for code in random.choice([4109, 10115, 50667], ROWS)],
            "late": np.where(raw > 1, "yes", "no"),
        }
    )


def rows_of(frame: pd.DataFrame, cell: Callable[[str, Any], str]) -> list[list[str]]:
    return [[cell(name, row[name]) for name in frame.columns] for row in frame.to_dict("records")]


def written(header: list[str], rows: list[list[str]], **how: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, **({"lineterminator": "\r\n"} | how))
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def cell(
    *, decimal: str = ".", thousands: str = "", yes: str = "TRUE", no: str = "FALSE", gap: str = "", zone: str = ""
):  # type: ignore[no-untyped-def]
    def write(name: str, value: Any) -> str:
        if value is None or value != value:
            return gap
        if isinstance(value, bool | np.bool_):
            return yes if value else no
        if isinstance(value, pd.Timestamp):
            return f"{value:%Y-%m-%d %H:%M:%S}{zone}"
        if isinstance(value, float):
            return f"{value:,.2f}".replace(",", "_").replace(".", decimal).replace("_", thousands)
        return str(value)

    return write


def excel_german(frame: pd.DataFrame) -> bytes:
    cells = cell(decimal=",", thousands=".", yes="True", no="False")
    return written(list(frame), rows_of(frame, cells), delimiter=";").encode("cp1252")


def excel_american(frame: pd.DataFrame) -> bytes:
    money = rows_of(frame, cell(thousands=","))
    place = list(frame).index("amount")
    for row in money:
        row[place] = f"${row[place]}" if row[place] else ""
    return written(list(frame), money).encode("utf-8-sig")


def google_sheets(frame: pd.DataFrame) -> bytes:
    return written(list(frame), rows_of(frame, cell(gap="#N/A"))).encode()


def pandas_with_index(frame: pd.DataFrame) -> bytes:
    return frame.to_csv().encode()


def r_write_csv(frame: pd.DataFrame) -> bytes:
    rows = rows_of(frame, cell(gap="NA"))
    quoted = {"city", "zip", "late", "ordered"}
    lines = [",".join(['""', *(f'"{name}"' for name in frame)])]
    for number, row in enumerate(rows, 1):
        cells = [f'"{text}"' if name in quoted else text for name, text in zip(frame, row, strict=True)]
        lines.append(",".join([f'"{number}"', *cells]))
    return ("\n".join(lines) + "\n").encode()


def postgresql_copy(frame: pd.DataFrame) -> bytes:
    return written(list(frame), rows_of(frame, cell(yes="t", no="f", zone="+00")), lineterminator="\n").encode()


def sap(frame: pd.DataFrame) -> bytes:
    rows = [[*row, ""] for row in rows_of(frame, cell(decimal=",", thousands=".", yes="true", no="false"))]
    return written([*frame, ""], rows, delimiter=";").encode("utf-16")


def latin_1(frame: pd.DataFrame) -> bytes:
    return written(list(frame), rows_of(frame, cell(yes="True", no="False", gap="NULL"))).encode("latin-1")


def tab_separated(frame: pd.DataFrame) -> bytes:
    return written(list(frame), rows_of(frame, cell(gap="\\N")), delimiter="\t").encode()


def parquet(frame: pd.DataFrame, kinds: dict[str, pa.DataType]) -> bytes:
    held = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    for name, kind in kinds.items():
        place = held.schema.get_field_index(name)
        held = held.set_column(place, name, held.column(name).cast(kind))
    content = io.BytesIO()
    pyarrow.parquet.write_table(held, content)
    return content.getvalue()


def polars(frame: pd.DataFrame) -> bytes:
    """Its texts are large_string, its moments microseconds."""
    return parquet(frame, dict.fromkeys(("city", "zip", "late"), pa.large_string()) | {"ordered": pa.timestamp("us")})


def duckdb(frame: pd.DataFrame) -> bytes:
    """Narrow integers, and decimals for money."""
    kinds = {"age": pa.int32(), "amount": pa.decimal128(18, 2), "ordered": pa.timestamp("us", "UTC")}
    return parquet(frame, kinds)


EXPORTS: dict[str, tuple[str, Callable[[pd.DataFrame], bytes]]] = {
    "Excel, German": ("umsatz.csv", excel_german),
    "Excel, American": ("sales.csv", excel_american),
    "Google Sheets": ("Sheet1.csv", google_sheets),
    "pandas with its index": ("frame.csv", pandas_with_index),
    "R write.csv": ("frame.csv", r_write_csv),
    "PostgreSQL COPY": ("orders.csv", postgresql_copy),
    "SAP": ("export.txt", sap),
    "Latin-1": ("alt.csv", latin_1),
    "TSV": ("orders.tsv", tab_separated),
    "Parquet of polars": ("orders.parquet", polars),
    "Parquet of DuckDB": ("orders.parquet", duckdb),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The answer of a model trained on the table itself."""
    folder = tmp_path_factory.mktemp("plain")
    return answer_of(folder, "orders.parquet", parquet(table(), {}))


def ringside(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ringside", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.main()
    return int(ended.value.code or 0)


def answer_of(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    """`ringside init`, a training run, and what the service answers: to plain JSON, and to the client's frame."""
    (folder / name).write_bytes(content)
    config = folder / "ringside.toml"
    assert ringside("init", str(folder / name), "--target", "late", "--output", str(config)) == 0
    text = config.read_text(encoding="utf-8")
    text = text.replace("[retrain]\n", '[retrain]\ntrials = 1\nfamilies = ["linear"]\nprocesses = 1\n', 1)
    config.write_text(text, encoding="utf-8")
    settings = load_settings(config)
    record = open_record(settings)
    try:
        assert carry_out(Project(folder, settings, record, ManualClock(record.clock.now()))).version == "v1"
    finally:
        record.close()
    with running(settings) as (_, client):
        by_json = client.post("/predict", {"records": [RECORD]})
        frame = pd.DataFrame([RECORD]).assign(ordered=pd.Timestamp("2024-03-05T11:00:00Z"))
        call = next(iter(predict_calls(frame, None, 1)))
        by_client = client.request("POST", "/predict", content=call.body, headers={"content-type": "application/json"})
    found = [_probabilities(response) for response in (by_json, by_client)]
    assert found[0] == found[1]
    return found[0]


def _probabilities(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()["predictions"][0]["probabilities"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("tool", EXPORTS)
def test_an_export_gives_the_model_that_the_table_gives(tmp_path: Path, plain: Any, tool: str) -> None:
    """To the last bit: the rows are the same, whoever wrote them."""
    name, write = EXPORTS[tool]
    assert answer_of(tmp_path, name, write(table())) == plain
