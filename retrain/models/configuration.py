"""What the search chooses: a family and its hyperparameters, or several of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Family = Literal["linear", "random_forest", "extra_trees", "gradient_boosting", "lightgbm", "perceptron"]
Kind = Family | Literal["ensemble"]
Value = float | int | str

# How probabilities are calibrated: see `retrain.models.calibration`.
CALIBRATION = ("temperature", "bias")
# What validation settles itself, beside what is proposed: rounds or epochs, a logarithm's factor, the calibration.
SETTLED = ("max_iter", "factor", *CALIBRATION)

FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A family and its hyperparameters; an ensemble has members instead, each of a family."""

    family: Kind
    params: Mapping[str, Value]
    members: tuple[Member, ...] = ()

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Configuration | None:
        """The configuration whose `to_json` this is; None for one that this product does not know."""
        members = tuple(Member.from_json(member) for member in held.get("members", ()))
        known = held.get("family") in FAMILIES or (held.get("family") == "ensemble" and len(members) > 0)
        if not known or "params" not in held or any(member is None for member in members):
            return None
        return cls(held["family"], held["params"], tuple(member for member in members if member is not None))

    @property
    def parts(self) -> tuple[Configuration, ...]:
        """What is fitted: the members, the weightiest first, or this one alone; before they are calibrated."""
        if not self.members:
            left = {name: value for name, value in self.params.items() if name not in CALIBRATION}
            return (replace(self, params=left),)
        return tuple(m.configuration for m in sorted(self.members, key=lambda m: m.weight, reverse=True))

    def to_json(self) -> dict[str, Any]:
        held: dict[str, Any] = {"family": self.family, "params": dict(self.params)}
        if self.members:
            held["members"] = [member.to_json() for member in self.members]
        return held


@dataclass(frozen=True, slots=True)
class Member:
    """One of an ensemble's: what it adds to the mean is its answer times its weight. Weights add up to 1."""

    configuration: Configuration
    weight: float

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Member | None:
        configuration = Configuration.from_json(held)
        return None if configuration is None or configuration.members else cls(configuration, float(held["weight"]))

    def to_json(self) -> dict[str, Any]:
        return {**self.configuration.to_json(), "weight": self.weight}
