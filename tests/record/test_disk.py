"""What is free on the file systems that an installation writes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from record.disk import METRICS_FOLDER, FileSystem, file_systems, watched_folders
from tests.service.serving import make_settings
from tests.small_disk import MAY_MOUNT, small_disk


@pytest.mark.skipif(not MAY_MOUNT, reason="a small disk needs root and mounts")
def test_what_is_free_is_what_may_still_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8):
        before = file_systems({"record": tmp_path / "disk"})["record"]
        assert before == FileSystem(8 * 2**20, 8 * 2**20)
        (tmp_path / "disk" / "file").write_bytes(b"x" * 2**20)
        assert file_systems({"record": tmp_path / "disk"})["record"] == FileSystem(7 * 2**20, 8 * 2**20)


def test_a_folder_that_is_not_there_yet_will_be_where_its_parent_is(tmp_path: Path) -> None:
    here = file_systems({"a": tmp_path})["a"]
    assert file_systems({"a": tmp_path / "not" / "yet"})["a"].size == here.size


def test_the_record_the_models_and_the_metrics_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(METRICS_FOLDER, raising=False)
    settings = make_settings(tmp_path)
    home = settings.store.artifacts.parent
    expected = {"record": home, "artifacts": settings.store.artifacts, "metrics": home / "bentoml"}
    assert watched_folders(settings) == expected
    monkeypatch.setenv(METRICS_FOLDER, str(tmp_path / "elsewhere"))
    assert watched_folders(settings)["metrics"] == tmp_path / "elsewhere"


def test_a_record_on_a_server_is_on_another_hosts_disk(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, {"store": {"database": "postgresql://somebody@db.example/record"}})
    assert "record" not in watched_folders(settings)
