"""The JSON Schema of ringside.toml accepts what loading accepts, and marks what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from record.configuration.inspection import inspect
from record.configuration.template import render_toml
from record.configuration.units import parse_duration, parse_size
from record.settings import Settings
from record.settings_schema import settings_schema

DURATIONS = ("15m", "1h30m", "250ms", "1d", "0.5d", "0", " 1w ", "", "5", "1y", "m", "-1d", "1 d", "1d2")
SIZES = ("2GB", "512mb", "2GiB", "1.5 G", "17", "", "GB", "-1", "2XB", "2I")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return settings_schema()


def accepted(read: Any, text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def key_schema(schema: dict[str, Any], section: str, key: str) -> dict[str, Any]:
    reference = schema["properties"][section]
    name = reference.get("$ref", reference.get("allOf", [{}])[0].get("$ref", "")).rpartition("/")[2]
    described: dict[str, Any] = schema["$defs"][name]["properties"][key]
    return described


@pytest.mark.parametrize("text", DURATIONS)
def test_a_duration_is_accepted_where_loading_accepts_it(schema: dict[str, Any], text: str) -> None:
    pattern = key_schema(schema, "promotion", "every")["pattern"]
    assert bool(re.search(pattern, text)) == accepted(parse_duration, text)


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_accepted_where_loading_accepts_it(schema: dict[str, Any], text: str) -> None:
    (texts,) = (way for way in key_schema(schema, "retrain", "memory_limit")["anyOf"] if way["type"] == "string")
    assert bool(re.search(texts["pattern"], text)) == accepted(parse_size, text)


def test_defaults_are_written_as_in_the_file(schema: dict[str, Any]) -> None:
    assert key_schema(schema, "promotion", "every")["default"] == "1m"
    assert key_schema(schema, "promotion", "min_duration")["default"] == "0s"


def test_every_section_and_key_is_there_and_no_other(schema: dict[str, Any]) -> None:
    sections = {name for name in Settings.model_fields if name not in ("folder", "path")}
    assert set(schema["properties"]) == sections
    assert schema["additionalProperties"] is False
    assert all(part.get("additionalProperties") is False for part in schema["$defs"].values() if "properties" in part)


def test_every_key_that_init_writes_is_in_the_schema(schema: dict[str, Any], tmp_path: Path) -> None:
    """Commented ones included: an editor completes them."""
    data = tmp_path / "loans.csv"
    data.write_text("amount,grade,defaulted\n" + "".join(f"{n},{'ab'[n % 2]},{n % 2}\n" for n in range(60)))
    text = render_toml(inspect(data, "defaulted"), "loans.csv")
    section = ""
    for line in text.splitlines():
        header = re.match(r"#?\s*\[([a-z]+)\]", line)
        key = re.match(r"#?\s?([a-z_]+) = ", line)
        if header:
            section = header[1]
        elif line.startswith("["):
            section = ""
        elif key and section in schema["properties"] and section != "columns":
            assert key_schema(schema, section, key[1]), (section, key[1])
