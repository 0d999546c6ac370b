"""What the processes of a running service take for the settings while their file is edited."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from record.configuration.settings_copy import CONFIG, COPY, DIGEST, hold_copy, write_copy
from record.errors import SettingsDrift
from record.settings import Settings, load_settings
from record.settings_in_force import file_changed, hold_settings, settings_status, up_copy

TEXT = '[problem]\nname = "a"\ntask = "regression"\ntarget = "t"\n[log]\nid_window = "30d"\n'
EDITED = TEXT.replace("30d", "40d")
BROKEN = "[[[\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in (CONFIG, COPY, DIGEST):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    file = tmp_path / "ringside.toml"
    file.write_text(TEXT)
    read = load_settings(file)
    read.store.artifacts.mkdir(parents=True)
    return read


def begin(settings: Settings, monkeypatch: pytest.MonkeyPatch, copy: str) -> None:
    """This process becomes one of a service that began with those settings."""
    for name, value in ((CONFIG, str(settings.path)), (COPY, copy), (DIGEST, settings.digest())):
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("now", [EDITED, BROKEN, None])
@pytest.mark.parametrize("explicit", [True, False])
def test_the_text_that_the_service_began_with_counts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, now: str | None, explicit: bool
) -> None:
    """Edited, broken or gone; named or not: relative paths go on being relative to the file's folder."""
    assert settings.path is not None
    write_copy(settings.text, up_copy(settings))
    begin(settings, monkeypatch, str(up_copy(settings)))
    settings.path.unlink() if now is None else settings.path.write_text(now)
    read = load_settings(settings.path if explicit else None)
    assert read == settings
    assert settings_status(read) == {"digest": settings.digest(), "file_changed": True}


def test_without_the_copy_the_file_counts_as_long_as_it_says_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.path is not None
    begin(settings, monkeypatch, str(up_copy(settings)))
    settings.path.write_text(TEXT + "# a comment is no other setting\n")
    assert load_settings().digest() == settings.digest()
    settings.path.write_text(EDITED)
    with pytest.raises(SettingsDrift, match="has changed since the service started"):
        load_settings()


def test_another_file_is_read_as_it_is(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_copy(settings.text, up_copy(settings))
    begin(settings, monkeypatch, str(up_copy(settings)))
    other = tmp_path / "other.toml"
    other.write_text(EDITED)
    assert load_settings(other).text == EDITED


def test_a_command_beside_a_running_service_says_what_that_runs_with(settings: Settings) -> None:
    assert settings.path is not None
    write_copy(settings.text, up_copy(settings))
    settings.path.write_text(EDITED)
    command = load_settings(settings.path)
    assert command.digest() != settings.digest()
    with (up_copy(settings).parent / "up.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as `ringside up` does
        assert settings_status(command) == {"digest": settings.digest(), "file_changed": True}
        up_copy(settings).write_text(BROKEN)
        assert settings_status(command) == {"digest": command.digest(), "file_changed": False}


def test_what_a_killed_service_left_is_not_in_force(settings: Settings) -> None:
    assert settings.path is not None
    write_copy(settings.text, up_copy(settings))
    (up_copy(settings).parent / "up.lock").touch()
    settings.path.write_text(EDITED)
    command = load_settings(settings.path)
    assert settings_status(command) == {"digest": command.digest(), "file_changed": False}


def test_children_read_what_their_starter_has_read(settings: Settings) -> None:
    """Also without a folder to keep it in: from memory, for as long as the starter lives."""
    assert settings.path is not None
    if hold_copy("") is None:
        pytest.skip("this system keeps no file in memory (memfd_create)")
    hold_settings(settings)
    settings.path.write_text(BROKEN)
    code = "from record.settings import load_settings as l; print(l().digest())"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert told.stdout.strip() == settings.digest()


def test_the_copy_is_for_its_owner_alone_and_replaced_as_a_whole(settings: Settings) -> None:
    for text in (TEXT, EDITED):
        write_copy(text, up_copy(settings))
        assert up_copy(settings).read_text() == text
        assert up_copy(settings).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in up_copy(settings).parent.glob("up.toml*")] == ["up.toml"]


def test_settings_without_a_file_never_change(tmp_path: Path) -> None:
    made = Settings(folder=tmp_path, problem={"name": "a", "task": "regression", "target": "t"})
    assert not file_changed(made)
    assert settings_status(made)["file_changed"] is False
