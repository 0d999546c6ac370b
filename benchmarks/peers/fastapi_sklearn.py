"""FastAPI with a scikit-learn pipeline, as its tutorial has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

pipeline = joblib.load(Path(os.environ["RINGSIDE_BENCH_MODEL"]) / "pipeline.joblib")
app = FastAPI()


class Request(BaseModel):
    records: list[dict[str, Any]]


@app.post("/predict")
def predict(request: Request) -> dict[str, Any]:
    probabilities = pipeline.predict_proba(pd.DataFrame(request.records))[:, 1]
    return {"predictions": [{"probability": float(p)} for p in probabilities]}
