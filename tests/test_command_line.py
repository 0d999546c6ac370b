"""The command line's promises: exit codes, one clear line for an error, JSON for programs, an example in each help."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from record.record import Record, open_record
from record.settings import load_settings
from ringside import commands
from service.token_list import LAST_USED, token_key

COMMANDS = [
    command.name or command.callback.__name__ for command in commands.app.registered_commands if command.callback
]
SETTINGS = """
[problem]
task = "classification"
target = "late"
[columns.distance]
type = "number"
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls `ringside ARGUMENTS` in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RINGSIDE_CONFIG", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ringside", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    (tmp_path / "ringside.toml").write_text(SETTINGS)
    record = open_record(load_settings(tmp_path / "ringside.toml"))
    yield record
    record.close()


def register(record: Record, **card: Any) -> str:
    """A version without a model: commands about roles never load one."""
    stage = record.artifacts.stage()
    (stage / "schema.json").write_text("{}")
    first = record.registry.roles().champion is None
    return record.registry.register(
        stage, run_id=None, parent=None, card=card, read_until_seq=0, data_until=None, actor="test", as_champion=first
    ).version


def test_the_commands_are_those_that_people_know() -> None:
    assert COMMANDS == [
        "demo", "init", "train", "profile", "reproduce", "up", "watch", "tokens",
        "status", "models", "explain", "events", "retrain", "promote", "reject", "unbar", "rollback", "bouts", "runs",
        "rekey", "prove", "predict", "schema",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_shows_an_example(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "Example: " in out
    assert f"ringside {command}" in out.split("Example:")[1]


def test_help_answers_at_once() -> None:
    """It loads none of what takes long to load."""
    command = [sys.executable, "-X", "importtime", "-m", "ringside", "--help"]
    done = subprocess.run(command, cwd=Path(commands.__file__).parents[1], capture_output=True, text=True, check=True)
    heavy = {"pandas", "numpy", "sqlalchemy", "bentoml", "sklearn", "rich", "matplotlib", "pydantic"}
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not heavy & imported


def test_without_settings_one_line_says_what_to_do_and_the_code_is_2(run: Run) -> None:
    code, out, err = run("status")
    assert (code, out) == (2, "")
    assert "ringside.toml" in err
    assert "ringside init" in err
    assert "Traceback" not in err


def test_an_unknown_option_is_bad_usage(run: Run) -> None:
    assert run("status", "--jsn")[0] == 2


def test_init_writes_settings_that_load_and_never_over_others(run: Run, tmp_path: Path) -> None:
    rows = "\n".join(f"{n},{'red' if n % 3 else 'blue'},{n % 2}" for n in range(200))
    (tmp_path / "orders.csv").write_text(f"price,colour,returned\n{rows}\n")
    code, out, _ = run("init", "orders.csv", "--target", "returned")
    assert code == 0
    assert "wrote ringside.toml" in out
    assert set(load_settings(tmp_path / "ringside.toml").columns) == {"price", "colour"}
    code, _, err = run("init", "orders.csv", "--target", "returned")
    assert code == 2
    assert "there already" in err


def test_init_writes_a_path_as_it_was_given(run: Run, tmp_path: Path) -> None:
    """An absolute one stays so; a relative one is as seen from the settings file."""
    rows = "\n".join(f"{n},{n % 2}" for n in range(200))
    (tmp_path / "orders.csv").write_text(f"price,returned\n{rows}\n")
    (tmp_path / "home").mkdir()
    for data, written in (
        ("orders.csv", "../orders.csv"),
        (str(tmp_path / "orders.csv"), str(tmp_path / "orders.csv")),
    ):
        assert run("init", data, "--target", "returned", "--output", "home/ringside.toml", "--force")[0] == 0
        assert f'source = "{written}"' in (tmp_path / "home" / "ringside.toml").read_text()
        source = load_settings(tmp_path / "home" / "ringside.toml").data.source
        assert source is not None
        assert Path(source).exists()


def test_init_names_a_target_that_is_not_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("price,returned\n1,0\n2,1\n")
    code, _, err = run("init", "orders.csv", "--target", "returnd")
    assert code == 2
    assert "returnd" in err


def test_models_are_listed_with_role_and_standing(run: Run, record: Record) -> None:
    register(record, family="linear", metrics={"auc": {"value": 0.7, "low": 0.6, "high": 0.8}})
    register(record)
    listed = json.loads(run("models", "--json")[1])
    assert [(each["version"], each["role"], each["standing"]) for each in listed] == [
        ("v1", "champion", "eligible"),
        ("v2", None, "eligible"),
    ]
    assert "auc 0.7" in run("models")[1]


def test_promote_and_rollback_move_the_role_and_name_the_actor(
    run: Run, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    register(record)
    register(record)
    code, out, _ = run("promote", "v2", "--reason", "reviewed", "--json")
    assert (code, json.loads(out)["champion"]) == (0, "v2")
    assert json.loads(run("rollback", "--reason", "complaints", "--json")[1])["champion"] == "v1"
    lines = [json.loads(line) for line in run("events", "--actor", "ada", "--json")[1].splitlines()]
    assert [(line["kind"], line["data"]["reason"]) for line in lines] == [
        ("model_promoted", "reviewed"),
        ("model_rolled_back", "complaints"),
    ]


def test_the_answer_no_is_exit_code_1(run: Run, record: Record) -> None:
    register(record)
    for arguments in (("promote", "v1"), ("reject", "v1"), ("rollback",)):
        code, _, err = run(*arguments, "--reason", "why not")
        assert code == 1
        assert err.startswith("ringside: ")
        assert len(err.splitlines()) == 1


def test_a_version_that_is_not_there_is_bad_usage(run: Run, record: Record) -> None:
    code, _, err = run("promote", "v9", "--reason", "typo")
    assert code == 2
    assert "v9" in err


def test_a_reason_is_mandatory(run: Run, record: Record) -> None:
    register(record)
    assert run("rollback")[0] == 2


def test_one_retrain_at_a_time_is_asked_for(run: Run, record: Record) -> None:
    code, out, _ = run("retrain", "--reason", "new prices", "--json")
    assert (code, json.loads(out)["state"]) == (0, "requested")
    code, _, err = run("retrain", "--reason", "again")
    assert code == 1
    assert json.loads(out)["run_id"] in err


def test_the_chain_is_verified_and_a_change_shows(run: Run, record: Record) -> None:
    register(record)
    assert run("events", "--verify")[0] == 0
    with record.database.write() as connection:
        connection.exec_driver_sql("UPDATE events SET actor = 'mallory' WHERE seq = 1")
    code, out, _ = run("events", "--verify", "--json")
    assert (code, json.loads(out)["broken_at"]) == (1, 1)


def test_a_limit_is_kept(run: Run, record: Record) -> None:
    register(record)
    register(record)
    assert len(run("events", "--limit", "2")[1].splitlines()) == 2


def test_a_version_that_cannot_be_made_again_says_why(run: Run, record: Record) -> None:
    """1: it differs, and what; 2: there is no such version."""
    register(record)
    code, out, _ = run("reproduce", "v1", "--json")
    assert code == 1
    assert json.loads(out)["differs"] == ["card: it does not say how the version was made"]
    assert run("reproduce", "v9")[0] == 2


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_a_reason_says_something(run: Run, record: Record, reason: str) -> None:
    """As over HTTP: it stands in the audit trail for good."""
    register(record)
    version = register(record)
    code, _, err = run("promote", version, "--reason", reason)
    assert code == 2
    assert "1 to 1,000 characters" in err
    assert record.registry.roles().champion != version


def test_a_kind_of_event_that_is_none_is_named(run: Run, record: Record) -> None:
    code, _, err = run("events", "--kind", "model_promotd")
    assert code == 2
    assert "did you mean model_promoted" in err


def test_tokens_are_listed_with_their_last_use_and_their_end(run: Run, tmp_path: Path) -> None:
    tokens = [
        {"name": "reader", "roles": ["read"], "sha256": "ab" * 32, "expires_at": "2020-01-31T00:00:00Z"},
        {"name": "caller", "roles": ["predict", "label"], "sha256": "cd" * 32},
    ]
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    (tmp_path / "ringside.toml").write_text(SETTINGS + '[serve]\ntokens = "tokens.json"\n')
    settings = load_settings(tmp_path / "ringside.toml")
    used = datetime(2026, 5, 1, 12, 0, 7, tzinfo=UTC)
    record = open_record(settings)
    record.samples.put([(LAST_USED, {"token": "caller", "key": token_key("cd" * 32)}, used.timestamp())], used)
    record.close()
    code, out, _ = run("tokens", "--list", "--json")
    assert code == 0
    first, second = json.loads(out)
    assert (first["name"], first["expired"], first["last_used_at"]) == ("reader", True, None)
    assert (second["name"], second["roles"], second["expires_at"]) == ("caller", ["predict", "label"], None)
    assert second["last_used_at"] == "2026-05-01T12:00:07+00:00"
    code, out, _ = run("tokens", "--list")
    assert code == 0
    assert "(expired)" in out.splitlines()[1]
    assert "ab" * 32 not in out


def test_tokens_are_made_in_a_folder_or_listed(run: Run, tmp_path: Path) -> None:
    assert run("tokens")[0] == 2
    assert run("tokens", "made", "--list")[0] == 2
    code, out, _ = run("tokens", "made")
    assert code == 0
    assert out.splitlines()[-1] == f'in ringside.toml: [serve] tokens = "{tmp_path}/made/tokens.toml"'
    assert run("tokens", "made")[0] == 2
    assert run("tokens", "made", "--keep", "1h")[0] == 2
    assert "no duration" in run("tokens", "made", "--anew", "--keep", "soon")[2]
    assert run("tokens", "made", "--anew", "--keep", "1h")[0] == 0
