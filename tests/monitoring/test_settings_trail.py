"""What the settings were and became stands in the trail, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitoring.settings_trail import chosen, say_settings
from record.record import Record, open_record
from record.settings import Settings, load_settings
from record.work.leases import Fence
from tests.monitoring.arena import TOML

SECRET = "s3cr3t"


def written(folder: Path, more: str = "") -> Settings:
    (folder / "ringside.toml").write_text(TOML + more)
    return load_settings(folder / "ringside.toml")


def say(record: Record, settings: Settings) -> list[Any]:
    fence = record.leases.acquire("watcher", "test", settings.watch.lease)
    if fence is None:
        held = record.leases.current("watcher")
        assert held is not None
        fence = Fence("watcher", held.token)
    say_settings(record, settings, fence)
    return [event.data["changed"] for event in record.events.page(kind="settings_changed")[0]]


def test_the_first_watcher_says_what_was_set_and_the_next_what_changed(tmp_path: Path) -> None:
    """Key by key, also back to the default; and nothing where nothing changed."""
    record = open_record(written(tmp_path))
    first = {
        "columns.who.role": [None, "carried"],
        "columns.who.type": [None, "text"],
        "columns.x.type": [None, "number"],
        "problem.target": [None, "late"],
        "problem.task": [None, "classification"],
        "quality.label_horizon": [None, "1h"],
    }
    assert say(record, written(tmp_path)) == [first]
    assert len(say(record, written(tmp_path))) == 1
    assert say(record, written(tmp_path, '[retrain]\nbudget = "5m"\n'))[-1] == {"retrain.budget": [None, "5m"]}
    assert say(record, written(tmp_path))[-1] == {"retrain.budget": ["5m", None]}
    record.close()


def test_no_secret_is_told_but_that_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses with passwords are digits of their hash; tokens are not told at all."""
    record = open_record(written(tmp_path))
    for word in (SECRET, SECRET + "2"):
        tokens = [{"name": "a", "roles": ["read"], "sha256": "0" * 64}]
        monkeypatch.setenv("RINGSIDE_SERVE__TOKENS", json.dumps(tokens))
        monkeypatch.setenv("RINGSIDE_TRACKING__MLFLOW_URI", f"http://me:{word}@127.0.0.1:5000")
        monkeypatch.setenv("RINGSIDE_NOTIFY__URLS", json.dumps([f"json://{word}@127.0.0.1"]))
        changed = say(record, written(tmp_path))[-1]
        assert {"notify.urls", "tracking.mlflow_uri"} <= set(changed)
        assert SECRET not in json.dumps(changed)
        assert "serve.tokens" not in changed
    assert set(changed) == {"notify.urls", "tracking.mlflow_uri"}
    assert chosen(written(tmp_path))["tracking.mlflow_uri"].startswith("#")
    record.close()
