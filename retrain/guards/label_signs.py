"""Signs that labels are not what they seem: class names that are one, targets cut off, and errors without a place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score

from retrain.data.dataset import Dataset
from retrain.data.variable import Floats, Variable, random_halves, spread
from retrain.guards.finding import Finding
from retrain.guards.relation import indicators

# A heap at the end of a regression's target: so many of the rows, and so many times as many as the values beside it.
HEAP_SHARE = 0.005
HEAP_RISE = 10.0
_NEIGHBOURS = 10  # the values beside it
_CONTINUOUS = 50  # fewer values are grades, and end where grades end

# A model that knows its way errs where it is unsure: the area under the curve by which its doubt tells its errors
# from its hits is .66 to .98 on public tables of which it learned LEARNED. Labels flipped by chance are as frequent
# where it is sure: one in ten flipped beside a clear boundary gives .58.
PLACELESS = 0.62
ERRORS = 0.02  # of the rows; with fewer there is little to tell
LEARNED = 0.2  # of the variance: where little was learned, nobody is sure anywhere
_ROWS = 4_000  # half a second
_TREES = 60


def find_label_signs(data: Dataset, held: list[Variable]) -> Iterator[Finding]:
    """At most one finding of each sign."""
    if data.classes:
        yield from _spellings(data)
        yield from _placeless_errors(data, held)
    else:
        yield from _heaps(data)


def _spellings(data: Dataset) -> Iterator[Finding]:
    """Classes that differ in case or blanks only."""
    alike: dict[str, list[str]] = {}
    for name in data.schema.classes:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    twice = [names for names in alike.values() if len(names) > 1]
    if twice:
        listed = "; ".join(" and ".join(map(repr, names)) for names in twice[:5])
        message = f"classes that differ in case or blanks only: {listed}. Expected one spelling of each class"
        yield Finding("label_noise", None, "warning", message, {"classes": [name for names in twice for name in names]})


def _heaps(data: Dataset) -> Iterator[Finding]:
    values, counts = np.unique(data.target, return_counts=True)
    if len(values) < _CONTINUOUS:
        return
    for end, beside, word in (
        (0, counts[1 : 1 + _NEIGHBOURS], "least"),
        (-1, counts[-1 - _NEIGHBOURS : -1], "greatest"),
    ):
        count, share = int(counts[end]), float(counts[end] / len(data))
        if share < HEAP_SHARE or count < HEAP_RISE * beside.mean():
            continue
        message = (
            f"{count} rows ({share:.1%}) are at exactly {values[end]:.6g}, the {word} target, and "
            f"{beside.mean():.1f} at each of the {len(beside)} values beside it: cut off there, or a stand-in for "
            f"unknown? Expected targets as they were"
        )
        yield Finding(
            "label_noise", None, "warning", message, {"rows": count, "share": share, "at": float(values[end])}
        )


def _placeless_errors(data: Dataset, held: list[Variable]) -> Iterator[Finding]:
    """Confident learning's question (Northcutt, Jiang and Chuang, 2021), asked of the errors as a whole."""
    places = spread(len(data), _ROWS)
    sample = data.take(places)
    wanted = indicators(sample)
    if int(wanted.sum(axis=0).min()) < 2 or len(sample) < 200:
        return
    said = _out_of_sample(np.column_stack([variable.values[places] for variable in held]), wanted)
    learned = 1 - float(((wanted - said) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum())
    wrong = said.argmax(axis=1) != wanted.argmax(axis=1)
    share = float(wrong.mean())
    if learned < LEARNED or share < ERRORS:
        return
    placed = float(roc_auc_score(wrong, -said.max(axis=1)))
    if placed >= PLACELESS:
        return
    message = (
        f"a forest errs in {share:.1%} of the rows, and as often where it is sure as elsewhere (its doubt tells errors "
        f"from hits with an area under the curve of {placed:.2f}; expected at least {PLACELESS}): labels flipped by "
        f"chance?"
    )
    yield Finding("label_noise", None, "warning", message, {"errors": share, "placed": placed, "explained": learned})


def _out_of_sample(values: Floats, wanted: Floats) -> Floats:
    """Probabilities for each half of the rows by a forest on the other half; -1 stands for missing."""
    codes, second = wanted.argmax(axis=1), random_halves(len(wanted))
    filled = np.where(np.isnan(values), np.nanmin(np.append(values, 0.0)) - 1.0, values).astype(np.float32)
    said = np.zeros_like(wanted)
    for own in (~second, second):
        other = ~own
        forest = ExtraTreesClassifier(_TREES, min_samples_leaf=3, random_state=0).fit(filled[other], codes[other])
        said[np.ix_(own, forest.classes_)] = forest.predict_proba(filled[own])
    return said
