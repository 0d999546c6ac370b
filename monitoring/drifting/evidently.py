"""Whether requests still look like what the champion was trained on. The only place that knows Evidently.

Evidently computes the effect sizes and draws the report; whether that is an alarm is decided by the accumulated
evidence of days (`monitoring.drifting.alarm`). Beside each score stands what it has to pass to be worth a look: both
Evidently's own threshold and what chance alone reaches at this window's size (`monitoring.drifting.calibration`), at a
level shared out over all columns and all decisions of a quarter. Evidently drops missing values before it looks, so
that missingness is a statistic of its own.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from monitoring.drifting.alarm import Line, display_names, line_of
from monitoring.drifting.calibration import (
    Grid,
    Null,
    effective_size,
    jensen_shannon_null,
    missing_threshold,
    wasserstein_null,
)
from monitoring.drifting.chance import FEWEST_VALUES
from monitoring.drifting.evidently_page import contain
from monitoring.drifting.reference_column import missing_values
from monitoring.windows import ColumnKey, Numbers, Texts, Window, is_text
from record.contract.category_counts import count_categories
from record.process import silence_telemetry

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["wasserstein", "jensenshannon", "missing_share"]

EFFECT = 0.1  # Evidently's threshold of both distances: .1 standard deviations, or .1 of ln 2's root
MISSING_EFFECT = 0.05  # a feed that loses less than one value in twenty is not yet broken
QUARTER = timedelta(days=91)
DRAWN_ROWS = 5_000  # rows of each window in the HTML report


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """One statistic of one column. `threshold` is the larger of the effect's and the calibrated one.

    `feature` is the name under which the column is shown: a feature's own, or that of an output.
    """

    feature: str
    method: Method
    score: float
    threshold: float
    calibrated: float
    key: ColumnKey = ("feature", "")

    @property
    def drifted(self) -> bool:
        """Whether the score alone, without the days before, is beyond its threshold."""
        return self.score > self.threshold


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What one check found. `skipped` names the columns that could not be compared, with the reason."""

    as_of: datetime
    rows: int
    since: datetime | None
    reference_rows: int
    columns: tuple[ColumnDrift, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The features with a score beyond its threshold, each once, in the schema's order."""
        return tuple(dict.fromkeys(column.feature for column in self.columns if column.drifted))

    def worst(self, lines: Collection[Line], count: int) -> DriftReport:
        """The same with the distances of at most `count` columns of these lines, those furthest beyond thresholds."""
        distances = [c for c in self.columns if c.method != "missing_share" and line_of(c.key) in lines]
        kept = sorted(distances, key=lambda column: column.threshold - column.score)[:count]
        return replace(self, columns=tuple(kept))


def alarm_level(false_alarms_per_quarter: float, decide_every: timedelta, statistics: int) -> float:
    """The share of quiet decisions in which one statistic may stay below its threshold: 1 − its part of the budget."""
    decisions = max(1.0, QUARTER / decide_every)
    return 1 - min(0.05, false_alarms_per_quarter / decisions) / max(1, statistics)


class DriftMeter:
    """Measures windows against one reference, and keeps what it learned about that reference's chance."""

    def __init__(self, reference: Window, *, level: float, seed: int = 0) -> None:
        self.reference = reference
        self.level = level
        self._seed = seed
        self._nulls: dict[tuple[str, int], Null] = {}

    def measure(self, current: Window, as_of: datetime) -> DriftReport:
        """The drift of every column that both windows can be compared in. Takes about 10 ms per column."""
        found: list[ColumnDrift] = []
        skipped: dict[str, str] = {}
        before, now = self.reference.columns, current.columns
        names = display_names(before)
        for key, known in before.items():
            seen = now.get(key)
            if seen is None or is_text(known) != is_text(seen):
                continue
            columns = self._column(names[key], known, seen, skipped)
            found += [replace(column, key=key) for column in columns]
        return DriftReport(as_of, current.rows, current.since, self.reference.rows, tuple(found), skipped)

    def _column(
        self,
        name: str,
        whole: Numbers | Texts,
        window: Numbers | Texts,
        skipped: dict[str, str],
    ) -> list[ColumnDrift]:
        method: Literal["wasserstein", "jensenshannon"] = "jensenshannon" if is_text(whole) else "wasserstein"
        if len(whole) < FEWEST_VALUES or len(window) < FEWEST_VALUES:
            skipped[name] = f"fewer than {FEWEST_VALUES} rows"
            return []
        known, present = whole[~missing_values(whole)], window[~missing_values(window)]
        found = [
            self._missing(name, 1 - len(known) / len(whole), len(whole), 1 - len(present) / len(window), len(window))
        ]
        if len(known) < FEWEST_VALUES or len(present) < FEWEST_VALUES:
            which = "reference" if len(known) < FEWEST_VALUES else "window"
            skipped[name] = f"fewer than {FEWEST_VALUES} values present in the {which}"
            return found
        calibrated = self._calibrated(name, method, known, len(present))
        score = evidently_score(method, known, present)
        found.append(ColumnDrift(name, method, score, max(EFFECT, calibrated), calibrated))
        return found

    def _missing(self, name: str, before: float, rows: int, now: float, current: int) -> ColumnDrift:
        share = (before * rows + now * current) / (rows + current)
        calibrated = missing_threshold(rows, current, share, self.level)
        return ColumnDrift(name, "missing_share", abs(now - before), max(MISSING_EFFECT, calibrated), calibrated)

    def _calibrated(self, name: str, method: Method, known: Numbers | Texts, present: int) -> float:
        size = effective_size(len(known), present)
        null = self._nulls.get((name, size))
        if null is None:
            rng = np.random.default_rng([self._seed, size])
            if method == "wasserstein":
                null = wasserstein_null(Grid.of(known.astype(np.float64)), size, rng)
            else:
                null = jensen_shannon_null(count_categories(known.tolist()).counts, size, rng)
            self._nulls[name, size] = null
        return null.quantile(self.level)


def load_in_background() -> threading.Thread:
    """Begins to import Evidently (7 s of one core, 277 MB) while the caller goes on; who needs it waits for it."""
    thread = threading.Thread(target=_evidently, name="import evidently", daemon=True)
    thread.start()
    return thread


@lru_cache(maxsize=1)
def _evidently() -> Mapping[str, Any]:
    """What is used of Evidently. It reports home unless told not to, and warns of its own dependencies."""
    silence_telemetry()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.calculations.stattests import jensenshannon_stat_test, wasserstein_stat_test
        from evidently.legacy.core import ColumnType
        from evidently.metrics import ValueDrift
    return {
        "wasserstein": (wasserstein_stat_test, ColumnType.Numerical),
        "jensenshannon": (jensenshannon_stat_test, ColumnType.Categorical),
        "DataDefinition": DataDefinition,
        "Dataset": Dataset,
        "Report": Report,
        "ValueDrift": ValueDrift,
    }


def evidently_score(method: Literal["wasserstein", "jensenshannon"], reference: Any, current: Any) -> float:
    """Evidently's effect size of one column without missing values.

    Its statistics are called as its reports call them, but without a report: drawing is four fifths of a report's
    time (.1 s per column), and most checks are looked at by nobody.
    """
    import pandas as pd

    statistic, kind = _evidently()[method]
    result = statistic(pd.Series(reference), pd.Series(current), kind, threshold=EFFECT)
    return float(result.drift_score)


def evidently_html(reference: Window, current: Window, report: DriftReport) -> str:
    """Evidently's own page on the columns of a report, with our thresholds; about 1.6 MB and .1 s per column."""
    door = _evidently()
    scored = [column for column in report.columns if column.method != "missing_share"]
    numbers = [column.feature for column in scored if column.method == "wasserstein"]
    categories = [column.feature for column in scored if column.method == "jensenshannon"]
    definition = door["DataDefinition"](numerical_columns=numbers, categorical_columns=categories)
    metrics = [
        door["ValueDrift"](column=column.feature, method=column.method, threshold=column.threshold) for column in scored
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snapshot = door["Report"](metrics, include_tests=True).run(
            door["Dataset"].from_pandas(_frame(current, numbers, categories), data_definition=definition),
            door["Dataset"].from_pandas(_frame(reference, numbers, categories), data_definition=definition),
        )
        return contain(str(snapshot.get_html_str(as_iframe=False)))


def _frame(window: Window, numbers: list[str], categories: list[str]) -> pd.DataFrame:
    """Columns of one length: answers of other versions, which a window leaves out, stand as missing."""
    import pandas as pd

    shown = display_names(window.columns)
    held = {shown[key]: values for key, values in window.columns.items()}
    columns = {name: pd.Series(held[name]) for name in numbers}
    columns |= {name: pd.Series(held[name], dtype=object) for name in categories}
    frame = pd.DataFrame(columns)
    return frame if len(frame) <= DRAWN_ROWS else frame.sample(DRAWN_ROWS, random_state=0)
