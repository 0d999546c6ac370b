"""Tokens that are added, replaced, ended and taken away while the service runs, and what the trail says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from record.configuration.sections import RESERVED_NAMES, ServeSettings, Token
from record.errors import SettingsError, Unauthorized
from record.events import TokensChanged
from service.auth import Gate
from service.http.token_files import CALLERS, LIST, make_tokens
from service.token_list import TokenList, record_tokens, token_key
from service.worker import Worker
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until


def token(name: str, secret: str, role: str = "read", **more: Any) -> dict[str, Any]:
    return {"name": name, "roles": [role], "sha256": sha256(secret.encode()).hexdigest(), **more}


@dataclass
class Desk:
    """A running service whose tokens are in a file, and the file."""

    worker: Worker
    client: Client
    file: Path

    def write(self, *tokens: Mapping[str, Any]) -> None:
        self.file.write_text(json.dumps({"tokens": list(tokens)}))

    def status(self, secret: str) -> int:
        return self.client.get("/status", headers={"Authorization": f"Bearer {secret}"}).status_code

    def changes(self) -> list[Mapping[str, Any]]:
        page, _ = self.worker.record.events.page(kind=TokensChanged.kind)
        assert all(event.actor == "service" for event in page)
        return [event.data["changed"] for event in page]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [token("reader", "old")]}))
    with running(make_settings(tmp_path, {"serve": {"tokens": file}})) as (worker, client):
        yield Desk(worker, client, file)


@pytest.mark.parametrize("name", [*RESERVED_NAMES, "Watcher", " service", "re\u200btrain", "ＬＯＣＡＬ"])
def test_no_caller_can_pass_for_ringside_itself_in_the_trail(tmp_path: Path, name: str) -> None:
    """Not by another case, an invisible character or a wide letter either."""
    with pytest.raises(ValidationError, match="Ringside's own"):
        make_settings(tmp_path, {"serve": {"tokens": [token(name, "x")]}})
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps([token(name, "x")]))
    with pytest.raises(SettingsError, match="Ringside's own"):
        make_settings(tmp_path, {"serve": {"tokens": file}}).serve.read_tokens()


def test_a_token_is_replaced_without_a_restart_and_the_trail_says_so(desk: Desk) -> None:
    assert (desk.status("old"), desk.status("new")) == (200, 401)
    desk.write(token("reader", "new"), token("second", "other", "operate"))
    wait_until(lambda: desk.status("new") == 200, 30)
    assert (desk.status("old"), desk.status("other")) == (401, 200)
    wait_until(lambda: len(desk.changes()) == 2, 30)
    first, second = desk.changes()
    old, new = (f"reader {token_key(sha256(secret).hexdigest())}" for secret in (b"old", b"new"))
    assert first == {old: [None, {"roles": ["read"]}]}
    other = f"second {token_key(sha256(b'other').hexdigest())}"
    assert second == {
        old: [{"roles": ["read"]}, None],
        new: [None, {"roles": ["read"]}],
        other: [None, {"roles": ["operate"]}],
    }
    assert sha256(b"new").hexdigest() not in json.dumps(desk.changes()), "what an event holds opens nothing"


def test_new_roles_and_a_new_end_are_changes_too(desk: Desk) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    desk.write(token("reader", "old", "operate", expires_at=end.isoformat()))
    wait_until(lambda: len(desk.changes()) == 2, 30)
    ((before, after),) = desk.changes()[1].values()
    assert (before, after) == ({"roles": ["read"]}, {"roles": ["operate"], "expires_at": end.isoformat()})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("{"),
        lambda file: file.write_text('{"tokens": []}'),
        lambda file: file.write_text('{"tokens": [{"name": "watcher", "roles": ["read"], "sha256": "00"}]}'),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.unlink(),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["broken", "empty", "wrong", "no text", "gone", "a folder"],
)
def test_a_file_that_cannot_be_used_neither_opens_nor_closes_the_service(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps([token("reader", "old")]))
    listed = TokenList(ServeSettings(tokens=file))
    before = listed.tokens
    assert not listed.refresh()
    spoil(file)
    assert not listed.refresh(), "it may be in the middle of being written"
    with pytest.raises(SettingsError, match=r"serve\.tokens"):
        listed.refresh()
    assert not listed.refresh(), "it is complained of once"
    assert listed.tokens == before
    if file.is_dir():
        file.rmdir()
    file.write_text(json.dumps([token("reader", "new")]))
    assert [listed.refresh() for _ in range(3)] == [False, True, False]


def test_a_file_behind_a_link_is_followed_when_the_link_moves(tmp_path: Path) -> None:
    """As Kubernetes replaces what it mounts."""
    for name in ("first", "second"):
        (tmp_path / name).write_text(json.dumps([token("reader", name)]))
    link = tmp_path / "tokens.json"
    link.symlink_to("first")
    listed = TokenList(ServeSettings(tokens=link))
    (tmp_path / "moved").symlink_to("second")
    os.replace(tmp_path / "moved", link)
    assert [listed.refresh(), listed.refresh()] == [False, True]
    assert listed.tokens[0].sha256 == sha256(b"second").hexdigest()


def test_a_token_counts_until_it_expires_and_no_longer() -> None:
    end = datetime(2027, 1, 31, tzinfo=UTC)
    clock = [end.timestamp() - 1]
    gate = Gate([Token(**token("reader", "x", expires_at=end)), Token(**token("other", "y"))], now=lambda: clock[0])
    headers = {secret: {b"authorization": b"Bearer " + secret.encode()} for secret in ("x", "y")}
    assert gate.admit({}, headers["x"], "read", "GET /status") == "reader"
    clock[0] = end.timestamp()
    with pytest.raises(Unauthorized, match="'reader' has expired"):
        gate.admit({}, headers["x"], "read", "GET /status")
    assert gate.admit({}, headers["y"], "read", "GET /status") == "other"
    assert not gate.open


def test_a_service_whose_tokens_have_all_expired_is_closed_and_not_open() -> None:
    gate = Gate([Token(**token("reader", "x", expires_at="2020-01-01T00:00:00Z"))])
    assert not gate.open
    with pytest.raises(Unauthorized):
        gate.admit({"server": ("127.0.0.1", 1)}, {}, None, "GET /")


@pytest.mark.parametrize("end", ["tomorrow", "2027-01-31", "2027-01-31T00:00:00", "1800000000", 12.5, True])
def test_an_end_without_an_offset_is_refused_with_what_was_expected(tmp_path: Path, end: Any) -> None:
    with pytest.raises(ValidationError):
        make_settings(tmp_path, {"serve": {"tokens": [token("reader", "x", expires_at=end)]}})


def test_many_workers_that_start_together_write_one_event(desk: Desk) -> None:
    events, held = desk.worker.record.events, desk.worker.tokens.tokens
    wait_until(desk.changes, 30)
    assert [record_tokens(events, held) for _ in range(3)] == [False] * 3
    assert record_tokens(events, [*held, Token(**token("second", "y"))])
    assert len(desk.changes()) == 2


def test_a_service_without_tokens_writes_no_event(tmp_path: Path) -> None:
    with running(make_settings(tmp_path)) as (worker, _):
        assert not record_tokens(worker.record.events, worker.tokens.tokens)
        assert worker.record.events.page(kind=TokensChanged.kind)[0] == []


def test_replaced_tokens_count_for_as_long_as_they_are_kept_and_no_longer(tmp_path: Path) -> None:
    make_tokens(tmp_path)
    old = {name: (tmp_path / name).read_text() for name in CALLERS}
    make_tokens(tmp_path, anew=True, keep=timedelta(hours=1))
    listed = ServeSettings(tokens=tmp_path / LIST).read_tokens()
    by_hash = {each.sha256: each for each in listed}
    now = datetime.now(UTC)
    for name in CALLERS:
        fresh = by_hash[sha256((tmp_path / name).read_bytes()).hexdigest()]
        kept = by_hash[sha256(old[name].encode()).hexdigest()]
        assert (fresh.name, fresh.expires_at) == (name, None)
        assert (kept.name, kept.roles) == (name, fresh.roles)
        assert kept.expires_at is not None
        assert now < kept.expires_at <= now + timedelta(hours=1)
    make_tokens(tmp_path, anew=True)
    assert len(ServeSettings(tokens=tmp_path / LIST).read_tokens()) == len(CALLERS)


def test_a_file_that_a_container_has_mounted_is_written_in_place(tmp_path: Path) -> None:
    make_tokens(tmp_path)
    before = {file.name: file.stat().st_ino for file in tmp_path.iterdir()}
    make_tokens(tmp_path, anew=True, keep=timedelta(hours=1))
    make_tokens(tmp_path, anew=True)
    assert {file.name: file.stat().st_ino for file in tmp_path.iterdir()} == before
    assert len(ServeSettings(tokens=tmp_path / LIST).read_tokens()) == len(CALLERS), (
        "nothing of the longer list is left"
    )
