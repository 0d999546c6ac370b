"""Who may call what: walked from the route table itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from record.configuration.sections import ServeSettings, Token, TokenRole
from record.errors import Forbidden, SettingsError, Unauthorized
from service.auth import ANONYMOUS, Gate, Refusals
from service.http.routes import RULES
from service.http.rule import Rule
from service.worker import Worker
from tests.service.serving import ROLES, SECRETS, Client, bearer, make_settings, running, tokens

GUARDED = [rule for rule in RULES if rule.role is not None]
HOLDER = {"predict": "predictor", "label": "labeller", "alert": "alerter", "read": "reader", "operate": "operator"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client]]:
    settings = make_settings(tmp_path_factory.mktemp("guarded"), {"serve": {"tokens": tokens()}})
    with running(settings) as service:
        yield service


def call(client: Client, rule: Rule, headers: dict[str, str]) -> int:
    path = rule.path.replace("{version}", "v1").replace("{id}", "none")
    body: dict[str, Any] = {"json": {}} if rule.method == "POST" else {}
    return client.request(rule.method, path, headers=headers, **body).status_code


@pytest.mark.parametrize("rule", GUARDED, ids=lambda rule: f"{rule.method} {rule.path}")
def test_every_route_refuses_who_may_not(guarded: tuple[Worker, Client], rule: Rule) -> None:
    """No token, a wrong one, a malformed one: 401; every token without the role: 403; with it: neither."""
    _, client = guarded
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": SECRETS["operator"]}):
        assert call(client, rule, headers) == 401
    for name, roles in ROLES.items():
        may = rule.role in roles or (rule.role == "read" and "operate" in roles)
        assert (call(client, rule, bearer(name)) not in (401, 403)) is may, name


def test_unknown_paths_say_nothing_to_strangers(guarded: tuple[Worker, Client]) -> None:
    """Without a token all paths look the same; with any token an unknown one is 404."""
    _, client = guarded
    assert client.get("/nowhere").status_code == 401
    assert client.request("DELETE", "/status").status_code == 401
    assert client.get("/nowhere", headers=bearer("labeller")).status_code == 404
    assert client.request("DELETE", "/status", headers=bearer("labeller")).status_code == 405


def test_only_the_probes_are_for_everybody() -> None:
    """Default deny: every other route names a role."""
    assert [rule.path for rule in RULES if rule.role is None] == ["/", "/", "/livez", "/readyz"]


def test_refusals_say_how_to_do_better(guarded: tuple[Worker, Client]) -> None:
    """In the one shape that errors have, with the header that 401 wants."""
    _, client = guarded
    strange = client.get("/status")
    assert strange.headers["www-authenticate"] == "Bearer"
    assert strange.json()["error"]["code"] == "unauthorized"
    weaker = client.get("/status", headers=bearer("predictor"))
    message = "the token 'predictor' lacks the role 'read' that /status needs"
    assert weaker.json() == {"error": {"code": "forbidden", "message": message, "field": None}}


def test_refusals_are_told_once_a_minute_and_no_token_is(
    guarded: tuple[Worker, Client], caplog: pytest.LogCaptureFixture
) -> None:
    """A guessing client fills a counter, not the audit trail."""
    worker, client = guarded
    worker._tell(True)
    before = len(worker.record.events.page(kind="access_refused", limit=1000)[0])
    for n in range(50):
        client.get("/models", headers={"Authorization": f"Bearer guess-{n}"})
        client.get("/models", headers=bearer("predictor"))
    worker._tell(True)
    told = worker.record.events.page(kind="access_refused", limit=1000)[0][before:]
    assert sorted((event.actor, event.data["route"], event.data["count"]) for event in told) == [
        (ANONYMOUS, "/models", 50),
        ("predictor", "/models", 50),
    ]
    client.get("/models")
    worker._tell()
    assert len(worker.record.events.page(kind="access_refused", limit=1000)[0]) == before + 2
    written = str(worker.record.events.page(limit=1000)) + caplog.text
    assert "guess-" not in written
    assert SECRETS["predictor"] not in written


def test_a_minute_must_pass_between_tellings() -> None:
    """For each caller and route by itself; what came meanwhile is counted."""
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    refusals.add("a", "/models", "forbidden")
    assert [refusal.count for refusal in refusals.due()] == [1]
    for _ in range(7):
        refusals.add("a", "/models", "forbidden")
    refusals.add("b", "/models", "forbidden")
    assert [(refusal.name, refusal.count) for refusal in refusals.due()] == [("b", 1)]
    now[0] = 60
    assert [(refusal.name, refusal.count) for refusal in refusals.due()] == [("a", 7)]
    assert refusals.due() == []


def test_what_is_put_back_waits_a_minute_and_is_counted_with_what_came_since() -> None:
    """Nothing is lost, and nothing told twice within the minute that another worker's telling began."""
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    for _ in range(3):
        refusals.add("a", "/models", "forbidden")
    (taken,) = refusals.due()
    for _ in range(2):
        refusals.add("a", "/models", "forbidden")
    now[0] = 30
    refusals.put_back(taken)
    refusals.add("a", "/models", "forbidden")
    refusals.add("a", "/events", "forbidden")
    assert [(refusal.route, refusal.count) for refusal in refusals.due()] == [("/events", 1)], "each route by itself"
    now[0] = 89.9
    assert refusals.due() == []
    now[0] = 90
    assert [(refusal.name, refusal.count) for refusal in refusals.due()] == [("a", 6)]
    refusals.put_back(taken)
    assert refusals.due() == []
    assert [refusal.count for refusal in refusals.due(all_of_them=True)] == [3], "at the end all are told"


