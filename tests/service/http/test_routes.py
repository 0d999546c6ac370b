"""The outside contract over HTTP: what each route takes, answers and refuses."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from service.http.routes import RULES
from service.worker import Worker
from tests.record.models import POISON, answer, record_of, register_model
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client]]:
    """A champion v1, small limits."""
    serve = {"max_batch": 50, "max_body_mb": 1}
    columns = {
        "distance": {"type": "number"},
        "carrier": {"type": "category"},
        "note": {"type": "text", "role": "carried"},
    }
    settings = make_settings(
        tmp_path_factory.mktemp("routes"), {"serve": serve, "columns": columns, "log": {"redact": ["note"]}}
    )
    with running(settings) as (worker, client):
        register_model(worker.record, 0.25, as_champion=True)
        client.call(worker._follow)
        yield worker, client


@pytest.fixture
def client(service: tuple[Worker, Client]) -> Client:
    return service[1]


@pytest.fixture
def worker(service: tuple[Worker, Client]) -> Worker:
    return service[0]


def error(response: httpx.Response) -> dict[str, Any]:
    """The error in the one shape that all have."""
    held = response.json()
    assert list(held) == ["error"]
    assert sorted(set(held["error"]) - {"details"}) == ["code", "field", "message"]
    inner: dict[str, Any] = held["error"]
    return inner


# --- /predict


def test_records_are_answered_by_the_champion(client: Client) -> None:
    """Class, probabilities and an id each, in the order of the records."""
    records = [record_of(0.0, "UA"), record_of(3000.0), record_of(None, None)]
    answered = client.post("/predict", {"records": records})
    assert answered.status_code == 200
    held = answered.json()
    assert held["model_version"] == "v1"
    for record, one in zip(records, held["predictions"], strict=True):
        late = answer(record, 0.25)
        assert one["probabilities"] == pytest.approx({"late": late, "on time": 1 - late})
        assert one["prediction"] == ("late" if late >= 0.5 else "on time")
    ids = [one["id"] for one in held["predictions"]]
    assert ids == sorted(set(ids))


def test_an_answer_is_in_the_log_and_redacted_there(client: Client, worker: Worker) -> None:
    """A redacted column is null: whoever reads the log still decodes by the schema."""
    client.post("/predict", {"records": [record_of(1.0, "AA", "private")], "ids": ["redacted"]})
    row = worker.record.log.find("redacted")
    assert row is not None
    assert json.loads(row.record) == record_of(1.0, "AA", None)
    assert json.loads(row.prediction) == "late"


def test_the_same_id_and_record_get_the_same_answer(client: Client) -> None:
    """Also written differently; the answer says that it is repeated by naming its own version."""
    first = client.post("/predict", {"records": [record_of(7.0)], "ids": ["same"]}).json()["predictions"][0]
    again = client.post("/predict", {"ids": ["same"], "records": [{"note": None, "carrier": "AA", "distance": 7}]})
    assert again.json()["predictions"] == [{**first, "model_version": "v1"}]


def test_the_same_id_for_another_record_refuses_the_request(client: Client) -> None:
    """Nothing of it is answered or logged, and the ids are named."""
    client.post("/predict", {"records": [record_of(1.0)], "ids": ["taken"]})
    refused = client.post("/predict", {"records": [record_of(2.0), record_of(3.0)], "ids": ["taken", "fresh"]})
    assert refused.status_code == 409
    assert error(refused)["code"] == "id_conflict"
    assert "'taken'" in error(refused)["message"]
    taken = client.post("/predict", {"records": [record_of(9.0)], "ids": ["fresh"]})
    assert taken.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ("", 400, "invalid_json", None),
        ("{", 400, "invalid_json", None),
        ("[]", 400, "invalid_json", None),
        ("{}", 400, "invalid_json", "records"),
        ('{"recrods": []}', 400, "invalid_json", "recrods"),
        ('{"records": [], "records2": 1}', 400, "invalid_json", "records2"),
        ("\xff", 400, "invalid_json", None),
        ("[" * 100_000, 400, "invalid_json", None),
        ('{"records": ' + "[" * 400 + "]" * 400 + "}", 422, "invalid_record", "records[0]"),
        ('{"records": []}', 422, "invalid_record", "records"),
        ('{"records": {}}', 422, "invalid_record", "records"),
        ('{"records": [5]}', 422, "invalid_record", "records[0]"),
        ('{"records": [{}]}', 422, "invalid_record", "records[0].distance"),
        ('{"records": [{"distance": "1", "carrier": "", "note": ""}]}', 422, "invalid_record", "records[0].distance"),
        ('{"records": [{"distance": NaN, "carrier": "", "note": ""}]}', 422, "invalid_record", "records[0].distance"),
        ('{"records": [{"distance": 1e999, "carrier": "", "note": ""}]}', 422, "invalid_record", "records[0].distance"),
        ('{"records": [{"distance": 1, "carrier": "\\ud800", "note": ""}]}', 400, "invalid_json", None),
        ('{"records": [{"distance": 1, "carrier": {}, "note": ""}]}', 422, "invalid_record", "records[0].carrier"),
    ],
)
def test_what_cannot_be_used_is_named(client: Client, body: str, status: int, code: str, field: str | None) -> None:
    """Never a 500: the code, the field, and a message that says what was expected."""
    refused = client.request("POST", "/predict", content=body.encode("latin-1"))
    assert (refused.status_code, error(refused)["code"], error(refused)["field"]) == (status, code, field)


@pytest.mark.parametrize(
    "ids",
    [["a"], ["a", "a"], ["a", ""], ["a", 5], ["a", "x" * 201], ["a", "tab\t"], ["a", "nul\x00"], "ab", {"a": 1}],
)
def test_ids_are_unique_strings_one_for_each_record(client: Client, ids: Any) -> None:
    """Anything else is refused by name."""
    refused = client.post("/predict", {"records": [record_of(), record_of()], "ids": ids})
    assert refused.status_code == 422
    assert str(error(refused)["field"]).startswith("ids")


def test_batches_are_bounded(client: Client) -> None:
    """As many as serve.max_batch are answered, one more is not."""
    assert client.post("/predict", {"records": [record_of()] * 50}).status_code == 200
    refused = client.post("/predict", {"records": [record_of()] * 51})
    assert (refused.status_code, error(refused)["code"]) == (413, "too_large")


def test_bodies_are_bounded_with_a_length_and_without(client: Client) -> None:
    """Refused before they are held in memory, and the connection is closed."""
    refused = client.request("POST", "/predict", content=b" " * 1_000_001)
    assert (refused.status_code, error(refused)["code"], refused.headers["connection"]) == (413, "too_large", "close")
    sent = 0

    async def chunks() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 100_000

    refused = client.request("POST", "/labels", content=chunks())
    assert (refused.status_code, error(refused)["code"]) == (413, "too_large")
    assert sent < 600  # none of it held: some is thrown away, so that a client that still sends sees the answer


def test_numbers_beyond_64_bits_are_numbers(client: Client, worker: Worker) -> None:
    """They fit single precision, and the log has them to the letter."""
    body = (
        '{"records": [{"distance": 1'
        + "0" * 30
        + ', "carrier": 12345678901234567890123, "note": null}], "ids": ["wide"]}'
    )
    assert client.request("POST", "/predict", content=body.encode()).status_code == 200
    row = worker.record.log.find("wide")
    assert row is not None
    assert json.loads(row.record)["distance"] in (10**30, 1e30)


def test_no_answer_is_not_finite(client: Client, worker: Worker) -> None:
    """A model that gives NaN gives no answer: 503, nothing logged."""
    refused = client.post("/predict", {"records": [record_of(), record_of(POISON)], "ids": ["fine", "poisoned"]})
    assert (refused.status_code, error(refused)["code"], error(refused)["field"]) == (503, "no_champion", "records[1]")
    assert refused.headers["retry-after"] == "1"
    assert worker.record.log.find("fine") is None


# --- /labels


def test_labels_say_what_became_of_them(client: Client) -> None:
    """New, repeated, contradicting, corrected, and for ids that were never answered."""
    client.post("/predict", {"records": [record_of(), record_of()], "ids": ["l1", "l2"]})

    def send(*labels: dict[str, Any]) -> dict[str, Any]:
        answered = client.post("/labels", {"labels": list(labels)})
        assert answered.status_code == 200
        told: dict[str, Any] = answered.json()
        return told

    nothing = {"accepted": 0, "duplicates": 0, "conflicts": [], "unknown": []}
    assert send({"id": "l1", "label": "late"}, {"id": "l?", "label": "late"}) == nothing | {
        "accepted": 1,
        "unknown": ["l?"],
    }
    assert send({"id": "l1", "label": "late"}) == nothing | {"duplicates": 1}
    assert send({"id": "l1", "label": "on time"}) == nothing | {"conflicts": ["l1"]}
    assert send({"id": "l1", "label": "on time", "correct": True}) == nothing | {"accepted": 1}
    assert send() == nothing


@pytest.mark.parametrize(
    "label",
    [
        5,
        {"id": "a"},
        {"id": "a", "label": 1},
        {"id": "a", "label": "early"},
        {"id": "a", "label": None},
        {"id": 5, "label": "late"},
        {"id": "a", "label": "late", "correct": 1},
        {"id": "a", "label": "late", "sure": True},
    ],
)
def test_a_label_that_is_no_class_is_refused(client: Client, label: Any) -> None:
    """Its place is named."""
    refused = client.post("/labels", {"labels": [{"id": "a", "label": "late"}, label]})
    assert (refused.status_code, error(refused)["code"]) == (422, "invalid_label")
    assert str(error(refused)["field"]).startswith("labels[1]")


# --- /alerts


def alert(n: int = 0, status: str = "firing", **labels: str) -> dict[str, Any]:
    held = {"alertname": "Stale", **labels}
    return {"status": status, "labels": held, "startsAt": "2024-05-01T00:00:00Z", "fingerprint": f"f{n}"}


def test_alerts_are_taken_once_and_only_some_ask(client: Client, worker: Worker) -> None:
    """action="retrain" waits for the watcher; others are recorded; resolved ones ask nothing."""
    body = {
        "version": "4",
        "alerts": [alert(1, action="retrain"), alert(2, alertname="Slow"), alert(3, "resolved", action="retrain")],
    }
    answered = client.post("/alerts", body)
    assert (answered.status_code, answered.json()) == (202, {"accepted": 2, "duplicates": 0, "ignored": 1})
    again = client.post("/alerts", body).json()
    assert again == {"accepted": 0, "duplicates": 2, "ignored": 1}
    pending = worker.record.requests.pending()
    assert [(request.kind, request.actor, request.data["alert"]) for request in pending] == [
        ("alert", "local", "Stale")
    ]
    told, _ = worker.record.events.page(kind="alert_received")
    assert [(event.data["alert"], event.data["outcome"], event.data["count"]) for event in told] == [
        ("Stale", "queued", 1),
        ("Slow", "recorded", 1),
    ]


def test_a_storm_of_alerts_is_one_transaction(client: Client, worker: Worker) -> None:
    """Two thousand alerts under a thousand names: answered quickly, told in some twenty events a call."""
    before = len(worker.record.events.page(kind="alert_received", limit=1000)[0])
    storm = [{**alert(n, alertname=f"Storm{n % 1000}"), "fingerprint": f"storm{n}"} for n in range(2_000)]
    started = time.monotonic()
    parts = [client.post("/alerts", {"alerts": storm[start : start + 1000]}).json() for start in (0, 1000)]
    assert time.monotonic() - started < 20
    assert [part["accepted"] for part in parts] == [1000, 1000]
    told = worker.record.events.page(kind="alert_received", limit=1000)[0][before:]
    assert len(told) == 42
    assert sum(event.data["count"] for event in told) == 2_000
    assert client.post("/alerts", {"alerts": storm[:1000]}).json()["duplicates"] == 1000


@pytest.mark.parametrize(
    "body", [{}, {"alerts": 5}, {"alerts": [5]}, {"alerts": [{"labels": {}}]}, {"version": "3", "alerts": []}, []]
)
def test_what_alertmanager_does_not_send_is_refused(client: Client, body: Any) -> None:
    """With the place that is wrong."""
    refused = client.post("/alerts", body)
    assert (refused.status_code, error(refused)["code"]) == (422, "invalid_record")


# --- operators


def test_a_retrain_is_asked_for_with_a_reason(client: Client, worker: Worker) -> None:
    """One at a time: the second is told to wait."""
    assert client.post("/retrain", {}).status_code == 400
    assert client.post("/retrain", {"reason": " "}).status_code == 422
    assert error(client.post("/retrain", {"raison": "x"}))["message"].endswith("did you mean 'reason'?")
    asked = client.post("/retrain", {"reason": "new data"})
    assert asked.status_code == 202
    run = worker.record.runs.get(asked.json()["run_id"])
    assert (run.state, run.trigger, run.actor, run.reason) == ("requested", "operator", "local", "new data")
    refused = client.post("/retrain", {"reason": "again"})
    assert (refused.status_code, error(refused)["code"]) == (409, "run_active")
    shown = client.get("/status").json()["run"]
    assert (shown["run_id"], shown["state"]) == (run.run_id, "requested")


def test_operators_move_the_role(tmp_path: Path) -> None:
    """Promote, roll back, reject: each with a reason, each once; the worker follows."""
    with running(make_settings(tmp_path, {"serve": {"refresh": "20ms"}})) as (worker, client):
        for n in range(3):
            register_model(worker.record, n / 10, as_champion=n == 0)
        reason = {"reason": "because"}

        def follows(version: str) -> None:
            wait_until(lambda: client.get("/readyz").json().get("model_version") == version)

        follows("v1")
        assert client.post("/models/v2/promote", {}).status_code == 400
        moved = client.post("/models/v2/promote", reason)
        assert (moved.status_code, moved.json()["champion"], moved.json()["previous"]) == (200, "v2", "v1")
        follows("v2")
        assert error(client.post("/models/v2/promote", reason))["code"] == "role_conflict"
        assert error(client.post("/models/v9/promote", reason))["code"] == "unknown_version"
        assert error(client.post("/models/..%2f..%2fetc/promote", reason))["code"] == "not_found"
        assert client.post("/models/v2/reject", reason).status_code == 409
        assert client.post("/rollback", reason).json()["champion"] == "v1"
        follows("v1")
        assert client.post("/rollback", reason).status_code == 409
        assert client.post("/models/v2/promote", reason).status_code == 409  # barred
        assert client.post("/models/v3/reject", reason).status_code == 200
        history = client.get("/models/v2").json()["history"]
        assert [change["role"] for change in history] == ["challenger", "champion", "rolled_back"]
        assert client.post("/models/v1/unbar", reason).status_code == 409  # it has no bar
        assert client.post("/models/v9/unbar", reason).status_code == 404
        assert client.post("/models/v3/unbar", {"reason": " "}).status_code == 422
        standings = [model["standing"] for model in client.get("/models").json()["models"]]
        assert standings == ["eligible", "rolled_back", "rejected"]
        assert client.post("/models/v2/unbar", reason).json() == {"version": "v2", "standing": "eligible"}
        assert client.post("/models/v2/promote", reason).json()["champion"] == "v2"


# --- reading


def test_status_has_every_part(client: Client) -> None:
    """What is not there yet is null or empty."""
    held = client.get("/status").json()
    assert sorted(held) == [
        "chain_head",
        "challengers",
        "champion",
        "disk",
        "drift",
        "log",
        "quality",
        "run",
        "settings",
        "watcher",
    ]
    assert held["champion"]["version"] == "v1"
    assert held["drift"] == {"checked_at": None, "drifted": []}
    assert held["quality"] == {
        "observed": {},
        "estimated": {},
        "estimated_by": "answers",
        "side_by_side": {},
        "as_of": None,
    }
    assert sorted(held["watcher"]) == ["heartbeat_at", "leader", "next_due_at", "settled_until"]
    assert sorted(held["log"]) == ["labels", "pending", "predictions"]


def test_the_trail_is_read_in_pages(client: Client) -> None:
    """Filtered, oldest first, with a cursor to the rest."""
    first = client.get("/events", params={"limit": 1}).json()
    assert sorted(first["events"][0]) == ["actor", "at", "data", "digest", "kind", "model_version", "seq"]
    rest = client.get("/events", params={"cursor": first["next"]}).json()
    assert rest["events"][0]["seq"] == first["events"][0]["seq"] + 1
    promoted = client.get("/events", params={"kind": "model_promoted,model_rejected", "model": "v1"}).json()
    assert [event["kind"] for event in promoted["events"]] == ["model_promoted"]
    at = promoted["events"][0]["at"]
    assert client.get("/events", params={"since": at, "until": at}).json()["events"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=x", "limit=99999", "limit=000001000999", "since=yesterday", "cursor=-1", "kinds=a",
        "until=2024-13-01",
        "kind=model_promotd", "kind=model_promoted,", "kind=",
    ],
)  # fmt: skip
def test_a_query_that_means_nothing_is_refused(client: Client, query: str) -> None:
    """By the parameter's name."""
    refused = client.get(f"/events?{query}")
    assert (refused.status_code, error(refused)["code"]) == (422, "invalid_record")


