"""Tokens that are made: strong, for their owner's eyes, and such that the service takes them."""

from __future__ import annotations

import stat
from hashlib import sha256
from pathlib import Path

import pytest

from record.errors import SettingsError
from service.http.token_files import CALLERS, LIST, make_tokens
from tests.service.serving import make_settings, running


def test_the_service_takes_each_token_for_its_roles_and_no_others(tmp_path: Path) -> None:
    """Prometheus may read and Alertmanager alert, neither the other way round."""
    folder = tmp_path / "tokens"
    make_tokens(folder)
    settings = make_settings(tmp_path, {"serve": {"tokens": folder / LIST}})
    held = {name: {"Authorization": f"Bearer {(folder / name).read_text()}"} for name in CALLERS}
    with running(settings) as (_, client):
        answers = {name: client.get("/metrics", headers=headers).status_code for name, headers in held.items()}
        assert answers == {"application": 403, "prometheus": 200, "alertmanager": 403, "operator": 200}
        body = {"version": "4", "alerts": []}
        alerted = {name: client.post("/alerts", body, headers=headers).status_code for name, headers in held.items()}
        assert alerted == {"application": 403, "prometheus": 403, "alertmanager": 202, "operator": 403}
        assert client.get("/metrics").status_code == 401


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    files = make_tokens(tmp_path / "tokens")
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o700
    assert sorted(file.name for file in files) == sorted([*CALLERS, LIST])


def test_the_list_holds_hashes_and_no_secret(tmp_path: Path) -> None:
    make_tokens(tmp_path)
    listed = (tmp_path / LIST).read_text()
    secrets = [(tmp_path / name).read_text() for name in CALLERS]
    assert len(set(secrets)) == len(CALLERS)
    assert all(len(secret) >= 43 and secret not in listed for secret in secrets)
    assert all(sha256(secret.encode()).hexdigest() in listed for secret in secrets)


def test_tokens_in_use_are_replaced_only_when_that_is_said(tmp_path: Path) -> None:
    make_tokens(tmp_path)
    before = (tmp_path / LIST).read_text()
    with pytest.raises(SettingsError, match="--anew"):
        make_tokens(tmp_path)
    assert (tmp_path / LIST).read_text() == before
    make_tokens(tmp_path, anew=True)
    assert (tmp_path / LIST).read_text() != before
