"""A token has what its quota gives it, over all workers together, and no other token has less for it."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from record.configuration.sections import ServeSettings, Token
from record.errors import QuotaExceeded
from service.quota import Buckets, Quotas
from tests.record.models import record_of, register_model
from tests.service.serving import Client, bearer, make_settings, running, tokens
from tests.waiting import wait_until

SHA = "0" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def quotas(clock: Clock, buckets: Buckets | None = None, **limits: float) -> Quotas:
    made = Quotas(ServeSettings(), "local", buckets or Buckets(None), clock)
    made.replace(
        [
            Token(name="bounded", roles=("predict",), sha256=SHA, **limits),
            Token(name="free", roles=("read",), sha256=SHA),
        ]
    )
    return made


def taken(made: Quotas, clock: Clock, seconds: float, every: float) -> int:
    """How many of the requests pass that come at that pace."""
    passed = 0
    for _ in range(round(seconds / every)):
        try:
            made.charge_request("bounded")
            passed += 1
        except QuotaExceeded:
            pass
        clock.now += every
    return passed


@pytest.mark.parametrize("rate", [0.2, 1, 10, 250.5])
def test_over_a_long_time_as_many_requests_pass_as_the_quota_says(rate: float) -> None:
    clock = Clock()
    made = quotas(clock, requests_per_second=rate)
    assert taken(made, clock, 100, 1 / (7 * rate)) == pytest.approx(100 * rate + max(1, rate), rel=0.05, abs=1)
    for _ in range(10_000):
        made.charge_request("free")


def test_a_caller_that_keeps_to_its_quota_is_never_refused() -> None:
    clock = Clock()
    made = quotas(clock, requests_per_second=10)
    assert taken(made, clock, 50, 0.1) == 500


def test_a_batch_is_taken_whole_and_paid_off_by_the_time_after_it() -> None:
    clock = Clock()
    made = quotas(clock, rows_per_second=100)
    made.charge_rows("bounded", 10_000)
    for seconds, passes in ((0.0, False), (98.0, False), (99.5, True)):
        clock.now = 1000.0 + seconds
        if passes:
            made.charge_rows("bounded", 1)
            continue
        with pytest.raises(QuotaExceeded, match="100 rows a second") as refused:
            made.charge_rows("bounded", 1)
        assert clock.now + refused.value.retry_after_seconds >= 1099.0
    made.charge_request("bounded")


def test_a_debt_from_before_the_machine_began_anew_is_forgotten() -> None:
    clock = Clock()
    made = quotas(clock, rows_per_second=1)
    clock.now = 5_000_000.0
    made.charge_rows("bounded", 50)
    clock.now = 10.0
    made.charge_rows("bounded", 1)


def test_workers_share_a_tokens_quota(tmp_path: Path) -> None:
    """Four processes ask 200 times each within a moment of the same clock: together they get one second's worth."""
    path = tmp_path / "quotas"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        passed = pool.map(_ask, [str(path)] * 4)
    assert sum(passed) == 50
    assert path.stat().st_mode & 0o077 == 0


def _ask(path: str) -> int:
    clock = Clock()
    made = quotas(clock, Buckets(Path(path)), requests_per_second=50)
    passed = 0
    for _ in range(200):
        try:
            made.charge_request("bounded")
            passed += 1
        except QuotaExceeded:
            pass
    return passed


def test_many_tokens_have_buckets_of_their_own() -> None:
    buckets, clock = Buckets(None), Clock()
    made = Quotas(ServeSettings(requests_per_second=1), "local", buckets, clock)
    made.replace([Token(name=f"t{n}", roles=("read",), sha256=SHA) for n in range(300)])
    for n in range(300):
        made.charge_request(f"t{n}")
    for n in range(300):
        with pytest.raises(QuotaExceeded):
            made.charge_request(f"t{n}")


# --- over HTTP


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    limits = {"predictor": {"rows_per_second": 20}, "labeller": {"rows_per_second": 2}}
    limits |= {"reader": {"requests_per_second": 2}}
    held = [token | limits.get(token["name"], {}) for token in tokens()]
    made = make_settings(tmp_path, {"serve": {"tokens": held, "refresh": "20ms"}})
    with running(made) as (worker, client):
        register_model(worker.record, as_champion=True)
        wait_until(lambda: worker.champion.current is not None, 60, "the champion is loaded")
        yield client


def refused(reply: Any) -> bool:
    if reply.status_code != 429:
        return False
    body = json.loads(reply.content)
    assert (body.get("code") or body["error"]["code"]) == "quota_exceeded"
    assert int(reply.headers["retry-after"]) >= 1
    return True


def test_rows_and_requests_beyond_the_quota_are_refused_and_those_of_others_answered(client: Client) -> None:
    """On every way in: records, tensors, labels, and routes that only read."""
    many = {"records": [record_of(float(n)) for n in range(10_000)]}
    assert client.post("/predict", many, headers=bearer("predictor")).status_code == 200
    assert refused(client.post("/predict", {"records": [record_of()]}, headers=bearer("predictor")))
    assert refused(client.post("/predict", many, headers=bearer("predictor")))
    tensors = {
        "inputs": [
            {"name": "distance", "shape": [1], "datatype": "FP64", "data": [1.0]},
            {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["AA"]},
            {"name": "note", "shape": [1], "datatype": "BYTES", "data": [None]},
        ]
    }
    assert refused(client.post("/v2/models/flights/infer", tensors, headers=bearer("predictor")))
    given = {"labels": [{"id": f"i{n}", "label": "late"} for n in range(100)]}
    assert client.post("/labels", given, headers=bearer("labeller")).status_code == 200
    assert refused(client.post("/labels", given, headers=bearer("labeller")))
    statuses = [client.get("/models", headers=bearer("reader")) for _ in range(20)]
    assert any(refused(reply) for reply in statuses)
    assert statuses[0].status_code == 200
    for _ in range(20):
        assert client.get("/models", headers=bearer("operator")).status_code == 200
    assert client.get("/livez").status_code == 200
