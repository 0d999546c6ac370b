"""What is learned about columns before a model sees them: which categories count, what they and numbers say together.

Both encoders take `Arrays` as the decode step makes them and stand first in a scikit-learn pipeline. What they do is
simple enough to be written down exactly as ONNX nodes (`retrain.export.encoder_graph`): table lookups and arithmetic in
double precision. Categories seen in too few rows, and those never seen, share one place.

The rows that an encoder is fitted on are encoded by `fit_transform`, all others by `transform`: means of the target
are told to the former as other rows have them (`retrain.features.target_means`).
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin

from record.contract.arrays import Arrays
from retrain.features.combinations import Combinations
from retrain.features.crosses import Crosses
from retrain.features.dates import DateCoding, dated, dates_of, day_bounds
from retrain.features.levels import Levels, starts
from retrain.features.ramps import Ramps
from retrain.features.target_means import (
    Codes,
    log_odds,
    order_of,
    ordering_target,
    out_of_fold_means,
    target_columns,
    target_means,
)
from retrain.features.words import TextCoding, words_of

Floats = npt.NDArray[np.float64]
CategoryCoding = Literal["ordered", "target", "crossed"]
NumberCoding = Literal["plain", "combined"]
LinearCategoryCoding = Literal["one_hot", "target", "crossed"]
LinearNumberCoding = Literal["plain", "ramps"]

# A column of more categories than this has target means in place of an order. Below it an order serves trees as well
# (they cut it anywhere), and takes one column where means take one for each class.
MANY = 30

# Up to so many columns, rows are learned from faster with their zeros than without.
DENSE_COLUMNS = 200


class TreeEncoder(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Numbers as they are (missing stays NaN), then what is made of categories, then sums and ratios of numbers.

    A category is its place in the order of the mean target, so that one cut of a tree parts categories that behave
    alike. All other categories stand where their own mean puts them, or at the overall mean when training saw none
    of them. With `categories="target"`, columns of many categories are the mean target and the number of rows instead,
    and with "crossed" so are pairs of columns (`retrain.features.crosses`). `numbers="combined"` adds sums,
    differences and ratios of numbers (`retrain.features.combinations`), and `dates="cycles"` what is made of times
    (`retrain.features.dates`; trees need no sines) before that, `texts="words"` words of texts
    (`retrain.features.words`). A time's days are clipped to those of the rows fitted on; `dates="season"` is "cycles"
    without the days.

    `bounds_`: what numbers are clipped to, [2, numbers], or None where there are no times.
    """

    bounds_: Floats | None = None  # an encoder that was read from an older version's file has none

    def __init__(
        self,
        min_count: int = 10,
        categories: CategoryCoding = "ordered",
        numbers: NumberCoding = "plain",
        dates: DateCoding = "parts",
        texts: TextCoding = "whole",
    ) -> None:
        self.min_count = min_count
        self.categories = categories
        self.numbers = numbers
        self.dates = dates
        self.texts = texts

    def fit(self, x: Arrays, y: npt.NDArray[Any]) -> Self:
        self.fit_transform(x, y)
        return self

    def fit_transform(self, x: Arrays, y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Fits, and encodes the rows fitted on: means of the target are those over other rows."""
        target = target_columns(y)
        self.level_ = Levels(self.min_count, MANY if self.categories != "ordered" else None).fit(x.categories)
        codes = self.level_.transform(x.categories)
        self.crosses_ = None
        if self.categories == "crossed":
            self.crosses_ = Crosses().fit(codes, sizes=self.level_.sizes, target=target)
            codes = np.concatenate([codes, self.crosses_.transform(codes)], axis=1)
        self.dates_, self.words_ = dates_of(self.dates, x), words_of(self.texts, x.categories, target)
        self.bounds_ = day_bounds(self.dates, x)
        numbers = _widened(x, self)
        encoded = np.concatenate([numbers, self._learn(codes, target, ordering_target(y))], axis=1)
        self.combinations_ = None
        if self.numbers == "combined":
            self.combinations_ = Combinations().fit(numbers, encoded=encoded, target=target)
        return self._with_combinations(numbers, encoded)

    def transform(self, x: Arrays) -> npt.NDArray[np.float32]:
        codes = self.level_.transform(x.categories)
        if self.crosses_ is not None:
            codes = np.concatenate([codes, self.crosses_.transform(codes)], axis=1)
        columns = [table[codes[:, place]] for place, table in zip(self.places_, self.tables_, strict=True)]
        numbers = _widened(x, self)
        return self._with_combinations(numbers, np.column_stack([numbers, *columns]).astype(np.float32))

    @property
    def told_columns(self) -> list[int]:
        """The category columns that are target means."""
        counted = [place for place in set(self.places_) if place < len(self.level_.levels_)]
        return sorted(place for place in counted if self.places_.count(place) > 1)

    def _with_combinations(
        self, numbers: npt.NDArray[np.float32], encoded: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        if self.combinations_ is None:
            return encoded
        return np.concatenate([encoded, self.combinations_.transform(numbers)], axis=1)

    def _learn(self, codes: Codes, target: Floats, ordering: Floats) -> npt.NDArray[np.float32]:
        """Sets `tables_`, one for each encoded column, and `places_`, the column of `codes` that it is looked up by.

        Gives the encoded columns of these rows. Table values are whole in single precision, as trees take them.
        """
        self.tables_: list[Floats] = []
        self.places_: list[int] = []
        columns: list[Floats] = []
        known = self.level_.sizes
        for place, size in enumerate(known + (self.crosses_.sizes if self.crosses_ is not None else [])):
            own = codes[:, place]
            if place < len(known) and (self.categories == "ordered" or size <= MANY + 1):
                tables = [order_of(own, ordering, size)]
                held = [tables[0][own]]
            else:
                tables = [*target_means(own, size, target).T, np.bincount(own, minlength=size).astype(np.float64)]
                held = [*out_of_fold_means(own, size, target).T, tables[-1][own]]
            self.tables_ += [table.astype(np.float32).astype(np.float64) for table in tables]
            self.places_ += [place] * len(tables)
            columns += held
        return np.column_stack([np.empty((len(codes), 0)), *columns]).astype(np.float32)


class LinearEncoder(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """For models that add up: numbers standardised, with a mark where they are missing; categories one-hot, the
    common rest as zeros.

    Standardised numbers are cut at ±`clip`: beyond what training saw, a straight line is a guess. With
    `numbers="ramps"` each number is several columns (`retrain.features.ramps`). With `categories="target"`, columns of
    many categories are standardised target means instead, as log odds where they are shares, and with "crossed" so are
    pairs of columns (`retrain.features.crosses`). With `dates="cycles"` there is more of times, cycles among it
    (`retrain.features.dates`), and with `texts="words"` words of texts are numbers, too (`retrain.features.words`).
    A time's days are clipped to those of the rows fitted on; `dates="season"` is "cycles" without the days.

    `bounds_`: what numbers are clipped to, [2, numbers], or None where there are no times.
    """

    bounds_: Floats | None = None  # an encoder that was read from an older version's file has none

    def __init__(
        self,
        min_count: int = 10,
        clip: float = 6.0,
        categories: LinearCategoryCoding = "one_hot",
        numbers: LinearNumberCoding = "plain",
        dates: DateCoding = "parts",
        texts: TextCoding = "whole",
    ) -> None:
        self.min_count = min_count
        self.clip = clip
        self.categories = categories
        self.numbers = numbers
        self.dates = dates
        self.texts = texts

    def fit(self, x: Arrays, y: npt.NDArray[Any]) -> Self:
        self.fit_transform(x, y)
        return self

    def fit_transform(self, x: Arrays, y: npt.NDArray[Any]) -> Floats | sparse.csr_array:
        """Fits, and encodes the rows fitted on: means of the target are those over other rows."""
        target = target_columns(y)
        self.dates_, self.words_ = dates_of(self.dates, x), words_of(self.texts, x.categories, target)
        self.bounds_ = day_bounds(self.dates, x)
        values = _widened(x, self).astype(np.float64)
        missing = np.isnan(values)
        self.marked_ = np.flatnonzero(missing.any(axis=0))
        self.usual_ = _medians(values, missing)
        filled = np.where(missing, self.usual_, values)
        self.ramps_ = Ramps().fit(filled) if self.numbers == "ramps" else None
        made = filled if self.ramps_ is None else self.ramps_.transform(filled)
        self.mean_, self.scale_ = made.mean(axis=0), _scales(made)
        self.level_ = Levels(self.min_count, MANY if self.categories != "one_hot" else None).fit(x.categories)
        codes = self.level_.transform(x.categories)
        self.crosses_ = None
        if self.categories == "crossed":
            self.crosses_ = Crosses().fit(codes, sizes=self.level_.sizes, target=target)
            codes = np.concatenate([codes, self.crosses_.transform(codes)], axis=1)
        told = self._learn(codes, target, y.dtype.kind != "f")
        return self._joined(self._standard(made), missing, [*self._cycles(x), *told], codes)

    def transform(self, x: Arrays) -> Floats | sparse.csr_array:
        values = _widened(x, self).astype(np.float64)
        missing = np.isnan(values)
        filled = np.where(missing, self.usual_, values)
        made = filled if self.ramps_ is None else self.ramps_.transform(filled)
        codes = self.level_.transform(x.categories)
        if self.crosses_ is not None:
            codes = np.concatenate([codes, self.crosses_.transform(codes)], axis=1)
        told = [table[codes[:, place]] for place, table in zip(self.told_, self.tables_, strict=True)]
        return self._joined(self._standard(made), missing, [*self._cycles(x), *told], codes)

    def _learn(self, codes: Codes, target: Floats, shares: bool) -> list[Floats]:
        """Sets `tables_` [codes, w] of the columns `told_`, and `hot_`, the other columns; gives these rows' values."""
        known, pairs = self.level_.sizes, self.crosses_.sizes if self.crosses_ is not None else []
        many = [self.categories != "one_hot" and size > MANY + 1 for size in known]
        self.hot_ = [place for place, told in enumerate(many) if not told]
        self.told_ = [place for place, told in enumerate([*many, *(True for _ in pairs)]) if told]
        self.tables_: list[Floats] = []
        held: list[Floats] = []
        for place in self.told_:
            size = (known + pairs)[place]
            own, whole = (
                log_odds(means) if shares else means
                for means in (
                    out_of_fold_means(codes[:, place], size, target),
                    target_means(codes[:, place], size, target),
                )
            )
            mean, scale = own.mean(axis=0), _scales(own)
            held.append((own - mean) / scale)
            self.tables_.append((whole - mean) / scale)
        return held

    @property
    def told_columns(self) -> list[int]:
        """The category columns that are target means."""
        return [place for place in self.told_ if place < len(self.level_.levels_)]

    def _cycles(self, x: Arrays) -> list[Floats]:
        return [] if self.dates_ is None else [self.dates_.cycles(x.numbers)]

    def _standard(self, made: Floats) -> Floats:
        """Ramps stay within 0 and 1: standardised, a ramp that few rows climb weighs more than it should."""
        if self.ramps_ is not None:
            return made
        return np.asarray(np.clip((made - self.mean_) / self.scale_, -self.clip, self.clip))

    def _joined(
        self, standard: Floats, missing: npt.NDArray[np.bool_], more: list[Floats], codes: Codes
    ) -> Floats | sparse.csr_array:
        parts = [standard, missing[:, self.marked_].astype(np.float64), *more]
        if not self.hot_:
            return np.concatenate(parts, axis=1)
        hot = self._one_hot(codes[:, self.hot_])
        if sum(part.shape[1] for part in parts) + hot.shape[1] <= DENSE_COLUMNS:
            return np.concatenate([*parts, hot.toarray()], axis=1)
        return sparse.hstack([*(sparse.csr_array(part) for part in parts), hot], format="csr")

    def _one_hot(self, codes: Codes) -> sparse.csr_array:
        sizes = [len(self.level_.levels_[place]) for place in self.hot_]
        known = codes < np.array(sizes)
        columns = (codes + starts(sizes))[known]
        ends = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
        return sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(codes), sum(sizes)))


def _widened(x: Arrays, encoder: TreeEncoder | LinearEncoder) -> npt.NDArray[np.float32]:
    """The numbers, then what is made of times, then the words of texts."""
    held = dated(x.numbers, encoder.dates_, encoder.bounds_)
    words = encoder.words_
    return held if words is None else np.concatenate([held, words.transform(x.categories)], axis=1)


def _medians(numbers: Floats, missing: npt.NDArray[np.bool_]) -> Floats:
    """Each column's median of what is there; 0 for a column that is empty."""
    medians = np.zeros(numbers.shape[1])
    for place in np.flatnonzero(~missing.all(axis=0)):
        medians[place] = np.median(numbers[~missing[:, place], place])
    return medians


def _scales(columns: Floats) -> Floats:
    """Each column's standard deviation; 1 for one that does not vary."""
    held = columns.std(axis=0)
    return np.asarray(np.where(held > 0, held, 1.0))
