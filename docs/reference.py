"""Writes the reference pages of docs/ from the code: `make reference`. Tests keep what is committed fresh."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_args

from typer.main import get_command

from record import events
from record.configuration.complaint import variable_name
from record.metric_families import FAMILIES
from record.settings_schema import settings_schema
from ringside.commands import app
from ringside.terminal.command_group import CommandGroup

FOLDER: Final = Path(__file__).parent
NOTICE: Final = "<!-- Written by `make reference` from the code; edit the descriptions there. -->"

SETTINGS_INTRODUCTION: Final = (
    "`ringside.toml` is checked at start; an unknown key or a wrong value is refused with what was expected. Each "
    "key can also be set by the environment variable beside it, which wins. Durations are written `30s`, `15m`, "
    "`1h30m`, `1d`; relative paths start at the file's folder. `ringside init` writes a commented file; `ringside "
    "schema` prints a JSON Schema for editors."
)
METRICS_INTRODUCTION: Final = (
    "One scrape of any replica's `/metrics` shows all of them. Families of the workers are summed over a host's "
    "workers; those of the watcher and of the record are the same on every replica, so rules take their `max`, "
    "never their sum."
)
EVENTS_INTRODUCTION: Final = (
    "The audit trail is append-only and hash-chained: `ringside events`, `GET /events`. Each event also has "
    "`seq`, `at`, `actor`, `model_version` (where it is about a version) and `digest`. No event holds personal "
    "data."
)
COMMAND_LINE_INTRODUCTION: Final = (
    "Exit codes: 0 done, 1 the answer is no (a gate refused, a target is missed, a difference was found), 2 bad "
    "usage or settings. Facts are printed as JSON with `--json`. `ringside --install-completion` completes "
    "commands in your shell."
)


def settings_page() -> str:
    """Every key of ringside.toml with its type, default, environment variable and meaning."""
    schema = settings_schema()
    lines = [
        "# Settings",
        NOTICE,
        "",
        SETTINGS_INTRODUCTION,
    ]
    for section, reference in schema["properties"].items():
        described = _resolve(schema, reference)
        keyed_by_name = "additionalProperties" in described and isinstance(described["additionalProperties"], dict)
        table = _resolve(schema, described["additionalProperties"]) if keyed_by_name else described
        title = f"[{section}.NAME]" if keyed_by_name else f"[{section}]"
        lines += ["", f"## {title}", "", table.get("description", ""), "", *_settings_table(schema, section, table)]
    return "\n".join(lines) + "\n"


def _settings_table(schema: dict[str, Any], section: str, table: dict[str, Any]) -> Iterator[str]:
    yield "| key | type | default | environment | meaning |"
    yield "|---|---|---|---|---|"
    required = table.get("required", [])
    for key, described in table["properties"].items():
        default = "required" if key in required else _code(described.get("default"))
        variable = "" if section == "columns" else f"`{variable_name(f'{section}.{key}')}`"
        yield _row(f"`{key}`", _type(schema, described), default, variable, described.get("description", ""))


def _resolve(schema: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    reference = described.get("$ref") or next(
        (part["$ref"] for part in described.get("allOf", []) if "$ref" in part), ""
    )
    found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]] if reference else described
    return found


def _type(schema: dict[str, Any], described: dict[str, Any]) -> str:
    described = _resolve(schema, described)
    if "anyOf" in described:
        ways = dict.fromkeys(_type(schema, way) for way in described["anyOf"] if way.get("type") != "null")
        return " or ".join(ways)
    if "enum" in described:
        return ", ".join(_code(member) for member in described["enum"])
    if "const" in described:
        return _code(described["const"])
    if "(ms|[smhdw])" in described.get("pattern", ""):
        return "duration"
    kind = str(described.get("type", "value"))
    if kind == "array" and isinstance(described.get("items"), dict):
        return f"list of {_type(schema, described['items'])}"
    return kind + _bounds(described)


def _bounds(described: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {described[name]}" for name, sign in signs.items() if name in described]
    return f" ({', '.join(bounds)})" if bounds else ""


def metrics_page() -> str:
    """Every Prometheus family with its kind, labels and meaning."""
    origins = {"worker": "each worker", "samples": "the watcher", "record": "the record", "host": "the host"}
    rows = [
        _row(
            f"`{family.name}`",
            family.kind,
            ", ".join(f"`{label}`" for label in family.labels),
            origins[family.source],
            family.help,
        )
        for family in FAMILIES.values()
    ]
    return "\n".join([
        "# Metrics",
        NOTICE,
        "",
        METRICS_INTRODUCTION,
        "",
        "| family | kind | labels | from | meaning |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


def events_page() -> str:
    """Every kind of event in the audit trail with its fields."""
    lines = [
        "# Events",
        NOTICE,
        "",
        EVENTS_INTRODUCTION,
    ]
    for event in get_args(events.KnownEvent):
        lines += ["", f"## `{event.kind}`", ""]
        if event.__doc__ and not event.__doc__.startswith(f"{event.__name__}("):
            lines += [inspect.cleandoc(event.__doc__), ""]
        names = [(field.name, field.type) for field in fields(event) if field.name != "model_version"]
        lines += ["| field | type |", "|---|---|", *(_row(f"`{name}`", f"`{kind}`") for name, kind in names)]
    return "\n".join(lines) + "\n"


def command_line_page() -> str:
    """Every command with its arguments, options and example."""
    group = get_command(app)
    assert isinstance(group, CommandGroup)
    lines = [
        "# Command line",
        NOTICE,
        "",
        COMMAND_LINE_INTRODUCTION,
    ]
    for name, command in group.commands.items():
        lines += ["", f"## `ringside {name}`", "", textwrap.dedent(command.help or "").strip()]
        lines += ["", "| argument or option | meaning |", "|---|---|"]
        lines += [_row(_spelling(parameter), getattr(parameter, "help", None) or "") for parameter in command.params]
    return "\n".join(lines) + "\n"


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{spelling}`" for spelling in (*parameter.opts, *parameter.secondary_opts))


def _code(value: Any) -> str:
    if value is None:
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", str(cell)).replace("|", "\\|") for cell in cells) + " |"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "events.md": events_page,
    "command-line.md": command_line_page,
}


def write_reference() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write_reference()
