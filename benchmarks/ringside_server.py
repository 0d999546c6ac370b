"""Ringside as the serving benchmark's server: the same model, registered as champion, behind `ringside up`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd

from benchmarks import problem
from benchmarks.servers import Server
from record.contract.columns import MISSING
from record.record import Record, open_record
from record.settings import load_settings
from retrain.data.loading import load
from retrain.models.configuration import Configuration
from retrain.models.pipeline import build, fit
from retrain.package import package

FILES = ("model.onnx", "estimator.skops", "schema.json", "reference.parquet", "golden.parquet", "report.html")
CONFIGURATION = Configuration("gradient_boosting", {"max_iter": problem.TREES})


def write_version(frame: pd.DataFrame, folder: Path) -> None:
    """Fits, packages and registers the champion in `folder`; leaves model.onnx and columns.json for the floor."""
    settings = load_settings(problem.write_toml(folder, frame))
    record = open_record(settings)
    schema = settings.problem_schema()
    assert schema is not None
    data = load(settings, schema, [])
    pipeline = fit(build(CONFIGURATION, "classification", seed=0), data.arrays, data.target)
    stage = record.artifacts.stage()
    model = package(stage, pipeline, data, {}, seed=0)
    (stage / "report.html").write_text("<!doctype html><title>benchmark</title>")
    card = {"family": CONFIGURATION.family, "params": dict(CONFIGURATION.params), "reference_loss": 0.2}
    record.registry.register(
        stage,
        run_id=None,
        parent=None,
        card=card,
        read_until_seq=0,
        data_until=None,
        actor="benchmark",
        as_champion=True,
    )
    record.close()
    (folder / "model.onnx").write_bytes(model)
    columns = {"numbers": data.schema.number_names, "categories": data.schema.category_names, "missing": MISSING}
    (folder / "columns.json").write_text(json.dumps(columns))


def ringside_server(folder: Path, name: str, *, durability: str = "commit") -> Server:
    """`ringside up` on the version that `write_version` left, on a copy of its own of the record."""
    home = folder / name
    environment = {
        "RINGSIDE_CONFIG": str(home / "ringside.toml"),
        "RINGSIDE_SERVE__PORT": "{port}",
        "RINGSIDE_SERVE__WORKERS": "2",
        "RINGSIDE_LOG__DURABILITY": durability,
        "RINGSIDE_PROMOTION__EVERY": "20s",  # so that a challenger is soon in the ring; looks are far rarer by default
    }
    command = ("ringside", "up", "--log-folder", str(home / "logs"))
    return Server(name, command, ready="/readyz", environment=environment, folder=folder)


def copy_home(folder: Path, name: str) -> None:
    """A home of its own for one server, and each time a new one: no run adds to another's log."""
    home = folder / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for held in ("ringside.toml", "flights.parquet"):
        os.link(folder / held, home / held)
    shutil.copytree(folder / ".ringside", home / ".ringside")


def register_copy(record: Record) -> str:
    """The champion's files once more, as a challenger of the same answers; its version."""
    champion = record.registry.version("v1")
    stage = record.artifacts.stage()
    for name in FILES:
        shutil.copy(record.registry.directory("v1") / name, stage / name)
    version = record.registry.register(
        stage, run_id=None, parent="v1", card=champion.card, read_until_seq=0, data_until=None, actor="benchmark"
    )
    return version.version
