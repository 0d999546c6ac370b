"""What `ringside up` keeps running: the prediction service and the watcher."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from monitoring.supervision.supervisor import Program
from record.configuration.settings_copy import CONFIG, COPY, DIGEST
from record.disk import RUNNING
from record.process import NO_TELEMETRY
from record.settings import Settings
from record.settings_in_force import up_copy

SERVICE = "service.app:PredictionService"
BENTOML_HOME = RUNNING
WORKER_MARK = "_bentoml_impl.worker.service"  # stands in the command line of each of BentoML's workers


def programs(settings: Settings, environment: Mapping[str, str] | None = None) -> list[Program]:
    """Service and watcher for these settings, startable from anywhere."""
    inherited = dict(os.environ if environment is None else environment)
    began_with = {CONFIG: str(settings.path), COPY: str(up_copy(settings)), DIGEST: settings.digest()}
    shared = {**inherited, **NO_TELEMETRY, **began_with}
    # BentoML takes the working directory for the project, and the project must be the one that is installed.
    root = Path(__file__).resolve().parents[2]
    service = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--working-dir", str(root)]
    address = ["--host", settings.serve.address(), "--port", str(settings.serve.port)]
    return [
        Program(
            name="service",
            command=[*service, *address],
            environment=_serving(shared, run_folder(settings)),
            folder=root,
            workers=settings.serve.workers,
            worker_mark=WORKER_MARK,
        ),
        Program(
            name="watcher",
            command=[sys.executable, "-m", "monitoring"],
            environment=_without(shared, "PROMETHEUS_MULTIPROC_DIR"),  # its counters are not the service's
            folder=root,
        ),
    ]


def run_folder(settings: Settings) -> Path:
    """Where running processes keep what is theirs alone: beside the models."""
    return settings.store.artifacts.parent


def _serving(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {
        **_without(environment, "BENTOML_CONTAINERIZED", "PROMETHEUS_MULTIPROC_DIR"),  # with the first, no restarts
        "BENTOML_HOME": str(folder / BENTOML_HOME),  # two servers with one home wipe each other's metrics
        "OMP_NUM_THREADS": "1",  # without it, two workers' threads fight: 400 ms a row instead of 12
    }


def _without(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}
