"""What is suspicious about one column of training data, and what type and role that suggests."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from record.contract.columns import FLOAT32_MAX, Column, ColumnType
from record.contract.frame import json_value

if TYPE_CHECKING:
    import pandas as pd

FindingKind = Literal[
    "all_missing",
    "constant",
    "identifier",
    "target_copy",
    "free_text",
    "foreign_date",
    "unusable",
    "mostly_missing",
    "high_cardinality",
    "numbers_as_text",
    "target",
    "reading",
    "precision",
]

# Below this many rows "one value per row" happens by chance, and a copy of the target proves nothing.
_FEW_ROWS = 50
_COPY_SHARE = 0.995  # of what the majority class or the mean leaves open; a real signal is hardly ever that strong
_COPY_RANKS = 0.999  # Spearman's correlation: a rescaled or rounded target keeps its order
_FEW_OTHERS = 10  # rows outside the majority class
_ROWS_PER_VALUE = 10  # fewer, and values learn their rows by heart
_MANY_VALUES = 200
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_FOREIGN_DATE = re.compile(
    r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(\D.*)?|\d{1,2}[- .]+[^\W\d]{3,9}[- ,.]+\d{2,4}(\D.*)?"
    r"|[^\W\d]{3,9}\.? \d{1,2},? \d{4}(\D.*)?"
)
_ID_NAME = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|rowid|nr|no|number)$|(?<=[a-z])(Id|ID)$|^unnamed", re.I)
_SINGLE_WHOLE = 2**24  # up to here single precision holds every whole number
_MERGED_SHARE = 0.95  # of the different values that single precision keeps apart: fewer, and that is told
WORD_ROWS = 10  # that share a word, and that do not: fewer say nothing of it (retrain.features.words)
_LONGEST_TEXT = 200  # characters on average; each word of a text costs every answer some time
_TRIED = 1000  # values tried to tell dates and numbers from other text


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know of a column before a model is trained on it."""

    column: str
    kind: FindingKind
    message: str


def judge_column(
    name: str, values: pd.Series[Any], target: pd.Series[Any] | None
) -> tuple[Column | None, Finding | None]:
    """The column's type and role, and the first thing that is suspicious, the gravest first.

    `target` has the same rows, none missing; None leaves out the search for copies of it. No column where records
    could not carry its values.
    """
    present = values.dropna()
    if present.empty:
        return _carried(name, "category", "all_missing", "no value at all")
    kind = column_type(present)
    if kind is None:
        return None, Finding(name, "unusable", "values that JSON has no word for: left out")
    if kind == "time" and _beyond_calendar(present):
        return None, Finding(name, "unusable", "times before the year 1 or beyond 9999: left out")
    exact = int(present.nunique()) if kind == "number" else 0
    values = _plain(values, kind)
    present = values.dropna()
    if kind == "number" and (merged := _merged_values(name, present, exact)) is not None:
        return merged
    for look in (_constant, _foreign_date, _identifier, _unfit):
        found = look(name, kind, values, present)
        if found is not None:
            return found
    if target is not None and _copies(kind, values, target):
        return _carried(name, kind, "target_copy", "nearly gives the target by itself: known only afterwards?")
    return Column(name, "feature", kind), _remark(name, kind, values, present)


def column_type(present: pd.Series[Any]) -> ColumnType | None:
    """The type of a column by its values, none of them missing; None where no type fits."""
    if present.dtype.kind in "iufbM":
        return {"b": "category", "M": "time"}.get(present.dtype.kind, "number")  # type: ignore[return-value]
    tried = [json_value(value, "number") for value in present.iloc[:_TRIED].tolist()]
    kinds = {type(value) for value in tried}
    if kinds <= {int, float}:
        return "number"
    if not kinds <= {str, bool, int}:
        return None
    if kinds != {str}:
        return "category"
    if all(_is_iso(text) for text in tried):
        return "time"
    return "text" if _is_prose(present, tried) else "category"


def _plain(values: pd.Series[Any], kind: ColumnType) -> pd.Series[Any]:
    """Numbers as floats, whatever holds them; the rest as single values, not as pandas' categories."""
    import pandas as pd

    if kind == "number" and values.dtype.kind not in "iuf":
        return pd.to_numeric(values.astype(object)).astype("float64")
    return values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values


