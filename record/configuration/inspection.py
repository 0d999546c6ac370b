"""A first look at a training file: the task, the columns' roles and types, and what is suspicious.

Used by `ringside init`, and by the first training where ringside.toml names no columns. Imports pandas inside its
functions; serving workers never call them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from record.configuration.suspicion import Finding, column_type, judge_column
from record.contract.columns import Column, Role
from record.contract.frame import frame_labels
from record.contract.schema import ProblemSchema, Task, canonical_class
from record.errors import DataError
from record.tables.reading_rules import USUAL, ReadingRules
from record.tables.table_sample import read_table_sample

if TYPE_CHECKING:
    import pandas as pd


SAMPLE_ROWS = 200_000  # enough to tell what a column is; a few seconds to look at
_POSITIVE_WORDS = ("yes", "true", "1", "y", "t", "positive", "pos")
_MOST_CODES = 20
_MEASURED = re.compile(r"[^\d\n]{0,6}\d[\d.,'’ \u00a0\u202f/:-]*[^\d\n]{0,12}")
_LOOKED_AT = 1_000
_ENOUGH_ROWS = 50  # with fewer, each text once may be chance
# Words by which a column says who asks; one that repeats is no row's own id.
ENTITY_WORDS = frozenset({
    "id", "ids", "key", "uuid", "guid", "customer", "client", "user", "account", "member", "patient", "person",
    "household", "machine", "device", "vehicle", "driver", "seller", "merchant", "card", "subscriber", "employee",
})  # fmt: skip
FEWEST_ENTITIES = 20
ENTITY_REPEATS = 1.5  # rows of each, on average
_NOT_A_CLOCK = re.compile(r"birth|dob|expir|valid_until", re.I)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found; `columns` is without the target."""

    task: Task
    target: str
    positive_class: str | int | bool | None  # as JSON would carry it; two classes only
    time_column: str | None
    id_column: str | None
    entity_column: str | None  # says who or what a row is about, where one comes again
    columns: tuple[Column, ...]
    findings: tuple[Finding, ...]
    rows: int
    rules: ReadingRules = USUAL  # what is unusual about how the file is written

    def problem_schema(self, protected: Sequence[str] = ()) -> ProblemSchema:
        return ProblemSchema(
            task=self.task,
            target=self.target,
            columns=self.columns,
            positive_class=None if self.positive_class is None else canonical_class(self.positive_class),
            time_column=self.time_column,
            id_column=self.id_column,
            protected=tuple(protected),
        )


def inspect(
    path: Path, target: str, *, task: Task | None = None, time_column: str | None = None, rows: int = SAMPLE_ROWS
) -> Inspection:
    """Looks at the first `rows` rows of a CSV or Parquet file. DataError where no problem can be made of it."""
    sample = read_table_sample(path, rows, target)
    found = inspect_frame(sample.frame, target, task=task, time_column=time_column, classes=sample.classes)
    notes = [Finding(column, "reading", message) for column, message in sample.notes]
    return replace(found, findings=(*notes, *found.findings), rules=sample.rules)


