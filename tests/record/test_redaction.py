"""No secret in any message, log line or event, wherever an address holds it and however it is spelled."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.settings_trail import chosen
from record import redaction
from record.canonical import canonical_json
from record.db.database import Database
from record.errors import RingsideError
from record.log_lines import JsonLines
from record.redaction import MASK, describe_address, fingerprint, redact, redact_values, remember, secrets_of
from record.settings import Settings, load_settings
from retrain.data.source import read_source
from tests.service.serving import make_settings

# Long enough that it stands in no other word; of every character that breaks an address, but white space.
LETTERS = "abcXYZ0189-._~!$()*+,=:@/%[]<>|^`{}é"
ENDS = "&'#;?\"\\"  # what ends a value behind `password=`


def secrets(place: str) -> st.SearchStrategy[str]:
    """Those that the place can hold."""
    letters = LETTERS if "={" in place or "'{" in place else LETTERS + ENDS
    return st.text(st.sampled_from(letters), min_size=6, max_size=24).map(lambda text: f"q9{text}7z")


# Where an address can hold a password: NAME is replaced by it.
PLACES = [
    "postgresql://alice:{}@db.example/ring",
    "postgresql://alice:{}@/ring?host=/run/postgresql",
    "POSTGRESQL+psycopg://alice:{}@db.example:5432/ring",
    "postgresql:alice:{}@db.example/ring",
    "postgresql:/alice:{}@db.example/ring",
    "alice:{}@db.example/ring",
    ":{}@db.example",
    "postgresql://db.example/ring?user=alice&password={}",
    "postgresql://db.example/ring?sslmode=require&sslpassword={}&user=alice",
    "postgresql://db.example/ring?passfile=/x&PASSWORD={}",
    "host=db.example user=alice password={}",
    "host=db.example user=alice password='{}'",
    "mssql+pyodbc://db.example/ring?Pwd={}",
    "https://:{}@mlflow.example/",
    "https://mlflow.example/?api_key={}",
    "https://store.example/c?sv=1&sig={}",
    "mailto://alice:{}@example.org",
    "postgresql://alice:{}@db.example:port/ring",
    "postgresql://alice:{}@db.example:99999/ring",
    "nosuchdatabase://alice:{}@db.example/ring",
    "sqlite://?password={}",
]


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    before = redaction._known
    redaction._known = frozenset()
    yield
    redaction._known = before


def refusal(action: Callable[[], object]) -> str:
    """The message with which it is refused; empty where it is not."""
    try:
        action()
    except RingsideError as error:
        return "; ".join([error.message, *getattr(error, "faults", ())])
    return ""


def pieces(secret: str) -> list[str]:
    """What of a secret must not be seen either: any run of five of its letters."""
    return [secret[at : at + 5] for at in range(max(1, len(secret) - 4))]


def holds(text: str, secret: str) -> bool:
    return any(piece in text for piece in pieces(secret) if sum(map(str.isalnum, piece)) > 2)


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_the_settings_hold_is_masked_wherever_it_turns_up(place: str, data: st.DataObject) -> None:
    secret = data.draw(secrets(place))
    address = place.format(secret)
    remember(secrets_of(address))
    for told in (address, f"could not connect: {address!r}", quote(address), f"x {quote(secret)} y"):
        assert secret not in redact(told)
    assert secret not in describe_address(address)


@pytest.mark.parametrize("place", PLACES)
def test_a_plain_password_is_masked_by_its_place_alone(place: str) -> None:
    """Nobody has told of it: an address in an alert, in another program's message."""
    text = f"connection failed: {place.format('hunter2hunter2')} (again in 5 s)"
    assert "hunter2" not in redact(text)
    assert "connection failed" in redact(text)


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_error_of_a_database_shows_its_password(place: str, data: st.DataObject) -> None:
    """A URL that is wrong in any way is refused in one line; no other exception is raised."""
    secret = data.draw(secrets(place))
    message = refusal(lambda: Database(place.format(secret)).close())
    assert not holds(message, secret)
    assert "\n" not in message


@pytest.mark.parametrize("place", [place for place in PLACES if "://" in place])
def test_no_error_of_a_source_shows_its_password(place: str) -> None:
    address = place.replace("db.example", "127.0.0.1:1").format("hunter2hunter2")
    with pytest.raises(RingsideError) as refused:
        read_source(address, "SELECT 1 AS a", [], {"a"})
    assert "hunter2" not in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("key", ["store", "data", "serve", "notify", "tracking", "store.database", "data.source"])
