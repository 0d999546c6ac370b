"""A scored file holds what `/predict` would have answered, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from typer.testing import CliRunner

import retrain.batch_scoring
from record.record import Record, open_record
from ringside.commands import app
from tests.record.models import answer, record_of, register_model
from tests.service.serving import live_service, wait_ready, write_config

ROWS = [record_of(100.0 * n, ("AA", "UA", "ZZ")[n % 3], f"note, {n}") for n in range(7)] + [record_of(None, None, None)]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = open_record(write_config(tmp_path))
    register_model(record, as_champion=True)
    yield record
    record.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a running service answers to the same rows, by the same model."""
    folder = tmp_path_factory.mktemp("served")
    settings = write_config(folder)
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with live_service(settings, folder) as live:
        wait_ready(live)
        answered = httpx.post(f"{live.url}/predict", json={"records": ROWS}, timeout=30).json()
    predictions: list[dict[str, Any]] = answered["predictions"]
    return predictions


def predict(folder: Path, *arguments: str) -> tuple[int, str, str]:
    outcome = CliRunner().invoke(app, ["predict", *arguments, "--config", str(folder / "ringside.toml")])
    message = str(outcome.exception) if outcome.exception is not None else ""
    return outcome.exit_code, outcome.stdout, message


def write(path: Path) -> Path:
    frame = pd.DataFrame(ROWS)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("output_suffix", [".csv", ".parquet"])
def test_the_file_holds_what_the_service_answers(
    tmp_path: Path, record: Record, served: list[dict[str, Any]], suffix: str, output_suffix: str, monkeypatch: Any
) -> None:
    """In parts of three rows; to the last digit but those that a text of a float keeps anyway."""
    monkeypatch.setattr(retrain.batch_scoring, "ROWS_AT_ONCE", 3)
    data, output = write(tmp_path / f"rows{suffix}"), tmp_path / f"answers{output_suffix}"
    code, out, message = predict(tmp_path, str(data), "-o", str(output), "--json")
    assert code == 0, message
    assert json.loads(out) == {"version": "v1", "rows": len(ROWS), "output": str(output)}
    answers = pd.read_csv(output) if output_suffix == ".csv" else pd.read_parquet(output)
    assert list(answers["row"]) == list(range(1, len(ROWS) + 1))
    assert list(answers["prediction"]) == [each["prediction"] for each in served]
    for name in ("late", "on time"):
        wanted = [each["probabilities"][name] for each in served]
        assert list(answers[f"probability of {name}"]) == pytest.approx(wanted, rel=1e-12)


def test_without_an_output_the_answers_are_printed_as_csv(tmp_path: Path, record: Record) -> None:
    code, out, _ = predict(tmp_path, str(write(tmp_path / "rows.csv")))
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "row,prediction,probability of late,probability of on time"
    assert float(lines[1].split(",")[2]) == pytest.approx(answer(ROWS[0], 0.0))
    assert len(lines) == 1 + len(ROWS)


def test_any_version_can_be_asked(tmp_path: Path, record: Record) -> None:
    register_model(record, bias=3.0)
    code, out, _ = predict(tmp_path, str(write(tmp_path / "rows.csv")), "--model", "v2")
    assert code == 0
    assert float(out.splitlines()[1].split(",")[2]) == pytest.approx(answer(ROWS[0], 3.0))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("distance,carrier\n1,AA\nfar,UA\n", ["rows.csv", "line 3", "far", "distance"]),
        ("carrier\nAA\n", ["distance"]),
        ("distance,carrier\n", ["no rows"]),
    ],
)
def test_what_cannot_be_scored_is_named_and_no_file_is_left(
    tmp_path: Path, record: Record, text: str, told: list[str]
) -> None:
    data, output = tmp_path / "rows.csv", tmp_path / "answers.csv"
    data.write_text(text)
    code, _, message = predict(tmp_path, str(data), "-o", str(output))
    assert code != 0
    assert all(part in message for part in told), message
    assert [path.name for path in tmp_path.iterdir() if "answers" in path.name] == []


@pytest.mark.parametrize(("suffix", "place"), [(".csv", "rows.csv, line 7"), (".parquet", "rows.parquet, row 5")])
def test_a_cell_behind_the_first_part_is_named_by_its_line_before_anything_is_answered(
    tmp_path: Path, record: Record, suffix: str, place: str, monkeypatch: Any
) -> None:
    """Rows count from 1, as in the output's column `row`."""
    monkeypatch.setattr(retrain.batch_scoring, "ROWS_AT_ONCE", 3)
    frame = pd.DataFrame(ROWS)
    frame.loc[5, "distance"] = 1e39
    data = tmp_path / f"rows{suffix}"
    frame.to_csv(data, index=False) if suffix == ".csv" else frame.to_parquet(data)
    code, out, message = predict(tmp_path, str(data))
    assert (code != 0, out) == (True, "")
    assert "row 6 of column 'distance': '1e+39' cannot be used" in message
    assert f"{place})" in message


def test_a_file_that_is_there_is_not_written_over_unasked(tmp_path: Path, record: Record) -> None:
    data, output = write(tmp_path / "rows.csv"), tmp_path / "answers.csv"
    output.write_text("mine")
    assert "is there already" in predict(tmp_path, str(data), "-o", str(output))[2]
    assert output.read_text() == "mine"
    assert predict(tmp_path, str(data), "-o", str(output), "--force")[0] == 0
    assert "is the file that is read" in predict(tmp_path, str(data), "-o", str(data), "--force")[2]
    assert len(data.read_text().splitlines()) == 1 + len(ROWS)


@pytest.mark.parametrize("name", ["answers.xlsx", "missing/answers.csv", "folder.csv"])
def test_an_output_that_cannot_be_written_is_refused_first(tmp_path: Path, record: Record, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    code, _, message = predict(tmp_path, str(write(tmp_path / "rows.csv")), "-o", str(tmp_path / name), "--force")
    assert code != 0
    assert "expected" in message


def test_a_file_that_is_missing_is_named(tmp_path: Path, record: Record) -> None:
    (tmp_path / "answers.csv").write_text("")
    missing = str(tmp_path / "missing.csv")
    code, _, message = predict(tmp_path, missing, "-o", str(tmp_path / "answers.csv"), "--force")
    assert code != 0
    assert f"no file {missing}" in message


def test_nothing_is_logged(tmp_path: Path, record: Record) -> None:
    assert predict(tmp_path, str(write(tmp_path / "rows.csv")))[0] == 0
    assert predict(tmp_path, str(tmp_path / "rows.csv"), "--model", "v9")[2].count("v9") == 1
