"""What callers and data files say, as commands print it: no control to the terminal, and no line of its own."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from record.events import AlertReceived, RetrainFailed
from record.log_lines import JsonLines
from record.printable import PrintableStream, printable, printable_json, printable_lines
from record.record import Record, open_record
from record.settings import load_settings
from ringside import commands
from tests.record.models import record_of, register_model
from tests.service.serving import CONFIG, running

FORGED = "FORGED      999  2026-01-01 00:00:00  model_promoted     v9    ceo"
# Whatever begins a line, clears it, moves up, or turns the order of letters round.
BREAKS = [
    "\n",
    "\r\n",
    "\r",
    "\x0b",
    "\x0c",
    "\x1b[2K\x1b[1G",
    "\x1b[1A",
    "\x85",
    "\u2028",
    "\u2029",
    "\x9b1A",
    "\u202e",
]
HOSTILE = "evil\x1b]0;title\x07\x7f\u200b\u2066" + "".join(mark + FORGED for mark in BREAKS)
ROOT = Path(__file__).parents[2]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls `ringside ARGUMENTS` in a folder of its own: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RINGSIDE_CONFIG", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ringside", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def assert_tame(output: str) -> None:
    """Every character has a shape, and no line is a caller's."""
    hidden = {character for character in output if not character.isprintable() and character != "\n"}
    assert not hidden
    assert not [line for line in output.splitlines() if line.lstrip().startswith("FORGED")]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    """One in which everything that somebody else can name is hostile."""
    (tmp_path / "ringside.toml").write_text(CONFIG.format(more=""))
    settings = load_settings(tmp_path / "ringside.toml")
    record = open_record(settings)
    register_model(record, as_champion=True)
    with running(settings) as (_, client):
        body = {"records": [record_of(note=HOSTILE, carrier=HOSTILE)], "ids": ["order-1"]}
        assert client.post("/predict", body).status_code == 200
    record.registry.reject(register_model(record, bias=1.0).version, actor=HOSTILE, reason=HOSTILE)
    run = record.runs.request("operator", HOSTILE, HOSTILE)
    finding = {"severity": "error", "check": "x", "column": HOSTILE, "message": HOSTILE}
    record.runs.fail(run.run_id, HOSTILE, findings=[finding])
    alert = AlertReceived(alert=HOSTILE, status=HOSTILE, fingerprint=HOSTILE, starts_at=HOSTILE, action=HOSTILE)
    record.events.append(alert, actor=HOSTILE)
    record.events.append(RetrainFailed(run_id=HOSTILE, trigger=HOSTILE, error=HOSTILE, seconds=1.0), actor=HOSTILE)
    yield record
    record.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["events"],
        ["events", "--json"],
        ["events", "--verify"],
        ["status"],
        ["status", "--json"],
        ["models"],
        ["models", "--json"],
        ["bouts"],
        ["bouts", "--json"],
        ["explain", "order-1"],
        ["explain", "order-1", "--json"],
        ["explain", HOSTILE],
        ["promote", HOSTILE, "--reason", "x"],
        ["reject", HOSTILE, "--reason", "x"],
        ["unbar", HOSTILE, "--reason", "x"],
        ["reproduce", HOSTILE],
        ["bouts", HOSTILE],
        ["events", "--kind", HOSTILE],
        ["tokens", "--list"],
        ["status", "--config", HOSTILE],
    ],
    ids=lambda arguments: " ".join(part if part != HOSTILE else "hostile" for part in arguments),
)
def test_no_command_prints_what_a_terminal_would_obey(record: Record, run: Run, arguments: list[str]) -> None:
    _, out, err = run(*arguments)
    assert_tame(out)
    assert_tame(err)
    if "--json" in arguments:
        assert [json.loads(line) for line in out.splitlines()]


def test_events_have_a_line_each_whoever_caused_them(record: Record, run: Run) -> None:
    events, _ = record.events.page(limit=1000)
    _, out, _ = run("events")
    assert [int(line.split()[0]) for line in out.splitlines()] == [event.seq for event in events]


