"""BentoML's own way: `@bentoml.api` with a scikit-learn pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=2)
class Service:
    def __init__(self) -> None:
        self.pipeline = joblib.load(Path(os.environ["RINGSIDE_BENCH_MODEL"]) / "pipeline.joblib")

    @bentoml.api(route="/predict")
    def predict(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        probabilities = self.pipeline.predict_proba(pd.DataFrame(records))[:, 1]
        return {"predictions": [{"probability": float(p)} for p in probabilities]}