def inspect_frame(
    frame: pd.DataFrame,
    target: str,
    *,
    task: Task | None = None,
    time_column: str | None = None,
    id_column: str | None = None,
    protected: Collection[str] = (),
    time_features: bool = True,
    classes: pd.Series[Any] | None = None,
) -> Inspection:
    """As `inspect`, for rows at hand. What is given as an argument is taken as it is, the rest is found out.

    The time column is a feature where it is one of dates, unless `time_features` is off. `classes` is the target of a
    text file as the classes that training would read, where numbers are meant for them.
    """
    if not all(isinstance(name, str) for name in frame.columns):
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    _require_columns(frame, [target, *(name for name in (time_column, id_column) if name)])
    labelled = frame[frame[target].notna()].reset_index(drop=True)
    if labelled.empty:
        raise DataError(f"column {target!r}, the target, has no value in {len(frame)} rows")
    labels = labelled[target]
    found_task, findings = _find_task(labels, len(frame)) if task is None else (task, [])
    if classes is not None and found_task == "classification":
        labelled[target] = classes[frame[target].notna()].reset_index(drop=True)
        labelled = labelled[labelled[target].notna()].reset_index(drop=True)
        labels = labelled[target]
    comparable = _comparable_target(labels, found_task)
    columns: list[Column] = []
    for name in labelled.columns:
        if name == target:
            continue
        column, finding = judge_column(str(name), labelled[name], comparable)
        findings += [finding] if finding else []
        if column is None:
            continue
        if name in (id_column, *protected):
            column = Column(column.name, "carried", column.type)
        columns.append(column)
    time_column = time_column or _find_time(labelled, columns)
    ids = [f.column for f in findings if f.kind == "identifier"]
    entity = _find_entity(labelled, columns, {time_column, id_column, *ids, *protected})
    return Inspection(
        task=found_task,
        target=target,
        positive_class=_positive_class(labels) if found_task == "classification" else None,
        time_column=time_column,
        id_column=id_column or (ids[0] if ids else None),
        entity_column=entity,
        columns=tuple(
            _as_requests_bring_it(
                column,
                carried=column.name == time_column and not (time_features and column.type == "time"),
                counted={entity, *protected},
            )
            for column in columns
        ),
        findings=tuple(findings),
        rows=len(frame),
    )


def _as_requests_bring_it(column: Column, *, carried: bool, counted: Collection[str | None]) -> Column:
    """A carried column is optional in requests, unless evidence or fairness is counted by it."""
    role: Role = "carried" if carried else column.role
    return Column(column.name, role, column.type, required=role == "feature" or column.name in counted)


def infer_columns(
    frame: pd.DataFrame,
    target: str,
    *,
    task: Task | None = None,
    time_column: str | None = None,
    id_column: str | None = None,
    protected: Collection[str] = (),
    time_features: bool = True,
) -> tuple[tuple[Column, ...], tuple[Finding, ...]]:
    """The columns of a training frame, and what is suspicious about them."""
    found = inspect_frame(
        frame,
        target,
        task=task,
        time_column=time_column,
        id_column=id_column,
        protected=protected,
        time_features=time_features,
    )
    return found.columns, found.findings


def read_sample(path: Path, rows: int) -> pd.DataFrame:
    """The first `rows` rows of a CSV or Parquet file."""
    return read_table_sample(path, rows).frame


def _require_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"column {twice!r} stands twice in the data; expected different names")
    known = [str(name) for name in frame.columns]
    for name in names:
        if name not in known:
            raise DataError(f"column {name!r} is not in the data; {_suggestion(name, known)}")


def _suggestion(name: str, known: Sequence[str]) -> str:
    """The column that is most like it, else the first ones; in quotes where blanks in a name would not show."""
    plain = {other.strip().casefold(): other for other in known}
    near = get_close_matches(name.strip().casefold(), list(plain), n=1)
    if near:
        return f"did you mean {_shown(plain[near[0]])}?"
    return f"found {', '.join(_shown(other) for other in known[:10])}" + (" and more" if len(known) > 10 else "")


def _shown(name: str) -> str:
    return name if name == name.strip() and name.isprintable() and name else repr(name)


def _find_task(labels: pd.Series[Any], rows: int) -> tuple[Task, list[Finding]]:
    """Text and booleans are classes; fractions are a regression's.

    Whole numbers: two different ones are classes, and so are up to 20 that count from 0 or 1 without a gap, as
    class codes do. Others are amounts or grades (a wine's 3 to 9), whose order a regression keeps.
    """
    name = str(labels.name)
    kind = column_type(labels)
    notes = []
    if len(labels) < rows:
        missing = rows - len(labels)
        notes.append(Finding(name, "target", f"missing in {missing} of {rows} rows, which are left out"))
    if kind in (None, "time"):
        raise DataError(f"column {name!r}, the target, holds {str(labels.iloc[0])[:40]!r}; expected classes or numbers")
    distinct = labels.nunique()
    if distinct < 2:
        raise DataError(f"column {name!r}, the target, has one value only; expected two or more")
    if kind != "number":
        _refuse_no_classes(name, labels.astype(str), distinct)
        if distinct > 100 or distinct > len(labels) / 2:
            notes.append(Finding(name, "target", f"{distinct} classes: is this the target?"))
        return "classification", notes
    if not bool((labels % 1 == 0).all()):
        return "regression", notes
    low, high = int(labels.min()), int(labels.max())
    codes = distinct <= _MOST_CODES and low in (0, 1) and high - low == distinct - 1
    task: Task = "classification" if distinct == 2 or codes else "regression"
    if 2 < distinct <= _MOST_CODES:
        notes.append(Finding(name, "target", f"{distinct} whole numbers, {low} to {high}: taken for {task}"))
    return task, notes


