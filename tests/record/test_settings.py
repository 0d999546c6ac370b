"""ringside.toml and the environment: what is accepted, and how what is not is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from record.configuration.setting_types import PathPart, as_path_part
from record.configuration.units import format_duration, parse_duration, parse_size
from record.contract.columns import Column
from record.errors import SettingsError
from record.settings import ServeSettings, Settings, load_settings

PROBLEM = '[problem]\ntask = "classification"\ntarget = "late"\n'
REGRESSION = '[problem]\ntask = "regression"\ntarget = "delay"\n'
TOKEN = {"name": "shop", "roles": ["predict", "label"], "sha256": sha256(b"secret").hexdigest()}

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str = "") -> Settings:
        (tmp_path / "ringside.toml").write_text(text)
        return load_settings(tmp_path / "ringside.toml")

    return write_and_load


def refusal(load: Load, text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(text)
    return caught.value


def test_defaults(load: Load, tmp_path: Path) -> None:
    """A problem is enough: everything else has a default, and paths lie beside the file."""
    settings = load(PROBLEM)
    assert settings.store.database == f"sqlite:///{tmp_path}/.ringside/record.db"
    assert settings.store.artifacts == tmp_path / ".ringside/artifacts"
    assert settings.retrain.deadline == timedelta(minutes=40)
    assert settings.retrain.memory_limit == 4_000_000_000
    assert (settings.promotion.loss, settings.promotion.alpha) == ("brier", 0.05)
    assert settings.problem_schema() is None
    assert (settings.folder, settings.path) == (tmp_path, tmp_path / "ringside.toml")


def test_every_key_is_documented() -> None:
    """Each key says what it is for where it is defined."""
    for section, field in Settings.model_fields.items():
        assert field.description or isinstance(field.annotation, type)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert field.annotation.__doc__
            undocumented = [k for k, f in field.annotation.model_fields.items() if not f.description]
            assert not undocumented, (section, undocumented)


def test_values_are_read(load: Load, tmp_path: Path) -> None:
    """Durations, sizes, columns and relative paths become what they mean."""
    settings = load(
        PROBLEM
        + '[data]\nsource = "history/*.csv"\n[retrain]\nbudget = "90s"\nmemory_limit = "2GiB"\n'
        + '[quality]\nlabel_horizon = "1w"\n[serve]\ntokens = "tokens.toml"\nrefresh = "250ms"\n'
        + '[columns.carrier]\ntype = "category"\n[columns.note]\nrole = "carried"\ntype = "text"\nrequired = false\n'
        + '[log]\nredact = ["note"]\n'
    )
    assert settings.data.source == str(tmp_path / "history/*.csv")
    assert settings.retrain.budget == timedelta(seconds=90)
    assert settings.retrain.memory_limit == 2 * 2**30
    assert settings.quality.label_horizon == timedelta(days=7)
    assert settings.serve.tokens == tmp_path / "tokens.toml"
    schema = settings.problem_schema()
    assert schema is not None
    assert schema.columns == (
        Column("carrier", "feature", "category"),
        Column("note", "carried", "text", required=False),
    )


def test_urls_stay_as_they_are(load: Load) -> None:
    """Only files are resolved against the folder."""
    store = '[store]\ndatabase = "postgresql+psycopg://u:p@db/r"\n'
    settings = load(PROBLEM + store + '[data]\nsource = "postgresql://db/x"\nquery = "SELECT 1"\n')
    assert settings.store.database == "postgresql+psycopg://u:p@db/r"
    assert settings.data.source == "postgresql://db/x"


def test_environment_wins(load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable overrides the file's key and leaves its neighbours."""
    monkeypatch.setenv("RINGSIDE_PROMOTION__ALPHA", "0.01")
    monkeypatch.setenv("RINGSIDE_RETRAIN__BUDGET", "2h")
    monkeypatch.setenv("RINGSIDE_SERVE__TOKENS", json.dumps([TOKEN]))
    monkeypatch.setenv("RINGSIDE_DRIFT__TRIGGERS_RETRAIN", "true")
    settings = load(PROBLEM + "[promotion]\nalpha = 0.2\nmin_pairs = 7\n")
    assert (settings.promotion.alpha, settings.promotion.min_pairs) == (0.01, 7)
    assert settings.retrain.budget == timedelta(hours=2)
    assert settings.serve.read_tokens()[0].name == "shop"
    assert settings.drift.triggers_retrain is True
    monkeypatch.setenv("RINGSIDE_CONFIG", str(tmp_path / "ringside.toml"))
    assert load_settings().promotion.alpha == 0.01


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[promotoin]\nalpha = 0.1", "promotoin", "promotion"),
        ("[retrain]\nbudgt = '1m'", "retrain.budgt", "retrain.budget"),
        ("[retrain]\nalpha = 0.1", "retrain.alpha", "promotion.alpha"),
        ("[columns.a]\ntype = 'number'\nrequird = true", "columns.a.requird", "columns.a.required"),
    ],
)
def test_unknown_key(load: Load, text: str, key: str, nearest: str) -> None:
    """An unknown key is refused, and the nearest known one named: of its section, else of another."""
    error = refusal(load, PROBLEM + text)
    assert error.field == key
    assert f"{key}: unknown key; the nearest known one is {nearest}" in error.message


