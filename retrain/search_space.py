"""What the search may choose: per family a strong default, tried first, and the ranges around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy.typing as npt

from record.configuration.loop_sections import FeatureStage
from record.contract.schema import Task
from retrain.models.configuration import SETTLED, Configuration, Family, Value
from retrain.models.log_target import worth_a_logarithm
from retrain.trials.codings import CODED, RARE, STAGES, allowed, codings, rare

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Target = Literal["plain", "log"]

# The usual winner on tables first, then the cheapest, then what errs otherwise: a search cut short has seen the best
# bets, and an ensemble of few trials has members that differ.
ORDER: tuple[Family, ...] = (
    "lightgbm",
    "linear",
    "extra_trees",
    "gradient_boosting",
    "perceptron",
    "random_forest",
)

PREFIXES: dict[Family, str] = {
    "gradient_boosting": "gb",
    "lightgbm": "lgbm",
    "linear": "linear",
    "random_forest": "forest",
    "extra_trees": "extra",
    "perceptron": "mlp",
}

# Rows that a category needs to be told apart. Few values, so that trials share their encoded columns.
COUNTS = (5, 10, 20, 50)


def targets(y: npt.NDArray[Any]) -> Sequence[Target]:
    """What a model may be fitted to: the target, or its logarithm where that is less skewed."""
    return ("plain", "log") if y.dtype.kind == "f" and worth_a_logarithm(y) else ("plain",)


def defaults(
    families: Sequence[Family], targets: Sequence[Target] = ("plain",), stages: Sequence[FeatureStage] = STAGES
) -> list[dict[str, Value]]:
    """One set of values per family for the study to begin with, in the order of promise, then variants."""
    lightgbm = {"learning_rate": 0.05, "max_leaf_nodes": 31, "min_samples_leaf": 20, "l2_regularization": 1.0,
                "max_features": 0.7, "subsample": 0.8, "min_count": 10}  # fmt: skip
    slow = {"learning_rate": 0.03, "max_leaf_nodes": 12, "min_samples_leaf": 40, "l2_regularization": 5.0,
            "max_features": 0.5, "subsample": 0.7, "min_count": 20}  # fmt: skip
    large = {"learning_rate": 0.05, "max_leaf_nodes": 96, "min_samples_leaf": 10, "l2_regularization": 1.0,
             "max_features": 0.6, "subsample": 0.8, "min_count": 5}  # fmt: skip
    boosting = {"learning_rate": 0.08, "max_leaf_nodes": 24, "min_samples_leaf": 20, "l2_regularization": 0.1,
                "max_features": 0.7, "min_count": 10}  # fmt: skip
    small = {"learning_rate": 0.04, "max_leaf_nodes": 10, "min_samples_leaf": 40, "l2_regularization": 3.0,
             "max_features": 0.5, "min_count": 20}  # fmt: skip
    perceptron = {"units": 64, "layers": 2, "learning_rate_init": 0.003, "alpha": 0.001, "activation": "relu",
                  "min_count": 10}  # fmt: skip
    plain, target = {"categories": "ordered", "numbers": "plain"}, {"categories": "target", "numbers": "plain"}
    combined, crossed = {"categories": "target", "numbers": "combined"}, {"categories": "crossed", "numbers": "plain"}
    strong: list[tuple[Family, dict[str, Any]]] = [
        ("lightgbm", {**lightgbm, **plain}),
        ("linear", {"regularisation": 1.0, "min_count": 10, "categories": "target", "numbers": "ramps"}),
        ("extra_trees", {"max_features": 0.6, "min_samples_leaf": 1, "min_count": 10, **target}),
        ("gradient_boosting", {**boosting, **plain}),
        ("perceptron", {**perceptron, "categories": "target", "numbers": "plain"}),
        ("random_forest", {"max_features": 0.4, "min_samples_leaf": 2, "min_count": 10, **target}),
        ("lightgbm", {**lightgbm, **combined}),
        ("lightgbm", {**slow, **crossed}),
        ("lightgbm", {**large, **target}),
        ("gradient_boosting", {**boosting, **combined}),
        ("gradient_boosting", {**small, **crossed}),
        ("linear", {"regularisation": 10.0, "min_count": 20, "categories": "crossed", "numbers": "ramps"}),
    ]
    richest = allowed("linear", dict.fromkeys(rare(stages)), stages)
    for place, (_, params) in enumerate(strong):
        params |= richest
        if "dates" in richest and place % 2:  # a trend helps where levels move, and hides a season from trees
            params["dates"] = "cycles"
        if "texts" in richest and place % 2 == 0:  # words are a gain here and a burden there
            params["texts"] = RARE["texts"]
    if "log" in targets:
        smooth = [(family, params) for family, params in strong[:5] if family != "gradient_boosting"]
        logs = [(family, {**params, "target": "log"}) for family, params in smooth]
        strong = [*logs[:2], *((family, {**params, "target": "plain"}) for family, params in strong)]
        strong[8:8] = logs[2:]
    return [
        values_of(Configuration(family, allowed(family, params, stages)))
        for family, params in strong
        if family in families
    ]


def values_of(configuration: Configuration) -> dict[str, Value]:
    """The study's values that give this configuration, without what validation settles itself."""
    assert configuration.family != "ensemble"
    prefix = PREFIXES[configuration.family]
    held = {f"{prefix}.{name}": value for name, value in configuration.params.items() if name not in SETTLED}
    return {"family": configuration.family, **held}


