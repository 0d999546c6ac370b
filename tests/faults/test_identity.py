"""Installations that look alike: the same path in two mount namespaces, copies, folders that take another's place."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from monitoring.supervision.identity import FILE, run_identity
from record.settings import load_settings
from tests.faults.installation import make_installation, up
from tests.waiting import wait_until


def test_a_folder_keeps_its_identity_and_shares_it_with_no_copy(tmp_path: Path) -> None:
    first = run_identity(tmp_path / "a")
    assert run_identity(tmp_path / "a") == first
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert run_identity(tmp_path / "b") != first
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert run_identity(tmp_path / "link") == first
    (tmp_path / "a").rename(tmp_path / "moved")
    assert run_identity(tmp_path / "moved") == first, "its processes are still its own"


def test_a_later_file_with_the_same_inode_is_another_identity(tmp_path: Path) -> None:
    first = run_identity(tmp_path)
    (tmp_path / FILE).write_text("0" * 32)  # the same file as the system sees it
    assert run_identity(tmp_path) != first


@pytest.mark.faults
def test_installations_at_one_path_in_two_mount_namespaces_leave_each_other_alone(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("two mount namespaces need root and unshare")
    place = tmp_path / "place"
    place.mkdir()
    homes = [make_installation(tmp_path / name) for name in ("a", "b")]
    assert homes[0].serve.port != homes[1].serve.port
    shutil.copy(homes[0].folder / "ringside.toml", place)
    seen_inside = load_settings(place / "ringside.toml")

    def inside(folder: Path) -> list[str]:
        """A command line's beginning: in a mount namespace in which `place` is that folder."""
        return ["unshare", "-m", "sh", "-c", f'mount --bind {folder} {place} && exec "$@"', "sh"]

    def started(folder: Path, port: int) -> object:
        here = seen_inside.model_copy(update={"serve": seen_inside.serve.model_copy(update={"port": port})})
        return up(here, before=inside(folder), log=folder / "up.log")

    first_port, second_port = homes[0].serve.port, homes[1].serve.port
    with started(homes[0].folder, first_port) as first:  # type: ignore[attr-defined]
        first.wait_ready()
        served = {process.pid: process for process in psutil.Process(first.process.pid).children(recursive=True)}
        with started(homes[1].folder, second_port) as second:  # type: ignore[attr-defined]
            second.wait_ready()
            assert second.lines("processes of an earlier run ended") == []
            assert second.predict().status_code == 200
            assert second.stop() == 0
        assert all(process.is_running() for process in served.values()), first.text()[-2000:]
        assert first.lines("program died") == []
        assert first.predict().status_code == 200
        assert first.stop() == 0
    wait_until(lambda: not any(process.is_running() for process in served.values()), 30, "the first one has ended")