def test_a_report_may_run_its_own_scripts_and_nothing_else(client: Client, worker: Worker) -> None:
    """A sandboxed page of no origin, from which nothing is sent."""
    name = worker.record.reports.add("drift", "<!doctype html><script>1</script>")
    shown = client.get(f"/reports/{name}")
    assert (shown.status_code, shown.text) == (200, "<!doctype html><script>1</script>")
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().partition(" ")[::2] for part in shown.headers["content-security-policy"].split(";"))
    assert policy["sandbox"] == "allow-scripts allow-downloads"
    assert policy["default-src"] == "'none'"
    assert "'unsafe-inline'" in policy["script-src"]
    assert "connect-src" not in policy
    assert shown.headers["x-content-type-options"] == "nosniff"
    for other in ("none", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "drift-20240101-0000000000000000"):
        assert client.get(f"/reports/{other}").status_code == 404


def test_the_document_describes_every_route(client: Client) -> None:
    """From the route table and the champion's schema."""
    held = client.get("/docs.json").json()
    assert held["openapi"] == "3.1.0"
    assert {(method.upper(), path) for path, methods in held["paths"].items() for method in methods} == {
        (rule.method, rule.path.rstrip("/") or "/") for rule in RULES
    }
    record = held["components"]["schemas"]["Record"]
    assert sorted(record["properties"]) == ["carrier", "distance", "note"]
    assert held["components"]["schemas"]["Class"] == {"enum": ["late", "on time"]}
    referred = set(_references(held))
    assert referred <= {f"#/components/schemas/{name}" for name in held["components"]["schemas"]}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_what_is_not_there_is_said_in_the_same_shape(client: Client) -> None:
    """404 and 405 as JSON, the methods that would do named."""
    assert error(client.get("/schema.json"))["code"] == "not_found"
    wrong = client.request("PUT", "/predict")
    assert (wrong.status_code, wrong.headers["allow"], error(wrong)["code"]) == (405, "POST", "method_not_allowed")
    assert client.request("HEAD", "/livez").status_code == 200
    assert client.request("HEAD", "/livez").content == b""