def _refuse_no_classes(name: str, texts: pd.Series[Any], distinct: int) -> None:
    """Raises DataError where texts are no classes: numbers with more around them, dates, ids, sentences."""
    first = str(texts.iloc[0])[:40]
    what = f"column {name!r}, the target, holds {distinct} different texts in {len(texts)} rows, such as {first!r}"
    numbers = sum(bool(_MEASURED.fullmatch(text)) for text in texts.iloc[:_LOOKED_AT].tolist())
    if distinct > _MOST_CODES and numbers >= 0.9 * min(len(texts), _LOOKED_AT):
        raise DataError(
            f"{what}: numbers, or dates, with more around them; expected plain numbers such as 5330.5, or classes"
        )
    if len(texts) >= _ENOUGH_ROWS and distinct > len(texts) / 2:
        raise DataError(f"{what}; expected classes, each in several rows, or numbers")


def _comparable_target(labels: pd.Series[Any], task: Task) -> pd.Series[Any]:
    """Floats for a regression, text for classes: what copies of the target are looked for with."""
    import pandas as pd

    if task == "classification":
        return labels.astype(str)
    numbers = pd.to_numeric(labels, errors="coerce")
    if numbers.isna().any():
        wrong = labels[numbers.isna()].iloc[0]
        raise DataError(f"column {str(labels.name)!r}, the target, holds {wrong!r}; expected numbers for a regression")
    return numbers.astype("float64")


def _positive_class(labels: pd.Series[Any]) -> str | int | bool | None:
    """Of two classes the one that says yes, else the rarer."""
    values = [label for label in frame_labels(labels, "classification") if label is not None]
    counts: Counter[str | int | bool] = Counter(values)
    if len(counts) != 2:
        return None
    for value in counts:
        if canonical_class(value).strip().lower() in _POSITIVE_WORDS:
            return value
    return min(counts, key=lambda value: (counts[value], str(value)))


def _find_entity(frame: pd.DataFrame, columns: Sequence[Column], taken: Collection[str | None]) -> str | None:
    """The column that says who or what a row is about, where one comes again: named so, and with values that repeat."""
    ranked: list[tuple[int, str]] = []
    for column in columns:
        if column.name in taken or column.type == "time" or not names_an_entity(column.name):
            continue
        values = frame[column.name].dropna()
        distinct = int(values.nunique())
        if distinct >= FEWEST_ENTITIES and len(values) >= ENTITY_REPEATS * distinct:
            ranked.append((distinct, column.name))
    return max(ranked)[1] if ranked else None


def names_an_entity(name: str) -> bool:
    """Whether a column is named as one that says who or which: customer_id, userId, PATIENT."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(" ", "_").split("_")
    return bool(ENTITY_WORDS & set(words))


def _find_time(frame: pd.DataFrame, columns: Sequence[Column]) -> str | None:
    """The column that orders the rows: one that already increases, else a complete one, else none."""
    import pandas as pd

    ranked: list[tuple[bool, int, str]] = []
    for column in columns:
        values = frame[column.name]
        if column.type != "time" or _NOT_A_CLOCK.search(column.name) or values.isna().any():
            continue
        times = pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
        ranked.append((times.is_monotonic_increasing, values.nunique(), column.name))
    return max(ranked, key=lambda rank: rank[:2])[2] if ranked else None
