"""Words of texts: which of them a category of several words holds, each telling word a column of its own.

As a whole, "Senior data engineer" says nothing about "Data engineer"; a word that both hold does. Words are what spaces
part, to the letter: what the graph's own splitting does, bit for bit.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from record.contract.columns import MISSING

Floats = npt.NDArray[np.float64]
TextCoding = Literal["whole", "words"]

# Columns of fewer different values are categories, however they are spelt.
MANY_TEXTS = 30
# Each word is a column for every model to weigh, and each text some microseconds of every answer.
MOST_WORDS = 48
MOST_TEXTS = 4
# A word of fewer rows, or of a single text, says no more than the text's own mean.
FEWEST_ROWS = 10


class Words(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Categories [n, m] to columns of 0 and 1, [n, k]: whether a row's text holds a word; a text's words together."""

    def fit(self, categories: npt.NDArray[np.object_], y: Any = None, *, target: Floats) -> Self:
        """`target` [n, w]: what the words should tell; those that explain most of its variance are kept."""
        found = [
            (-gain, place, word)
            for place in text_places(categories)[:MOST_TEXTS]
            for word, gain in _gains(categories[:, place], target)
        ]
        kept = sorted(found)[:MOST_WORDS]
        self.places_ = sorted({place for _, place, _ in kept})
        self.words_ = [sorted(word for _, own, word in kept if own == place) for place in self.places_]
        return self

    def transform(self, categories: npt.NDArray[np.object_]) -> npt.NDArray[np.float32]:
        held = [np.empty((len(categories), 0), dtype=np.float32)]
        for place, words in zip(self.places_, self.words_, strict=True):
            known = {word: column for column, word in enumerate(words)}
            texts, codes = _distinct(categories[:, place])
            table = np.zeros((len(texts), len(words)), dtype=np.float32)
            for row, text in enumerate(texts):
                table[row, [known[word] for word in text.split(" ") if word in known]] = 1.0
            held.append(table[codes])
        return np.concatenate(held, axis=1)

    @property
    def count(self) -> int:
        return sum(len(words) for words in self.words_)


def words_of(coding: TextCoding, categories: npt.NDArray[np.object_], target: Floats) -> Words | None:
    """What is learned of the rows' texts; None where there are none, or they are to stay whole."""
    words = Words().fit(categories, target=target) if coding == "words" else None
    return words if words is not None and words.count else None


def text_places(categories: npt.NDArray[np.object_]) -> list[int]:
    """The columns of many values, most of which are several words."""
    return [place for place in range(categories.shape[1]) if _is_text(categories[:, place])]


def _is_text(column: npt.NDArray[np.object_]) -> bool:
    texts, codes = _distinct(column)
    if len(texts) <= MANY_TEXTS:
        return False
    several = np.array([len(text.split()) > 1 for text in texts])
    there = np.array([text != MISSING for text in texts])
    return int(several[codes].sum()) * 2 > int(there[codes].sum())


def _gains(column: npt.NDArray[np.object_], target: Floats) -> list[tuple[str, float]]:
    """The words that several texts and enough rows hold, but not nearly all, with what each explains."""
    texts, codes = _distinct(column)
    counts = np.bincount(codes, minlength=len(texts)).astype(np.float64)
    centred = target - target.mean(axis=0)
    sums = np.stack([np.bincount(codes, weights=part, minlength=len(texts)) for part in centred.T], axis=1)
    holders: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        for word in set(text.split(" ")) - {"", MISSING}:
            holders.setdefault(word, []).append(row)
    found = []
    for word, rows in holders.items():
        held = float(counts[rows].sum())
        if len(rows) > 1 and FEWEST_ROWS <= held <= len(column) - FEWEST_ROWS:
            apart = float((sums[rows].sum(axis=0) ** 2).sum())
            found.append((word, apart / held + apart / (len(column) - held)))
    return found


def _distinct(column: npt.NDArray[np.object_]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The values as they first appear, and each row's place among them."""
    places: dict[str, int] = {}
    codes = np.array([places.setdefault(value, len(places)) for value in column.tolist()], dtype=np.int64)
    return list(places), codes