def test_a_fault_of_ours_is_one_line_in_the_log(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets 500 in the one shape, and nothing of its text."""

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret text")

    monkeypatch.setattr(type(worker.record.registry), "versions", fail)
    broken = client.get("/models")
    assert (broken.status_code, error(broken)["code"]) == (500, "internal")
    assert "secret" not in broken.text
    monkeypatch.setattr(worker.predictor, "answer", fail)
    assert client.post("/predict", {"records": [record_of()]}).status_code == 500
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == ["request failed"] * 2


# --- without a champion, without a log, without time


def test_without_a_champion_the_service_lives_and_is_not_ready(tmp_path: Path) -> None:
    """Predictions are refused with 503 until there is one; labels and operators are not."""
    with running(make_settings(tmp_path, {"serve": {"refresh": "20ms"}})) as (worker, client):
        assert client.get("/livez").status_code == 200
        for response in (client.get("/readyz"), client.post("/predict", {"records": [record_of()]})):
            assert (response.status_code, error(response)["code"]) == (503, "no_champion")
        assert client.post("/labels", {"labels": []}).status_code == 200
        assert client.get("/status").json()["champion"] is None
        assert client.get("/docs.json").status_code == 200
        assert "ringside_champion_info" not in client.get("/metrics").text
        register_model(worker.record, as_champion=True)
        wait_until(lambda: client.get("/readyz").status_code == 200)


@pytest.mark.parametrize("policy", ["refuse", "serve"])
def test_while_the_log_is_down_answers_wait_or_go_without(tmp_path: Path, policy: str) -> None:
    """log.on_failure: refuse with 503, or serve and count; back to normal by itself."""
    with running(make_settings(tmp_path, {"log": {"on_failure": policy}})) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)
        worker.record.log._patience_seconds = 0.2
        path = worker.record.database.path
        assert path is not None
        body = {"records": [record_of()], "ids": ["one"]}
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        answered = client.post("/predict", body)
        blocker.execute("ROLLBACK")
        blocker.close()
        if policy == "refuse":
            assert (answered.status_code, error(answered)["code"]) == (503, "log_unavailable")
            assert answered.headers["retry-after"] == "1"
        else:
            assert (answered.status_code, answered.headers["ringside-logged"]) == (200, "no")
            assert "ringside_unlogged_predictions_total 1.0" in client.get("/metrics").text
        again = client.post("/predict", body)
        assert again.status_code == 200
        assert "ringside-logged" not in again.headers
        assert worker.record.log.find("one") is not None


def test_time_can_follow_the_requests(tmp_path: Path) -> None:
    """The header moves the clock, never back; labels without labels move it, too."""
    with running(make_settings(tmp_path, {"clock": {"source": "requests"}})) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)

        def at(text: str) -> dict[str, Any]:
            return {"headers": {"Ringside-Time": text}}

        client.post("/predict", {"records": [record_of()], "ids": ["a"]}, **at("2013-03-01T05:00:00Z"))
        assert worker.record.clock.now().isoformat() == "2013-03-01T05:00:00+00:00"
        client.post("/labels", {"labels": []}, **at("2013-03-02T00:00:00-05:00"))
        assert worker.record.clock.now().isoformat() == "2013-03-02T05:00:00+00:00"
        client.post("/predict", {"records": [record_of()], "ids": ["b"]}, **at("2013-01-01T00:00:00Z"))
        row = worker.record.log.find("b")
        assert row is not None
        assert row.requested_at.isoformat() == "2013-03-02T05:00:00+00:00"
        refused = client.post("/predict", {"records": [record_of()]}, **at("noon"))
        assert (refused.status_code, error(refused)["field"]) == (422, "Ringside-Time")


def test_elsewhere_the_header_means_nothing(client: Client, worker: Worker) -> None:
    """On the system's clock nobody may write history."""
    headers = {"Ringside-Time": "2013-03-01T05:00:00Z"}
    assert client.post("/predict", {"records": [record_of()], "ids": ["now"]}, headers=headers).status_code == 200
    row = worker.record.log.find("now")
    assert row is not None
    assert row.requested_at.year > 2020


def test_a_request_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """Whether its client sends slowly, or the log is locked: 503, and the worker goes on."""
    settings = make_settings(tmp_path, {"serve": {"request_timeout": "300ms"}})
    with running(settings) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)

        async def trickle() -> Any:
            yield b'{"records":'
            while True:
                await anyio.sleep(0.05)
                yield b" "

        slow = client.request("POST", "/predict", content=trickle())
        assert (slow.status_code, error(slow)["code"], slow.headers["connection"]) == (503, "overloaded", "close")
        with worker.record.database.exclusive():
            waiting = client.post("/predict", {"records": [record_of()]})
        assert (waiting.status_code, error(waiting)["code"]) == (503, "overloaded")
        assert client.post("/predict", {"records": [record_of()]}).status_code == 200


