"""ringside.toml as `ringside init` writes it: what was found out is set, every other key stands there as a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

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
    DataSettings,
    LogSettings,
    ProblemSettings,
    ServeSettings,
    StoreSettings,
)
from record.configuration.setting_types import as_path_part
from record.configuration.suspicion import Finding
from record.configuration.units import format_duration
from record.contract.columns import Column
from record.tables.reading_rules import ReadingRules

if TYPE_CHECKING:
    from record.configuration.inspection import Inspection

_SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSettings,
    "store": StoreSettings,
    "audit": AuditSettings,
    "clock": ClockSettings,
    "serve": ServeSettings,
    "log": LogSettings,
    "drift": DriftSettings,
    "quality": QualitySettings,
    "retrain": RetrainSettings,
    "guards": GuardSettings,
    "promotion": PromotionSettings,
    "watch": WatchSettings,
    "notify": NotifySettings,
    "tracking": TrackingSettings,
}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = """\
# Ringside's settings. A line that begins with `# key =` shows a key's default, or an example where it has none.
# Every key can also be set by the environment: RINGSIDE_SECTION__KEY.
"""


def render_toml(inspection: Inspection, data_path: str | Path, *, name: str | None = None) -> str:
    """The text of a ringside.toml. `data_path` is relative to where that will stand, or absolute."""
    problem: dict[str, Any] = {
        "name": name or as_path_part(Path(data_path).stem),
        "task": inspection.task,
        "target": inspection.target,
        "time_column": inspection.time_column,
        "id_column": inspection.id_column,
        "entity_column": inspection.entity_column,
        "positive_class": inspection.positive_class,
    }
    notes: dict[str, list[Finding]] = {}
    for finding in inspection.findings:
        notes.setdefault(finding.column, []).append(finding)
    parts = [_HEAD, _render_section("problem", ProblemSettings, problem, notes.get(inspection.target, []))]
    parts.append("# What applications send. Columns that are carried are logged and never fed to a model.\n")
    parts += [_render_column(column, notes.get(column.name, []), inspection) for column in inspection.columns]
    held = {
        "data": {"source": str(data_path)} | _reading_rules(inspection.rules),
        "promotion": {"loss": "absolute"} if inspection.task == "regression" else {},
    }
    parts += [_render_section(section, model, held.get(section, {})) for section, model in _SECTIONS.items()]
    return "\n".join(parts)


def _reading_rules(rules: ReadingRules) -> dict[str, Any]:
    """What is set of them, as keys of [data]."""
    return {key: value for key, value in asdict(rules).items() if value}


def _render_section(
    section: str, model: type[BaseModel], held: Mapping[str, Any], notes: Sequence[Finding] = ()
) -> str:
    lines = [f"# {(model.__doc__ or '').strip().splitlines()[0]}", f"[{section}]"]
    for key, field in model.model_fields.items():
        value = held.get(key)
        line = f"{key} = {_toml(value)}" if value is not None else f"# {key} = {_toml(_shown_value(field))}"
        remark = "; not set" if value is None and field.default is None else ""
        if notes and key == "target":
            remark = f"; {_one_line('; '.join(note.message for note in notes))}"
        lines.append(f"{line:<40}  # {(field.description or '').rstrip('.')}{remark}")
    return "\n".join(lines) + "\n"


def _render_column(column: Column, findings: Sequence[Finding], inspection: Inspection) -> str:
    reasons = [finding.message for finding in findings]
    if column.name == inspection.time_column:
        reasons.append("orders the rows")
        if column.role == "feature":
            reasons.append(
                "season, weekday and hour may count: a feature, so requests must bring it; "
                '"carried" if it is known only afterwards, "arrival = true" if it is when they ask'
            )
    if column.name == inspection.id_column:
        reasons.append(
            'not the id of a request, which goes into "ids": a row may be asked about again, with other values'
        )
    head = f"[columns.{_key(column.name)}]" + (f"  # {_one_line('; '.join(reasons))}" if reasons else "")
    optional = "" if column.required else "required = false\n"
    return f'{head}\nrole = "{column.role}"\ntype = "{column.type}"\n{optional}'


def _shown_value(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return (field.examples or [""])[0] if field.examples or field.is_required() else value


def _toml(value: Any) -> str:
    if isinstance(value, timedelta):
        return f'"{format_duration(value)}"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(name))} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _one_line(text: str) -> str:
    """Data may hold line breaks and control characters; a comment may not."""
    return "".join(character if character.isprintable() else "·" for character in text)