def linear_default() -> Configuration:
    """The plain linear model that every run is measured against."""
    return Configuration("linear", {"regularisation": 1.0, "min_count": 10, "dates": "season"})


def suggest(
    trial: BaseTrial,
    families: Sequence[Family],
    task: Task,
    targets: Sequence[Target] = ("plain",),
    stages: Sequence[FeatureStage] = STAGES,
) -> Configuration:
    """One point of the space."""
    present = [family for family in ORDER if family in families]
    family = cast(Family, trial.suggest_categorical("family", present))
    prefix = PREFIXES[family]
    params: dict[str, Any] = _estimator(trial, family, prefix, task)
    params["min_count"] = trial.suggest_categorical(f"{prefix}.min_count", COUNTS)
    # None is better everywhere (docs/decisions/0016).
    for name, options in zip(CODED, codings(family, stages), strict=True):
        if name not in RARE or len(options) > 1:
            params[name] = trial.suggest_categorical(f"{prefix}.{name}", options)
    if len(targets) > 1:
        params["target"] = trial.suggest_categorical(f"{prefix}.target", targets)
    return Configuration(family, _chosen(params))


def _estimator(trial: BaseTrial, family: Family, prefix: str, task: Task) -> dict[str, Any]:
    if family == "linear":
        low, high = (1e-2, 1e3) if task == "classification" else (1e-3, 1e4)
        return {"regularisation": trial.suggest_float(f"{prefix}.regularisation", low, high, log=True)}
    if family in ("random_forest", "extra_trees"):
        return {
            "max_features": trial.suggest_float(f"{prefix}.max_features", 0.15, 1.0),
            "min_samples_leaf": trial.suggest_int(f"{prefix}.min_samples_leaf", 1, 40, log=True),
        }
    if family == "perceptron":
        return {
            "units": trial.suggest_int(f"{prefix}.units", 16, 128, log=True),
            "layers": trial.suggest_int(f"{prefix}.layers", 1, 3),
            "learning_rate_init": trial.suggest_float(f"{prefix}.learning_rate_init", 5e-4, 2e-2, log=True),
            "alpha": trial.suggest_float(f"{prefix}.alpha", 1e-6, 1.0, log=True),
            "activation": trial.suggest_categorical(f"{prefix}.activation", ("relu", "tanh")),
        }
    light = family == "lightgbm"
    params = {
        "learning_rate": trial.suggest_float(f"{prefix}.learning_rate", 0.02, 0.2 if light else 0.3, log=True),
        "max_leaf_nodes": trial.suggest_int(f"{prefix}.max_leaf_nodes", 4, 128 if light else 64, log=True),
        "min_samples_leaf": trial.suggest_int(f"{prefix}.min_samples_leaf", 2, 100, log=True),
        "l2_regularization": trial.suggest_float(f"{prefix}.l2_regularization", 1e-3, 30.0, log=True),
        "max_features": trial.suggest_float(f"{prefix}.max_features", 0.3, 1.0),
    }
    if light:
        params["subsample"] = trial.suggest_float(f"{prefix}.subsample", 0.5, 1.0)
    return params


def _chosen(params: dict[str, Any]) -> dict[str, Value]:
    """Four significant digits: a card can be read, and typed in again."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in params.items()}
