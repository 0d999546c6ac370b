"""Words of texts: which are kept, and that they say what whole texts do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from record.contract.arrays import Arrays
from record.contract.columns import MISSING
from retrain.features.words import MOST_WORDS, Words, text_places, words_of
from retrain.models.configuration import Configuration, Family
from retrain.models.pipeline import build, fit, predict

RANKS = ["junior", "senior", "chief", "interim", "deputy"]
FIELDS = ["data", "press", "field", "night", "store", "law"]
JOBS = ["engineer", "clerk", "nurse", "driver", "cook", "teacher", "pilot"]


def titles(rows: int, seed: int = 0) -> tuple[Arrays, npt.NDArray[np.float64]]:
    """Titles of three or four words, most of them rare as a whole, and a wage that three of the words move."""
    generator = np.random.default_rng(seed)
    parts = [generator.choice(words, rows) for words in (RANKS, FIELDS, JOBS)]
    places = [f"site{number}" for number in generator.integers(0, 40, rows)]
    texts = np.array([" ".join(words) for words in zip(*parts, places, strict=True)], dtype=object)
    wage = 2.0 * (parts[0] == "chief") + 1.0 * (parts[1] == "law") - 1.5 * (parts[2] == "cook")
    texts[::50] = MISSING
    wage[::50] = 0.0
    categories = np.stack([texts, generator.choice(["a b", "c d"], rows)], axis=1).astype(object)
    return Arrays(np.empty((rows, 0), np.float32), categories), wage + generator.normal(0.0, 0.1, rows)


def test_words_that_tell_are_kept() -> None:
    """Of a column of many texts; one of two texts is a category, though each is two words."""
    rows, wage = titles(2_000)
    assert text_places(rows.categories) == [0]
    words = Words().fit(rows.categories, target=wage[:, None])
    assert words.places_ == [0]
    assert words.count <= MOST_WORDS
    assert {"chief", "law", "cook"} <= set(words.words_[0])
    assert not {"", MISSING, "never"} & set(words.words_[0])


def test_a_row_has_ones_where_it_holds_the_word() -> None:
    """To the letter, wherever it stands, however often; a text never seen has its known words."""
    rows, wage = titles(2_000)
    words = Words().fit(rows.categories, target=wage[:, None])
    texts = ["cook chief  cook", "Cook", MISSING, "", "chiefs cook\t"]
    made = words.transform(np.array([[text, "a b"] for text in texts], dtype=object))
    held = [{word for word, there in zip(words.words_[0], row, strict=True) if there} for row in made.tolist()]
    assert held == [{"cook", "chief"}, set(), set(), set(), set()]


@pytest.mark.parametrize(
    "column",
    [
        [f"name{row}" for row in range(200)],  # one word each
        ["new york", "los angeles"] * 100,  # few
        [MISSING] * 200,
        [f"w{row} v{row}" for row in range(200)],  # no word that two share
    ],
)
def test_columns_that_are_no_texts_have_no_words(column: list[str]) -> None:
    """What a whole value says, the other codings say already."""
    categories = np.array(column, dtype=object)[:, None]
    assert words_of("words", categories, np.arange(200.0)[:, None]) is None


@pytest.mark.parametrize("family", ["linear", "lightgbm"])
def test_words_that_count_are_learned(family: Family) -> None:
    """The error with them is a third of the error with the whole texts' means, at most."""
    rows, wage = titles(3_000)
    errors: dict[Any, float] = {}
    for texts in ("whole", "words"):
        configuration = Configuration(family, {"texts": texts, "categories": "target"})
        fitted = fit(build(configuration, "regression", 0), rows.rows(0, 2_000), wage[:2_000])
        errors[texts] = float(np.sqrt(np.mean((predict(fitted, rows.rows(2_000), 0) - wage[2_000:]) ** 2)))
    assert errors["words"] < errors["whole"] / 3
