"""`/docs.json` says what is so: every answer of every route, in each status that it names, is as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from openapi_spec_validator import validate

from record import errors
from record.record import Record, open_record
from record.settings import Settings
from service.http.answers import ErrorCode
from service.http.replies import STATUSES
from service.http.routes import RULES
from service.status import status
from tests.monitoring.arena import START, Arena, logistic
from tests.record.models import Task, record_of, register_model
from tests.service.http.answers import DescribedService, body_of, filled
from tests.service.serving import (
    Client,
    LiveService,
    bearer,
    live_service,
    make_settings,
    running,
    tokens,
    wait_ready,
    write_config,
)

ROUTES = [rule for rule in RULES if rule.path == "/" or not rule.path.endswith("/")]
WITH_ROLE = [rule for rule in ROUTES if rule.role is not None]
POSTS = [rule for rule in ROUTES if rule.method == "POST"]
NAMES = {"predict": "predictor", "label": "labeller", "alert": "alerter", "read": "reader", "operate": "operator"}
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass
class Described:
    """A live service with its document, and names of things in its record."""

    live: LiveService
    service: DescribedService
    parts: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, who: str | None, query: str = "", **options: Any) -> httpx.Response:
        """A request to that template, answered as the document says."""
        headers = {**(bearer(who) if who else {}), **options.pop("headers", {})}
        parts = self.parts | options.pop("parts", {})
        url = f"{self.live.url}{filled(path, **parts)}{query}"
        response = httpx.request(method, url, headers=headers, timeout=60, **options)
        self.service.expect_described(response, path)
        return response


def fill(record: Record) -> str:
    """A record with something of everything, and the name of a report."""
    first = register_model(record, as_champion=True)
    second = register_model(record, bias=1.0)
    register_model(record, bias=2.0)
    record.bouts.open("challenge", second.version, first.version, 1, {"deadline_seconds": 86400.0}, 0)
    record.samples.put(
        [
            ("ringside_quality", {"role": "champion", "kind": "observed", "metric": "brier"}, 0.2),
            ("ringside_quality", {"role": "challenger", "kind": "observed", "metric": "brier"}, float("nan")),
            ("ringside_feature_drifted", {"feature": "distance"}, 1.0),
        ],
        NOW,
    )
    record.leases.acquire("watcher", "here", timedelta(minutes=1))
    record.jobs.plan("drift", "15m", NOW)
    run = record.runs.request("operator", "ada", "as a try")
    record.runs.start(run.run_id, NOW)
    record.runs.progress(run.run_id, {"stage": "search", "trials": 3})
    record.runs.fail(run.run_id, "it was only a try")
    return record.reports.add("drift", "<!doctype html><title>drift</title>")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    folder = tmp_path_factory.mktemp("described")
    listed = folder / "tokens.json"
    listed.write_text(json.dumps(tokens()))
    settings = write_config(folder, f'max_body_mb = 1\ntokens = "{listed}"')
    record = open_record(settings)
    report = fill(record)
    run = record.runs.recent(1)[0].run_id
    record.close()
    with live_service(settings, folder) as live:
        wait_ready(live)
        document = httpx.get(f"{live.url}/docs.json", headers=bearer("reader")).json()
        parts = {"version": "v1", "id": report, "run_id": run, "name": "flights"}
        yield Described(live, DescribedService(document), parts)


def test_every_answer_is_as_the_document_says(described: Described, tmp_path: Path) -> None:
    """Each route is led to each status that the document names for it, and each answer is held against its schema."""
    for rule in WITH_ROLE:
        assert rule.role is not None
        others = [name for role, name in NAMES.items() if role != rule.role and name != "operator"]
        described.send(rule.method, rule.path, None)
        described.send(rule.method, rule.path, others[0])
    for rule in ROUTES:
        who = NAMES[rule.role] if rule.role else None
        described.send(rule.method, rule.path, who, "?nonsense=1")
    for rule in POSTS:
        assert rule.role is not None
        who = NAMES[rule.role]
        described.send("POST", rule.path, who, content=b"{")
        described.send("POST", rule.path, who, content=b"{}", headers={"Content-Encoding": "br"})
        described.send("POST", rule.path, who, content=b"[" + b" " * 1_000_000)
    _absent(described)
    _conflicts(described)
    _done(described)
    _busy(described.service, tmp_path)
    # A scrape is refused only where eight others wait.
    left = described.service.described() - described.service.seen - {("GET", "/metrics", 503)}
    assert sorted(left) == []


def _absent(described: Described) -> None:
    for path in ("/models/{version}", "/v2/models/{name}/versions/{version}"):
        who = "predictor" if path.startswith("/v2") else "reader"
        described.send("GET", path, who, parts={"version": "v99"})
    described.send("GET", "/v2/models/{name}/versions/{version}/ready", "predictor", parts={"version": "v99"})
    described.send("GET", "/v2/models/{name}", "predictor", parts={"name": "trains"})
    described.send("GET", "/v2/models/{name}/ready", "predictor", parts={"name": "trains"})
    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        body = body_of(described.service.document, path)
        described.send("POST", path, "predictor", content=body, parts={"name": "trains"})
    for path in ("promote", "reject", "unbar"):
        described.send(
            "POST", f"/models/{{version}}/{path}", "operator", json={"reason": "a try"}, parts={"version": "v99"}
        )
    described.send("GET", "/explain", "reader", "?id=never-asked")
    described.send("GET", "/reports/{id}", "reader", parts={"id": "drift-20260101-0123456789abcdef"})
    described.send("GET", "/runs/{run_id}", "reader", parts={"run_id": "run-20260101-00000000"})
    described.send("GET", "/runs", "reader", "?cursor=run-20260101-00000000")


def _conflicts(described: Described) -> None:
    one, other = ({"records": [record_of(distance)], "ids": ["order-1"]} for distance in (1.0, 2.0))
    described.send("POST", "/predict", "predictor", json=one)
    described.send("POST", "/predict", "predictor", json=other)
    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        body = json.loads(body_of(described.service.document, path))
        body["id"] = path.count("/") * "x"
        described.send("POST", path, "predictor", json=body)
        body["inputs"][0]["data"] = [17.0]
        described.send("POST", path, "predictor", json=body)
    described.send("POST", "/models/{version}/promote", "operator", json={"reason": "is champion"})
    described.send("POST", "/models/{version}/reject", "operator", json={"reason": "is champion"})
    described.send("POST", "/models/{version}/unbar", "operator", json={"reason": "is not barred"})
    described.send("POST", "/rollback", "operator", json={"reason": "nobody was before"})


def _done(described: Described) -> None:
    document = described.service.document
    for path in ("/predict", "/labels", "/alerts", "/retrain"):
        who = {"/predict": "predictor", "/labels": "labeller", "/alerts": "alerter"}.get(path, "operator")
        assert described.send("POST", path, who, content=body_of(document, path)).is_success
    again = described.send("POST", "/predict", "predictor", content=body_of(document, "/predict"))
    assert again.json()["predictions"][0]["model_version"] == "v1"
    described.send("POST", "/retrain", "operator", content=body_of(document, "/retrain"))  # one is asked for already
    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        body = json.loads(body_of(document, path)) | {"parameters": {"binary_data_output": True}}
        answered = described.send("POST", path, "predictor", json=body)
        assert answered.headers["content-type"] == "application/octet-stream"
    described.send("GET", "/explain", "reader", "?id=order-17")
    described.send("GET", "/explain", "reader", "?id=order-17&attribution=false")
    for rule in ROUTES:
        if rule.method != "POST" and rule.path != "/explain":
            who = NAMES[rule.role] if rule.role else None
            assert described.send(rule.method, rule.path, who).is_success
    parts = {"version": "v3"}
    described.send("POST", "/models/{version}/reject", "operator", json={"reason": "a try"}, parts=parts)
    described.send("POST", "/models/{version}/unbar", "operator", json={"reason": "a try"}, parts=parts)
    described.send("POST", "/models/{version}/promote", "operator", json={"reason": "a try"}, parts=parts)
    described.send("POST", "/rollback", "operator", json={"reason": "a try"})
    assert described.send("GET", "/models", "reader", "?limit=1").json()["next"] is not None
    assert described.send("GET", "/events", "reader", "?limit=3").json()["next"] is not None


def _busy(service: DescribedService, folder: Path) -> None:
    """What a service says that has no champion, has as much to do as it may, or hears too much from one caller."""
    (folder / "none").mkdir()
    with running(_with_tokens(folder / "none")) as (_, client):
        _each(service, client, [rule for rule in ROUTES if rule.path == "/readyz"])
    for name, options in (("quota", {"requests_per_second": 0.001}), ("full", {})):
        (folder / name).mkdir()
        settings = _with_tokens(folder / name, **options)
        if name == "full":
            serve = settings.serve.model_copy(update={"max_concurrency": 0})
            settings = settings.model_copy(update={"serve": serve})
        with running(settings) as (_, client):
            _each(service, client, [rule for rule in WITH_ROLE if rule.path != "/metrics" or name == "quota"])


def _with_tokens(folder: Path, **options: Any) -> Settings:
    return make_settings(folder, {"serve": {"tokens": [token | options for token in tokens()]}})


def _each(service: DescribedService, client: Client, rules: list[Any]) -> None:
    """Two requests to each route: the second one is over a quota."""
    for rule in rules:
        path = filled(rule.path, version="v1", id="a", run_id="a", name="flights")
        for _ in range(2):
            headers = bearer(NAMES[rule.role]) if rule.role else {}
            content = b"{}" if rule.method == "POST" else None
            response = client.request(rule.method, path, headers=headers, content=content)
            if response.status_code in (429, 503):
                service.expect_described(response, rule.path)


def test_the_document_is_valid_whatever_is_served(tmp_path: Path) -> None:
    """Without a champion, for a regression, and with tokens; every example fits its schema."""
    served: list[Task | None] = [None, "classification", "regression"]
    for task in served:
        folder = tmp_path / str(task)
        folder.mkdir()
        settings = make_settings(folder)
        if task is not None:
            record = open_record(settings)
            register_model(record, task=task, as_champion=True)
            record.close()
        with running(settings) as (_, client):
            document = client.get("/docs.json").json()
        validate(document)
        service = DescribedService(document)
        for path, method, content in _contents(document):
            for example in content.get("examples", {}).values():
                faults = service.faults(example["value"], content["schema"])
                assert not faults, f"{task} {method} {path}: {faults}"


def _contents(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every body that the document describes."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for described in [operation.get("requestBody", {}), *operation["responses"].values()]:
                for content in described.get("content", {}).values():
                    yield path, method, content


def test_status_is_as_the_document_says_in_each_state_of_a_bout(tmp_path: Path) -> None:
    """Testing, awaiting a person's approval, and on probation."""
    arena = Arena.build(tmp_path, mode="approve")
    arena.register(logistic(0.0))
    arena.challenge(1.0, START)
    arena.label(arena.ask(400, START))
    states = []
    with running(make_settings(tmp_path / "served")) as (_, client):
        service = DescribedService(client.get("/docs.json").json())

    def expect_described() -> None:
        shown = status(arena.record, arena.settings)
        assert service.faults(shown, {"$ref": "#/components/schemas/Status"}) == []
        states.append(shown["challengers"][0]["state"])

    expect_described()
    arena.settle(START + timedelta(hours=6))
    expect_described()
    arena.record.registry.promote("v2", actor="ada", reason="convinced by the lead")
    arena.settle(START + timedelta(hours=7))
    arena.open(START + timedelta(hours=7))
    arena.label(arena.ask(60, START + timedelta(hours=7)))
    arena.settle(START + timedelta(hours=9))
    expect_described()
    assert states == ["testing", "awaiting_approval", "probation"]


def test_every_code_of_an_error_is_in_the_document() -> None:
    """The codes are those of the errors that have a status, and of a fault in the service."""

    def below(kind: type[errors.RingsideError]) -> Iterator[type[errors.RingsideError]]:
        yield kind
        for inner in kind.__subclasses__():
            yield from below(inner)

    codes = {
        kind.code for top, _ in STATUSES for kind in below(top) if kind.__module__.startswith(("record", "service"))
    }
    assert set(get_args(ErrorCode)) == codes - {errors.RingsideError.code} | {"internal"}