@pytest.mark.parametrize("value", ['"{}"', '["{}"]', '{{url = "{}"}}', '{{database = ["{}"]}}', "5 # {}"])
def test_no_complaint_of_a_setting_shows_what_may_be_secret(tmp_path: Path, key: str, value: str) -> None:
    """Also where the address stands in the place of its section."""
    file = tmp_path / "ringside.toml"
    written = value.format("postgresql://alice:hunter2hunter2@db.example/ring")
    file.write_text(f'{key} = {written}\n[problem]\ntask = "regression"\ntarget = "y"\n')
    assert "hunter2" not in refusal(lambda: load_settings(file))


def test_making_settings_is_what_makes_their_secrets_known(tmp_path: Path) -> None:
    make_settings(
        tmp_path,
        {
            "store": {"database": "postgresql://alice:first secret 1@db.example/ring"},
            "data": {"source": "postgresql://db.example/ring?password=secondsecret2", "query": "SELECT 1"},
            "notify": {"urls": ["slack://TokenAAAAAAAAA/TokenBBBBBBBBB/TokenCCCCCCCCCCCC/#room"]},
            "tracking": {"mlflow_uri": "https://alice:third%20secret@mlflow.example"},
        },
    )
    told = "first secret 1, secondsecret2, TokenBBBBBBBBB, third secret, third%20secret, third+secret"
    assert redact(told) == ", ".join([MASK] * 6)


@pytest.mark.parametrize(
    "text",
    [
        'store.database: none, but serve.host is "0.0.0.0"',
        "serve.tokens: /etc/ringside/tokens.toml: No such file or directory",
        "passenger_class=1st, compass=north, tokens = 12, AUC=0.81",
        "the drift check found 12 columns at 12:30; see drift-20260101-0123456789abcdef",
        "2026-05-01T12:00:00+00:00",
        "https://prometheus.example/graph?g0.expr=up&g0.tab=1",
        "b1: v2 against v1, lead 0.01 (low: 0.002)",
        "alice@example.org asked for it",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_short_or_common_secret_does_not_eat_other_words() -> None:
    remember({"ring", "ab"})
    assert redact("ringside, string, ab, ring") == f"ringside, string, ab, {MASK}"


def test_values_within_values_are_masked_and_names_stay() -> None:
    remember({"hunter2hunter2"})
    value = {"hunter2hunter2": ["hunter2hunter2", {"a": "x hunter2hunter2 y"}], "n": 1.5, "none": None, "yes": True}
    assert redact_values(value) == {"hunter2hunter2": [MASK, {"a": f"x {MASK} y"}], "n": 1.5, "none": None, "yes": True}


def test_a_log_line_shows_no_secret_in_any_of_its_parts() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    address = "postgresql://alice:hunter2hunter2@db.example/ring"
    facts: dict[str, Any] = {
        "reason": address,
        "held": {"list": [address]},
        "thing": Path(address),
        "odd": {1, address},
    }
    try:
        raise ValueError(address)
    except ValueError:
        logger.error("failed", extra={"facts": facts}, exc_info=True)
    assert "hunter2" not in stream.getvalue()
    assert json.loads(stream.getvalue())["reason"].startswith("postgresql://alice:")


def test_settings_that_are_made_without_a_secret_make_nothing_known(tmp_path: Path) -> None:
    held: Settings = make_settings(tmp_path)
    assert redact(str(held.store.database)) == held.store.database


def test_no_password_can_be_tried_against_what_the_trail_says_of_settings(tmp_path: Path) -> None:
    """Neither against the digest of all settings nor against a masked value, by anything faster than a slow hash."""

    def made(password: str) -> Settings:
        address = f"postgresql://alice:{password}@db.example/ring"
        return make_settings(tmp_path, {"store": {"database": address}, "notify": {"urls": ["json://one.example"]}})

    held = made("correct horse")
    assert held.digest() == made("correct horse").digest()
    assert held.digest() != made("another").digest()
    plain = held.model_dump(mode="json", exclude={"folder": True, "path": True, "serve": {"tokens"}})
    assert held.digest() != sha256(canonical_json(plain).encode()).hexdigest()
    masked = chosen(held)["store.database"]
    assert masked == f"#{fingerprint(repr(held.store.database))}"
    assert sha256(repr(held.store.database).encode()).hexdigest()[:8] not in masked
