"""Settings: frozen, from ringside.toml and the environment, checked once at start.

Every key of `record.configuration.sections` and `record.configuration.loop_sections` stands in the file as
`[section] key`, and may be set by the environment as RINGSIDE_SECTION__KEY, which wins. Relative paths are relative to
the file's folder. An unknown key is refused with the nearest known one named; a wrong value with what was expected.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableEnvironment

from record.canonical import canonical_json
from record.configuration.complaint import NESTED, PLACES, PREFIX, SECRET, settings_error, unknown_key
from record.configuration.loop_sections import (
    DriftSettings,
    GuardSettings,
    NotifySettings,
    PromotionSettings,
    QualitySettings,
    RetrainSettings,
    TrackingSettings,
    WatchSettings,
)
from record.configuration.sections import (
    AuditSettings,
    ClockSettings,
    ColumnSettings,
    DataSettings,
    LogSettings,
    ProblemSettings,
    ServeSettings,
    StoreSettings,
    Token,
    TokenRole,
)
from record.configuration.settings_copy import CONFIG, DIGEST, names_copy, read_copy
from record.contract.columns import Column, Role
from record.contract.schema import ProblemSchema
from record.errors import SettingsDrift, SettingsError
from record.redaction import fingerprint, remember, secrets_of

__all__ = [
    "AuditSettings",
    "ClockSettings",
    "ColumnSettings",
    "DataSettings",
    "DriftSettings",
    "GuardSettings",
    "LogSettings",
    "NotifySettings",
    "ProblemSettings",
    "PromotionSettings",
    "QualitySettings",
    "RetrainSettings",
    "ServeSettings",
    "Settings",
    "StoreSettings",
    "Token",
    "TokenRole",
    "TrackingSettings",
    "WatchSettings",
    "load_settings",
]


class Settings(BaseSettings):
    """All settings of one running service. Also made directly, from sections or plain dicts, without a file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
    )

    folder: Path = Field(default_factory=Path.cwd, description="Relative paths start here.")
    path: Path | None = Field(None, description="The file that was read.")
    _text: str = PrivateAttr("")
    problem: ProblemSettings = Field(description="The section [problem], with task and target.")
    columns: dict[str, ColumnSettings] = Field({}, description="Empty: the first training infers them.")
    data: DataSettings = DataSettings()
    store: StoreSettings = StoreSettings()
    audit: AuditSettings = AuditSettings()
    clock: ClockSettings = ClockSettings()
    serve: ServeSettings = ServeSettings()
    log: LogSettings = LogSettings()
    drift: DriftSettings = DriftSettings()
    quality: QualitySettings = QualitySettings()
    retrain: RetrainSettings = RetrainSettings()
    guards: GuardSettings = GuardSettings()
    promotion: PromotionSettings = PromotionSettings()
    watch: WatchSettings = WatchSettings()
    notify: NotifySettings = NotifySettings()
    tracking: TrackingSettings = TrackingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @field_validator("data")
    @classmethod
    def _place_data(cls, data: DataSettings, info: ValidationInfo) -> DataSettings:
        if data.source is None or "://" in data.source:
            return data
        return data.model_copy(update={"source": str(info.data["folder"] / data.source)})

    @field_validator("store")
    @classmethod
    def _place_store(cls, store: StoreSettings, info: ValidationInfo) -> StoreSettings:
        folder: Path = info.data["folder"]
        database = store.database
        scheme, slashes, file = database.partition(":///")
        if slashes and scheme.startswith("sqlite") and file and not file.startswith((":memory:", "file:")):
            database = f"{scheme}:///{folder / file}"
        key_file = None if store.key_file is None else folder / store.key_file
        changed = {"database": database, "artifacts": folder / store.artifacts, "key_file": key_file}
        return store.model_copy(update=changed)

    @field_validator("audit")
    @classmethod
    def _place_audit(cls, audit: AuditSettings, info: ValidationInfo) -> AuditSettings:
        folder: Path = info.data["folder"]
        files = {name: getattr(audit, name) for name in type(audit).model_fields}
        return audit.model_copy(update={name: folder / file for name, file in files.items() if file is not None})

    @field_validator("serve")
    @classmethod
    def _place_tokens(cls, serve: ServeSettings, info: ValidationInfo) -> ServeSettings:
        if not isinstance(serve.tokens, Path):
            return serve
        return serve.model_copy(update={"tokens": info.data["folder"] / serve.tokens})

    @field_validator("retrain")
    @classmethod
    def _set_deadline(cls, retrain: RetrainSettings) -> RetrainSettings:
        if retrain.deadline is not None:
            return retrain
        return retrain.model_copy(update={"deadline": 3 * retrain.budget + timedelta(minutes=10)})

    @field_validator("promotion")
    @classmethod
    def _set_loss(cls, promotion: PromotionSettings, info: ValidationInfo) -> PromotionSettings:
        problem = info.data.get("problem")
        if problem is None or "loss" in promotion.model_fields_set:
            return promotion
        if problem.task == "regression":
            return promotion.model_copy(update={"loss": "absolute"})
        alike = problem.false_positive_cost == problem.false_negative_cost
        return promotion if alike else promotion.model_copy(update={"loss": "cost"})

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        found = next(_disagreements(self), None)
        if found is not None:
            raise ValueError(found)
        return self

    def model_post_init(self, _context: Any) -> None:
        """What is secret here is masked from now on wherever this process shows, logs or records it."""
        addresses = (self.store.database, self.tracking.mlflow_uri or "", *self.notify.urls)
        source = self.data.source or ""
        if "://" in source:
            addresses += (source,)
        remember({secret for address in addresses for secret in secrets_of(address)})
        remember(part for url in self.notify.urls for part in re.split(r"[/?&=#@:]+", url) if len(part) >= 12)

    @property
    def text(self) -> str:
        """What the file said when it was read; empty for settings without a file."""
        return self._text

    def problem_schema(self) -> ProblemSchema | None:
        """The schema that [columns] writes down; None where it is left to the first training."""
        if not self.columns:
            return None
        problem = self.problem
        return ProblemSchema(
            task=problem.task,
            target=problem.target,
            columns=tuple(
                Column(name, self._role(name), c.type, c.required and not c.arrival, c.arrival)
                for name, c in self.columns.items()
            ),
            positive_class=problem.positive_text(),
            time_column=problem.time_column,
            id_column=problem.id_column,
            protected=problem.protected,
        )

    def arrival_column(self) -> str | None:
        """The column that requests' arrival times are written to; None as a rule."""
        return next((name for name, column in self.columns.items() if column.arrival), None)

    def units(self) -> dict[str, str]:
        """The units of the target and of columns, where they are given."""
        held = {name: column.unit for name, column in self.columns.items()} | {self.problem.target: self.problem.unit}
        return {name: unit for name, unit in held.items() if unit}

    def _role(self, name: str) -> Role:
        """The column's role; the time column's is "carried" where `problem.time_features` is off."""
        only_orders = name == self.problem.time_column and not self.problem.time_features
        return "carried" if only_orders else self.columns[name].role

    def digest(self) -> str:
        """SHA-256 of all settings but the tokens, so that a change of them shows.

        It stands in the audit trail and in cards: an address with a secret goes in as its fingerprint, else one could
        try passwords against it.
        """
        held = self.model_dump(mode="json", exclude={"folder": True, "path": True, "serve": {"tokens"}})
        for key in SECRET:
            section, name = key.split(".")
            value = held[section].get(name)
            for address in value if isinstance(value, list) else [value]:
                if address and (section == "notify" or secrets_of(address)):
                    held[section][name] = fingerprint(repr(value))
        return hashlib.sha256(canonical_json(held).encode()).hexdigest()