def test_unknown_variable(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable is refused as a misspelt key is."""
    monkeypatch.setenv("RINGSIDE_PROMOTOIN__ALPHA", "0.01")
    assert "the nearest known one is promotion" in refusal(load, PROBLEM).message
    monkeypatch.delenv("RINGSIDE_PROMOTOIN__ALPHA")
    monkeypatch.setenv("RINGSIDE_PROMOTION__ALPA", "0.01")
    assert "RINGSIDE_PROMOTION__ALPA: promotion.alpa: unknown key" in refusal(load, PROBLEM).message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[promotion]\nalpha = 2", ["promotion.alpha", "2", "less than 1"]),
        ("[promotion]\nalpha = true", ["promotion.alpha", "True", "a number"]),
        ("[promotion]\nmargin = inf", ["promotion.margin", "inf", "a finite number"]),
        ("[promotion]\nmode = 'maybe'", ["promotion.mode", "'maybe'", "'auto' or 'approve'"]),
        ("[retrain]\nbudget = 'ten minutes'", ["retrain.budget", "'ten minutes'", '"15m"']),
        ("[retrain]\nbudget = '0s'", ["retrain.budget", "'0s'", "longer than 0"]),
        ("[retrain]\nschedule = 'daily'", ["retrain.schedule", "'daily'", "five cron fields"]),
        ("[retrain]\nmemory_limit = 'much'", ["retrain.memory_limit", "'much'", '"2GB"']),
        ("[retrain]\nfamilies = []", ["retrain.families", "at least one"]),
        ("[serve]\nport = 0", ["serve.port", "0", "greater than or equal to 1"]),
        ("[drift]\ntriggers_retrain = 1", ["drift.triggers_retrain", "1", "true or false"]),
        ("[columns.a]\ntype = 'numbr'", ["columns.a.type", "'numbr'", "'number'"]),
        ("[columns]\na = 3", ["columns.a", "3", "a table"]),
    ],
)
def test_wrong_value(load: Load, text: str, parts: list[str]) -> None:
    """A wrong value is refused with the key, the value and what was expected."""
    message = refusal(load, PROBLEM + text).message
    assert message.startswith("ringside.toml: ")
    assert all(part in message for part in parts), message


def test_all_wrong_values_at_once(load: Load) -> None:
    """Every wrong key has its line, so that one look at the file mends them all."""
    error = refusal(load, PROBLEM + "[promotion]\nalpha = 2\n[serve]\nport = 0\nprot = 1\n")
    assert len(error.message.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (PROBLEM + "[columns.a]\ntype = 'number'\n[log]\nredact = ['a']", "log.redact"),
        (PROBLEM + "[log]\nredact = ['late']", "log.redact"),
        (REGRESSION + "positive_class = 'x'", "problem.positive_class"),
        (REGRESSION + "false_negative_cost = 9", "problem.false_negative_cost"),
        (PROBLEM + "false_negative_cost = 9", "problem.positive_class"),
        (
            PROBLEM + "false_negative_cost = 9\npositive_class = 'x'\n[promotion]\nloss = 'zero_one'",
            "promotion.loss",
        ),
        (REGRESSION + "[promotion]\nloss = 'brier'", "promotion.loss"),
        (PROBLEM + "[promotion]\nloss = 'absolute'", "promotion.loss"),
        (PROBLEM + "[columns.late]\ntype = 'number'", "columns.late"),
        (PROBLEM + "[columns.a]\ntype = 'text'", "columns.a.role"),
        (PROBLEM + "id_column = 'a'\n[columns.a]\ntype = 'number'", "columns.a.role"),
        (PROBLEM + "protected = ['a']\n[columns.a]\ntype = 'number'", "columns.a.role"),
        (PROBLEM + "[clock]\nsource = 'requests'\n[serve]\nhost = '0.0.0.0'", "clock.source"),
        (PROBLEM + "[drift]\nevery = '2d'", "drift.decide_every"),
        (PROBLEM + "[watch]\nlease = '6s'", "watch.lease"),
        (PROBLEM + "[log]\nretention = '1h'", "log.retention"),
        (PROBLEM + "[log]\narchive = true", "log.archive"),
        (PROBLEM + "[log]\nid_window = '1h'", "log.id_window"),
        ("folder = '/'\n" + PROBLEM, "folder"),
        ("", "problem"),
    ],
)
def test_keys_that_disagree(load: Load, text: str, key: str) -> None:
    """What no key says alone is checked too, and told with the key to change."""
    assert refusal(load, text).field == key


def test_regression_loses_absolutely(load: Load) -> None:
    """A regression's default loss is the absolute error."""
    assert load(REGRESSION).promotion.loss == "absolute"


def test_redaction_without_columns(load: Load) -> None:
    """Where training infers the columns, those known to be carried may be redacted."""
    assert load(PROBLEM + "protected = ['sex']\n[log]\nredact = ['sex']").log.redact == ("sex",)


def test_unreadable_files(load: Load, tmp_path: Path) -> None:
    """An absent file names the command that writes one; broken TOML says where."""
    with pytest.raises(SettingsError, match="ringside init"):
        load_settings(tmp_path / "absent.toml")
    assert "not TOML" in refusal(load, "x = [").message
    (tmp_path / "ringside.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not TOML"):
        load_settings(tmp_path / "ringside.toml")


def test_unreadable_variable(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list in the environment is JSON."""
    monkeypatch.setenv("RINGSIDE_LOG__REDACT", "a")
    assert "JSON" in refusal(load, PROBLEM).message


def test_secrets_are_not_shown(load: Load) -> None:
    """A wrong token is refused without being repeated."""
    error = refusal(load, PROBLEM + "[serve]\ntokens = [{name = 'a', roles = ['predict'], sha256 = 'hunter2'}]")
    assert error.field == "serve.tokens"
    assert "hunter2" not in error.message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_no_tokens(host: str) -> None:
    """On loopback everything may be open."""
    ServeSettings(host=host).require_tokens()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org"])
def test_other_hosts_need_tokens(host: str) -> None:
    """On any other address the service has tokens or does not start."""
    with pytest.raises(SettingsError, match=r"serve\.tokens"):
        ServeSettings(host=host).require_tokens()
    ServeSettings.model_validate({"host": host, "tokens": [TOKEN]}).require_tokens()


def test_token_files(tmp_path: Path) -> None:
    """Tokens are read from TOML or JSON, as a list or under `tokens`."""
    toml = f"[[tokens]]\nname = 'shop'\nroles = ['predict', 'label']\nsha256 = '{TOKEN['sha256']}'\n"
    for name, text in {
        "a.toml": toml,
        "b.json": json.dumps([TOKEN]),
        "c.json": json.dumps({"tokens": [TOKEN]}),
    }.items():
        (tmp_path / name).write_text(text)
        tokens = ServeSettings(tokens=tmp_path / name).read_tokens()
        assert [(t.name, t.roles) for t in tokens] == [("shop", ("predict", "label"))]


@pytest.mark.parametrize("text", ["", "x = [", "tokens = 3", "[[tokens]]\nname = 'hunter2'\nroles = []\nsha256 = ''"])
def test_broken_token_files(tmp_path: Path, text: str) -> None:
    """A wrong file of tokens is told by its path, and nothing of it is repeated."""
    (tmp_path / "tokens.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"tokens\.toml") as caught:
        ServeSettings(tokens=tmp_path / "tokens.toml").read_tokens()
    assert "hunter2" not in caught.value.message
    with pytest.raises(SettingsError, match="No such file"):
        ServeSettings(tokens=tmp_path / "absent.toml").read_tokens()


def test_digest(load: Load) -> None:
    """The digest moves with any setting, and not with the tokens."""
    tokens = f"[serve]\ntokens = [{{name = 'a', roles = ['read'], sha256 = '{TOKEN['sha256']}'}}]\n"
    assert load(PROBLEM).digest() == load(PROBLEM + tokens).digest()
    assert load(PROBLEM).digest() != load(PROBLEM + "[drift]\nmin_rows = 7\n").digest()


def test_settings_are_frozen(load: Load) -> None:
    """Nobody changes settings at run time."""
    settings: Any = load(PROBLEM)
    with pytest.raises(ValidationError):
        settings.promotion.alpha = 0.5
    with pytest.raises(ValidationError):
        settings.serve = None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("15m", 900),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1w", 604800),
        ("1.5h", 5400),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is read, and written so that it is read the same."""
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(parse_duration(text))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", 5, True, "-1d", "1y", "d", "1 d", "9" * 400 + "d", None])
def test_no_durations(text: Any) -> None:
    """What has no unit, or none that is known, is refused."""
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(text)


def test_sizes() -> None:
    """GB is a power of 1000, GiB of 1024."""
    assert [parse_size(s) for s in ("2GB", "2 gib", "512MB", "1.5K", "7", "7B", 7)] == [
        2 * 10**9,
        2 * 2**30,
        512 * 10**6,
        1500,
        7,
        7,
        7,
    ]
    for wrong in ("", "GB", "2XB", "-2GB", "2i", None, True):
        with pytest.raises(ValueError, match="a size"):
            parse_size(wrong)


@pytest.mark.parametrize(
    "name",
    ["a/b", "/", "a?b", "a#b", "50%", "a%2Fb", "a\\b", ".", "..", ".hidden", " a", "a ", "a\tb", "a\nb", "a\0b",
     "a\x7f", "a\u202eb", "a\u200bb", "", "x" * 201],
)  # fmt: skip
def test_a_problems_name_that_no_path_can_hold_is_refused(load: Load, name: str) -> None:
    """It stands in the Open Inference Protocol's URLs."""
    error = refusal(load, f"{PROBLEM}name = {json.dumps(name)}\n")
    assert error.field == "problem.name"
    assert "problem.name: " in error.message
    assert not name or "path of a URL" in error.message
    assert not name or f"such as {json.dumps(as_path_part(name), ensure_ascii=False)}" in error.message


@pytest.mark.parametrize(
    ("name", "near"), [("a/b", "a-b"), ("orders #3", "orders -3"), ("100%", "100"), (" Zürich", "Zürich")]
)
def test_the_nearest_accepted_name_is_told(load: Load, name: str, near: str) -> None:
    """A file of before names were checked says its file's stem."""
    assert f'such as "{near}"' in refusal(load, f"{PROBLEM}name = {json.dumps(name)}\n").message
    assert load(f"{PROBLEM}name = {json.dumps(near)}\n").problem.name == near


@given(st.text(max_size=260))
def test_any_text_gives_a_name_that_is_accepted(text: str) -> None:
    near = as_path_part(text)
    assert TypeAdapter(PathPart).validate_python(near) == as_path_part(near) == near


@pytest.mark.parametrize("name", ["kredit ausfall", "Überfällig", "a.b", "a-b_c:d", "航班", "a+b&c=d;e", "x" * 200])
def test_a_problems_name_may_be_anything_else(load: Load, name: str) -> None:
    assert load(f"{PROBLEM}name = {json.dumps(name)}\n").problem.name == name


@pytest.mark.parametrize(
    ("stem", "name"), [("orders", "orders"), ("50% off #1?", "50- off -1"), (".hidden", "hidden"), ("???", "ringside")]
)
def test_a_name_from_a_file_is_one_that_is_accepted(load: Load, stem: str, name: str) -> None:
    assert as_path_part(stem) == name
    assert load(f"{PROBLEM}name = {json.dumps(as_path_part(stem))}\n").problem.name == name
