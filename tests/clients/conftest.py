"""A live service for clients that this repository did not write, and the environment in which these are installed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from record.record import open_record
from tests.record.models import register_model
from tests.service.serving import ROLES, LiveService, live_service, tokens, wait_ready, write_config

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = ROOT / ".venv-clients"

SECRET = "secret-of-everything"

Caller = Callable[[str, dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="session")
def client_python() -> Path:
    """The interpreter that has KServe's, MLServer's and Triton's clients, and schemathesis."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip(f"{ENVIRONMENT.name} is not there: `make clients` installs it from requirements-clients.lock")
    return python


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Two workers behind tokens, with v1 as the champion."""
    folder = tmp_path_factory.mktemp("live")
    listed = folder / "tokens.json"
    everything = {"name": "everything", "roles": [role for roles in ROLES.values() for role in roles]}
    everything["sha256"] = hashlib.sha256(SECRET.encode()).hexdigest()
    listed.write_text(json.dumps([*tokens(), everything]))
    settings = write_config(folder, f'tokens = "{listed}"')
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with live_service(settings, folder) as service:
        wait_ready(service)
        yield service


@pytest.fixture
def all_roles() -> dict[str, str]:
    """The headers of a caller who may do everything."""
    return {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
def call(client_python: Path, live: LiveService) -> Caller:
    """Runs a program of this folder in the clients' environment: JSON in, JSON out."""

    def caller(program: str, task: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            [client_python, "-W", "ignore", Path(__file__).parent / program],
            input=json.dumps({"url": live.url, **task}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    return caller
