"""Writes the pipeline as an MLflow model, as `mlflow.sklearn.save_model` does it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import joblib
import mlflow

folder = Path(os.environ["RINGSIDE_BENCH_MODEL"])
target = folder / "mlflow"
shutil.rmtree(target, ignore_errors=True)
mlflow.sklearn.save_model(joblib.load(folder / "pipeline.joblib"), target, serialization_format="cloudpickle")