def test_beyond_the_bound_requests_are_refused_at_once(tmp_path: Path) -> None:
    """Those under way are answered; probes and scrapes are never refused."""
    with running(make_settings(tmp_path, {"serve": {"max_concurrency": 2}})) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)
        with ThreadPoolExecutor(8) as threads, worker.record.database.exclusive():
            waiting = [threads.submit(client.post, "/predict", {"records": [record_of()]}) for _ in range(6)]
            wait_until(lambda: sum(one.done() for one in waiting) == 4)
            refused = [one.result() for one in waiting if one.done()]
            assert {(one.status_code, error(one)["code"]) for one in refused} == {(503, "overloaded")}
            assert client.get("/livez").status_code == 200
        assert sorted(one.result().status_code for one in waiting) == [200, 200, 503, 503, 503, 503]


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("GZIP", True), ("gzip;q=0", False), ("br", False), ("identity", False)],
)
def test_long_answers_are_compressed_for_who_takes_that(
    client: Client, worker: Worker, accepted: str, packed: bool
) -> None:
    """A page of megabytes, as Evidently writes them; what it says is the same, and a short answer stays as it is."""
    html = "<!doctype html><title>drift</title>" + "<script>1</script>" * 100_000
    report = worker.record.reports.add("drift", html)
    found = client.get(f"/reports/{report}", headers={"Accept-Encoding": accepted})
    assert found.text == html
    assert ("content-encoding" in found.headers) == packed
    assert (int(found.headers["content-length"]) < len(html) / 10) == packed
    assert "content-encoding" not in client.get("/status", headers={"Accept-Encoding": accepted}).headers