def load_settings(path: Path | None = None) -> Settings:
    """The settings in `path`, else in $RINGSIDE_CONFIG, else in ./ringside.toml; SettingsError says what is wrong.

    In a process of a running service the file counts as it was when the service started. SettingsDrift where nobody
    knows that any more, and the file says something else.
    """
    file = (path or Path(os.environ.get(CONFIG, "ringside.toml"))).absolute()
    text = read_copy(file, os.environ)
    if text is not None:
        return parse_settings(text, file)
    settings = parse_settings(_read_file(file), file)
    if names_copy(file, os.environ) and settings.digest() != os.environ.get(DIGEST):
        raise SettingsDrift(file)
    return settings


def parse_settings(text: str, file: Path) -> Settings:
    """The settings that a file with this text makes, and the environment."""
    _check_environment(os.environ)
    try:
        held: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None
    for name in PLACES:
        if name in held:
            raise SettingsError(unknown_key((name,), Settings), field=name)
    try:
        settings = Settings(**held, folder=file.parent, path=file)
    except ValidationError as error:
        raise settings_error(error, Settings, file.name, os.environ) from None
    except UnreadableEnvironment as error:
        raise SettingsError(f"the environment: {error}; lists and tables are written there as JSON") from None
    settings._text = text
    return settings


def _read_file(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            f"{file}: no such file; `ringside init DATA --target COLUMN` writes one, RINGSIDE_CONFIG names another"
        ) from None
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except ValueError as error:  # not UTF-8
        raise SettingsError(f"{file}: not TOML: {error}") from None


def _check_environment(environment: Mapping[str, str]) -> None:
    """A misspelt section in a variable's name would be passed over in silence."""
    for name in environment:
        section, nested, _ = name.removeprefix(PREFIX).partition(NESTED)
        if name.startswith(PREFIX) and nested and section.lower() not in Settings.model_fields:
            raise SettingsError(f"{name}: {unknown_key((section.lower(),), Settings)}", field=section.lower())