def test_no_name_or_value_of_a_data_file_reaches_the_terminal_raw(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TRIALS": "1", "BUDGET": "5s", "FAMILIES": '["linear"]'}.items():
        monkeypatch.setenv(f"RINGSIDE_RETRAIN__{name}", value)
    rows = "".join(f'{n},"{HOSTILE}{n % 3}",{n % 2}\n' for n in range(60))
    (tmp_path / "data.csv").write_bytes(f'"{HOSTILE}","note","late"\n{rows}'.encode("utf-8", "surrogatepass"))
    code, out, err = run("init", "data.csv", "--target", "late")
    assert_tame(out)
    assert_tame(err)
    assert code == 0
    for arguments in (["profile"], ["train"], ["init", "data.csv", "--target", HOSTILE, "--force"]):
        _, out, err = run(*arguments)
        assert_tame(out)
        assert_tame(err)


def test_the_front_door_prints_by_one_function_only() -> None:
    """Which makes the text printable: what is added later is safe by itself."""
    raw = re.compile(r"(?<![\w.])print\(|\.write\(|echo\(")
    for file in (ROOT / "ringside").rglob("*.py"):
        found = [line for line in file.read_text().splitlines() if raw.search(line)]
        assert found == [], file


@given(st.text())
def test_what_is_printable_is_one_line_of_visible_characters_and_says_the_same_again(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert all(character.isprintable() or character.isspace() for character in shown)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert printable(shown) == shown
    assert printable_lines(f"{text}\n{text}").split("\n") == [printable(part) for part in f"{text}\n{text}".split("\n")]


@given(st.text(), st.booleans())
def test_printable_json_is_the_same_document(text: str, ascii_only: bool) -> None:
    document = json.dumps({text: [text, 1.5, None]}, ensure_ascii=ascii_only)
    shown = printable_json(document)
    assert json.loads(shown) == {text: [text, 1.5, None]}
    assert len(shown.splitlines()) == 1


def test_text_that_people_write_stays_as_it_is() -> None:
    for text in ("Zürich – ‘ok’ 12 %", "日本語 データ", "1\u00a0234 €", "naïve café", "שלום", "👍"):
        assert printable(text) == text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_whoever_prints_past_it_meets_the_guarded_stream(encoding: str) -> None:
    buffer = io.BytesIO()
    stream = PrintableStream(io.TextIOWrapper(buffer, encoding=encoding))
    print("a\x1b[2Jb", "ü\ud800\u202e", file=stream)
    stream.write("\x9b31m red \r\n")
    stream.flush()
    shown = buffer.getvalue().decode(encoding)
    assert_tame(shown)
    assert shown.splitlines()[0].startswith("a\\x1b[2Jb ")


def test_log_lines_carry_no_control_character_and_are_one_line_each() -> None:
    buffer = io.StringIO()
    handler = logging.StreamHandler(buffer)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.error("request failed", extra={"facts": {"route": HOSTILE, HOSTILE: 1}}, exc_info=True)
    (line,) = buffer.getvalue().splitlines()
    assert_tame(line)
    assert json.loads(line)["route"] == HOSTILE


@pytest.mark.parametrize("command", [["status"], ["explain", "x"], ["train"], ["tokens", "--list"]])
@pytest.mark.parametrize(
    "database",
    [
        "postgresql://alice:hunter2hunter2@127.0.0.1:port/ring",
        "postgresql://alice:hunter2hunter2@127.0.0.1:1/ring",
        "postgresql://alice:hunter2hunter2@127.0.0.1:{silent}/ring?connect_timeout=2",
        "postgresql://alice:hunter2@hunter2@127.0.0.1/ring",
        "postgresql:alice:hunter2hunter2@127.0.0.1/ring",
        "host=127.0.0.1 password=hunter2hunter2",
        "postgresql://127.0.0.1:1/ring?user=alice&password=hunter2hunter2",
        "mysql://alice:hunter2hunter2@127.0.0.1/ring",
        "sqlite:///{folder}",
        "sqlite:///{folder}/text.db",
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str], database: str
) -> None:
    (tmp_path / "ringside.toml").write_text(CONFIG.format(more=""))
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 50)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = database.format(folder=tmp_path, silent=silent.getsockname()[1])
        monkeypatch.setenv("RINGSIDE_STORE__DATABASE", address)
        code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert err.startswith("ringside: ")
    assert "store.database" in err
    assert err.count("\n") == 1
    assert "hunter2" not in err
    assert "Traceback" not in err


def test_a_database_that_goes_away_while_a_command_works_is_one_line(
    run: Run, record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with record.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE model_versions")
    code, _, err = run("models")
    assert code == 2
    assert err.count("\n") == 1
    assert err.startswith("ringside: store.database: ")


def test_the_time_of_an_event_is_what_stands_in_the_trail(record: Record, run: Run) -> None:
    """And not what a caller would like: the first thing on each line is Ringside's own."""
    _, out, _ = run("events", "--since", f"{datetime.now(UTC):%Y-%m-%d}")
    pattern = re.compile(r"^ *\d+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \w+ ")
    assert all(pattern.match(line) for line in out.splitlines())


def values(told: Any) -> Iterator[str]:
    if isinstance(told, dict):
        for value in told.values():
            yield from values(value)
    elif isinstance(told, list):
        for value in told:
            yield from values(value)
    elif isinstance(told, str):
        yield told


def test_json_for_programs_says_what_was_sent_to_the_letter(record: Record, run: Run) -> None:
    _, out, _ = run("explain", "order-1", "--json")
    assert HOSTILE in set(values(json.loads(out)))
