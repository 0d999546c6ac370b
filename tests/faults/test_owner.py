"""`ringside up` that root runs once on another user's installation: the user's own starts afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.installation import make_installation, up
from tests.record.test_ownership import OPEN_ALL, OWNER

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for other users"),
]


def test_a_service_that_root_ran_once_leaves_nothing_of_roots(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = make_installation(home, workers=2)
    for path in (home, *home.rglob("*")):
        os.chown(path, OWNER, OWNER)
    with up(settings, log=tmp_path / "up.log") as running:
        running.wait_ready()
        assert running.predict(3, "a").status_code == 200
        mine = home / ".ringside"
        kept = [path for path in mine.rglob("*") if "bentoml" not in path.parts]
        assert [str(path) for path in kept if path.stat().st_uid != OWNER] == []
        assert running.stop() == 0
    assert [str(path) for path in home.rglob("*") if path.lstat().st_uid != OWNER] == []
    user = [sys.executable, "-c", OPEN_ALL, str(OWNER)]
    ended = subprocess.run(user, cwd=home, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
