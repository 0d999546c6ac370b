"""A cell of a scored file means what it meant in training, and in a request, whatever else the file holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from record.contract.columns import BOOLEAN_SPELLINGS, MISSING
from record.errors import DataError
from record.tables.reading_rules import MISSING_WORDS, ReadingRules
from retrain.data.loading import load
from retrain.data.problem import problem_schema
from retrain.data.source import read_source
from tests.field.tables import ROWS, Project, csv, orders, project

TRAINED = {
    "letters": ["f", "t", "u"],
    "words": ["True", "False", "Other"],
    "points": ["1.0", "2.0", "3.0"],
    "whole": ["1", "2", "3"],
    "gaps": ["1.0", "2.0", None],
    "grade": ["None", "A", "true"],
    "flags": ["true", "FALSE", "NA"],
    "short": ["t", "f", None],
    "region": ["NA", "EU", "A.0"],
}
POOL = ["t", "f", "True", "FALSE", "true", "1.0", "1", "2", "None", "NA", "A", "A.0", "EU", "Other", ""]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    columns = {name: [cells[n % len(cells)] for n in range(ROWS)] for name, cells in TRAINED.items()}
    folder = tmp_path_factory.mktemp("trained")
    made = project(folder, csv(orders().assign(**columns)))
    kinds = {
        name: column.model_copy(update={"type": "category", "role": "feature"}) if name in TRAINED else column
        for name, column in made.settings.columns.items()
    }
    settings = made.settings.model_copy(update={"columns": kinds})
    return replace(made, settings=settings, data=load(settings, problem_schema(settings, None), []))


def scored(trained: Project, frame: pd.DataFrame, folder: Path, missing: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """What the version reads in the categories of a file with these rows."""
    path = folder / "rows.csv"
    frame.to_csv(path, index=False)
    problem = trained.data.schema.problem
    rows = read_source(str(path), None, problem.features, [], rules=ReadingRules(missing=missing), raw_categories=True)
    return meanings(trained, rows.frame)


def meanings(trained: Project, frame: pd.DataFrame) -> list[dict[str, str]]:
    arrays = trained.decoder.decode_frame(frame)
    names = trained.data.schema.problem.category_names
    return [dict(zip(names, row, strict=True)) for row in arrays.categories.tolist()]


def filled(cells: list[Any]) -> pd.DataFrame:
    """Rows of which each category holds these cells."""
    return orders(len(cells)).assign(**dict.fromkeys(TRAINED, cells))


def expected(trained: Project, name: str, text: str) -> str:
    """What a request with this text gives, but for what only files write."""
    record = filled([text]).to_dict("records")[0]
    features = {column.name for column in trained.data.schema.problem.columns}
    request = {key: value for key, value in record.items() if key in features}
    place = trained.data.schema.problem.category_names.index(name)
    said = str(trained.decoder.decode([request]).categories[0, place])
    seen = trained.seen(name).categories or ()
    if not text:
        return MISSING
    if said not in seen and set(seen) <= {"true", "false"}:
        return MISSING if text in MISSING_WORDS else said
    point = {"1.0": "1", "1": "1.0", "2": "2.0"}.get(text, text)
    return point if said not in seen and point in seen else said


def test_a_cell_means_the_same_in_every_file(trained: Project, tmp_path: Path) -> None:
    """Alone, beside each other cell, and among all of them."""
    alone = {text: scored(trained, filled([text]), tmp_path)[0] for text in POOL}
    for name in TRAINED:
        for text in POOL:
            assert alone[text][name] == expected(trained, name, text), (name, text)
    for group in [*combinations(POOL, 2), tuple(POOL)]:
        for text, row in zip(group, scored(trained, filled(list(group)), tmp_path), strict=True):
            assert [row[name] for name in TRAINED] == [alone[text][name] for name in TRAINED], (group, text)


def test_every_cell_that_training_saw_is_known_in_a_file_of_itself(trained: Project, tmp_path: Path) -> None:
    for name in TRAINED:
        for cell in TRAINED[name]:
            frame = orders(1).assign(**{other: TRAINED[other][0] for other in TRAINED}).assign(**{name: cell or ""})
            meaning = scored(trained, frame, tmp_path)[0][name]
            assert meaning == MISSING or meaning in (trained.seen(name).categories or ()), (name, cell)
            assert (meaning == MISSING) == (cell is None or (name == "flags" and cell == "NA")), (name, cell)


def test_words_that_settings_call_missing_are_missing_in_a_scored_file(trained: Project, tmp_path: Path) -> None:
    assert scored(trained, filled(["EU"]), tmp_path)[0]["region"] == "EU"
    assert scored(trained, filled(["EU"]), tmp_path, missing=("EU",))[0]["region"] == MISSING


@pytest.mark.parametrize("value", [True, False])
def test_a_typed_boolean_is_the_spelling_that_training_saw(trained: Project, value: bool) -> None:
    """Newer rows of a gate, and Parquet, bring booleans where the version learned from texts."""
    row = meanings(trained, filled([value]))[0]
    assert row["letters"] == ("t" if value else "f")
    assert row["words"] == ("True" if value else "False")
    assert row["flags"] == ("true" if value else "false")
    assert row["grade"] == ("true" if value else "false")
    assert BOOLEAN_SPELLINGS[row["letters"]] == BOOLEAN_SPELLINGS[row["words"]]


def test_whole_numbers_of_a_typed_file_are_what_training_saw(trained: Project) -> None:
    for value in (1, 1.0):
        row = meanings(trained, filled([value]))[0]
        for name in ("points", "whole", "gaps"):
            assert row[name] in (trained.seen(name).categories or ())


def test_a_cell_that_cannot_be_a_category_is_refused(trained: Project) -> None:
    with pytest.raises(DataError, match="row 0 of column"):
        meanings(trained, filled([1.5]))
