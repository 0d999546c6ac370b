"""An ensemble that answers one record in time: members go, the lightest first, until the packaged graph is quick."""

from __future__ import annotations

from dataclasses import replace

from sklearn.pipeline import Pipeline

from retrain.data.dataset import Dataset
from retrain.export.graph import to_onnx
from retrain.models.calibration import Calibrated, bare
from retrain.models.configuration import CALIBRATION, Configuration, Member
from retrain.models.ensemble import Ensemble
from retrain.package import measure_latency_ms

# Whatever the settings allow: a request waits for the model, and an ensemble's gain is never worth more than that.
MOST_MS = 1.0


def thinned(
    configuration: Configuration, fitted: Pipeline, rows: Dataset, limit_ms: float | None
) -> tuple[Configuration, Pipeline]:
    """The ensemble, or what is left of it within the limit; nothing is fitted anew. One alone stays as it is."""
    while isinstance(bare(fitted.named_steps["model"]), Ensemble) and not _quick(fitted, rows, limit_ms):
        configuration, fitted = _without_lightest(configuration, fitted)
    return configuration, fitted


def _quick(fitted: Pipeline, rows: Dataset, limit_ms: float | None) -> bool:
    schema = rows.schema
    model = to_onnx(fitted, len(schema.number_names), len(schema.category_names), rows.classes)
    return measure_latency_ms(model, rows.arrays.rows(0, 1)) <= min(MOST_MS, limit_ms or MOST_MS)


def _without_lightest(configuration: Configuration, fitted: Pipeline) -> tuple[Configuration, Pipeline]:
    weights = [member.weight for member in configuration.members]
    place = weights.index(min(weights))
    whole = fitted.named_steps["model"]
    model = bare(whole).without(place)
    left = [member for number, member in enumerate(configuration.members) if number != place]
    calibration = {name: value for name, value in configuration.params.items() if name in CALIBRATION}
    if len(left) == 1:
        alone = left[0].configuration
        configuration, steps = replace(alone, params={**alone.params, **calibration}), list(model.members[0].steps)
    else:
        members = tuple(
            Member(member.configuration, weight) for member, weight in zip(left, model.weights, strict=True)
        )
        configuration, steps = replace(configuration, members=members), [fitted.steps[0], ("model", model)]
    if isinstance(whole, Calibrated):
        steps[1] = ("model", whole.around(steps[1][1]))
    return configuration, Pipeline(steps)