def _is_iso(text: str) -> bool:
    if not _ISO_DATE.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_prose(present: pd.Series[Any], texts: list[str]) -> bool:
    """Sentences, mostly different from one another: four words or more on average."""
    words = sum(text.count(" ") + 1 for text in texts) / len(texts)
    return words >= 4 and present.nunique() > len(present) / 2


_Judged = tuple[Column, Finding | None]


def _carried(name: str, kind: ColumnType, finding: FindingKind, message: str) -> _Judged:
    return Column(name, "carried", kind), Finding(name, finding, message)


def _constant(name: str, kind: ColumnType, values: pd.Series[Any], present: pd.Series[Any]) -> _Judged | None:
    if len(present) < len(values) or present.nunique() > 1 or len(values) < 2:
        return None
    return _carried(name, kind, "constant", f"the same value in every row: {str(present.iloc[0])[:40]!r}")


def _identifier(name: str, kind: ColumnType, values: pd.Series[Any], present: pd.Series[Any]) -> _Judged | None:
    """One value per row: a text, or an integer that is named like an id or counts the rows."""
    if len(present) < _FEW_ROWS or kind in ("time", "text"):
        return None
    distinct = present.nunique()
    if kind == "category":
        if distinct < 0.98 * len(present):
            return None
        return _carried(name, "text", "identifier", f"{distinct} values in {len(present)} rows: an id")
    whole = bool((present % 1 == 0).all())
    if not whole or distinct < len(present):
        return None
    counts_rows = int(present.max()) - int(present.min()) == len(present) - 1
    if not counts_rows and not _ID_NAME.search(name):
        return None
    return _carried(name, "number", "identifier", "a whole number of its own in every row: an id")


def _unfit(name: str, kind: ColumnType, values: pd.Series[Any], present: pd.Series[Any]) -> _Judged | None:
    """What no model can be fed as it stands."""
    if kind == "text":
        return _text(name, present)
    if kind == "number" and bool((present.abs() > FLOAT32_MAX).any()):
        return _carried(name, "number", "unusable", "infinite or beyond single precision in some rows")
    return None


def _text(name: str, present: pd.Series[Any]) -> _Judged:
    """Sentences: a feature where rows share words, of which models learn."""
    if float(present.str.len().mean()) > _LONGEST_TEXT:
        message = (
            f"texts of more than {_LONGEST_TEXT} characters: models take the words of shorter ones, such as titles"
        )
        return _carried(name, "text", "free_text", message)
    rows = Counter(word for text in present.tolist() for word in set(text.split(" ")) - {""})
    if not any(WORD_ROWS <= count <= len(present) - WORD_ROWS for count in rows.values()):
        return _carried(name, "text", "free_text", f"sentences without a word that {WORD_ROWS} rows share, and not all")
    return Column(name, "feature", "category"), Finding(
        name, "free_text", "sentences: a category of which models take the words that rows share"
    )


def _foreign_date(name: str, kind: ColumnType, values: pd.Series[Any], present: pd.Series[Any]) -> _Judged | None:
    """Dates of which some are not ISO 8601: before ids, since moments are often all different."""
    tried = present.tolist() if kind == "category" and isinstance(present.iloc[0], str) else []
    if not tried or not all(
        isinstance(value, str) and _FOREIGN_DATE.fullmatch(value.strip()) for value in tried[:_TRIED]
    ):
        return None
    wrong = next((value for value in tried if not _is_iso(str(value))), tried[0])
    message = f"dates such as {str(wrong)[:40]!r}, not ISO 8601: write 2024-05-01 to have them read as times"
    return _carried(name, "text", "foreign_date", message)


def _beyond_calendar(present: pd.Series[Any]) -> bool:
    """Whether a time lies where no ISO 8601 text of four digits for the year reaches."""
    if present.dtype.kind != "M":
        return False
    naive = present.dt.tz_convert("UTC").dt.tz_localize(None) if present.dt.tz is not None else present
    years = naive.dt.year
    return bool(years.min() < 1 or years.max() > 9999)