TOKEN = "a token of this test"


def gate(now: list[float], *roles: TokenRole) -> Gate:
    """With one token, which expires at the time 100."""
    expires = datetime.fromtimestamp(100, UTC)
    token = Token(name="ann", sha256=sha256(TOKEN.encode()).hexdigest(), roles=roles, expires_at=expires)
    return Gate([token], lambda: now[0])


def refused(gate: Gate) -> list[tuple[str, str, str, int]]:
    due = gate.refusals.due(all_of_them=True)
    return sorted((refusal.name, refusal.route, refusal.reason, refusal.count) for refusal in due)


def test_each_refusal_is_counted_under_its_caller() -> None:
    """A call from elsewhere, too: it would leave no trace otherwise. What is admitted is none."""
    open_gate = Gate(())
    for _ in range(2):
        with pytest.raises(Forbidden):
            open_gate.admit({"server": ("192.0.2.1", 3000)}, {}, "operate", "/retrain")
    assert open_gate.admit({"server": ("127.0.0.1", 3000)}, {}, "operate", "/retrain") == "local"
    assert refused(open_gate) == [(ANONYMOUS, "/retrain", "forbidden", 2)]
    now = [0.0]
    guarded_gate = gate(now, "read")
    header = {b"authorization": f"Bearer {TOKEN}".encode()}
    assert guarded_gate.admit({}, header, "read", "/status") == "ann"
    with pytest.raises(Forbidden):
        guarded_gate.admit({}, header, "operate", "/retrain")
    with pytest.raises(Unauthorized, match="no known token"):
        guarded_gate.admit({}, {}, "read", "/status")
    now[0] = 100
    with pytest.raises(Unauthorized, match="expired"):
        guarded_gate.admit({}, header, "read", "/status")
    assert refused(guarded_gate) == sorted(
        [
            (ANONYMOUS, "/status", "unauthorized", 1),
            ("ann", "/retrain", "forbidden", 1),
            ("ann", "/status", "unauthorized", 1),
        ]
    )


@pytest.mark.parametrize(("now", "valid"), [(99.999, True), (100.0, False), (100.001, False)])
def test_a_token_is_valid_until_it_expires(now: float, valid: bool) -> None:
    header = {b"authorization": f"Bearer {TOKEN}".encode()}
    if valid:
        assert gate([now], "read").admit({}, header, "read", "/status") == "ann"
    else:
        with pytest.raises(Unauthorized):
            gate([now], "read").admit({}, header, "read", "/status")