def _disagreements(settings: Settings) -> Iterator[str]:
    """What no key says alone: each sentence names the key, its value and what was expected."""
    yield from _of_the_problem(settings)
    if settings.clock.source == "requests" and not settings.serve.loopback:
        yield f'clock.source: "requests" with serve.host "{settings.serve.host}"; expected a loopback host'
    if settings.drift.decide_every < settings.drift.every:
        yield "drift.decide_every: shorter than drift.every; expected at least as long"
    if settings.watch.lease < 2 * settings.watch.heartbeat:
        yield "watch.lease: shorter than two of watch.heartbeat; expected at least that"
    if settings.log.retention is not None and settings.log.retention < settings.quality.label_horizon:
        yield "log.retention: shorter than quality.label_horizon; nothing would ever mature"
    if settings.log.archive and settings.log.retention is None:
        yield "log.archive: true without log.retention; nothing ever leaves the log"
    if settings.log.id_window < settings.quality.label_horizon:
        yield "log.id_window: shorter than quality.label_horizon; late labels would find no request"
    if settings.promotion.deadline <= settings.quality.label_horizon:
        yield "promotion.deadline: not longer than quality.label_horizon; no bout would ever have a label to judge by"


def _of_the_problem(settings: Settings) -> Iterator[str]:
    problem, columns, loss = settings.problem, settings.columns, settings.promotion.loss
    if problem.task == "regression" and problem.positive_class is not None:
        yield f"problem.positive_class: {problem.positive_class!r} with regression; expected none"
    if problem.false_positive_cost != problem.false_negative_cost:
        costs = f"{problem.false_negative_cost:g} beside a false_positive_cost of {problem.false_positive_cost:g}"
        if problem.task == "regression":
            yield f"problem.false_negative_cost: {costs}, with regression; expected none"
        elif problem.positive_class is None:
            yield f"problem.positive_class: none, with a false_negative_cost of {costs}; expected the class looked for"
        elif loss == "zero_one":  # it would promote whoever answers as if wrong answers cost alike
            yield f'promotion.loss: "zero_one" with a false_negative_cost of {costs}; expected "cost", "brier" or "log"'
    if loss == "cost" and problem.positive_class is None and problem.task == "classification":
        yield 'promotion.loss: "cost" without problem.positive_class; expected the class whose misses cost'
    if (problem.task == "regression") != (loss == "absolute"):
        fitting = '"absolute"' if problem.task == "regression" else '"brier", "zero_one", "log" or "cost"'
        yield f'promotion.loss: "{loss}" with {problem.task}; expected {fitting}'
    if problem.target in columns:
        yield f"columns.{problem.target}: the target comes with labels; expected no such column in records"
    for name, column in columns.items():
        if column.type == "text" and column.role == "feature":
            yield f'columns.{name}.role: "feature" with type "text"; expected "carried" (or type "category")'
    yield from _of_arrival(settings)
    if problem.entity_column == problem.target:
        yield f"problem.entity_column: {problem.entity_column!r} is the target; expected the column that says who asks"
    if problem.entity_column is not None and columns and problem.entity_column not in columns:
        listed = ", ".join(sorted(columns))
        yield f"problem.entity_column: {problem.entity_column!r} is no column of records; expected one of {listed}"
    if problem.entity_column is not None and problem.entity_column in settings.log.redact:
        yield (
            f"log.redact: {problem.entity_column!r} is problem.entity_column, by which evidence counts each once; "
            "expected it in the log"
        )
    never_fed = {problem.id_column: "problem.id_column"} | dict.fromkeys(problem.protected, "problem.protected")
    for never, key in never_fed.items():
        if never in columns and columns[never].role == "feature":
            yield f'columns.{never}.role: "feature" but named by {key}; expected "carried"'
    carried = {name for name, column in columns.items() if column.role == "carried"}
    if not columns:
        undeclared = (problem.id_column, problem.time_column, problem.entity_column, *problem.protected)
        carried = {name for name in undeclared if name is not None}
    for name in settings.log.redact:
        if name not in carried:
            listed = ", ".join(sorted(carried)) or "there is none"
            yield f"log.redact: {name!r} is no carried column; expected one of those ({listed})"


def _of_arrival(settings: Settings) -> Iterator[str]:
    first: str | None = None
    for name, column in settings.columns.items():
        if not column.arrival:
            continue
        key = f"columns.{name}.arrival"
        if column.type != "time":
            yield f'{key}: true with type "{column.type}"; expected type "time"'
        if column.role == "carried":
            yield f'{key}: true with role "carried"; expected role "feature": the arrival time is for the models'
        if settings._role(name) == "carried":
            yield f"{key}: true, but problem.time_features = false has it order rows only; expected one of the two"
        if first is not None:
            yield f"{key}: true, and columns.{first}.arrival, too; expected one such column at most"
        first = name