def _merged_values(name: str, present: pd.Series[Any], exact: int) -> _Judged | None:
    """Whole numbers that single precision, in which models take numbers, does not tell apart.

    Where they come again they are codes (days, say), and read as categories; else that is told. Ids are found later.
    """
    numbers = present.to_numpy(dtype=np.float64)
    if exact < 2 or not np.isfinite(numbers).all() or np.abs(numbers).max() <= _SINGLE_WHOLE or (numbers % 1).any():
        return None
    with np.errstate(over="ignore"):
        singles = len(np.unique(numbers.astype(np.float32)))
    if singles > _MERGED_SHARE * exact or (_ID_NAME.search(name) and exact == len(present)):
        return None
    what = f"{exact} different values are {singles} in single precision"
    if exact * _ROWS_PER_VALUE <= len(present):
        return Column(name, "feature", "category"), Finding(
            name, "precision", f"{what}: read as categories, not as amounts"
        )
    message = f'{what}: a time? Write it as ISO 8601. A code? type = "category". An amount: from another origin'
    return Column(name, "feature" if singles > 1 else "carried", "number"), Finding(name, "precision", message)


def _remark(name: str, kind: ColumnType, values: pd.Series[Any], present: pd.Series[Any]) -> Finding | None:
    """What is worth a word and no reason to keep the column from models."""
    missing = 1 - len(present) / len(values)
    if missing > 0.5:
        return Finding(name, "mostly_missing", f"missing in {missing:.0%} of the rows")
    if kind != "category":
        return None
    distinct = present.nunique()
    if distinct <= _MANY_VALUES:
        return None
    if _all_numbers(present.iloc[:_TRIED].tolist()):
        return Finding(
            name, "numbers_as_text", f"{distinct} numbers written as text: category, unless they are amounts"
        )
    return Finding(name, "high_cardinality", f"{distinct} different values")


def _all_numbers(tried: list[Any]) -> bool:
    try:
        for value in tried:
            float(value)
    except (TypeError, ValueError):
        return False
    return True


def _copies(kind: ColumnType, values: pd.Series[Any], target: pd.Series[Any]) -> bool:
    """Whether the column alone nearly gives the target."""
    if len(values) < _FEW_ROWS or kind in ("text", "time"):
        return False
    if target.dtype.kind == "f":
        return _explains(kind, values, target)
    return _tells_classes(kind, values, target)


def _explains(kind: ColumnType, values: pd.Series[Any], target: pd.Series[Any]) -> bool:
    """A regression target, by rank or, for a category, by the mean of each value."""
    if kind == "number":
        with np.errstate(invalid="ignore", divide="ignore"):
            ranks = values.astype("float64").rank().corr(target.rank())
        return bool(values.notna().mean() > 0.5 and abs(ranks) >= _COPY_RANKS)
    if values.nunique() * _ROWS_PER_VALUE > len(values):
        return False
    means = target.groupby(values.astype(str).to_numpy()).transform("mean")
    spread = float(target.var(ddof=0))
    return spread > 0 and 1 - float((target - means).pow(2).mean()) / spread >= _COPY_SHARE


def _tells_classes(kind: ColumnType, values: pd.Series[Any], target: pd.Series[Any]) -> bool:
    """Classes, by the majority of each value, or of each range of a number, or by a number's one best cut."""
    import pandas as pd

    classes, names = pd.factorize(target)
    most = int(np.bincount(classes).max())
    if len(target) - most < _FEW_OTHERS:
        return False
    bins = len(values) // _ROWS_PER_VALUE
    right = 0
    if kind == "number" and len(names) == 2:
        right = _best_cut(values.to_numpy(dtype=np.float64), classes)
    if kind == "number" and values.nunique() > min(50, bins):
        values = pd.qcut(values.astype("float64"), min(50, bins), labels=False, duplicates="drop")
    if values.nunique() <= bins:
        right = max(right, _majorities(pd.factorize(values, use_na_sentinel=False)[0], classes))
    return (right - most) / (len(values) - most) >= _COPY_SHARE


def _majorities(groups: npt.NDArray[Any], classes: npt.NDArray[Any]) -> int:
    """Rows that are right when each group says its most frequent class."""
    width = int(classes.max()) + 1
    counts = np.bincount(groups * width + classes, minlength=(int(groups.max()) + 1) * width)
    return int(counts.reshape(-1, width).max(axis=1).sum())


def _best_cut(values: npt.NDArray[Any], classes: npt.NDArray[Any]) -> int:
    """Rows that are right when one class (of 0 and 1) is said up to a value and the other beyond it."""
    order = np.argsort(values, kind="stable")  # missing ones come last
    ordered, ones = values[order], np.cumsum(classes[order])
    ends = np.flatnonzero(ordered[1:] != ordered[:-1])
    if not len(ends):
        return 0
    zeros_before = ends + 1 - ones[ends]
    right = zeros_before + (ones[-1] - ones[ends])
    return int(max(right.max(), len(values) - right.min()))