def test_only_admitted_tokens_count_as_used_and_once() -> None:
    """A refused call says nothing of a token's use; replaced tokens count no more."""
    now = [0.0]
    guarded_gate = gate(now, "read")
    header = {b"authorization": f"Bearer {TOKEN}".encode()}
    with pytest.raises(Forbidden):
        guarded_gate.admit({}, header, "operate", "/retrain")
    assert guarded_gate.take_used() == []
    for _ in range(2):
        guarded_gate.admit({}, header, None, "/nowhere")
    assert guarded_gate.take_used() == [("ann", sha256(TOKEN.encode()).hexdigest())]
    assert guarded_gate.take_used() == []
    guarded_gate.replace([])
    assert guarded_gate.open
    with pytest.raises(Forbidden):
        guarded_gate.admit({"server": ("192.0.2.1", 3000)}, header, "read", "/status")


@pytest.mark.parametrize(("length", "known"), [(1024, True), (1025, False)])
def test_a_header_has_a_thousand_bytes_at_most(length: int, known: bool) -> None:
    """To the byte; blanks around the token are of no account."""
    header = b"Bearer " + TOKEN.encode()
    header = {b"authorization": header + b" " * (length - len(header))}
    if known:
        assert gate([0.0], "read").admit({}, header, "read", "/status") == "ann"
    else:
        with pytest.raises(Unauthorized):
            gate([0.0], "read").admit({}, header, "read", "/status")


def test_what_another_worker_told_waits(guarded: tuple[Worker, Client]) -> None:
    """Two workers are one service: the trail has one event a minute from both."""
    worker, client = guarded
    client.get("/events", headers=bearer("alerter"))
    worker._tell()
    told = worker.record.events.page(kind="access_refused", actor="alerter", limit=1000)[0]
    other = Refusals()
    worker.gate.refusals, own = other, worker.gate.refusals
    try:
        other.add("alerter", "/events", "forbidden")
        worker._tell()
        assert worker.record.events.page(kind="access_refused", actor="alerter", limit=1000)[0] == told
        assert [refusal.count for refusal in other.due(all_of_them=True)] == [1]
    finally:
        worker.gate.refusals = own


@pytest.mark.parametrize(
    ("server", "headers"),
    [
        (("192.0.2.1", 3000), {}),
        (("127.0.0.1", 3000), {b"host": b"evil.example:3000"}),
        (("127.0.0.1", 3000), {b"host": b"127.0.0.1:3000", b"origin": b"https://evil.example"}),
        (("127.0.0.1", 3000), {b"host": b"127.0.0.1:3000", b"origin": b"null"}),
    ],
)
def test_an_open_service_answers_this_machine_only(server: tuple[str, int], headers: dict[bytes, bytes]) -> None:
    """Neither other addresses, nor names that were bound to loopback, nor pages in a browser."""
    with pytest.raises(Forbidden, match="no tokens"):
        Gate(()).admit({"server": server}, headers, "predict", "/predict")


@pytest.mark.parametrize("host", [b"localhost:3000", b"127.0.0.1:3000", b"[::1]:3000", b"127.0.0.2"])
def test_an_open_service_answers_local_programs(host: bytes) -> None:
    """By each of loopback's names."""
    scope = {"server": (host.decode().partition(":")[0] if b"[" not in host else "::1", 3000)}
    assert Gate(()).admit(scope, {b"host": host}, "operate", "/retrain") == "local"


def test_tokens_are_found_by_their_hash(guarded: tuple[Worker, Client]) -> None:
    """The name of the token is the actor; the scheme's letters may be of any case."""
    gate = guarded[0].gate
    header = {b"authorization": f"bEaReR  {SECRETS['reader']} ".encode()}
    assert gate.admit({}, header, "read", "/status") == "reader"
    with pytest.raises(Unauthorized):
        gate.admit({}, {b"authorization": b"Bearer " + b"x" * 5000}, "read", "/status")
    with pytest.raises(Unauthorized):
        gate.admit({}, {b"authorization": b"Bearer \xff\xfe"}, "read", "/status")


def test_without_tokens_only_loopback_is_served(tmp_path: Path) -> None:
    """On any other address the worker refuses to start."""
    settings = make_settings(tmp_path, {"serve": {"host": "0.0.0.0"}})
    with pytest.raises(SettingsError, match=r"serve\.tokens"), running(settings):
        pass
    ServeSettings(host="0.0.0.0", tokens=tuple(Token(**token) for token in tokens())).require_tokens()
