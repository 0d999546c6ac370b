"""What the search may choose: per family a strong default, tried first, and the ranges around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from retrain.configuration import Configuration, Family, Value
from retrain.encoding import CategoryCoding, NumberCoding
from service.schema import Task

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

# The usual winner on tables first, then the cheapest, so that a search cut short has seen the best bets.
ORDER: tuple[Family, ...] = ("gradient_boosting", "linear", "random_forest")

PREFIXES: dict[Family, str] = {"gradient_boosting": "gb", "linear": "linear", "random_forest": "forest"}

# Rows that a category needs to be told apart. Few values, so that trials share their encoded columns.
COUNTS = (5, 10, 20, 50)

# What trees see of categories of many kinds, and of numbers: neither is better everywhere (docs/decisions/0016).
CATEGORIES: tuple[CategoryCoding, ...] = ("ordered", "target", "crossed")
NUMBERS: tuple[NumberCoding, ...] = ("plain", "combined")

# More rounds than this are never chosen: what they gain over a smaller step is small, what they cost is not.
MOST_ROUNDS = 300


def defaults(families: Sequence[Family]) -> list[dict[str, Value]]:
    """One set of values per family for the study to begin with, in the order of promise, then variants."""
    strong: list[dict[str, Value]] = [
        {"family": "gradient_boosting", "gb.learning_rate": 0.08, "gb.max_leaf_nodes": 24,
         "gb.min_samples_leaf": 20, "gb.l2_regularization": 0.1, "gb.max_features": 0.7, "gb.min_count": 10,
         "gb.categories": "ordered", "gb.numbers": "plain"},
        {"family": "linear", "linear.regularisation": 1.0, "linear.min_count": 10},
        {"family": "random_forest", "forest.max_features": 0.4, "forest.min_samples_leaf": 3, "forest.min_count": 10,
         "forest.categories": "target", "forest.numbers": "plain"},
        {"family": "gradient_boosting", "gb.learning_rate": 0.08, "gb.max_leaf_nodes": 24,
         "gb.min_samples_leaf": 20, "gb.l2_regularization": 0.1, "gb.max_features": 0.7, "gb.min_count": 10,
         "gb.categories": "target", "gb.numbers": "combined"},
        {"family": "gradient_boosting", "gb.learning_rate": 0.04, "gb.max_leaf_nodes": 10,
         "gb.min_samples_leaf": 40, "gb.l2_regularization": 3.0, "gb.max_features": 0.5, "gb.min_count": 20,
         "gb.categories": "crossed", "gb.numbers": "plain"},
        {"family": "linear", "linear.regularisation": 30.0, "linear.min_count": 20},
    ]  # fmt: skip
    return [values for values in strong if values["family"] in families]


def values_of(configuration: Configuration) -> dict[str, Value]:
    """The study's values that give this configuration, without what validation settles itself (rounds)."""
    assert configuration.family != "ensemble"
    prefix = PREFIXES[configuration.family]
    held = {f"{prefix}.{name}": value for name, value in configuration.params.items() if name != "max_iter"}
    return {"family": configuration.family, **held}


def linear_default() -> Configuration:
    """The plain linear model that every run is measured against."""
    return Configuration("linear", {"regularisation": 1.0, "min_count": 10})


def suggest(trial: BaseTrial, families: Sequence[Family], task: Task) -> Configuration:
    """One point of the space."""
    present = [family for family in ORDER if family in families]
    family = cast(Family, trial.suggest_categorical("family", present))
    if family == "linear":
        low, high = (1e-2, 1e3) if task == "classification" else (1e-3, 1e4)
        return Configuration(family, _chosen({
            "regularisation": trial.suggest_float("linear.regularisation", low, high, log=True),
            "min_count": trial.suggest_categorical("linear.min_count", COUNTS),
        }))  # fmt: skip
    if family == "random_forest":
        return Configuration(family, _chosen({
            "max_features": trial.suggest_float("forest.max_features", 0.15, 1.0),
            "min_samples_leaf": trial.suggest_int("forest.min_samples_leaf", 1, 40, log=True),
            "min_count": trial.suggest_categorical("forest.min_count", COUNTS),
            "categories": trial.suggest_categorical("forest.categories", CATEGORIES),
            "numbers": trial.suggest_categorical("forest.numbers", NUMBERS),
        }))  # fmt: skip
    return Configuration(family, _chosen({
        "learning_rate": trial.suggest_float("gb.learning_rate", 0.02, 0.3, log=True),
        "max_leaf_nodes": trial.suggest_int("gb.max_leaf_nodes", 4, 64, log=True),
        "min_samples_leaf": trial.suggest_int("gb.min_samples_leaf", 3, 100, log=True),
        "l2_regularization": trial.suggest_float("gb.l2_regularization", 1e-3, 30.0, log=True),
        "max_features": trial.suggest_float("gb.max_features", 0.3, 1.0),
        "min_count": trial.suggest_categorical("gb.min_count", COUNTS),
        "categories": trial.suggest_categorical("gb.categories", CATEGORIES),
        "numbers": trial.suggest_categorical("gb.numbers", NUMBERS),
    }))  # fmt: skip


def _chosen(params: dict[str, Any]) -> dict[str, Value]:
    """Four significant digits: a card can be read, and typed in again."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in params.items()}


def rounds(learning_rate: float) -> int:
    """How many rounds of boosting are tried: enough for the step size, within bounds."""
    return max(60, min(MOST_ROUNDS, round(12 / learning_rate)))
