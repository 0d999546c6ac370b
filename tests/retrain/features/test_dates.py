"""What is made of times: exact in spite of single precision, and worth having where the hour is what counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from record.contract.arrays import Arrays
from record.contract.columns import Column
from record.contract.decoder import Decoder
from record.contract.schema import ProblemSchema
from retrain.features.dates import HARMONICS, Dates
from retrain.models.configuration import Configuration, Family
from retrain.models.pipeline import build, fit, predict

PROBLEM = ProblemSchema(
    "regression",
    "fare",
    (Column("left", "feature", "time"), Column("seats", "feature", "number"), Column("came", "feature", "time")),
)
TIMES = st.datetimes(datetime(1000, 1, 1), datetime(2999, 1, 1))  # noqa: DTZ001


def decoded(left: Any, came: Any) -> Arrays:
    return Decoder(PROBLEM).decode_frame(pd.DataFrame({"left": left, "seats": 4.0, "came": came}))


def journeys(rows: int, seed: int = 0) -> tuple[Arrays, npt.NDArray[np.float64]]:
    """Journeys of some minutes over four hundred days: the fare climbs with the minutes, and with the hour's cycle."""
    generator = np.random.default_rng(seed)
    left = pd.Timestamp("2023-01-01") + pd.to_timedelta(generator.uniform(0, 400 * 86_400, rows), unit="s")
    minutes = generator.exponential(15.0, rows)
    came = left + pd.to_timedelta(minutes * 60.0, unit="s")
    cycle = np.sin((left.hour + left.minute / 60.0 - 3.0) / 24.0 * 2 * np.pi)
    fare = minutes / 10.0 + 3.0 * cycle + generator.normal(0.0, 0.1, rows)
    return decoded(left, came), np.asarray(fare)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=5))
def test_gaps_are_exact_to_a_millisecond(pairs: list[tuple[datetime, datetime]]) -> None:
    """Though single precision tells days of our time 84 s apart, and those of the year 2999 a minute and more."""
    rows = decoded([left.isoformat() for left, _ in pairs], [came.isoformat() for _, came in pairs])
    dates = Dates().fit(journeys(50)[0].numbers, times=rows.times)
    gaps = dates.transform(rows.numbers)[:, -1]
    exact = np.array([(came - left).total_seconds() / 86_400 for left, came in pairs])
    np.testing.assert_allclose(gaps, exact, rtol=1e-7, atol=1e-8)  # in days


def test_times_of_day_and_year_are_one_number_each() -> None:
    """Which one cut parts, where hour and second, or month and day, take several."""
    rows = decoded(["2024-02-29T13:45:00", None], ["2024-12-31T00:00:00", "2024-01-01T00:00:36"])
    dates = Dates().fit(journeys(50)[0].numbers, times=rows.times)
    made = dates.transform(rows.numbers)
    np.testing.assert_allclose(made[0, :4], [13.75, 0.0, 2 + 28 / 31, 12 + 30 / 31], rtol=1e-6)
    np.testing.assert_allclose(made[1, :4], [np.nan, 0.01, np.nan, 1.0], rtol=1e-6)
    assert np.isnan(made[1, 4])


def test_what_does_not_vary_is_not_made() -> None:
    """Days without a time of day have neither one nor its cycle; one moment has nothing."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(100), unit="D")
    rows = decoded(days, [pd.NaT] * 100)
    dates = Dates().fit(rows.numbers, times=rows.times)
    assert dates.transform(rows.numbers).shape == (100, 1)  # the time of the year
    cycles = dates.cycles(rows.numbers)
    assert cycles.shape == (100, 1 + 4 * len(HARMONICS) + len(HARMONICS))  # at weekends: the day's cosine at midnight
    still = decoded(["2024-01-01"] * 10, ["2024-01-01"] * 10)
    nothing = Dates().fit(still.numbers, times=still.times)
    assert nothing.transform(still.numbers).shape == nothing.cycles(still.numbers).shape == (10, 0)


def test_midnight_lies_beside_midnight() -> None:
    """A cycle closes: the last second of a day, a week and a year is next to the first one of the next."""
    rows = decoded(["2023-12-31T23:59:59", None], ["2024-01-01T00:00:00", None])
    dates = Dates().fit(journeys(2_000)[0].numbers, times=rows.times)
    made = dates.cycles(rows.numbers)
    weekend = made[:, :2]
    np.testing.assert_array_equal(weekend, [[1.0, 0.0], [0.0, 0.0]])  # a Sunday, then a Monday
    first, second = made[0, 2:], made[0, 3:]
    turned = [place for place in range(first.shape[0] - 1) if abs(first[place] - second[place]) < 1e-2]
    assert len(turned) >= 3 * 2 * len(HARMONICS)
    np.testing.assert_array_equal(made[1], 0.0)


@pytest.mark.parametrize(("family", "less"), [("linear", 0.3), ("perceptron", 0.6), ("lightgbm", 0.6)])
def test_a_cycle_and_a_gap_that_count_are_learned(family: Family, less: float) -> None:
    """The error with them is that share, at most, of the error with the decoded parts alone."""
    rows, fare = journeys(3_000)
    errors = {}
    for dates in ("parts", "cycles"):
        fitted = fit(build(Configuration(family, {"dates": dates}), "regression", 0), rows.rows(0, 2_000), fare[:2_000])
        errors[dates] = float(np.sqrt(np.mean((predict(fitted, rows.rows(2_000), 0) - fare[2_000:]) ** 2)))
    assert errors["cycles"] < less * errors["parts"]
