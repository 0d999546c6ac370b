"""MLServer with a custom runtime around a scikit-learn pipeline: its own speaks no data frames with strings."""

from __future__ import annotations

import os
from pathlib import Path

import joblib
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse


class FlightsModel(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self.pipeline = joblib.load(Path(os.environ["RINGSIDE_BENCH_MODEL"]) / "pipeline.joblib")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame = PandasCodec.decode_request(payload)
        probabilities = self.pipeline.predict_proba(frame)
        output = NumpyCodec.encode_output("probabilities", probabilities)
        return InferenceResponse(model_name=self.name, outputs=[output])
