"""`/docs.json` in JavaScript's tools: two linters have nothing to say, and a generated TypeScript client works."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import SECRET
from tests.record.models import answer
from tests.service.serving import LiveService

FOLDER = Path(__file__).parent / "node"
FILES = ("client.ts", "tsconfig.json", "package.json", ".spectral.yaml", "redocly.yaml")
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1", "CI": "true"}


@pytest.fixture(scope="module")
def workspace(live: LiveService, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the live service's document, the client's source, and the tools."""
    if not (FOLDER / "node_modules" / ".installed").exists():
        pytest.skip("the tools are not there: `make node` installs them from tests/clients/node/package-lock.json")
    folder = tmp_path_factory.mktemp("typescript")
    for name in FILES:
        shutil.copy(FOLDER / name, folder)
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    headers = {"Authorization": f"Bearer {SECRET}"}
    (folder / "docs.json").write_bytes(httpx.get(f"{live.url}/docs.json", headers=headers).content)
    return folder


def run(folder: Path, program: str, *arguments: str, **surroundings: str) -> str:
    """What a tool writes; fails with it where the tool fails."""
    path = folder / "node_modules" / ".bin" / program
    done = subprocess.run(
        [path if path.exists() else program, *arguments],
        cwd=folder,
        env={**os.environ, **QUIET, **surroundings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{program}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_spectral_has_nothing_to_say(workspace: Path) -> None:
    """Not even a hint."""
    run(workspace, "spectral", "lint", "docs.json", "--fail-severity", "hint")


def test_redocly_has_nothing_to_say(workspace: Path) -> None:
    """By the recommended rules, in which every warning counts as an error."""
    run(workspace, "redocly", "lint", "docs.json")


def test_a_generated_client_compiles_strictly_and_works(live: LiveService, workspace: Path) -> None:
    run(workspace, "openapi-typescript", "docs.json", "--output", "schema.d.ts")
    run(workspace, "tsc")
    told = run(workspace, "node", "client.js", RINGSIDE=live.url, TOKEN=SECRET)
    found = httpx.Response(200, text=told.splitlines()[-1]).json()
    late = answer({"distance": 500.0, "carrier": "AA"}, 0.0)
    assert found.pop("late") == pytest.approx(late, abs=1e-6)
    assert found.pop("predictions") >= 1
    assert found == {
        "accepted": 1,
        "code": "invalid_label",
        "champion": "v1",
        "standing": "eligible",
        "kinds": ["model_registered", "model_promoted"],
        "state": "requested",
        "conflict": "role_conflict",
        "how": "first_version",
        "ready": True,
    }
