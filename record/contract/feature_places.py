"""The model's inputs that belong to each column: a time is one feature and several numbers."""

from __future__ import annotations

from dataclasses import dataclass

from record.contract.schema import ProblemSchema


@dataclass(frozen=True, slots=True)
class FeaturePlaces:
    """A column, and where the model's inputs of it stand in `Arrays`."""

    name: str
    numbers: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()


def feature_places(problem: ProblemSchema) -> list[FeaturePlaces]:
    """Every feature, in the problem's order."""
    numbers: dict[str, list[int]] = {}
    for place, (_, column, _) in enumerate(problem.number_inputs):
        numbers.setdefault(column, []).append(place)
    categories = {name: place for place, name in enumerate(problem.category_names)}
    held = []
    for feature in problem.features:
        if feature.type == "category":
            held.append(FeaturePlaces(feature.name, categories=(categories[feature.name],)))
        else:
            held.append(FeaturePlaces(feature.name, numbers=tuple(numbers[feature.name])))
    return held
