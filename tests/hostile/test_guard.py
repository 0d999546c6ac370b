"""Requests that are whole, and odd: their bodies' media, their parameters, methods, origins and hosts."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from record.errors import SettingsError
from record.settings import Settings
from service.http.routes import RULES, Rule
from service.worker import Worker
from tests.record.models import record_of, register_model
from tests.service.serving import Client, bearer, make_settings, running, tokens

ORIGIN = "https://app.example.com"
BODY = json.dumps({"records": [record_of()]}).encode()
# The routes that take predict's, labels' and alerts' tokens; the others are the operator's.
HOLDERS = {"/predict": "predictor", "/labels": "labeller", "/alerts": "alerter"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client]]:
    serve = {"tokens": tokens(), "max_body_mb": 1, "max_batch": 50, "cors_origins": (ORIGIN,)}
    with running(make_settings(tmp_path_factory.mktemp("guard"), {"serve": serve})) as (worker, client):
        register_model(worker.record, as_champion=True)
        client.call(worker._follow)
        yield worker, client


@pytest.fixture(scope="module")
def client(service: tuple[Worker, Client]) -> Client:
    return service[1]


def holder_of(rule: Rule) -> str:
    return HOLDERS.get(rule.path, "predictor" if rule.path.startswith("/v2") else "operator")


def path_of(rule: Rule) -> str:
    return rule.path.replace("{version}", "v1").replace("{name}", "flights").replace("{id}", "none")


def code(answer: httpx.Response) -> str:
    held = answer.json()
    return str(held["code"] if "code" in held else held["error"]["code"])


def predict(client: Client, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request("POST", "/predict", content=body, headers=bearer("predictor") | named)


def deflate(body: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", deflate(BODY, -15)),
        ("identity", BODY),
        ("identity", b"\xef\xbb\xbf" + BODY),
        ("gzip", gzip.compress(b"\xef\xbb\xbf" + BODY)),
        ("gzip", gzip.compress(json.dumps({"records": [record_of()] * 50}).encode() + b" " * 900_000)),
    ],
    ids=["gzip", "upper case", "x-gzip", "zlib", "raw deflate", "identity", "marked", "gzip, marked", "long"],
)
def test_compressed_and_marked_bodies_are_read(client: Client, encoding: str, body: bytes) -> None:
    answer = predict(client, body, Content_Encoding=encoding)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("encoding", "body", "status", "expected"),
    [
        ("br", BODY, 415, "unsupported_media_type"),
        ("zstd", BODY, 415, "unsupported_media_type"),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY)), 415, "unsupported_media_type"),
        ("gzip", BODY, 400, "invalid_json"),
        ("gzip", gzip.compress(BODY)[:-9], 400, "invalid_json"),
        ("gzip", gzip.compress(BODY) + b"more", 400, "invalid_json"),
        ("gzip", b"", 400, "invalid_json"),
        ("deflate", b"\x78\x9c", 400, "invalid_json"),
        ("gzip", gzip.compress(b" " * 1_000_001), 413, "too_large"),
        ("gzip", gzip.compress(b" " * 300_000_000, 1), 413, "too_large"),
        ("deflate", zlib.compress(b" " * 50_000_000, 1), 413, "too_large"),
    ],
    ids=[
        "br",
        "zstd",
        "twice",
        "not packed",
        "cut",
        "more behind",
        "nothing",
        "a head alone",
        "more",
        "bomb",
        "old bomb",
    ],
)
def test_what_cannot_be_unpacked_is_refused(
    client: Client, encoding: str, body: bytes, status: int, expected: str
) -> None:
    answer = predict(client, body, Content_Encoding=encoding)
    assert (answer.status_code, code(answer)) == (status, expected), answer.text[:200]
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip, deflate, identity"
        assert encoding in answer.json()["error"]["message"]


def test_a_bomb_is_given_back(service: tuple[Worker, Client]) -> None:
    """What bodies hold together is counted unpacked, and let go whatever became of the request."""
    worker, client = service
    for body in (gzip.compress(BODY + b" " * 900_000), gzip.compress(b" " * 5_000_000), b"no gzip"):
        predict(client, body, Content_Encoding="gzip")
    assert worker.bodies._held == 0


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=utf-8",
        "application/vnd.x+json",
        "text/csv",
        "",
    ],
)
def test_json_is_read_whatever_it_is_called(client: Client, kind: str) -> None:
    """`curl -d` calls it a form."""
    assert predict(client, b"\n " + BODY, Content_Type=kind).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/csv", b"distance,carrier\n1,AA\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n"),
        ("application/x-www-form-urlencoded", b"distance=1&carrier=AA"),
        ("application/xml", b"<records/>"),
        ("application/vnd.apache.parquet", b"PAR1"),
    ],
    ids=["csv", "multipart", "form", "xml", "parquet"],
)
def test_what_is_no_json_by_name_and_looks_is_415(client: Client, kind: str, body: bytes) -> None:
    answer = predict(client, body, Content_Type=kind)
    assert (answer.status_code, code(answer)) == (415, "unsupported_media_type")
    assert kind.partition(";")[0] in answer.json()["error"]["message"]


def test_the_address_itself_answers_health_checks(client: Client) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = client.request(method, "/")
        assert answer.status_code == 200
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
        assert answer.content == b"" if method == "HEAD" else answer.json()["service"] == "ringside"
    assert "flights" not in client.get("/").text
    assert client.request("POST", "/").status_code == 401


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_an_unknown_parameter_is_refused_everywhere(client: Client, rule: Rule) -> None:
    """Before anything is done, with the name and what would be known."""
    body: dict[str, Any] = {"json": {"reason": "x"}} if rule.method == "POST" else {}
    answer = client.request(rule.method, f"{path_of(rule)}?nonsense=1", headers=bearer(holder_of(rule)), **body)
    status = 400 if rule.path.startswith("/v2") else 422
    assert (answer.status_code, code(answer)) == (status, "invalid_record"), answer.text
    assert "nonsense" in answer.text
    if rule.query:
        assert rule.query[0].rstrip("*") in answer.text


def test_a_repeated_parameter_is_a_union_or_refused(client: Client) -> None:
    headers = bearer("reader")
    both = client.get("/events?kind=model_registered&kind=model_promoted", headers=headers).json()["events"]
    assert {event["kind"] for event in both} == {"model_registered", "model_promoted"}
    for query in ("/events?limit=1&limit=2", "/events?actor=a&actor=a", "/explain?id=a&id=b"):
        answer = client.get(query, headers=headers)
        assert (answer.status_code, code(answer)) == (422, "invalid_record")
        assert "more than once" in answer.text


def test_a_wrong_method_has_a_code_of_its_own(client: Client) -> None:
    for rule in RULES:
        if rule.path == "/":
            continue
        answer = client.request("PATCH", path_of(rule), headers=bearer(holder_of(rule)))
        assert (answer.status_code, code(answer)) == (405, "method_not_allowed")
        assert rule.method in answer.headers["allow"]


def test_every_answer_says_that_its_type_is_meant(client: Client) -> None:
    for rule in RULES:
        for headers in ({}, bearer(holder_of(rule))):
            answer = client.request(rule.method, path_of(rule), headers=headers)
            assert answer.headers["x-content-type-options"] == "nosniff", rule.path
            assert len(answer.headers.get_list("x-content-type-options")) == 1


def test_pages_of_named_origins_may_call(client: Client) -> None:
    asking = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    allowed = client.request("OPTIONS", "/predict", headers=asking)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
    answer = predict(client, BODY, Origin=ORIGIN)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "origin" in answer.headers["vary"].lower()
    refused = client.get("/status", headers={"Origin": ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_pages_of_other_origins_are_told_nothing(client: Client) -> None:
    for origin in ("https://evil.example", "null", "http://app.example.com", "https://app.example.com.evil.example"):
        asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert client.request("OPTIONS", "/predict", headers=asking).status_code == 400
        for headers in (asking, bearer("reader") | {"Origin": origin}):
            assert "access-control-allow-origin" not in client.get("/status", headers=headers).headers


def test_an_open_service_shares_with_named_origins_only(tmp_path: Path) -> None:
    with running(make_settings(tmp_path, {"serve": {"cors_origins": (ORIGIN,)}})) as (_, client):
        assert client.get("/status", headers={"Origin": ORIGIN}).status_code == 200
        assert client.get("/status", headers={"Origin": "https://evil.example"}).status_code == 403
        for host in ("LOCALHOST:3000", "LocalHost", "localhost.", "127.0.0.1"):
            assert client.get("/status", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example"):
            assert client.get("/status", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://app.example.com/", "https://*.example.com", "file://x", ""]
)
def test_an_origin_is_no_address_of_a_page(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        make_settings(tmp_path, {"serve": {"cors_origins": (origin,)}})


def test_without_tokens_not_every_page_may_call(tmp_path: Path) -> None:
    settings: Settings = make_settings(tmp_path, {"serve": {"cors_origins": ("*",)}})
    with pytest.raises(SettingsError, match="cors_origins"):
        settings.serve.require_tokens()
