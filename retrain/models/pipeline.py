"""A model as a scikit-learn pipeline: an encoder of `retrain.features.encoding`, then one estimator, or an ensemble."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

from record.contract.arrays import Arrays
from record.contract.schema import Task
from retrain.features.encoding import TreeEncoder
from retrain.models.calibration import Calibrated, bare
from retrain.models.configuration import Configuration
from retrain.models.ensemble import AsDecoded, Ensemble
from retrain.models.families import encoder, estimator
from retrain.models.fitting import fit_estimator, predict_encoded

Floats = npt.NDArray[np.float64]


def build(configuration: Configuration, task: Task, seed: int) -> Pipeline:
    """An unfitted pipeline that takes `Arrays` and class codes (or float targets)."""
    params = dict(configuration.params)
    temperature, bias = params.pop("temperature", None), params.pop("bias", 0.0)
    if temperature is not None:
        pipeline = build(replace(configuration, params=params), task, seed)
        calibrated = Calibrated(pipeline.named_steps["model"], float(temperature), float(bias))
        return Pipeline([pipeline.steps[0], ("model", calibrated)])
    if configuration.members:
        members = [build(member.configuration, task, seed) for member in configuration.members]
        ensemble = Ensemble(members, [member.weight for member in configuration.members])
        return Pipeline([("encode", AsDecoded()), ("model", ensemble)])
    return Pipeline([("encode", encoder(configuration)), ("model", estimator(configuration, task, seed))])


def dummy(task: Task) -> Pipeline:
    """What a model must beat: the classes' shares, or the mean."""
    model = DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor()
    return Pipeline([("encode", TreeEncoder()), ("model", model)])


def fit(pipeline: Pipeline, x: Arrays, y: npt.NDArray[Any], weights: Floats | None = None) -> Pipeline:
    """The same pipeline, fitted; `weights` say how much each row counts to the estimator."""
    encoded = pipeline.named_steps["encode"].fit_transform(x, y)
    fit_estimator(bare(pipeline.named_steps["model"]), encoded, y, weights)
    return pipeline


def predict(pipeline: Pipeline, x: Arrays, classes: int) -> Floats:
    """Probabilities [n, classes], in the order of the class codes; or values [n] where `classes` is 0."""
    return predict_encoded(pipeline.named_steps["model"], pipeline.named_steps["encode"].transform(x), classes)
