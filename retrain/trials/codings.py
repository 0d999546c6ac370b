"""What is made of columns: what a search may choose from, and what a fitted pipeline has chosen, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from sklearn.pipeline import Pipeline

from record.configuration.loop_sections import FeatureStage
from record.contract.arrays import Arrays
from record.contract.schema import ProblemSchema
from retrain.features.encoding import LinearEncoder, TreeEncoder
from retrain.features.words import text_places
from retrain.models.calibration import bare
from retrain.models.configuration import Family
from retrain.models.families import SMOOTH

STAGES: tuple[FeatureStage, ...] = get_args(FeatureStage)


CODED = ("categories", "numbers", "dates", "texts")
# Codings that only some problems have columns for, and the one that does nothing.
RARE = {"dates": "parts", "texts": "whole"}


def applicable(stages: Sequence[FeatureStage], arrays: Arrays) -> tuple[FeatureStage, ...]:
    """The stages without those that the rows have no columns for: times, and texts of several words."""
    idle = {*(() if arrays.times else ("dates",)), *(() if text_places(arrays.categories) else ("words",))}
    return tuple(stage for stage in stages if stage not in idle)


def codings(family: Family, stages: Sequence[FeatureStage]) -> tuple[tuple[str, ...], ...]:
    """The ways to see categories, numbers, times and texts that a family may choose from, the plainest first."""
    categories = ["one_hot" if family in SMOOTH else "ordered"]
    if "target_means" in stages:
        categories += ["target", "crossed"] if "crosses" in stages else ["target"]
    made: FeatureStage = "ramps" if family in SMOOTH else "combinations"
    numbers = ["plain", "ramps" if family in SMOOTH else "combined"] if made in stages else ["plain"]
    dates = ("parts", "cycles", "season") if "dates" in stages else ("parts",)
    texts = ("whole", "words") if "words" in stages else ("whole",)
    return tuple(categories), tuple(numbers), dates, texts


def rare(stages: Sequence[FeatureStage]) -> tuple[str, ...]:
    """The codings of `RARE` that there is a choice of; the families share them."""
    return tuple(
        n for n, options in zip(CODED, codings("linear", stages), strict=True) if n in RARE and len(options) > 1
    )


def allowed(family: Family, params: Mapping[str, Any], stages: Sequence[FeatureStage]) -> dict[str, Any]:
    """The parameters, with the richest codings that the stages leave in place of richer ones."""
    held = dict(params)
    for name, options in zip(CODED, codings(family, stages), strict=True):
        if name in held and held[name] not in options:
            held[name] = options[-1]
    return held


def described(pipeline: Pipeline, problem: ProblemSchema) -> list[str]:
    """What the pipeline makes of columns beyond their plain coding, each once; an ensemble's members together."""
    members = getattr(bare(pipeline.named_steps["model"]), "members", None) or [pipeline]
    lines = [line for member in members for line in _of_encoder(member.named_steps["encode"], problem)]
    return list(dict.fromkeys(lines))


def _of_encoder(encoder: TreeEncoder | LinearEncoder, problem: ProblemSchema) -> list[str]:
    texts, numbers = problem.category_names, problem.number_names
    told = encoder.told_columns
    lines = [f"mean target of {texts[place]}" for place in told]
    if encoder.crosses_ is not None:
        lines += [f"mean target of {texts[first]} with {texts[second]}" for first, second in encoder.crosses_.pairs_]
    lines += _of_dates(encoder, problem) + _of_words(encoder, problem)
    if isinstance(encoder, LinearEncoder):
        return [*lines, *(["ramps of numbers"] if encoder.ramps_ is not None and numbers else [])]
    if encoder.combinations_ is None:
        return lines
    pairs = zip(encoder.combinations_.sums_.tolist(), encoder.combinations_.weights_.tolist(), strict=True)
    lines += [f"{u:+.3g} × {numbers[a]} {v:+.3g} × {numbers[b]}" for (a, b), (u, v) in pairs]
    return [*lines, *(f"{numbers[a]} / {numbers[b]}" for a, b in encoder.combinations_.ratios_.tolist())]


def _of_words(encoder: TreeEncoder | LinearEncoder, problem: ProblemSchema) -> list[str]:
    words = encoder.words_
    return [] if words is None else [f"words of {problem.category_names[place]}" for place in words.places_]


def _of_dates(encoder: TreeEncoder | LinearEncoder, problem: ProblemSchema) -> list[str]:
    dates = encoder.dates_
    if dates is None:
        return []
    times = [column.name for column in problem.features if column.type == "time"]
    made = [*(f"time of day of {name}" for name in times), *(f"time of year of {name}" for name in times)]
    made += [f"days from {times[first]} to {times[second]}" for first, second in dates.pairs_.tolist()]
    lines = [made[place] for place in dates.kept_.tolist()]
    cycled = isinstance(encoder, LinearEncoder) and len(dates.turning_)
    lines += [f"cycles of {name}" for name in times if cycled]
    return [*lines, *(f"no trend over {name}" for name in times if encoder.dates == "season")]
