"""What the settings were and became, in the audit trail, so that decisions can be understood later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from record.configuration.complaint import SECRET
from record.events import SettingsChanged
from record.record import Record
from record.redaction import fingerprint
from record.settings import Settings
from record.work.leases import Fence

NOT_SETTINGS = frozenset({"folder", "path"})  # where the file is
NEVER_TOLD = frozenset({"serve.tokens"})


def say_settings(record: Record, settings: Settings, fence: Fence) -> None:
    """Settings that are not those of the last watcher are an event; the first says what is not at its default."""
    digest, last = settings.digest(), None
    told: dict[str, Any] = {}
    cursor = None
    while True:
        page, cursor = record.events.page(kind=SettingsChanged.kind, limit=1000, cursor=cursor)
        for event in page:
            last = event.data["digest"]
            told |= {key: after for key, (_, after) in event.data["changed"].items()}
        if cursor is None:
            break
    if last == digest:
        return
    changed = changes({key: value for key, value in told.items() if value is not None}, chosen(settings))
    with record.events.writing() as connection:
        fence.check(connection)
        record.events.append(SettingsChanged(digest=digest, changed=changed), actor="watcher", connection=connection)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """key → [before, after] where they differ; None stands for the default."""
    keys = sorted(before.keys() | after.keys())
    return {key: [before.get(key), after.get(key)] for key in keys if before.get(key) != after.get(key)}


def chosen(settings: Settings) -> dict[str, Any]:
    """Every key that is not at its default, as "section.key". What may hold a secret is eight digits of a slow hash.

    Paths are relative to the settings' folder, where they are in it.
    """
    held: dict[str, Any] = {}
    for name in sorted(type(settings).model_fields.keys() - NOT_SETTINGS):
        section = getattr(settings, name)
        parts = (
            {f"columns.{column}": each for column, each in section.items()} if name == "columns" else {name: section}
        )
        for place, part in parts.items():
            held |= {f"{place}.{key}": value for key, value in _not_default(part, settings).items()}
    told = {key: value for key, value in held.items() if key not in NEVER_TOLD}
    return {key: _masked(value) if key in SECRET else value for key, value in told.items()}


def _not_default(section: BaseModel, settings: Settings) -> dict[str, Any]:
    values = section.model_dump(mode="json")
    prefix = f"{settings.folder}/"
    if values.get("deadline") is not None and section is settings.retrain:
        follows = settings.retrain.deadline == 3 * settings.retrain.budget + timedelta(minutes=10)
        values["deadline"] = None if follows else values["deadline"]
    held = {}
    for key, field in type(section).model_fields.items():
        value = values[key].replace(prefix, "") if isinstance(values[key], str) else values[key]
        if field.is_required() or value != _plain_default(section, key):
            held[key] = value
    return held


def _plain_default(section: BaseModel, key: str) -> Any:
    """The default as `model_dump` would have it."""
    standing = type(section).model_construct(**{key: type(section).model_fields[key].get_default()})
    return standing.model_dump(mode="json", include={key})[key]


def _masked(value: Any) -> str:
    return f"#{fingerprint(repr(value))}"
