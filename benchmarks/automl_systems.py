"""The AutoML systems, and one measurement of one of them: a process of its own, watched from outside."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import psutil

from benchmarks.automl_cells import Cell
from benchmarks.automl_task import Task
from benchmarks.environments import environment

HERE = Path(__file__).parent
PEERS = HERE / "peers" / "automl"
THREADS = 2
SEED = 0  # of the systems; the holdouts have seeds of their own
SAMPLED_SECONDS = 0.1  # between two looks at the memory
# A system that is not through by then failed: it has had its budget several times.
PATIENCE = 4
GRACE_SECONDS = 300


@dataclass(frozen=True)
class System:
    """`packages` are put into an environment of its own; `script` is given the job's folder."""

    name: str
    version: str
    script: str
    packages: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        return ("-m", self.script) if "." in self.script and "/" not in self.script else (self.script,)


def peer(name: str, version: str, packages: tuple[str, ...] = ()) -> System:
    return System(name, version, str(PEERS / f"{name}_.py"), packages)


@cache
def systems() -> dict[str, System]:
    """Ours first. The versions are those that were current when the peers were measured."""
    import sklearn

    # pandas 3 has a type of its own for text, which peers do not take for one.
    return {
        "ringside": System("ringside", product_digest(), "benchmarks.automl_ringside"),
        "hgb": peer("hgb", f"scikit-learn {sklearn.__version__}"),
        "flaml": peer("flaml", "2.7.0", ("flaml[automl,catboost]==2.7.0", "pandas<3", "pyarrow")),
        "autogluon": peer("autogluon", "1.6.3", ("autogluon.tabular[lightgbm,catboost,xgboost,fastai]==1.6.3",)),
        "h2o": peer("h2o", "3.46.0.12", ("h2o==3.46.0.12", "pandas<3", "pyarrow", "scikit-learn")),
    }


def product_digest() -> str:
    """Of the code that trains and scores: another one is another Ringside, to be measured anew."""
    held = hashlib.sha256()
    for folder in ("retrain", "service"):
        for path in sorted((HERE.parent / folder).rglob("*.py")):
            held.update(path.read_bytes())
    return held.hexdigest()[:12]


def machine() -> str:
    names = (
        re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()) if platform.system() == "Linux" else []
    )
    model = names[0] if names else platform.processor()
    return f"{model}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def measure(asked: Cell, task: Task, system: System, environments: Path) -> Cell:
    """The answer to the cell's question; whatever goes wrong in the system is in its `error`."""
    python = environment(f"automl-{system.name}", system.packages, environments) / "python"
    asked = replace(asked, at=f"{datetime.now(UTC):%Y-%m-%d %H:%M}", machine=machine())
    with tempfile.TemporaryDirectory(prefix=f"{system.name}-") as name:
        folder = Path(name)
        task.write_job(folder, asked.holdout, asked.budget, THREADS, SEED)
        failure, memory = _run([str(python), *system.command, name], folder, asked.budget * PATIENCE + GRACE_SECONDS)
        asked = replace(asked, memory_mb=memory >> 20)
        if failure is not None:
            return replace(asked, error=failure)
        answer = json.loads((folder / "answer.json").read_text())
        truth = task.codes()[task.split(asked.holdout)[1]]
        try:
            score = task.score(truth, np.load(folder / "predictions.npy"))
        except ValueError as error:
            return replace(asked, error=str(error), seconds=answer["fit_seconds"])
    return replace(asked, score=score, seconds=answer["fit_seconds"], row_ms=answer["row_ms"], detail=answer["detail"])


def _run(command: list[str], folder: Path, seconds: float) -> tuple[str | None, int]:
    """What went wrong, if anything, and the most memory that the process and its descendants held at one time."""
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(HERE.parent)} if command[1] == "-m" else None,
            preexec_fn=_two_cores if hasattr(os, "sched_setaffinity") else None,
        )  # fmt: skip
        ended, largest = threading.Event(), [0]
        watch = threading.Thread(target=_watch, args=(process.pid, ended, largest), daemon=True)
        watch.start()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"not through after {seconds:.0f} s", largest[0]
        finally:
            ended.set()
            watch.join()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if (folder / "answer.json").exists():
        return None, largest[0]
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return (lines[-1] if lines else f"ended with {process.returncode}")[:300], largest[0]


def _two_cores() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def _watch(pid: int, ended: threading.Event, largest: list[int]) -> None:
    while not ended.wait(SAMPLED_SECONDS):
        largest[0] = max(largest[0], tree_bytes(pid))


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; what they share counts for each of them."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total
