"""The times that callers state: a mistake does not move the record's clock to where it would stand for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from record.clock import FURTHEST_AHEAD, ManualClock, credible_until, machine_now
from record.errors import InvalidRecord
from service.request_time import TimeLimit
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running

FAR = ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999+00:01", "2300-01-01T00:00:00+14:00")


def calls(text: str) -> dict[str, tuple[str, Any, dict[str, str]]]:
    """Every way in which a caller states a time: the path, the body and the headers; the field is the key."""
    header = {"Ringside-Time": text}
    alert = {"status": "firing", "labels": {"alertname": "a", "action": "retrain"}, "startsAt": text}
    tensors = [
        {"name": "distance", "shape": [1], "datatype": "FP64", "data": [1.0]},
        {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["AA"]},
        {"name": "note", "shape": [1], "datatype": "BYTES", "data": ["a note"]},
    ]
    return {
        "predict": ("/predict", {"records": [record_of()]}, header),
        "predict, several": ("/predict", {"records": [record_of()] * 40}, header),
        "infer": ("/v2/models/flights/infer", {"inputs": tensors}, header),
        "labels": ("/labels", {"labels": [{"id": "a", "label": "late"}]}, header),
        "no labels": ("/labels", {"labels": []}, header),
        "alerts": ("/alerts", {"alerts": [alert]}, {}),
        "resolved alerts": ("/alerts", {"alerts": [{**alert, "status": "resolved"}]}, {}),
        "retrain": ("/retrain", {"reason": "a test"}, header),
    }


def test_a_time_of_the_far_future_is_refused_wherever_it_comes_in(tmp_path: Path) -> None:
    with running(make_settings(tmp_path, {"clock": {"source": "requests"}})) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)
        before = worker.record.clock.now()
        for text in FAR:
            for name, (path, body, headers) in calls(text).items():
                refused = client.post(path, body, headers=headers)
                message = refused.text
                assert refused.status_code == (400 if name == "infer" else 422), (name, message)
                assert "more than a year past" in message, name
                assert "startsAt" in message or "Ringside-Time" in message
        assert worker.record.clock.now() == before
        assert worker.record.requests.pending() == []
        moved = machine_now() + timedelta(days=360)
        assert status(client, "predict", moved) == 200
        assert worker.record.clock.now() == moved
        # A year past the later one of the two clocks, so that a replay of the future goes on.
        assert status(client, "predict", moved + timedelta(days=360)) == 200
        assert status(client, "labels", moved + timedelta(days=360 + 366)) == 422
        assert status(client, "alerts", moved + timedelta(days=360 + 360)) == 202


def status(client: Client, name: str, at: datetime) -> int:
    path, body, headers = calls(at.isoformat())[name]
    return client.post(path, body, headers=headers).status_code


def test_the_bound_is_a_year_past_the_later_clock() -> None:
    now = machine_now()
    clock = ManualClock(now - timedelta(days=4000))
    limit = TimeLimit(clock)
    assert limit.read((now + FURTHEST_AHEAD - timedelta(minutes=5)).isoformat(), "t") > now
    late = now + FURTHEST_AHEAD + timedelta(hours=1)
    with pytest.raises(
        InvalidRecord, match=r"t: .* is more than a year past the machine's clock \(.*expected a time up"
    ):
        limit.read(late.isoformat(), "t")
    clock.at = now + timedelta(days=2)
    assert limit.read(late.isoformat(), "t") == late


def test_the_end_of_time_is_no_fault() -> None:
    end = datetime.max.replace(tzinfo=UTC)
    assert credible_until(end - timedelta(days=3)) == end
    assert credible_until(machine_now(), None) < end


def test_alertmanagers_times_are_read(tmp_path: Path) -> None:
    """Go writes nanoseconds and offsets."""
    with running(make_settings(tmp_path)) as (_, client):
        for text in ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.1+02:00", "2026-01-02T03:04:05Z"):
            path, body, headers = calls(text)["alerts"]
            assert client.post(path, body, headers=headers).status_code == 202, text
