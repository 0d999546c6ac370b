"""Values as applications have them: what each is in a request's body, and what is refused before it is sent."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import zipfile
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from ringside.messages import label_calls, predict_calls

ROOT = Path(__file__).parents[2]
TIME = datetime(2024, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))


def sent(value: Any) -> Any:
    """The value in the body of a request."""
    (call,) = predict_calls([{"x": value}], None, 1)
    assert call.body is not None
    return json.loads(call.body)["records"][0]["x"]


TAKEN: list[tuple[Any, Any]] = [
    (Decimal("12.50"), 12.5),
    (Decimal("7.00"), 7),
    (Decimal("12345678901234567890"), 12345678901234567890),
    (Decimal("NaN"), None),
    (Decimal("sNaN"), None),
    (date(2024, 5, 1), "2024-05-01"),
    (TIME, "2024-05-01T12:30:00+02:00"),
    (pd.Timestamp(TIME), "2024-05-01T12:30:00+02:00"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (pd.NA, None),
    (pd.NaT, None),
    (math.nan, None),
    (np.nan, None),
    (np.float32("nan"), None),
    (np.datetime64("NaT"), None),
    (np.datetime64("2024-05-01T12:30:00.000000000", "ns"), "2024-05-01T12:30:00"),
    (np.datetime64("2024-05-01", "D"), "2024-05-01T00:00:00"),
    (np.float32(0.5), 0.5),
    (np.float64(0.25), 0.25),
    (np.int8(-3), -3),
    (np.uint64(2**64 - 1), 2**64 - 1),
    (np.bool_(True), True),
    (np.str_("text"), "text"),
    (np.array(5), 5),
    (True, True),
    ("", ""),
    (10**30, 10**30),
]


@pytest.mark.parametrize(("value", "wanted"), TAKEN, ids=[f"{type(value).__name__} {value}" for value, _ in TAKEN])
def test_a_value_is_sent_as_json_has_it(value: Any, wanted: Any) -> None:
    found = sent(value)
    assert (found, type(found)) == (wanted, type(wanted))
    (call,) = label_calls({"a": value}, False, 1)
    assert call.body is not None
    assert json.loads(call.body)["labels"][0]["label"] == wanted


REFUSED: list[Any] = [
    math.inf,
    np.float32("inf"),
    Decimal("Infinity"),
    Decimal("1e100000000"),
    np.array([1, 2]),
    np.array([1]),
    [1],
    {"a": 1},
    b"bytes",
    timedelta(days=1),
    np.timedelta64(1, "D"),
    1 + 2j,
    object(),
]


@pytest.mark.parametrize("value", REFUSED, ids=[type(value).__name__ for value in REFUSED])
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"records\[0\]\.x: "):
        sent(value)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({"x": 1}, "a dict; expected several records"),
        ("x", "a str; expected several records"),
        ([7], r"records\[0\]: a int; expected a mapping"),
        ([{0: 1}], "the column 0 has no name"),
        (pd.DataFrame([[1.0]]), "the column 0 has no name"),
        (pd.DataFrame([[1.0, 2.0]], columns=["x", "x"]), "the column 'x' stands twice"),
    ],
)
def test_records_of_another_shape_are_refused(records: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        list(predict_calls(records, None, 1))


TYPED = """
import asyncio
import pandas as pd
from ringside import AsyncClient, Client, Prediction
from decimal import Decimal

def sync(client: Client, frame: pd.DataFrame) -> None:
    predictions: list[Prediction] = client.predict(frame)
    client.predict([{"price": Decimal("1.5")}], ["order-17"])
    champion = client.status()["champion"]
    version: str = champion["version"] if champion is not None else ""
    state: str = client.runs()[0]["state"]
    client.status()["champoin"]

async def other(client: AsyncClient) -> str | None:
    return (await client.promote("v1", "because"))["champion"]
"""


def test_answers_are_typed(tmp_path: Path) -> None:
    """An application's strict type check knows every answer, and finds a key that is not there."""
    (tmp_path / "application.py").write_text(TYPED)
    options = ["--strict", "--no-incremental", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *options, "application.py"]
    surroundings = {"MYPYPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(found) == 1, done.stdout + done.stderr
    assert "champoin" in found[0]


def test_the_wheel_says_that_it_is_typed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for room in ("record", "service", "retrain", "monitoring", "ringside", "examples"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    uv = Path(sys.executable).parent / "uv"
    command = [uv, "build", "--wheel", "--no-build-isolation", "--quiet", "--python", sys.executable]
    command += ["--out-dir", tmp_path, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert {f"{room}/py.typed" for room in ("ringside", "service", "record")} <= set(wheel.namelist())
