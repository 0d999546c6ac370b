"""The model's inputs that belong to each column: a time is one feature and several numbers."""

from __future__ import annotations

from dataclasses import dataclass

from record.contract.columns import TIME_PARTS
from record.contract.schema import ProblemSchema


@dataclass(frozen=True, slots=True)
class FeaturePlaces:
    """A column, and where the model's inputs of it stand in `Arrays`."""

    name: str
    numbers: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()


def feature_places(problem: ProblemSchema) -> list[FeaturePlaces]:
    """Every feature, in the problem's order."""
    numbers = {name: place for place, name in enumerate(problem.number_names)}
    categories = {name: place for place, name in enumerate(problem.category_names)}
    held = []
    for column in problem.features:
        if column.type == "category":
            held.append(FeaturePlaces(column.name, categories=(categories[column.name],)))
        elif column.type == "time":
            parts = tuple(numbers[f"{column.name}.{part}"] for part in TIME_PARTS)
            held.append(FeaturePlaces(column.name, numbers=parts))
        else:
            held.append(FeaturePlaces(column.name, numbers=(numbers[column.name],)))
    return held
