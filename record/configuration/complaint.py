"""What is wrong with the settings, in the file's own words: the key, its value, and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Container
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from record.configuration.sections import ColumnSettings, Token
from record.configuration.setting_types import Section
from record.errors import SettingsError
from record.redaction import redact

Root = type[BaseModel]

PREFIX, NESTED = "RINGSIDE_", "__"
PLACES = ("folder", "path")  # where the file is: said by who loads it, never by the file itself
SECRET = ("serve.tokens", "notify.urls", "store.database", "store.key", "data.source", "tracking.mlflow_uri")


def settings_error(error: ValidationError, root: Root, file_name: str, environment: Container[str]) -> SettingsError:
    """One line for each wrong key, naming the variable or the file in which it was set."""
    lines: dict[str, str] = {}
    for detail in error.errors():
        place = tuple(str(part) for part in detail["loc"])
        sentence = _sentence(detail, place, root)
        key = ".".join(place[: 3 if place[0] == "columns" else 2]) if place else sentence.partition(":")[0]
        variable = variable_name(key)
        lines.setdefault(key, f"{variable if variable in environment else file_name}: {sentence}")
    faults = [redact(line) for line in lines.values()]
    return SettingsError("\n".join(faults), field=next(iter(lines)), faults=faults)


def variable_name(key: str) -> str:
    """The environment variable that sets a key such as "promotion.alpha"."""
    return PREFIX + key.upper().replace(".", NESTED)


def _sentence(detail: ErrorDetails, place: tuple[str, ...], root: Root) -> str:
    if detail["type"] == "extra_forbidden":
        return unknown_key(place, root)
    key = ".".join(part for part in place if "[" not in part)  # pydantic names a union's arms with brackets
    if not key:
        return str(detail["ctx"]["error"])
    described = _described(place, root)
    if detail["type"] == "missing":
        return f"{key}: missing; expected {described or 'a value'}"
    value = "the value" if _may_be_secret(key) else _shown(detail["input"])
    return f"{key}: {value} is not accepted; expected {_expected(detail)}" + (f" ({described})" if described else "")


def _expected(detail: ErrorDetails) -> str:
    if detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "a table of keys"
    if detail["type"] == "too_short":
        return "at least one"
    words = str(detail.get("ctx", {}).get("error") or detail["msg"].removeprefix("Input should be "))
    return words.partition(", unable to")[0]


def _may_be_secret(key: str) -> bool:
    """Whether a value at this key, or what was written in the place of its section, may hold a secret."""
    return any(f"{key}.".startswith(f"{secret}.") or secret.startswith(f"{key}.") for secret in SECRET)


def _shown(value: Any) -> str:
    text = redact(repr(value))
    return text if len(text) <= 60 else text[:57] + "…"


def _described(place: tuple[str, ...], root: Root) -> str:
    field = _owner(place, root).model_fields.get(place[-1])
    return (field.description or "").rstrip(".") if field else ""


def _owner(place: tuple[str, ...], root: Root) -> Root:
    """The class in which the key at `place` stands, or would stand."""
    if len(place) == 1:
        return root
    if place[0] == "columns":
        return ColumnSettings if len(place) > 2 else root
    if place[:2] == ("serve", "tokens") and len(place) > 2:
        return Token
    return _section(root, place[0]) or root


def _section(root: Root, name: str) -> type[Section] | None:
    field = root.model_fields.get(name)
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def unknown_key(place: tuple[str, ...], root: Root) -> str:
    """A sentence naming the nearest known key: of this section, else the same word in another one."""
    key, before = place[-1], ".".join((*place[:-1], ""))
    siblings = [name for name in _owner(place, root).model_fields if name not in PLACES]
    names = {name: before + name for name in siblings}
    everywhere = {key: f"{name}.{key}" for name in root.model_fields for key in _keys(root, name)}
    for cutoff, known in ((0.6, names), (0.8, everywhere), (0.0, names)):
        near = difflib.get_close_matches(key, list(known), n=1, cutoff=cutoff)
        if near:
            return f"{before}{key}: unknown key; the nearest known one is {known[near[0]]}"
    return f"{before}{key}: unknown key; known are {', '.join(siblings)}"


def _keys(root: Root, name: str) -> list[str]:
    section = _section(root, name)
    return list(section.model_fields) if section else []
