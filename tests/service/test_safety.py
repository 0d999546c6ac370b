"""What hostile bodies, names and paths do: a clean refusal, no 500, and no series of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from record.db.database import Database
from record.errors import Overloaded
from service.bodies.reader import MOST_BODIES, BodyReader
from service.http.routes import RULES, metric_label
from service.http.rule import Rule
from service.worker import Worker
from tests.record.models import answer, record_of, register_model
from tests.service.serving import Client, bearer, make_settings, running, tokens

MOST_SERIES = 2_500
NUL, HALF = "a\0b", "\\ud800"  # text that PostgreSQL does not hold, and half a surrogate pair as JSON writes it
HOLDERS = {"/predict": "predictor", "/labels": "labeller", "/alerts": "alerter"}
DEPTHS = (30, 300, 900, 980, 1_000, 5_000, 100_000)


@contextmanager
def serving(folder: Path, url: str) -> Iterator[tuple[Worker, Client]]:
    store = {"database": url, "artifacts": str(folder / "artifacts")}
    serve = {"tokens": tokens(), "max_body_mb": 1, "max_batch": 50, "request_timeout": "3s"}
    with running(make_settings(folder, {"store": store, "serve": serve})) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)
        yield worker, client


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[tuple[Worker, Client]]:
    """On each kind of database in turn, for what may look different to them."""
    with serving(tmp_path, database.url) as started:
        yield started


@pytest.fixture
def client(service: tuple[Worker, Client]) -> Client:
    return service[1]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client]]:
    """One for all tests that never come near the database."""
    folder = tmp_path_factory.mktemp("embedded")
    with serving(folder, f"sqlite:///{folder}/record.db") as started:
        yield started


def send(client: Client, path: str, body: str | bytes, name: str = "") -> tuple[int, str]:
    """Status and code of the answer; the token is the one for that path."""
    holder = name or HOLDERS.get(path, "predictor" if path.startswith("/v2") else "operator")
    told = client.request("POST", path, content=body, headers=bearer(holder))
    error = told.json().get("error", {})  # of the Open Inference Protocol's routes it is the message alone
    return told.status_code, error["code"] if isinstance(error, dict) and error else ""


def paths(method: str) -> list[str]:
    held = [rule.path for rule in RULES if rule.method == method]
    return [path.replace("{version}", "v1").replace("{name}", "flights").replace("{id}", "none") for path in held]


def test_halves_of_surrogate_pairs_are_refused_everywhere(embedded: tuple[Worker, Client]) -> None:
    _, client = embedded
    for path in paths("POST"):
        for body in (f'{{"records": ["{HALF}"]}}', f'{{"{HALF}": 1}}', f'"{HALF}"', f'{{"reason": "x{HALF}"}}'):
            assert send(client, path, body)[0] == 400, path
    assert send(client, "/predict", f'{{"records": ["{HALF}"]}}')[1] == "invalid_json"
    assert send(client, "/predict", b'{"records": ["\xed\xa0\x80"]}')[0] == 400
    assert send(client, "/predict", b'{"records": ["\xff"]}')[0] == 400


def test_nul_in_ids_is_refused(client: Client) -> None:
    asked = {"records": [record_of()], "ids": [NUL]}
    assert send(client, "/predict", json.dumps(asked)) == (422, "invalid_record")
    told = client.post("/labels", {"labels": [{"id": NUL, "label": "late"}]}, headers=bearer("labeller"))
    assert told.status_code == 422 or told.json()["unknown"] == [NUL]


def test_nul_in_records_is_a_text_like_any_other(service: tuple[Worker, Client]) -> None:
    """A category that training has not seen, whatever stands before the NUL; and it is logged as it came."""
    worker, client = service
    for n, carrier in enumerate(("AA\0", "\0AA", "\0", "AA\0UA")):
        record = record_of(carrier=carrier, note=NUL)
        told = client.post("/predict", {"records": [record], "ids": [f"n{n}"]}, headers=bearer("predictor"))
        assert told.status_code == 200, told.text
        probability = told.json()["predictions"][0]["probabilities"]["late"]
        assert probability == pytest.approx(answer(record, 0.0), abs=1e-9)
        row = worker.record.log.find(f"n{n}")
        assert row is not None
        assert json.loads(row.record) == record


def test_nul_in_other_bodies_is_no_fault(client: Client) -> None:
    alert = {"labels": {"alertname": NUL, "action": "retrain"}, "startsAt": NUL, "annotations": {"summary": NUL}}
    tensor = {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": [NUL]}
    for path in paths("POST"):
        for body in ({"reason": NUL}, {"alerts": [alert], "version": "4"}, {"id": NUL, "inputs": [tensor]}):
            status, _ = send(client, path, json.dumps(body))
            assert 200 <= status < 500, (path, body)


def test_hostile_paths_and_queries_are_no_fault(client: Client) -> None:
    for query in (
        "/events?q=%00",
        "/events?actor=%00",
        "/events?kind=%00",
        "/events?model=%00",
        "/events?since=%00",
        "/events?cursor=%00",
        "/events?cursor=99999999999999999999999",
        "/events?cursor=-1",
        "/events?limit=9999999999999999999999",
        "/events?q=%ed%a0%80",
        "/events?q=%ff",
        "/events?since=0001-01-01T00:00:00%2B23:59",
        "/events?until=9999-12-31T23:59:59-23:59",
        "/models/%00",
        "/models/v99999999999999999999999999",
        "/models/..%2f..%2fetc",
        "/reports/%00",
        "/reports/..%2f..%2fetc%2fpasswd",
        "/reports/%ff",
        "/v2/models/%00",
        "/v2/models/%00/versions/%00",
        "/%00",
        "/models/" + "x" * 5000,
    ):
        told = client.get(query, headers=bearer("predictor" if query.startswith("/v2") else "operator"))
        assert 200 <= told.status_code < 500, (query, told.text)


@pytest.mark.parametrize("path", paths("POST"))
def test_nesting_is_bounded(embedded: tuple[Worker, Client], path: str) -> None:
    """Lists, objects and both, wherever a value can stand; never a fault, whatever the depth."""
    _, client = embedded
    keys = ("records", "ids", "labels", "alerts", "inputs", "reason", "id")
    for depth in DEPTHS:
        lists, objects = "[" * depth + "]" * depth, '{"distance":' * depth + "1" + "}" * depth
        for nested in (lists, objects):
            bodies = [nested, f'{{"records": [{nested}]}}', f'{{"records": [{{"distance": {nested}}}]}}']
            bodies += [f'{{"{key}": {nested}}}' for key in keys]
            bodies += [f'{{"records": [{{}}], "ids": [{nested}]}}', f'{{"labels": [{{"id": "a", "label": {nested}}}]}}']
            for body in bodies:
                status, _ = send(client, path, body)
                assert 400 <= status < 500, (path, depth, body[:40])


def test_bodies_that_are_held_are_bounded_together(embedded: tuple[Worker, Client]) -> None:
    """Complete or half, until their requests are answered."""
    _, client = embedded
    reader = BodyReader(1_000)

    async def half(size: int) -> bytes:
        parts = iter([b"a" * (size - 1), b"a"])

        async def receive() -> dict[str, Any]:
            part = next(parts)
            return {"type": "http.request", "body": part, "more_body": len(part) > 1}

        return await reader.read({}, receive)

    for _ in range(MOST_BODIES):
        assert len(client.call(lambda: half(1_000))) == 1_000
    with pytest.raises(Overloaded):
        client.call(lambda: half(1_000))
    reader.release(1_000)
    assert len(client.call(lambda: half(1_000))) == 1_000


def bodies_for(rule: Rule) -> list[bytes]:
    """Bodies of every kind: good, malformed, wrong, too large."""
    good: dict[str, Any] = {
        "/predict": {"records": [record_of()], "ids": ["one"]},
        "/labels": {"labels": [{"id": "one", "label": "late"}]},
        "/alerts": {"version": "4", "alerts": []},
    }
    known = good.get(rule.path, {"reason": "because"})
    conflict = {"records": [record_of(1.0)], "ids": ["one"]}
    held = [known, {}, [], conflict, {"records": [record_of()] * 51}, {"reason": ""}]
    return [*(json.dumps(body).encode() for body in held), b"{", b" " * 1_000_001]


def series(client: Client) -> int:
    """As Prometheus counts them: every line of a scrape with labels of its own."""
    text = client.get("/metrics", headers=bearer("reader")).text
    return sum(len(family.samples) for family in text_string_to_metric_families(text))


def test_series_stay_few_whatever_clients_send(embedded: tuple[Worker, Client]) -> None:
    """Every route with every token, body and method; random paths, ids, versions, reasons and columns."""
    _, client = embedded
    for rule in RULES:
        for version, name in (("v1", "flights"), ("v9", "nothing")):
            path = rule.path.replace("{version}", version).replace("{name}", name).replace("{id}", "none")
            for holder in (
                "",
                "alerter",
                "predictor" if rule.path.startswith("/v2") else "operator",
                HOLDERS.get(rule.path, ""),
            ):
                headers = bearer(holder) if holder else {}
                for method in ("GET", "HEAD", "PUT", "BREW") if rule.method == "GET" else ("PATCH",):
                    client.request(method, path, headers=headers)
                for body in bodies_for(rule) if rule.method == "POST" else ():
                    client.request("POST", path, content=body, headers=headers)
    for n in range(60):
        client.get(f"/{n}/{n}", headers=bearer("reader"))
        client.get(f"/models/v{n}", headers=bearer("reader") | {"X-Forwarded-For": f"10.0.0.{n}"})
        odd = record_of(carrier=f"c{n}") if n % 2 else {**record_of(), f"column{n}": n}
        client.post("/predict", {"records": [odd], "ids": [f"i{n}"]}, headers=bearer("predictor"))
        client.post("/labels", {"labels": [{"id": f"i{n}", "label": f"l{n}"}]}, headers=bearer("labeller"))
        client.request("POST", "/rollback", json={"reason": f"reason {n}"}, headers=bearer("operator"))
    assert series(client) < MOST_SERIES


def test_series_stay_few_even_with_every_status_of_every_route(embedded: tuple[Worker, Client]) -> None:
    """As if clients, failures and time had made each route answer with everything that it can."""
    worker, client = embedded
    for rule in RULES:
        common = {rule.answers, 401, 403, 499, 500, 503} if rule.role else {200, 499, 503}
        for status in common | set(rule.refuses):
            worker.metrics.request(metric_label(rule, status), status, 0.001)
    for status in (401, 404, 405, 499):
        worker.metrics.request("other", status, 0.001)
    worker.metrics.answers("v9", [f"class {n}" for n in range(200)])
    assert series(client) < MOST_SERIES


def test_a_scrape_is_answered_while_all_threads_wait(embedded: tuple[Worker, Client]) -> None:
    """Labels that wait for a locked database take every thread; Prometheus must see it."""
    worker, client = embedded
    label = {"labels": [{"id": "none", "label": "late"}]}
    with ThreadPoolExecutor(60) as threads, worker.record.database.exclusive():
        waiting = [threads.submit(client.post, "/labels", label, headers=bearer("labeller")) for _ in range(60)]
        shown = client.get("/metrics", headers=bearer("reader"))
        assert shown.status_code == 200
        assert not all(one.done() for one in waiting)
    assert {one.result().status_code for one in waiting} <= {200, 503}
