"""The record as the settings name it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from record.clock import EPOCH, SystemClock
from record.events import SettingsChanged
from record.log.requests_clock import RequestsClock
from record.record import open_record
from record.settings import load_settings
from tests.records import register_version

PROBLEM = """
[problem]
name = "flights"
task = "classification"
target = "late"
"""


def settings_file(folder: Path, more: str = "") -> Path:
    path = folder / "ringside.toml"
    path.write_text(PROBLEM + more)
    return path


def test_everything_is_where_the_settings_say(tmp_path: Path) -> None:
    """Database and artifacts stand beside the settings; opened again, what was written is there."""
    settings = load_settings(settings_file(tmp_path))
    record = open_record(settings)
    version = register_version(record)
    record.close()
    again = open_record(settings, migrate=False)
    assert isinstance(again.clock, SystemClock)
    assert again.registry.version("v1") == version
    assert again.registry.directory("v1") == tmp_path / ".ringside" / "artifacts" / "v1"
    assert again.events.verify().events == 2
    again.close()


def test_a_half_registered_version_is_gone_after_the_next_start(tmp_path: Path) -> None:
    """Opening removes what a crash between publishing and recording has left."""
    settings = load_settings(settings_file(tmp_path))
    record = open_record(settings)
    stage = record.artifacts.stage()
    (stage / "schema.json").write_text("{}")
    record.artifacts.seal(stage)
    left = record.artifacts.publish(stage, "v1")
    record.close()
    assert left.is_dir()
    open_record(settings, migrate=False).close()
    assert left.is_dir()
    open_record(settings).close()
    assert not left.exists()


def test_events_follow_the_requests_clock(tmp_path: Path) -> None:
    """With `clock.source = "requests"`, events stand at the requests' time, and the machine's beside it."""
    record = open_record(load_settings(settings_file(tmp_path, '[clock]\nsource = "requests"\n')))
    assert isinstance(record.clock, RequestsClock)
    first = record.events.append(SettingsChanged(digest="a"), actor="service")
    at = datetime(2013, 3, 1, tzinfo=UTC)
    record.clock.advance(at)
    second = record.events.append(SettingsChanged(digest="b"), actor="service")
    assert (first.at, second.at) == (EPOCH, at)
    assert second.recorded_at.year > 2020
    record.close()
