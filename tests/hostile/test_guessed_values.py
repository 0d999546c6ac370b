"""Somebody who has the database tries values of a redacted column until the digest of the request fits."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from record.db.tables import prediction_ids, predictions
from record.errors import SettingsError
from record.record import Record, open_record
from record.record_key import KEY_FILE, UNKEYED_BYTES, RecordKey
from record.settings import Settings
from ringside import commands
from tests.fixtures.unfreezing import thaw_sqlite
from tests.record.models import register_model
from tests.service.serving import make_settings, running

SECRET = "078-05-1120"


def settings_of(folder: Path, database_url: str, **store: Any) -> Settings:
    columns = {
        "distance": {"type": "number"},
        "carrier": {"type": "category"},
        "note": {"role": "carried", "type": "text"},
    }
    return make_settings(
        folder, {"columns": columns, "log": {"redact": ["note"]}, "store": {"database": database_url, **store}}
    )


def guess(record: Record, id: str, seal: Callable[[bytes], bytes]) -> str | None:
    """What the redacted column held, by trying values."""
    with record.database.read() as connection:
        logged = connection.execute(sa.select(predictions.c.record).where(predictions.c.id == id)).scalar_one()
        digest = connection.execute(sa.select(prediction_ids.c.digest).where(prediction_ids.c.id == id)).scalar_one()
    from record.versions.model import ServedModel

    decoder = ServedModel.read(record.registry.open("v1"), "v1").decoder
    for last in range(1000, 1200):
        value = f"078-05-{last}"
        if seal(decoder.digest({**json.loads(logged), "note": value})) == digest:
            return value
    return None


def test_a_redacted_value_cannot_be_found_without_the_key(tmp_path: Path, empty_database_url: str) -> None:
    """With the key it can: so the guessing itself works, and the key is what keeps it from success."""
    settings = settings_of(tmp_path, empty_database_url)
    with running(settings) as (worker, client):
        register_model(worker.record, as_champion=True)
        worker.champion.refresh()
        record = {"distance": 500.0, "carrier": "AA", "note": SECRET}
        assert client.post("/predict", {"records": [record], "ids": ["one"]}).status_code == 200
        again = client.post("/predict", {"records": [record], "ids": ["one"]})
        assert again.status_code == 200
        assert client.post("/predict", {"records": [{**record, "note": "x"}], "ids": ["one"]}).status_code == 409
        key = RecordKey((settings.store.artifacts / KEY_FILE).read_bytes().strip())
        assert guess(worker.record, "one", lambda digest: digest) is None
        assert guess(worker.record, "one", RecordKey(b"k" * 64).seal) is None
        assert guess(worker.record, "one", key.seal) == SECRET


def test_the_key_is_for_its_owners_eyes(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"sqlite:///{tmp_path}/record.db")
    open_record(settings).close()
    status = (settings.store.artifacts / KEY_FILE).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600


def test_replicas_that_start_at_once_have_one_key(tmp_path: Path, empty_database_url: str) -> None:
    settings = settings_of(tmp_path, empty_database_url)
    with ThreadPoolExecutor(6) as replicas:
        records = list(replicas.map(lambda _: open_record(settings), range(6)))
    assert len({record.log.seal(b"the same") for record in records}) == 1
    for record in records:
        record.close()


def test_a_service_with_another_key_is_refused(
    tmp_path: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whichever place it comes; with the first one again, in any of them, the record opens."""
    settings = settings_of(tmp_path, empty_database_url)
    open_record(settings).close()
    file = settings.store.artifacts / KEY_FILE
    kept = file.read_text().strip()
    elsewhere = tmp_path / "elsewhere.key"
    elsewhere.write_text("another" * 8)
    refused = "is not the one that this record was opened with"
    with pytest.raises(SettingsError, match=refused):
        open_record(settings_of(tmp_path, empty_database_url, key_file="elsewhere.key"))
    with pytest.raises(SettingsError, match=refused) as refusal:
        open_record(settings_of(tmp_path, empty_database_url, key="another" * 8))
    assert "another" * 8 not in refusal.value.message
    file.unlink()
    with pytest.raises(SettingsError, match=r"record\.key: No such file or directory; expected the record's key"):
        open_record(settings)
    assert not file.exists()
    with pytest.raises(SettingsError, match="has 5 bytes; expected at least 32"):
        open_record(settings_of(tmp_path, empty_database_url, key="short"))
    monkeypatch.setenv("RINGSIDE_STORE__KEY", kept)
    open_record(settings_of(tmp_path, empty_database_url)).close()
    monkeypatch.delenv("RINGSIDE_STORE__KEY")
    elsewhere.write_text(kept + "\n")
    open_record(settings_of(tmp_path, empty_database_url, key_file="elsewhere.key")).close()


def test_the_command_line_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    thaw_sqlite("af4652c", tmp_path)
    config = tmp_path / "ringside.toml"
    monkeypatch.setattr(sys, "argv", ["ringside", "status", "--config", str(config)])
    commands_run()
    monkeypatch.setenv("RINGSIDE_STORE__KEY", "another" * 8)
    assert commands_run() == 2
    assert capsys.readouterr().err.startswith("ringside: store.key: the key in RINGSIDE_STORE__KEY is not the one")


def commands_run() -> int:
    try:
        commands.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def upgraded(tmp_path: Path) -> tuple[Settings, dict[str, Any]]:
    thawed = thaw_sqlite("af4652c", tmp_path)
    return thawed.settings, thawed.facts["repeated"]


def unkeyed(record: Record) -> int:
    count = sa.select(sa.func.count()).where(sa.func.length(prediction_ids.c.digest) == UNKEYED_BYTES)
    with record.database.read() as connection:
        return int(connection.execute(count).scalar_one())


def test_digests_of_an_earlier_release_are_keyed_and_mean_what_they_meant(
    upgraded: tuple[Settings, dict[str, Any]],
) -> None:
    settings, repeated = upgraded
    record = open_record(settings)
    before = unkeyed(record)
    assert before > 20
    assert record.log.key_digests() == before
    assert (unkeyed(record), record.log.key_digests()) == (0, 0)
    record.close()
    with running(settings) as (_, client):
        assert client.post("/predict", repeated["body"]).status_code == 200
        other = {**repeated["body"], "records": [{**repeated["body"]["records"][0], "who": "person 65"}]}
        assert client.post("/predict", other).status_code == 409
