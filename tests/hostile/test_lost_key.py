"""The record's key is lost for good: one command goes on without it, and does nothing where nothing is lost."""

from __future__ import annotations

import fcntl
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from record.record import open_record, replace_lost_key
from record.record_key import KEY_FILE
from record.settings import Settings, load_settings
from ringside import commands
from tests.record.models import record_of, register_model
from tests.service.serving import running

TOML = """
[problem]
name = "flights"
task = "classification"
target = "arrival"
positive_class = "late"
[store]
database = "{database}"
{more}
"""


def write_settings(folder: Path, database: str, more: str = "") -> Settings:
    file = folder / "ringside.toml"
    file.write_text(TOML.format(database=database, more=more))
    return load_settings(file)


def ask(settings: Settings, id: str, **record: Any) -> int:
    with running(settings) as (worker, client):
        if worker.record.registry.roles().champion is None:
            register_model(worker.record, as_champion=True)
        worker.champion.refresh()
        return client.post("/predict", {"records": [record_of(**record)], "ids": [id]}).status_code


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ringside", *arguments])
    try:
        commands.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_record_whose_key_is_lost_goes_on_with_a_new_one(
    tmp_path: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id from before is refused for any record; new ones are as ever; the trail says who did it and why."""
    settings = write_settings(tmp_path, empty_database_url)
    assert ask(settings, "before") == 200
    file = settings.store.artifacts / KEY_FILE
    lost = file.read_text()
    file.unlink()
    config = ["--config", str(settings.path)]
    assert run(monkeypatch, "status", *config) == 2
    assert "where it is lost: `ringside rekey`" in capsys.readouterr().err
    assert run(monkeypatch, "rekey", "--reason", "the disk was lost", "--json", *config) == 0
    assert json.loads(capsys.readouterr().out)["key"] == str(file)
    assert file.read_text() != lost
    assert ask(settings, "before") == 409
    assert [ask(settings, "after"), ask(settings, "after")] == [200, 200]
    record = open_record(settings)
    (event,) = record.events.page(kind="key_replaced")[0]
    assert (event.data, record.events.verify().valid) == ({"reason": "the disk was lost"}, True)
    record.close()


def test_while_nothing_is_lost_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = write_settings(tmp_path, f"sqlite:///{tmp_path}/record.db")
    assert ask(settings, "before") == 200
    assert run(monkeypatch, "rekey", "--reason", "a slip", "--config", str(settings.path)) == 1
    assert "nothing is lost, and nothing was changed" in capsys.readouterr().err
    assert ask(settings, "before") == 200


def test_a_running_service_goes_on_with_the_key_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = write_settings(tmp_path, f"sqlite:///{tmp_path}/record.db")
    open_record(settings).close()
    (settings.store.artifacts / KEY_FILE).unlink()
    with (settings.store.artifacts.parent / "up.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(monkeypatch, "rekey", "--reason", "too early", "--config", str(settings.path)) == 1
    assert "stop it first" in capsys.readouterr().err
    assert not (settings.store.artifacts / KEY_FILE).exists()


def test_a_key_of_the_users_own_has_to_be_there_first(tmp_path: Path) -> None:
    """Nothing is changed before: with the lost key back in its place, the record opens."""
    from record.errors import SettingsError

    database = f"sqlite:///{tmp_path}/record.db"
    key = tmp_path / "mine.key"
    key.write_text("m" * 40)
    settings = write_settings(tmp_path, database, 'key_file = "mine.key"')
    open_record(settings).close()
    key.unlink()
    with pytest.raises(SettingsError, match="No such file"):
        replace_lost_key(settings, actor="ann", reason="it is lost")
    key.write_text("m" * 40)
    open_record(settings).close()
    key.write_text("n" * 40)
    replace_lost_key(settings, actor="ann", reason="it is lost")
    open_record(settings).close()
