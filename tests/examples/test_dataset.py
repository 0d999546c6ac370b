"""The demo's flights are what an application would have known, asked and learnt, when it would have."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from examples.flights.dataset import (
    CARRIED,
    FEATURES,
    TARGET,
    clock_minutes,
    landing_times,
    package_folder,
    read_flights,
    replay_flights,
    training_rows,
)

COLUMNS = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
    "carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"
)
FLIGHTS = f"""{COLUMNS}
2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z
2013,3,1,1,2029,212,236,2359,157,B6,915,N653JB,JFK,SFO,315,2586,20,29,2013-03-02T01:00:00Z
2013,3,1,1800,1800,0,2100,2100,0,AA,1,,JFK,LAX,330,2475,18,0,2013-03-01T23:00:00Z
2013,3,1,,1630,,,1815,,EV,4308,N18120,EWR,RDU,,416,16,30,2013-03-01T21:00:00Z
"""
WEATHER = """origin,time_hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib
EWR,2013-03-01T21:00:00Z,39.02,26.06,59.37,270,10.4,,0,1012,10
"""
PLANES = "tailnum,year,seats,manufacturer\nN14228,1999,149,BOEING\nN18120,,55,EMBRAER\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pd.read_csv(StringIO(FLIGHTS)).to_csv(tmp_path / "flights.csv.zip", index=False)
    (tmp_path / "weather.csv").write_text(WEATHER)
    (tmp_path / "planes.csv").write_text(PLANES)
    return tmp_path


def test_a_time_written_as_1745_is_minutes_after_midnight() -> None:
    assert clock_minutes(pd.Series([5, 517, 2359, 2400])).tolist() == [5, 317, 1439, 1440]


def test_january_and_february_train_and_march_is_replayed(folder: Path) -> None:
    flights = read_flights(folder)
    assert training_rows(flights)["flight"].tolist() == ["2013-01-01-UA1545-EWR"]
    assert [flight.id for flight in replay_flights(flights)] == [
        "2013-03-01-EV4308-EWR",
        "2013-03-01-AA1-JFK",
        "2013-03-01-B6915-JFK",
    ], "in the order of scheduled departure"


def test_a_flight_lands_after_its_delay_its_air_time_and_its_taxiing(folder: Path) -> None:
    """UA1545 left at 10:17 UTC and was at its gate, on Texan clocks, 3 h 13 min later: 4 h 13 min in fact."""
    assert read_flights(folder)["landed"].iloc[0] == pd.Timestamp("2013-01-01T14:30:00Z")


def test_a_night_flight_lands_on_the_next_day(folder: Path) -> None:
    late = replay_flights(read_flights(folder))[2]
    assert late.landed == pd.Timestamp("2013-03-02T10:36:00Z")
    assert late.label == "late"


def test_a_cancelled_flight_is_asked_for_and_never_labelled(folder: Path) -> None:
    cancelled = replay_flights(read_flights(folder))[0]
    assert (cancelled.landed, cancelled.label) == (None, None)
    assert cancelled.record["temp"] == 39.02
    assert cancelled.record["plane_year"] is None, "what is not known is null, not NaN"


def test_a_request_says_nothing_that_is_known_only_after_departure(folder: Path) -> None:
    (first, *_) = replay_flights(read_flights(folder))
    assert set(first.record) == {*FEATURES, *CARRIED}
    assert TARGET not in first.record


def test_every_second_flight_is_every_second_in_time_order(folder: Path) -> None:
    assert [flight.id for flight in replay_flights(read_flights(folder, every=2))] == ["2013-03-01-AA1-JFK"]


def test_the_installed_package_holds_the_year() -> None:
    flights = pd.read_csv(package_folder() / "flights.csv.zip", nrows=2000)
    assert landing_times(flights.assign(scheduled=pd.to_datetime(flights["time_hour"], utc=True))).notna().mean() > 0.9
