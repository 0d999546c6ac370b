"""The Bento carries the serving part, and the serving part needs nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `src/` of a Bento built from a copy: what is imported from it cannot come from the checkout."""
    folder = tmp_path_factory.mktemp("bento")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in ("record", "service", "bentofile.yaml", "requirements-serve.lock"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, checkout / name)
    environment = {**os.environ, "BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag", "."]
    built = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (version,) = (path for path in (folder / "home" / "bentos" / "ringside").iterdir() if path.is_dir())
    return version / "src"


def run_from(source: Path, program: str) -> str:
    """What the program prints in a process whose only way to the product is the Bento."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # -S would hide the installed libraries with the editable install; so the Bento goes first, and is asserted on.
    environment |= {"PYTHONPATH": str(source), "BENTOML_DO_NOT_TRACK": "True", "RINGSIDE_CONFIG": "/nowhere.toml"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_service_imports_from_the_bento(source: Path) -> None:
    """`bentoml build` checks imports in the checkout only: here they are checked where they will run."""
    program = "import service.app as a; print(a.__file__, a.PredictionService.name)"
    assert run_from(source, program).startswith(str(source / "service" / "app.py"))


def test_the_bento_carries_the_migrations(source: Path) -> None:
    assert list((source / "record" / "migrations" / "versions").glob("0001*.py"))


def test_a_serving_process_loads_neither_evidently_nor_optuna_nor_scikit_learn(source: Path) -> None:
    """What the serving image does not carry cannot be needed by it."""
    heavy = ["evidently", "optuna", "sklearn", "scipy", "apscheduler", "pandas", "retrain", "monitoring"]
    program = f"import sys, service.app; print([name for name in {heavy} if name in sys.modules])"
    assert run_from(source, program) == "[]"


def test_the_serving_lock_holds_what_the_service_imports_and_no_more() -> None:
    locked = {
        line.split("==")[0] for line in (ROOT / "requirements-serve.lock").read_text().splitlines() if "==" in line
    }
    assert {"bentoml", "onnxruntime", "sqlalchemy", "prometheus-client"} <= locked
    assert locked & {"evidently", "optuna", "scikit-learn", "apscheduler", "skops"} == set()
